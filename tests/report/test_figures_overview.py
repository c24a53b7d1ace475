"""The one figure: a mark a verification, where its worst key stands, filled where Trans rejects."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawn import SCENARIOS, TAU, TITLES, legend

from sslauth_utils.report import figures_overview
from sslauth_utils.report.figures_overview import LOOKS, SMALLEST, by_nearness, fig_overview

#: kind, tamper, strength, 1 - cos, does Trans accept
CASES = [
    ("honest run", "repeated run", "1", 1e-16, True),
    ("honest cast", "computed in", "bfloat16", 1e-4, True),
    ("honest upload", "rounded to decimals", "2", 6e-4, False),
    ("pruning", "pruning", "0.05", 4e-4, True),
    ("pruning", "pruning", "0.5", 0.1, False),
    ("fine-tuning", "fine-tuning batch norm", "8", 0.2, False),
    ("backdoor", "backdoor stl10", "0", 0.3, False),
    ("disguise", "disguised stl10", "10.0", 2e-3, False),
]


@pytest.fixture
def verified():
    return pd.DataFrame([
        {"scenario": scenario, "seed": seed, "kind": kind, "tamper": tamper, "strength": strength,
         "change": change * (1 + seed / 10), "matched": 3e-4 * (1 + seed), "Trans": accepts}
        for scenario in SCENARIOS for seed in (0, 1) for kind, tamper, strength, change, accepts in CASES
    ])  # fmt: skip


def marks(axis):
    """(change, line's name, filled) of every mark."""
    names = [text.get_text() for text in axis.get_yticklabels()]
    return sorted(
        (x, names[round(y)], line.get_markerfacecolor() != "white")
        for line in axis.get_lines()
        if line.get_marker() not in ("", "None", None)
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    )


def test_every_verification_is_a_mark_at_its_worst_key_filled_where_trans_rejects(verified):
    for axis, scenario in zip(fig_overview(verified, TAU).axes, SCENARIOS, strict=True):
        part = verified[verified["scenario"] == scenario]
        wanted = sorted(zip(part["change"].clip(lower=SMALLEST), part["kind"], ~part["Trans"], strict=True))
        assert marks(axis) == wanted
        assert axis.get_xscale() == "log" and axis.get_xlim()[0] < SMALLEST
        for line in axis.get_lines():
            if line.get_marker() not in ("", "None", None):
                kind = [text.get_text() for text in axis.get_yticklabels()][round(line.get_ydata()[0])] if len(
                    line.get_ydata()) else None  # fmt: skip
                assert kind is None or (line.get_color(), line.get_marker()) == LOOKS[kind]
    assert [axis.get_title(loc="left") for axis in fig_overview(verified, TAU).axes] == TITLES


def test_both_tolerances_and_the_honest_band_are_drawn(verified):
    axis = fig_overview(verified, TAU).axes[0]
    upright = [(line.get_linestyle(), line.get_xdata()[0]) for line in axis.get_lines()
               if line.get_linestyle() in ("--", ":")]  # fmt: skip
    assert sorted(upright) == [("--", pytest.approx(1 - TAU)), (":", pytest.approx(3e-4)), (":", pytest.approx(6e-4))]
    [band] = [patch for patch in axis.patches if mpl.colors.to_rgb(patch.get_facecolor()) == (0.9, 0.9, 0.9)]
    assert band.get_x() + band.get_width() == pytest.approx(1.1e-4), "the largest honest run or cast"
    assert legend(fig_overview(verified, TAU)) == [
        "Trans accepts (hollow)", "Trans rejects (filled)", "DCmp's tolerance at 99.5 %",
        "DCmp's tolerance, matched to Trans's (one a seed)", "largest honest run or cast, and less",
    ]  # fmt: skip


def test_what_lies_nearest_to_the_tolerance_stands_on_top_and_has_its_name(verified):
    order = by_nearness(verified)
    assert order[:2] == ["honest upload", "pruning"] and order[-1] == "honest run"
    axis = fig_overview(verified, TAU).axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == order and axis.yaxis_inverted()
    told = {text.get_text() for text in axis.texts}
    assert told == {"5 %", "2 decimals", "bfloat16", "λ 10", "seed 0", "seed 1"}
    far = verified.assign(change=np.where(verified["kind"] == "pruning", 0.9, verified["change"]))
    assert by_nearness(far)[-2:] == ["pruning", "honest run"] or by_nearness(far).index("pruning") > 3
    assert "5 %" not in {text.get_text() for text in fig_overview(far, TAU).axes[0].texts}


def test_each_dotted_line_says_whose_it_is_and_one_seed_needs_no_name(verified):
    axis = fig_overview(verified, TAU).axes[0]
    said = {text.get_text(): text for text in axis.texts}
    for seed, side in ((0, "right"), (1, "left")):
        assert said[f"seed {seed}"].xy[0] == pytest.approx(3e-4 * (1 + seed)) and said[f"seed {seed}"].get_ha() == side
    alone = fig_overview(verified[verified["seed"] == 0], TAU).axes[0]
    assert not [text for text in alone.texts if text.get_text().startswith("seed")]


def test_names_that_would_run_together_are_left_out(verified):
    close = verified[verified["strength"] == "0.05"].assign(strength="0.1", change=lambda lines: 5 * lines["change"])
    axis = fig_overview(pd.concat([verified, close]), TAU).axes[0]
    assert {"5 %", "10 %"} & {text.get_text() for text in axis.texts} == {"5 %"}


def test_grey_prints_and_phones_can_read_it(verified):
    figure = fig_overview(verified, TAU)
    assert figure.get_size_inches()[0] <= 4.5, "390 pixels show it at 90 an inch or more"
    sizes = [text.get_fontsize() for text in figure.findobj(mpl.text.Text) if text.get_text()]
    assert min(sizes) >= 7.2
    assert len({marker for _, marker in LOOKS.values()}) >= 5 and figures_overview.WIDTH <= 4.5
