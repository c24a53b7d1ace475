"""Figures of tampers near the tolerance: pure functions of `claims.near.verdicts`."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sslauth_utils.claims.near import NEAR, ROUNDING
from sslauth_utils.report.style import COLOURS, PAGE, SCENARIOS, scenarios_of

#: families, top to bottom: beginning of the tamper's name, and words
_FAMILIES = {
    ROUNDING: "honest rounding",
    "pruning": "pruning",
    "weight noise": "noise on the weights",
    "part of the backdoor": "part of the backdoor",
    "part of the disguise": "part of the disguise",
    "disguised": "disguise by epoch",
}

#: of 1 - cos over the matched tolerance, that is drawn
_SPAN = (0.03, 30)


def near_table(cases: pd.DataFrame) -> pd.DataFrame:
    """Verdicts of the near cases, by family: near cases, both accept, both reject, only Trans or only DCmp rejects.

    Args:
        cases: as `near.verdicts` gives them.
    """
    near = cases[cases["near"]]
    table = pd.DataFrame(
        {
            "family": near["tamper"].map(_family),
            "near cases": True,
            "both accept": near["dcmp"] & near["trans"],
            "both reject": ~near["dcmp"] & ~near["trans"],
            "only Trans rejects": near["dcmp"] & ~near["trans"],
            "only DCmp rejects": ~near["dcmp"] & near["trans"],
        }
    )
    counts = (
        table.groupby("family").sum().reindex([name for name in _FAMILIES.values() if name in set(table["family"])])
    )
    tampers = counts.drop(index=_FAMILIES[ROUNDING], errors="ignore")
    return pd.concat([counts, tampers.sum().rename("all tampers").to_frame().T]).astype(int)


def fig_near(cases: pd.DataFrame) -> Figure:
    """Every case by its worst key's 1 - cos over DCmp's matched tolerance; filled where Trans rejects.

    Args:
        cases: as `near.verdicts` gives them.
    """
    scenarios = scenarios_of(cases)
    cases = cases.assign(ratio=cases["worst"] / cases["tolerance"], family=cases["tamper"].map(_family))
    seen = set(cases.loc[cases["ratio"].between(*_SPAN), "family"])
    families = [name for name in _FAMILIES.values() if name in seen]
    figure, axes = plt.subplots(
        1, len(scenarios), figsize=(PAGE if len(scenarios) > 1 else PAGE * 0.6, 2.9), sharey=True, squeeze=False
    )
    for axis, scenario in zip(axes[0], scenarios, strict=True):
        axis.axvspan(1 / NEAR, NEAR, color="0.93", zorder=0)
        axis.axvline(1, color=COLOURS["DCmp"], linewidth=1)
        for place, name in enumerate(families):
            part = cases[(cases["scenario"] == scenario) & (cases["family"] == name)]
            seeds = part["seed"].rank(method="dense") - 1
            height = place + 0.16 * (seeds - seeds.max() / 2)
            colour = "#009E73" if name == _FAMILIES[ROUNDING] else COLOURS["Trans"]
            for accepted, face in ((True, "none"), (False, colour)):
                chosen = part["trans"] == accepted
                axis.plot(
                    part["ratio"][chosen], height[chosen], linestyle="", marker="o", markersize=3.6,
                    markeredgecolor=colour, markerfacecolor=face, markeredgewidth=0.8,
                )  # fmt: skip
        axis.set(xscale="log", xlim=_SPAN, title=SCENARIOS.get(scenario, scenario), ylim=(len(families) - 0.5, -0.5))
        axis.set_yticks(range(len(families)), families)
        axis.set_xlabel("1 − cos of the worst key\n/ matched tolerance")
    figure.tight_layout()
    marks = [
        Line2D([], [], linestyle="", marker="o", markersize=4, markeredgecolor="0.3", markerfacecolor=face)
        for face in ("none", "0.3")
    ]
    line = Line2D([], [], color=COLOURS["DCmp"], linewidth=1)
    figure.legend(
        [*marks, line], ["Trans accepts", "Trans rejects", "DCmp rejects from here on"],
        loc="upper center", bbox_to_anchor=(0.5, 0.02), ncol=3,
    )  # fmt: skip
    return figure


def _family(tamper: str) -> str:
    return next(words for start, words in _FAMILIES.items() if tamper.startswith(start))
