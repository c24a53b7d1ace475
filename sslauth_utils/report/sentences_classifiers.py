"""Plain sentences that the notebooks on classifiers print. Every number and name in them comes from rows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sslauth_utils.claims.crossing import detections, seen_by_most, smallest_seen
from sslauth_utils.claims.pair_rates import rates

HASH = "SHA-256"


def false_alarm_step(rows: pd.DataFrame, steps: Sequence[float]) -> str:
    """The finest step whose pairs stay while the classifier is only run otherwise, and what fewer bits do to them.

    Args:
        rows: of 20_sensitive_samples, one classifier.
        steps: of stage 2.
    """
    found = rates(rows)
    worst = found.assign(run=found["kind"] == "run").groupby(["method", "run"])["rate"].max().unstack("run")
    quiet = [step for step in steps if f"pairs {step:g}" in worst.index and worst.loc[f"pairs {step:g}", True] == 0]
    if not quiet:
        return "Every step has false alarms, even when the classifier is only run otherwise."
    told = (
        f"The finest step without a false alarm when the classifier is only run otherwise: {min(quiet):g}. "
        "Another precision, fewer bits and a folded batch norm are not counted"
    )
    of_others = found[(found["method"] == f"pairs {min(quiet):g}") & (found["kind"] != "run")]
    if of_others.empty:
        return f"{told}."
    loudest = of_others.loc[of_others["rate"].idxmax()]
    return f"{told}: with {_name(loudest)}, {loudest['rate']:.0f} % of these pairs change."


def loudest(rows: pd.DataFrame) -> str:
    """Which method gives most false alarms when the classifier is only run otherwise.

    Args:
        rows: of 20_sensitive_samples, one classifier.
    """
    found = rates(rows[rows["kind"] == "run"])
    worst = found.loc[found["rate"].idxmax()]
    if worst["rate"] == 0:
        return "Run otherwise, no method changes a label."
    calm = (found.groupby("method")["rate"].max() == 0).sum()
    return (
        f"Run otherwise, {calm} of {found['method'].nunique()} methods change no label. Most false alarms: "
        f"{worst['method']}, {worst['rate']:.0f} % with {_name(worst)}."
    )


def noise_and_gap(rows: pd.DataFrame, measures: pd.DataFrame) -> str:
    """The noise of d when the classifier is only run otherwise, beside the narrowest gap of d.

    Args:
        rows, measures: of 20_sensitive_samples, one classifier.
    """
    run = rows.loc[rows["kind"] == "run", "tamper"].unique()
    noise = measures[(measures["quantity"] == "noise of d") & measures["tamper"].isin(run)]
    gaps = measures[measures["quantity"] == "gap of d"]
    moved, gap = (part.loc[part["value"].astype(float).idxmax()] for part in (noise, gaps.assign(value=-gaps["value"])))
    width = -gap["value"]
    told = f"The narrowest gap of d is {width:.1e}, of {gap['tamper']}."
    if moved["value"] == 0:
        return f"Run otherwise, d does not move at all. {told}"
    return f"Run otherwise, d moves by up to {moved['value']:.1e}, with {_name(moved)}. {told[:-1]}: " + (
        f"{width / moved['value']:.2g} times as wide."
    )


def sees_least(rows: pd.DataFrame, tampers: Sequence[str] = ("weight noise", "fine-tuning", "pruning")) -> str:
    """Which check sees the smallest of each kind of tamper: the hash of the file, the first others, and DCmp's place.

    Args:
        rows: of 24_classifier_schemes, one classifier.
    """
    found = detections(rows)
    seen = seen_by_most(smallest_seen(found), ["tamper", "method"])
    weakest, lines = found.groupby("tamper")["strength"].min(), []
    for tamper in tampers:
        own = seen[tamper]
        asked = own.drop(HASH, errors="ignore")
        first = asked.index[asked == asked.min()]
        if np.isinf(asked.min()):
            line = f"{tamper}: no check of the answers sees the strongest."
        else:
            line = f"{tamper}: seen first by {'; '.join(first)}: {_from(asked.min(), weakest[tamper])}."
        others = {name: own[name] for name in ("DCmp on features", HASH) if name in own.index and name not in first}
        lines.append(line + "".join(f" {name}: {_from(value, weakest[tamper])}." for name, value in others.items()))
    return "\n".join(lines)


def _from(smallest: float, weakest: float) -> str:
    if np.isinf(smallest):
        return "misses the strongest"
    return f"from {smallest:g} on" + (", the weakest tried" if smallest == weakest else "")


def _name(row: pd.Series) -> str:
    return f"{row['tamper']} {'' if pd.isna(row['strength']) else row['strength']}".strip()
