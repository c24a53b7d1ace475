"""The one figure: every honest change and every tamper by the worst key's 1 - cos, with both schemes' verdicts."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sslauth_utils.claims.verifications import KINDS
from sslauth_utils.report.style import SCENARIOS, scenarios_of

#: colour and marker of each kind; dark and light ones alternate, so that they can be told apart without colour
LOOKS = {
    "honest run": ("#666666", "o"),
    "honest cast": ("#0072B2", "o"),
    "honest upload": ("#56B4E9", "o"),
    "pruning": ("#D55E00", "s"),
    "fine-tuning": ("#009E73", "^"),
    "backdoor": ("#CC79A7", "D"),
    "disguise": ("#222222", "X"),
}
NAMED = 7.4  # points, of the words beside marks and lines
WIDTH = 4.3  # inches: on a phone the page shows it at its full width
SMALLEST = 1e-8  # what changes less stands at the left edge
LETTER, APART = 0.16, 0.15  # powers of ten: of a letter of such words, and between them; the nearest come first
NEAR = 12  # marks within this factor of the matched tolerance carry their strength
ACCEPTED, REJECTED = "Trans accepts", "Trans rejects"
AT_TAU, MATCHED = "DCmp's tolerance at {tau:g} %", "DCmp's tolerance, matched to Trans's (one a seed)"
HONEST = "largest honest run or cast, and less"


def fig_overview(verified: pd.DataFrame, tau: float) -> Figure:
    """1 - cos of the worst key of every verification, a panel an encoder, a line a kind of change.

    Right of a tolerance's line DCmp rejects; filled marks are rejected by Trans. The kinds that come nearest to the
    matched tolerance stand on top.

    Args:
        verified: as `verifications.verifications` gives them.
        tau: both schemes' tolerance.
    """
    scenarios, order = scenarios_of(verified), by_nearness(verified)
    figure, axes = plt.subplots(
        len(scenarios),
        1,
        figsize=(WIDTH, (0.28 * len(order) + 0.44) * len(scenarios) + 0.35),
        sharex=True,
        squeeze=False,
    )
    for axis, scenario in zip(axes[:, 0], scenarios, strict=True):
        _panel(axis, verified[verified["scenario"] == scenario], order, tau)
        axis.set_title(SCENARIOS.get(scenario, scenario), loc="left", fontsize=9.5)
    axes[-1, 0].set_xlabel("1 − cos of the worst key")
    figure.tight_layout()
    figure.legend(
        handles=_legend(tau), loc="upper left", bbox_to_anchor=(0.02, 0.01), ncol=1, fontsize=8.4, handlelength=2.2
    )
    return figure


def by_nearness(verified: pd.DataFrame) -> list[str]:
    """The kinds of change that there are, first those of which some verification lies nearest to the tolerance."""
    away = distance(verified).abs().groupby(verified["kind"]).min()
    return sorted(away.index, key=lambda kind: (away[kind], list(KINDS).index(kind)))


def distance(verified: pd.DataFrame) -> pd.Series:
    """How far each verification lies from DCmp's matched tolerance, in powers of ten; above 0 DCmp rejects."""
    return np.log10(verified["change"].clip(lower=SMALLEST) / verified["matched"])


def _panel(axis: plt.Axes, verified: pd.DataFrame, order: list[str], tau: float) -> None:
    quiet = verified[verified["kind"].isin(["honest run", "honest cast"])]
    if len(quiet):
        axis.axvspan(SMALLEST / 3, max(quiet["change"].max(), SMALLEST), color="0.9", zorder=0)
    axis.axvline(1 - tau, color="0.15", linewidth=1, linestyle="--")
    seeds = sorted(set(verified["seed"]))
    limits = verified.groupby("seed")["matched"].first().sort_values()
    for limit in limits:
        axis.axvline(limit, color="0.15", linewidth=1, linestyle=":")
    for seed, side in {limits.index[0]: "right", limits.index[-1]: "left"}.items() if len(limits) > 1 else ():
        axis.annotate(f"seed {seed}", (limits[seed], len(order) - 0.62), (-2 if side == "right" else 2, 0),
                      textcoords="offset points", ha=side, va="bottom", fontsize=NAMED, zorder=2)  # fmt: skip
    for place, kind in enumerate(order):
        colour, marker = LOOKS[kind]
        group = verified[verified["kind"] == kind]
        for number, seed in enumerate(seeds):
            shift = 0.24 * (number - (len(seeds) - 1) / 2) / max(len(seeds) - 1, 1)
            for passes in (True, False):
                part = group[(group["seed"] == seed) & (group["Trans"] == passes)]
                axis.plot(
                    part["change"].clip(lower=SMALLEST),
                    [place + shift] * len(part),
                    marker,
                    color=colour,
                    markerfacecolor="white" if passes else colour,
                    markersize=4.6,
                    markeredgewidth=0.9,
                    zorder=3,
                )
        for x, text in _names(group):
            axis.annotate(
                text, (x, place - 0.2), (0, 1), textcoords="offset points", ha="center", fontsize=NAMED,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}, zorder=2,
            )  # fmt: skip
    axis.set(xscale="log", xlim=(SMALLEST / 2, 2), ylim=(len(order) - 0.45, -0.75))
    axis.set_yticks(range(len(order)), order)
    axis.set_xticks([1e-8, 1e-6, 1e-4, 1e-2, 1], ["≤10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "1"])
    axis.minorticks_off()
    axis.tick_params(axis="y", length=0)
    axis.tick_params(labelsize=8.5)
    axis.grid(axis="y", color="0.85", linewidth=0.6)


def _names(group: pd.DataFrame) -> Iterator[tuple[float, str]]:
    """(change, words) of what lies near the tolerance; the same words of several seeds once, in their middle."""
    near = group[distance(group).abs() <= np.log10(NEAR)]
    if near.empty:
        return
    words = near.apply(_words, axis=1)
    places = np.log10(near["change"])[words != ""].groupby(words).mean()
    limit, taken = np.log10(near["matched"]).mean(), {}
    for text, place in sorted(places.items(), key=lambda item: abs(item[1] - limit)):
        if all(abs(place - at) > APART + LETTER * (len(text) + len(other)) / 2 for other, at in taken.items()):
            taken[text] = place
            yield 10**place, text


def _words(line: pd.Series) -> str:
    """What a mark near the tolerance is called: the strength of the change, as short as it goes."""
    if line["kind"] == "pruning":
        return f"{100 * float(line['strength']):g} %"
    if line["kind"] == "disguise":
        return f"λ {float(line['strength']):g}"
    if line["tamper"] == "rounded to decimals":
        return f"{line['strength']} decimals"
    return {"bfloat16": "bfloat16", "float16": "float16"}.get(line["strength"], "")


def _legend(tau: float) -> list[Line2D | Patch]:
    mark = {"color": "0.25", "linestyle": "", "marker": "o", "markersize": 4.6}
    return [
        Line2D([], [], markerfacecolor="white", label=f"{ACCEPTED} (hollow)", **mark),
        Line2D([], [], label=f"{REJECTED} (filled)", **mark),
        Line2D([], [], color="0.15", linewidth=1, linestyle="--", label=AT_TAU.format(tau=100 * tau)),
        Line2D([], [], color="0.15", linewidth=1, linestyle=":", label=MATCHED),
        Patch(facecolor="0.9", label=HONEST),
    ]
