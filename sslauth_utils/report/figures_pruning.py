"""Figures of 05_pruning (the paper's Figs. 5 and 6): pure functions of rows."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from sslauth_utils.claims.statistics import amplification, summarise
from sslauth_utils.report.figures_honest import draw_honest_edge
from sslauth_utils.report.style import COLOURS, LABELS, MARKERS, draw_paper_points, legend_below, panels, scenarios_of


def draw_curves(
    axis: plt.Axes,
    table: pd.DataFrame,
    y: str,
    low: str,
    high: str,
    schemes: Sequence[str],
    labels: Mapping[str, str] = LABELS,
    **style,
) -> None:
    """Draw `y` of each scheme by pruning rate in per cent, with the band from `low` to `high`."""
    for scheme in schemes:
        line = table[table["scheme"] == scheme].sort_values("strength")
        x = 100 * line["strength"]
        axis.fill_between(x, line[low], line[high], color=COLOURS[scheme], alpha=0.18, linewidth=0)
        axis.plot(x, line[y], color=COLOURS[scheme], marker=MARKERS[scheme], label=labels[scheme], **style)


def fig_pruning_agreement(
    rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None, honest: pd.DataFrame | None = None
) -> Figure:
    """Fig. 5: agreement by pruning rate, DCmp and Trans, both scenarios; bands are 95 % intervals.

    Args:
        rows: of 05_pruning.
        tau: the tolerance, for the line that shows where a mean key would fail.
        reference: the paper's printed points: scenario, measure, scheme, strength, paper.
        honest: rows of 03_verify_intact, for the lines of the lowest honest change.
    """
    table = summarise(rows[rows["tamper"] == "pruning"], ["scenario", "scheme", "strength"], tau)
    figure, axes = panels(scenarios_of(rows))
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        part = table[table["scenario"] == scenario]
        draw_curves(axis, part, "agreement", "agreement_low", "agreement_high", ["DCmp", "Trans"])
        draw_paper_points(axis, reference, scenario, "agreement")
        draw_honest_edge(axis, honest, scenario, "agreement", tau)
        axis.axhline(100 * tau, color="0.3", linewidth=0.8, linestyle="--")
        axis.set(xlabel="pruning rate, %")
    axes[0].set_ylabel("agreement, %")
    return legend_below(figure, 3 if len(axes) > 1 else 2)


def fig_pruning_success(
    rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None, honest: pd.DataFrame | None = None
) -> Figure:
    """Fig. 6: authentication success rate by pruning rate; bands are exact 95 % intervals.

    Args:
        rows, tau, reference, honest: as in `fig_pruning_agreement`.
    """
    table = summarise(rows[rows["tamper"] == "pruning"], ["scenario", "scheme", "strength"], tau)
    figure, axes = panels(scenarios_of(rows))
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        part = table[table["scenario"] == scenario]
        draw_curves(axis, part, "auth_success", "success_low", "success_high", ["DCmp", "Trans"])
        draw_paper_points(axis, reference, scenario, "auth_success")
        draw_honest_edge(axis, honest, scenario, "auth_success", tau)
        axis.axhline(100, color="0.3", linewidth=0.8, linestyle="--")
        axis.set(xlabel="pruning rate, %", xscale="log", ylim=(-4, 106))
        axis.set_xticks([1, 2, 5, 10, 20, 50, 90], ["1", "2", "5", "10", "20", "50", "90"])
        axis.minorticks_off()
    axes[0].set_ylabel(f"keys above τ = {100 * tau:g} %, %")
    return legend_below(figure, 3 if len(axes) > 1 else 2)


def fig_batch_norm_ablation(rows: pd.DataFrame, tau: float) -> Figure:
    """Agreement with convolutions pruned only (solid) and batch-norm scales pruned too (dotted).

    Args:
        rows, tau: as in `fig_pruning_agreement`.
    """
    figure, axes = panels(scenarios_of(rows))
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        for tamper, style, note in (("pruning", "-", ""), ("pruning with batch norm", ":", ", batch norm too")):
            part = rows[(rows["scenario"] == scenario) & (rows["tamper"] == tamper)]
            if part.empty:  # the ablation may be left out
                continue
            table = summarise(part, ["scheme", "strength"], tau)
            labels = {scheme: f"{label}{note}" for scheme, label in LABELS.items()}
            draw_curves(
                axis, table, "agreement", "agreement_low", "agreement_high", ["DCmp", "Trans"], labels, linestyle=style
            )
        axis.set(xlabel="pruning rate, %")
    axes[0].set_ylabel("agreement, %")
    return legend_below(figure)


def fig_amplification(rows: pd.DataFrame) -> Figure:
    """kappa = (1 - SSIM) / (1 - cos) by pruning rate for the three generator objectives.

    Args:
        rows: of 05_pruning.
    """
    table = amplification(rows[rows["tamper"] == "pruning"], ["scenario", "strength"])
    lowest = table["low"].min()  # a tick outside the lines would widen the axis
    ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if lowest < 1 and tick > lowest / 2.5]
    ticks += [1, 2, 5, 10, 20, 50, 100]
    figure, axes = panels(scenarios_of(rows))
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        schemes = ["Trans", "Trans G_max", "Trans G_ini"]
        draw_curves(axis, table[table["scenario"] == scenario], "kappa", "low", "high", schemes)
        axis.set(xlabel="pruning rate, %", yscale="log", xscale="log")
        axis.set_xticks([1, 2, 5, 10, 20, 50, 90], ["1", "2", "5", "10", "20", "50", "90"])
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.axhline(1, color="0.3", linewidth=0.8, linestyle="--")
    axes[0].set_ylabel("κ = (1 − SSIM) / (1 − cos)")
    return legend_below(figure)
