"""Figures of the generator's training: pure functions of the rows of 14_generator_training."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from sslauth_utils.claims.statistics import amplification, summarise
from sslauth_utils.report.style import PAGE, SCENARIOS, legend_below, scenarios_of

_BY = ["scenario", "tamper", "strength", "keys"]
_NAMES = {"pruning": "pruned by 10 %", "rounding": "honest: 2 decimals", "disguised stl10": "disguised backdoor"}
_SHADES = ("#56B4E9", "#0072B2", "#D55E00", "#000000", "#CC79A7")
_MARKERS = ("o", "s", "^", "D", "v")


def training_table(rows: pd.DataFrame, tau: float) -> pd.DataFrame:
    """κ and success of every generator, a line each.

    Args:
        rows: of 14_generator_training; column keys tells the generators apart.
        tau: the tolerance.

    Returns:
        Columns scenario, tamper, strength, depth, steps, learning rate, κ, low, high (95 %), keys that pass, %.
    """
    found = amplification(rows, _BY).query("scheme == 'Trans'")
    passing = summarise(rows[rows["scheme"] == "Trans"], _BY, tau)[[*_BY, "auth_success"]]
    found = found.merge(passing, on=_BY)
    parts = found["keys"].str.extract(r"d(?P<depth>\d+) s(?P<steps>\d+) lr(?P<rate>\S+)").astype(float)
    found["depth"], found["steps"] = parts["depth"].astype(int), parts["steps"].astype(int)
    found["learning rate"] = parts["rate"]
    names = {"kappa": "κ", "auth_success": "keys that pass, %"}
    columns = [
        "scenario",
        "tamper",
        "strength",
        "depth",
        "steps",
        "learning rate",
        "κ",
        "low",
        "high",
        "keys that pass, %",
    ]
    return found.rename(columns=names)[columns].sort_values(columns[:6], ignore_index=True)


def fig_training(rows: pd.DataFrame, tau: float) -> Figure:
    """κ by steps of the generator's training: a panel a tamper, a line a depth, a row an encoder; bands 95 %.

    The usual learning rate, the one of most generators, only.
    """
    table = training_table(rows, tau)
    table = table[table["learning rate"] == table["learning rate"].mode()[0]]
    scenarios, tampers = scenarios_of(table), [name for name in _NAMES if name in set(table["tamper"])]
    figure, axes = plt.subplots(
        len(scenarios),
        len(tampers),
        figsize=(PAGE, 0.6 + 2.0 * len(scenarios)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    depths, untrained = sorted(table["depth"].unique()), table.loc[table["steps"] > 0, "steps"].min() / 3
    for line, scenario in enumerate(scenarios):
        for column, tamper in enumerate(tampers):
            axis = axes[line, column]
            for depth, colour, marker in zip(depths, _SHADES, _MARKERS, strict=False):
                part = table[(table["scenario"] == scenario) & (table["tamper"] == tamper) & (table["depth"] == depth)]
                at = part["steps"].replace(0, untrained)  # no zero on a logarithmic axis
                axis.plot(at, part["κ"], color=colour, marker=marker, label=f"depth {depth}")
                axis.fill_between(at, part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
            axis.axvline(1000, color="0.6", linewidth=0.8, linestyle=":")
            axis.set(xscale="log", yscale="log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
            if line == 0:
                axis.set_title(_NAMES[tamper])
            if line == len(scenarios) - 1:
                axis.set_xlabel("training steps (left end: none)")
        axes[line, 0].set_ylabel(f"{SCENARIOS.get(scenario, scenario).split(',')[0]}\nκ = (1 − SSIM) / (1 − cos)")
    return legend_below(figure, columns=len(depths))
