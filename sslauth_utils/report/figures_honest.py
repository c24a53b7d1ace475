"""Figures of honest changes, 03_verify_intact and 08_precision_loss: pure functions of rows."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from sslauth_utils.claims.statistics import summarise
from sslauth_utils.report.style import COLOURS, LABELS, MARKERS, legend_below, panels, scenarios_of

DECIMALS = 2  # of rounding that still counts as honest there: "the extreme case" of §5.4
_DASHES = {"DCmp": (0, (5, 2)), "Trans": (0, (5, 1.5, 1, 1.5))}  # plain dots are agreement


def draw_honest_edge(axis: plt.Axes, honest: pd.DataFrame | None, scenario: str, quantity: str, tau: float) -> None:
    """Draw, for DCmp and Trans, a line at the lowest `quantity` of the honest changes of an untouched encoder.

    A tamper above its scheme's line looks no worse than some honest user. Rounding to one decimal is left out: it
    is coarser than the paper's extreme. No band: Trans's success falls so low by two decimals that it would take the
    whole panel.

    Args:
        honest: rows of 03_verify_intact; None or none of this scenario draws nothing.
        quantity: of `summarise`, what the axis shows: "agreement" or "auth_success".
    """
    if honest is None or honest.empty:
        return
    places = pd.to_numeric(honest["strength"], errors="coerce")
    coarse = (honest["tamper"] == "rounded to decimals") & (places < DECIMALS)
    honest = honest[(honest["scenario"] == scenario) & (honest["kind"] != "floor") & ~coarse]
    for scheme in ("DCmp", "Trans"):
        part = honest[honest["scheme"] == scheme]
        if len(part):
            values = summarise(part, ["tamper", "strength"], tau)[quantity]
            axis.axhline(values.min(), color=(COLOURS[scheme], 0.7), linestyle=_DASHES[scheme], linewidth=1.2, zorder=1,
                         label=f"{scheme}, lowest honest change")  # fmt: skip


def fig_null(rows: pd.DataFrame, tau: float) -> Figure:
    """Honest changes only: 1 - similarity of the worst key, by scheme, with tau.

    Args:
        rows: of 03_verify_intact.
        tau: the tolerance; a point to the right of its line is a false alarm.
    """
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    order = list(dict.fromkeys(zip(rows["tamper"], rows["strength"].astype(str), strict=True)))
    names = [f"{tamper} {strength}".strip() for tamper, strength in order]
    figure, axes = panels(scenarios_of(rows), 0.19 * len(order) + 1.0)
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        for scheme, shift in (("DCmp", 0.16), ("Trans", -0.16)):
            part = rows[(rows["scenario"] == scenario) & (rows["scheme"] == scheme)]
            for place, (tamper, strength) in enumerate(order):
                group = part[(part["tamper"] == tamper) & (part["strength"].astype(str) == strength)]
                # several strengths of one change (repeats, say) share a line; each seed's worst key is a point
                worst = (1 - group.groupby("seed")["similarity"].min()).clip(lower=1e-12)
                axis.plot(
                    worst,
                    [place + shift] * len(worst),
                    MARKERS[scheme],
                    color=COLOURS[scheme],
                    label=LABELS[scheme] if place == 0 else None,
                    markersize=4,
                )
        axis.axvline(1 - tau, color="0.3", linewidth=1, linestyle="--")
        axis.text(1.5 * (1 - tau), -0.2, "τ", fontsize=9, va="center")
        axis.set(xscale="log", xlim=(4e-13, 2), xlabel="1 − similarity of the worst key", ylim=(len(order) - 0.4, -0.6))
        axis.grid(axis="y", color="0.93")
        # zero cannot stand on a log axis: the left edge means "bit-identical score"
        axis.set_xticks([1e-12, 1e-9, 1e-6, 1e-3, 1], ["0", "$10^{-9}$", "$10^{-6}$", "$10^{-3}$", "1"])
        axis.minorticks_off()
    axes[0].set_yticks(range(len(order)), names)
    return legend_below(figure)


def fig_precision(rows: pd.DataFrame, tau: float) -> Figure:
    """Tables 3 and 6 as a picture: the worst key's 1 - similarity by decimal places kept.

    Args:
        rows: of 08_precision_loss; tampers rounding, truncation, rounding raw.
        tau: the tolerance.
    """
    rows = rows[(rows["keys"] == "ood") & rows["scheme"].isin(["DCmp", "Trans"])]
    figure, axes = panels(scenarios_of(rows), 2.7)
    styles = {"rounding": "-", "truncation": "--", "rounding raw": ":"}
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        part = rows[rows["scenario"] == scenario]
        for (scheme, tamper), group in part.groupby(["scheme", "tamper"]):
            worst = (1 - group.groupby("strength")["similarity"].min()).clip(lower=1e-12)
            axis.plot(
                worst.index,
                worst,
                styles[tamper],
                marker=MARKERS[scheme],
                color=COLOURS[scheme],
                markersize=3.5,
                label=f"{scheme}, {tamper}",
            )
        axis.axhline(1 - tau, color="0.3", linewidth=0.8, linestyle="--")
        axis.text(part["strength"].max(), 1 - tau, f"τ = {100 * tau:g} %", fontsize=7, va="bottom", ha="right")
        axis.set(xlabel="decimal places kept", yscale="log")
    axes[0].set_ylabel("1 − similarity, worst key")
    return legend_below(figure)
