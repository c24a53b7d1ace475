"""Figures of pruning: what is drawn is what the rows say."""

import numpy as np
import pandas as pd
import pytest
from drawn import KAPPA, SCENARIOS, TAU, TITLES, band, legend, line, lines, part

from sslauth_utils.claims.statistics import amplification, summarise
from sslauth_utils.report import figures_pruning, style

PRUNING = {
    "agreement": (figures_pruning.fig_pruning_agreement, "agreement", "agreement_low", "agreement_high"),
    "success": (figures_pruning.fig_pruning_success, "auth_success", "success_low", "success_high"),
}


@pytest.mark.parametrize(("draw", "y", "low", "high"), PRUNING.values(), ids=PRUNING)
def test_pruning_curves_are_the_aggregates_of_the_rows(pruned, draw, y, low, high):
    figure = draw(pruned, TAU)
    assert [axis.get_title() for axis in figure.axes] == TITLES
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        for scheme, label in (("DCmp", "DCmp (cosine)"), ("Trans", "Trans (SSIM, $G_{min}$)")):
            rows = part(pruned, scenario=scenario, scheme=scheme, tamper="pruning")
            table = summarise(rows, ["strength"], TAU)
            x, drawn = line(axis, label)
            assert x == pytest.approx([1, 10, 50])
            assert drawn == pytest.approx(table[y])
            places, lows, highs = band(axis, style.COLOURS[scheme])
            assert places == pytest.approx(x)
            assert lows == pytest.approx(table[low]) and highs == pytest.approx(table[high])
        assert axis.get_xlabel() == "pruning rate, %"
        drawn = {found.get_label() for found in axis.get_lines() if not found.get_label().startswith("_")}
        assert drawn == {"DCmp (cosine)", "Trans (SSIM, $G_{min}$)"}, "the others have figures of their own"


def test_pruning_figures_say_where_tau_stands(pruned):
    agreement = figures_pruning.fig_pruning_agreement(pruned, TAU)
    assert agreement.axes[0].get_ylabel() == "agreement, %"
    assert all(any(np.allclose(y, 99.5) and len(y) == 2 for _, y in lines(axis)) for axis in agreement.axes)
    success = figures_pruning.fig_pruning_success(pruned, 0.9)
    assert success.axes[0].get_ylabel() == "keys above τ = 90 %, %"
    assert success.axes[0].get_xscale() == "log"
    assert legend(agreement) == legend(success) == ["DCmp (cosine)", "Trans (SSIM, $G_{min}$)"]


@pytest.mark.parametrize(("draw", "y", "low", "high"), PRUNING.values(), ids=PRUNING)
def test_the_papers_points_stand_in_their_own_panel_and_figure(pruned, draw, y, low, high):
    reference = pd.DataFrame([
        {"scenario": "imagenet", "scheme": "DCmp", "strength": 0.1, "measure": y, "paper": 99.89},
        {"scenario": "imagenet", "scheme": "Trans", "strength": 0.2, "measure": "other", "paper": 5},
        {"scenario": "svhn", "scheme": "Trans", "strength": 0.2, "measure": y, "paper": 6},
    ])  # fmt: skip
    figure = draw(pruned, TAU, reference)
    stars = [[(line.get_xdata()[0], line.get_ydata()[0], line.get_label()) for line in axis.get_lines()
              if line.get_marker() == "*"] for axis in figure.axes]  # fmt: skip
    assert stars == [[], [(10, 99.89, "paper, DCmp")]]


def test_one_scenario_is_one_panel_and_an_unknown_one_keeps_its_name(pruned):
    one = figures_pruning.fig_pruning_agreement(pruned[pruned["scenario"] == "imagenet"], TAU)
    assert [axis.get_title() for axis in one.axes] == [TITLES[1]]
    three = figures_pruning.fig_pruning_agreement(pd.concat([pruned, pruned.assign(scenario="aerial")]), TAU)
    assert [axis.get_title() for axis in three.axes] == [*TITLES, "aerial"]


def test_amplification_is_drawn_for_the_three_objectives(pruned):
    figure = figures_pruning.fig_amplification(pruned)
    table = amplification(pruned[pruned["tamper"] == "pruning"], ["scenario", "strength"])
    labels = {"Trans": "Trans (SSIM, $G_{min}$)", "Trans G_max": "Trans, $G_{max}$", "Trans G_ini": "Trans, $G_{ini}$"}
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        for scheme, label in labels.items():
            x, drawn = line(axis, label)
            wanted = part(table, scenario=scenario, scheme=scheme)
            assert x == pytest.approx([1, 10, 50])
            assert drawn == pytest.approx(wanted["kappa"])
            assert drawn == pytest.approx([KAPPA[scheme]] * 3)
        assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
        assert any(np.allclose(y, 1) for _, y in lines(axis)), "the line of no amplification"
    assert legend(figure) == list(labels.values())
    assert figure.axes[0].get_ylabel() == "κ = (1 − SSIM) / (1 − cos)"
    assert figure.axes[0].get_yticks().min() == 1


def test_where_a_generator_hides_the_axis_has_a_tick_below_it(pruned):
    hidden = pruned.copy()
    of_max = hidden["scheme"] == "Trans G_max"
    hidden.loc[of_max, "similarity"] = 1 - (1 - hidden.loc[of_max, "similarity"]) / KAPPA["Trans G_max"] * 0.3
    assert figures_pruning.fig_amplification(hidden).axes[0].get_yticks().min() == 0.2


def test_the_batch_norm_ablation_tells_both_prunings_apart(pruned):
    figure = figures_pruning.fig_batch_norm_ablation(pruned, TAU)
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        for tamper, dash, rates, note in (
            ("pruning", "-", [1, 10, 50], ""),
            ("pruning with batch norm", ":", [10, 50], ", batch norm too"),
        ):
            drawn = {found.get_label(): found for found in axis.get_lines() if found.get_linestyle() == dash}
            trans = f"Trans (SSIM, $G_{{min}}$){note}"
            assert list(drawn) == [f"DCmp (cosine){note}", trans]
            rows = part(pruned, scenario=scenario, scheme="Trans", tamper=tamper)
            assert drawn[trans].get_xdata() == pytest.approx(rates)
            assert drawn[trans].get_ydata() == pytest.approx(summarise(rows, ["strength"], TAU)["agreement"])
    assert legend(figure) == [
        "DCmp (cosine)", "Trans (SSIM, $G_{min}$)",
        "DCmp (cosine), batch norm too", "Trans (SSIM, $G_{min}$), batch norm too",
    ]  # fmt: skip


def test_without_the_ablations_rows_only_the_pruning_is_drawn(pruned):
    figure = figures_pruning.fig_batch_norm_ablation(pruned[pruned["tamper"] == "pruning"], TAU)
    assert legend(figure) == ["DCmp (cosine)", "Trans (SSIM, $G_{min}$)"]
