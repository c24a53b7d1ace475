"""The crossing of classifiers' checks: pure functions of rows of 24_classifier_schemes."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sslauth_utils.claims.crossing import ALL_HONEST, RUN, detections, seen_by_most, smallest_seen
from sslauth_utils.report.style import PAGE, scenarios_of
from sslauth_utils.report.tables import Table

CAPTION = (
    "Every check of a classifier on the same tampers, at one false-alarm rate: no alarm when the untouched file is run "
    "otherwise. Dark: detected in every model; lighter: in some; white: in none; grey: not asked."
)
#: tampers of several strengths, and their axis
_GRADED = {"weight noise": "noise / weights", "fine-tuning": "learning rate", "pruning": "share of weights"}
#: methods from the one that is sent least
_ORDER = (
    "validation", "DBI", "AID", "AID as released", "variance", "sensitive samples", "pairs 1e-06", "pairs, calibrated",
    "DeepAuth", "to-success", "hinge", "mixed", "anchored", "DCmp on features at tau", "DCmp on features", "SHA-256",
)  # fmt: skip


def fig_crossing(rows: pd.DataFrame) -> Figure:
    """Share of models in which each check detects each strength, one line of panels a classifier."""
    found, scenarios = detections(rows), scenarios_of(rows)
    methods = _ordered(found["method"].unique())
    shades = plt.get_cmap("Blues").with_extremes(under="w", bad="0.85")
    figure, axes = plt.subplots(
        len(scenarios), len(_GRADED), figsize=(PAGE * 1.1, 0.9 + len(scenarios) * (0.65 + 0.18 * len(methods))),
        sharey=True, squeeze=False,
    )  # fmt: skip
    for line, scenario in zip(axes, scenarios, strict=True):
        own = found[found["scenario"] == scenario]
        for axis, (tamper, label) in zip(line, _GRADED.items(), strict=True):
            part = own[own["tamper"] == tamper]
            wide = part.pivot_table(index="method", columns="strength", values="detected", aggfunc="mean")
            wide = wide.reindex(methods)
            axis.imshow(wide.to_numpy(float), cmap=shades, vmin=1e-9, vmax=1, aspect="auto")
            names = [f"{strength:g}" for strength in wide.columns]
            axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
            axis.set_yticks(range(len(methods)), methods, fontsize=7.5)
            axis.set_xticks(np.arange(len(names)) - 0.5, minor=True)
            axis.set_yticks(np.arange(len(methods)) - 0.5, minor=True)
            axis.grid(which="minor", color="0.85", linewidth=0.5)
            axis.tick_params(which="minor", length=0)
            axis.set_title(f"{scenario}: {tamper}" if len(scenarios) > 1 else tamper, fontsize=8)
            axis.set_xlabel(label)
    figure.tight_layout()
    legend = {"detected in every model": shades(1.0), "in some": shades(0.5), "in none": "w"}
    patches = [Patch(facecolor=shade, edgecolor="0.7", label=label) for label, shade in legend.items()]
    figure.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncol=len(patches))
    return figure


def crossing_table(rows: pd.DataFrame) -> Table:
    """The smallest tamper from which on each check detects, at two false-alarm rates."""
    parts = [_smallest(rows, null).rename(columns=lambda name, of=of: f"{name}{of}")
             for null, of in ((RUN, ""), (ALL_HONEST, ", fewer bits allowed"))]  # fmt: skip
    table = pd.concat(parts, axis=1).reset_index()
    counts = {kind: len(rows.loc[rows["kind"].isin(null), ["tamper", "strength"]].drop_duplicates())
              for kind, null in (("run", RUN), ("all", ALL_HONEST))}  # fmt: skip
    text = (
        "The strength from which on every stronger tamper is detected, in more than half of the models. ≤: already the "
        "weakest that was tried; >: the strongest is missed. In the first columns the untouched file run in "
        f"{counts['run']} other ways raises no alarm; one more such way does with at most "
        f"{100 / (counts['run'] + 1):.3g} % chance. "
        f"In the columns 'fewer bits allowed' none of all {counts['all']} honest changes raises an alarm: weights "
        "stored in 16 bits and images sent in 16 or 8 bits are among them. "
        "A signature is checked on its own protected model."
    )
    return "The crossing: which check of a classifier sees the smallest change", text, table


def once_table(rows: pd.DataFrame) -> Table:
    """In how many models each check detects the tampers that have one strength, when the file may be run otherwise."""
    found = detections(rows)
    found = found[~found["tamper"].isin(_GRADED)]
    groups = found.groupby(["scenario", "method", "tamper"])["detected"]
    shown = (groups.sum().astype(int).astype(str) + " of " + groups.size().astype(str)).unstack("tamper")
    table = _in_order(shown, rows).fillna("not asked").reset_index()
    text = "Models in which each check detects the change; the false-alarm rate is that of the first columns above."
    return "The crossing: 8-bit weights and a backdoor", text, table.rename_axis(columns=None)


def _smallest(rows: pd.DataFrame, null: Sequence[str]) -> pd.DataFrame:
    found = detections(rows, null)
    seen = smallest_seen(found)
    seen = seen[seen["tamper"].isin(_GRADED)]
    tried = found.groupby("tamper")["strength"].agg(["min", "max"])
    middle = seen_by_most(seen, ["scenario", "method", "tamper"]).reset_index()
    ends = tried.loc[middle["tamper"]].itertuples(index=False)
    middle["shown"] = [
        f"> {strongest:g}" if np.isinf(seen) else f"≤ {seen:g}" if seen == weakest else f"{seen:g}"
        for seen, (weakest, strongest) in zip(middle["seen"], ends, strict=True)
    ]
    wide = middle.pivot(index=["scenario", "method"], columns="tamper", values="shown")[list(_GRADED)]
    return _in_order(wide, rows)


def _in_order(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The lines (scenario, method) of a table in the order in which the figure has them."""
    lines = product(scenarios_of(rows), _ordered(table.index.unique("method")))
    return table.reindex([line for line in lines if line in table.index])


def _ordered(methods: Sequence[str]) -> list[str]:
    known = {name: place for place, name in enumerate(_ORDER)}
    return sorted(methods, key=lambda name: (known.get(name, len(known)), name))
