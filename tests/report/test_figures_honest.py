"""Figures of honest changes: what is drawn is what the rows say."""

import numpy as np
import pandas as pd
import pytest
from drawn import KAPPA, SCENARIOS, TAU, legend, lines, part, sweep
from matplotlib import pyplot as plt

from sslauth_utils.claims.statistics import summarise
from sslauth_utils.report import figures_honest, style


@pytest.fixture
def intact():
    """Rows of 03_verify_intact: an exact rerun, a batch size, a cast, a rounding that fails."""
    rows = []
    changes = {"repeated run": ("1", 0), "batch size": ("7", 1e-8), "weights stored as": ("half", 1e-6),
               "rounded to decimals": ("2", 0.01)}  # fmt: skip
    for tamper, (strength, loss) in changes.items():
        rows += sweep(tamper, [strength], lambda scheme, _, loss=loss: loss * KAPPA[scheme], ["DCmp", "Trans"])
        rows += sweep(tamper, [strength], lambda scheme, _: 0.5, ["SHA-256", "Trans G_max"])
    return pd.DataFrame(rows)


@pytest.fixture
def rounded():
    """Rows of 08_precision_loss for both kinds of keys and the three readings."""
    rows = []
    for tamper, size in (("rounding", 1), ("truncation", 4), ("rounding raw", 0.1)):
        rows += sweep(tamper, (1, 2, 3), lambda scheme, d, size=size: size * KAPPA[scheme] * 100.0**-d, KAPPA)
        rows += sweep(tamper, (1, 2, 3), lambda scheme, d: 0.5, ["DCmp"], keys="id")
    return pd.DataFrame(rows)


def test_a_level_line_stands_at_the_worst_honest_change(intact):
    floor = sweep("untrained encoder", [""], lambda scheme, _: 0.9, ["DCmp", "Trans"])
    coarse = sweep("rounded to decimals", ["1"], lambda scheme, _: 0.8, ["DCmp", "Trans"], kind="upload")
    rows = pd.concat([intact.assign(kind="run"), pd.DataFrame(floor).assign(kind="floor"), pd.DataFrame(coarse)])
    for quantity in ("agreement", "auth_success"):
        _, axis = plt.subplots()
        figures_honest.draw_honest_edge(axis, rows, "imagenet", quantity, TAU)
        drawn = {line.get_label(): list(line.get_ydata()) for line in axis.get_lines()}
        assert not axis.patches, "it hides no curve"
        assert len({str(line._dash_pattern) for line in axis.get_lines()}) == 2
        for scheme in ("DCmp", "Trans"):
            values = summarise(part(intact, scenario="imagenet", scheme=scheme), ["tamper"], TAU)[quantity]
            assert drawn.pop(f"{scheme}, lowest honest change") == [pytest.approx(values.min())] * 2
        assert drawn == {}


@pytest.mark.parametrize("honest", [None, pd.DataFrame()])
def test_without_honest_rows_there_is_no_line(honest):
    _, axis = plt.subplots()
    figures_honest.draw_honest_edge(axis, honest, "cifar10", "agreement", TAU)
    assert not axis.get_lines()


def test_the_null_shows_each_seeds_worst_key(intact):
    figure = figures_honest.fig_null(intact, TAU)
    changes = ["repeated run 1", "batch size 7", "weights stored as half", "rounded to decimals 2"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == changes
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        for scheme, shift in (("DCmp", 0.16), ("Trans", -0.16)):
            points = sorted((y, x) for xs, ys in lines(axis, colour=style.COLOURS[scheme])
                            for x, y in zip(xs, ys, strict=True))  # fmt: skip
            ours = part(intact, scenario=scenario, scheme=scheme)
            worst = ours.groupby(["tamper", "seed"])["similarity"].min()
            wanted = [(place + shift, max(1 - worst[change.rsplit(" ", 1)[0], seed], 1e-12))
                      for place, change in enumerate(changes) for seed in (0, 1)]  # fmt: skip
            assert np.array(points) == pytest.approx(np.array(sorted(wanted)), rel=1e-6)
        assert axis.get_xscale() == "log"
        assert any(len(x) == 2 and np.allclose(x, 1 - TAU) for x, _ in lines(axis)), "the line of tau"
        assert "τ" in [text.get_text() for text in axis.texts]
        assert axis.get_xlim()[0] < 1e-12 and axis.get_xlim()[1] > 1 - intact["similarity"].min()
        assert axis.get_ylim()[0] > axis.get_ylim()[1], "the first change stands on top"
    assert legend(figure) == ["DCmp (cosine)", "Trans (SSIM, $G_{min}$)"]


def test_precision_shows_the_worst_out_of_distribution_key(rounded):
    figure = figures_honest.fig_precision(rounded, TAU)
    wanted = {f"{scheme}, {tamper}" for scheme in ("DCmp", "Trans") for tamper in rounded["tamper"].unique()}
    styles = {"rounding": "-", "truncation": "--", "rounding raw": ":"}
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        curves = {found.get_label(): found for found in axis.get_lines() if found.get_label() in wanted}
        assert set(curves) == wanted
        for label, curve in curves.items():
            scheme, tamper = label.split(", ")
            rows = part(rounded, scenario=scenario, scheme=scheme, tamper=tamper, keys="ood")
            assert curve.get_xdata() == pytest.approx([1, 2, 3])
            assert curve.get_ydata() == pytest.approx(1 - rows.groupby("strength")["similarity"].min().to_numpy())
            assert (curve.get_linestyle(), curve.get_color()) == (styles[tamper], style.COLOURS[scheme])
        assert any(np.allclose(y, 1 - TAU) for _, y in lines(axis))
        assert "τ = 99.5 %" in [text.get_text() for text in axis.texts]
        assert (axis.get_xlabel(), axis.get_yscale()) == ("decimal places kept", "log")
    assert set(legend(figure)) == wanted
