"""Fragile checks of classifiers at one false-alarm rate: rows of 24_classifier_schemes.

A check detects a change where its number is above all its numbers of n honest changes of the same model. Whatever a
check measures, one more honest change of that kind is then an alarm with probability 1 / (n + 1) at most, if it is
like the n others.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete

#: kinds of honest changes: the untouched file run otherwise; and stored in fewer bits or sent in fewer bits as well
RUN, ALL_HONEST = ("run",), ("run", "cast", "sent")
_MODEL = ["scenario", "seed", "method", "number"]


def detections(rows: pd.DataFrame, null: Sequence[str] = RUN) -> pd.DataFrame:
    """Whether each check detects each tamper, one line a model.

    Args:
        rows: columns scenario, seed, number (of the protected model, else 0), kind, tamper, strength, method, value.
        null: kinds of honest changes that must not be alarms.

    Returns:
        The tampers' rows with threshold and detected (bool).

    Raises:
        Incomplete: a model has no honest change of these kinds.
    """
    honest = rows[rows["kind"].isin(null)].groupby(_MODEL)["value"].max().rename("threshold")
    tampers = rows[rows["kind"] == "tamper"].join(honest, on=_MODEL)
    if tampers.empty or tampers["threshold"].isna().any():
        raise Incomplete
    detected = tampers["value"] > tampers["threshold"]
    return tampers.assign(strength=pd.to_numeric(tampers["strength"]), detected=detected)


def seen_by_most(seen: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """The strength from which on every stronger tamper is detected in more than half of the models, by columns `by`.

    Of two models it is the larger one: half-way between the two nothing was tried.

    Args:
        seen: as `smallest_seen` gives it.
    """
    return seen.groupby(list(by))["seen"].quantile(0.5, interpolation="higher")


def smallest_seen(found: pd.DataFrame) -> pd.DataFrame:
    """The strength from which on every stronger tamper of this kind is detected, one line a model.

    Args:
        found: as `detections` gives it.

    Returns:
        Columns scenario, seed, method, number, tamper, seen. Where the strongest is missed `seen` is infinite; where
        all are detected it is the smallest tested, and the true one may be smaller.
    """
    lines = []
    for names, group in found.groupby([*_MODEL, "tamper"], sort=False):
        ordered = group.sort_values("strength")
        missed = np.flatnonzero(~ordered["detected"].to_numpy())
        first = missed[-1] + 1 if len(missed) else 0
        seen = ordered["strength"].iloc[first] if first < len(ordered) else np.inf
        lines.append(dict(zip([*_MODEL, "tamper"], names, strict=True)) | {"seen": float(seen)})
    return pd.DataFrame(lines)
