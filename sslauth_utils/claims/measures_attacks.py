"""Measures of attacks: their success, their price, their course, and the schemes at one tolerance."""

from dataclasses import replace

import numpy as np
import pandas as pd

from sslauth_utils.claims.measures_verdicts import Incomplete, Measure, Measured, auth_success, rise, share, worst
from sslauth_utils.claims.statistics import resamples, share_interval
from sslauth_utils.claims.tolerance import at_one_tolerance
from sslauth_utils.study.rows import select


def _last_minus_first(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement at the largest strength minus at the smallest, paired by key, in points."""
    strengths = sorted(set(pd.to_numeric(rows["strength"])))
    if len(strengths) < 2:
        raise Incomplete
    rows = rows.assign(strength=pd.to_numeric(rows["strength"]))
    return rise(rows, tau, claim | {"where": {"strength": [strengths[0], strengths[-1]]}})


def _scenario_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement of the ImageNet encoder minus that of the CIFAR-10 encoder, in points; their keys are independent."""
    parts = [rows[rows["scenario"] == scenario] for scenario in ("imagenet", "cifar10")]
    if any(part.empty for part in parts):
        raise Incomplete
    means = [part.groupby(["seed", "key"])["similarity"].mean() for part in parts]
    draws = [m.to_numpy()[resamples(m.index.get_level_values("seed").to_numpy())].mean(axis=1) for m in means]
    apart = draws[0] - draws[1][::-1]  # the draws of one are no draws of the other: encoders of one seed are unrelated
    low, high = np.quantile(apart, [0.025, 0.975])
    gap = means[0].mean() - means[1].mean()
    return 100 * gap, 100 * low, 100 * high, sum(map(len, means))


def _success_rise(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Authentication success at the second strength minus at the first, paired by key, in points."""
    return rise(rows.assign(similarity=(rows["similarity"] > tau).astype(float)), tau, claim)


def _highest_success(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The highest authentication success of any strength, %, of the `worst` encoder; n counts its keys."""
    highest = [
        max(auth_success(group, tau, claim) for _, group in encoder.groupby("strength"))
        for _, encoder in rows.groupby(["scenario", "seed"])
    ]
    return worst(highest, claim)


def _beyond_matched(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verifications that Trans at tau rejects while DCmp at its matched tolerance accepts, %.

    Of the `worst` encoder; n counts its verifications. The exact interval of a share excludes 0 from a single hit
    on, so "above 0" asks for one in every encoder.
    """
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    encoders = set(zip(rows["scenario"], rows["seed"], strict=True))
    if rows["scheme"].nunique() < 2 or not encoders <= set(claim["tolerances"] or {}):
        raise Incomplete
    marked = at_one_tolerance(rows, claim["tolerances"], tau)
    verdicts = marked.groupby(["scenario", "seed", "tamper", "strength", "check"])["passes"].all().unstack("check")
    beyond = verdicts["DCmp matched"] & ~verdicts["Trans"]
    return worst([share(hits.to_numpy()) for _, hits in beyond.groupby(["scenario", "seed"])], claim)


def _beyond_loosest(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """`_beyond_matched` with DCmp at the loosest tolerance that accepts the same honest changes, not at the middle."""
    matched = claim["tolerances"] or {}
    loosest = {encoder: replace(tolerance, tau=tolerance.loosest) for encoder, tolerance in matched.items()}
    return _beyond_matched(rows, tau, claim | {"tolerances": loosest})


def _value_share(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """A share of test images from measures.csv, %, pooled over seeds; exact interval.

    Images count as independent, those of several encoders too, so the interval does not cover other encoders: a rule
    that rests on it must hold with every seed as well (`claims.Results.judge`).
    """
    hits, n = (rows["value"] * rows["n"]).sum(), rows["n"].sum()
    low, high = share_interval(round(hits), n)
    return 100 * hits / n, 100 * low, 100 * high, int(n)


def _difference(first: Measured, second: Measured) -> Measured:
    """`second` minus `first`, shares of independent images, with a normal 95 % interval, in points.

    As in `_value_share` the images of several encoders count as independent, with the same demand on every seed.
    """
    p, q, m, n = first[0] / 100, second[0] / 100, first[3], second[3]
    half = 1.96 * np.sqrt(p * (1 - p) / m + q * (1 - q) / n)
    return 100 * (q - p), 100 * (q - p - half), 100 * (q - p + half), n


def _accuracy_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Backdoored minus clean accuracy, in points; taken as independent, so the interval is wide rather than narrow."""
    parts = [rows[rows["quantity"] == name] for name in ("clean accuracy", "backdoored accuracy")]
    if any(part.empty for part in parts):
        raise Incomplete
    return _difference(*(_value_share(part, tau, claim) for part in parts))


def _share_change(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """A share of test images at the second strength minus at the first, in points."""
    parts = [select(rows, {"strength": strength}) for strength in claim["where"]["strength"]]
    if any(part.empty for part in parts):
        raise Incomplete
    return _difference(*(_value_share(part, tau, claim) for part in parts))


def _largest_change(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The largest |after - before| of any task, in points; no interval, the encoder is the same."""
    wide = rows.pivot_table(index=["scenario", "seed", "tamper"], columns="quantity", values="value")
    if not {"accuracy before", "accuracy after"} <= set(wide.columns) or wide.isna().any(axis=None):
        raise Incomplete
    change = 100 * (wide["accuracy after"] - wide["accuracy before"]).abs()
    return change.max(), change.max(), change.max(), len(change)


MEASURES: dict[str, Measure] = {
    "last_minus_first": _last_minus_first,
    "scenario_gap": _scenario_gap,
    "success_rise": _success_rise,
    "highest_success": _highest_success,
    "beyond_matched": _beyond_matched,
    "beyond_loosest": _beyond_loosest,
    "share": _value_share,
    "accuracy_gap": _accuracy_gap,
    "share_change": _share_change,
    "largest_change": _largest_change,
}
