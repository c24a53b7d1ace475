"""Measures of DeepAuth: of protected models, one line of measures.csv each, and of verifications of their signatures.

The unit of replication is the protected model, and of what many tampers with one model say, the verification.
"""

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete, Measured
from sslauth_utils.claims.measures_verdicts import share_of
from sslauth_utils.claims.signatures import accepted, chance, verifications
from sslauth_utils.study.rows import select


def models_mean(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean of a number over protected models, with a 95 % interval by Student's t; n counts them."""
    return _mean(rows["value"].to_numpy(float))


def models_percent(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """`models_mean` of a share, in per cent; its interval ends at 0 and 100."""
    measured, low, high, n = _mean(100 * rows["value"].to_numpy(float))
    return measured, max(low, 0.0), min(high, 100.0), n


def accuracy_balance(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """|mean C2W - mean W2C|, in points: the change of the accuracy; n counts protected models."""
    broken, mended = (rows.loc[rows["quantity"] == name, "value"].to_numpy(float) for name in ("C2W", "W2C"))
    if len(broken) == 0 or len(broken) != len(mended):
        raise Incomplete
    measured, low, high, n = _mean(100 * (broken - mended))
    sides = sorted([abs(low), abs(high)])
    return abs(measured), 0.0 if low <= 0 <= high else sides[0], sides[1], n


def models_change(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """A share at the last strength minus at the first, in points, paired by protected model; n counts them."""
    strengths = pd.to_numeric(rows["strength"])
    first, last = (rows[strengths == edge]["value"].to_numpy(float) for edge in (strengths.min(), strengths.max()))
    if strengths.nunique() < 2 or len(first) != len(last):
        raise Incomplete
    return _mean(100 * (last - first))


def models_least(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The least of a share over protected models and trials, in per cent; n counts them. It has no interval."""
    least = 100 * float(rows["value"].min())
    return least, least, least, len(rows)


def models_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean of a share in the second half of the networks that `where` lists minus in the first, in points.

    Low and high are those of a normal difference of means; n counts the second side's models.
    """
    first, second = (100 * part["value"].to_numpy(float) for part in _sides(rows, claim))
    half = 1.96 * np.sqrt(sum(side.var(ddof=1) / len(side) if len(side) > 1 else 0.0 for side in (first, second)))
    gap = float(second.mean() - first.mean())
    return gap, gap - half, gap + half, len(second)


def accepted_share(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verifications accepted at the tolerance `versus`, %, with an exact interval; n counts verifications."""
    return share_of(accepted(verifications(rows), claim["versus"]))


def accepted_over_chance(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """`accepted_share` minus what fair coins would have, in points."""
    table = verifications(rows)
    expected = 100 * float(np.mean([chance(n, claim["versus"]) for n in table["n"]]))
    measured, low, high, n = share_of(accepted(table, claim["versus"]))
    return measured - expected, low - expected, high - expected, n


def accepted_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """`accepted_share` of the second half of the networks that `where` lists minus of the first, in points.

    Low and high are those of a normal difference of shares; n counts the second side's verifications.
    """
    parts = [verifications(part) for part in _sides(rows, claim)]
    p, q = (accepted(part, claim["versus"]).mean() for part in parts)
    half = 1.96 * np.sqrt(sum(share * (1 - share) / len(part) for share, part in zip((p, q), parts, strict=True)))
    return 100 * (q - p), 100 * (q - p - half), 100 * (q - p + half), len(parts[1])


def _sides(rows: pd.DataFrame, claim: dict) -> list[pd.DataFrame]:
    """The rows of the first and of the second half of the networks that `where` lists."""
    names = claim["where"]["scenario"]
    parts = [select(rows, {"scenario": half}) for half in (names[: len(names) // 2], names[len(names) // 2 :])]
    if any(part.empty for part in parts):
        raise Incomplete
    return parts


def _mean(values: np.ndarray) -> Measured:
    from scipy.special import stdtrit  # of scipy.stats the import alone takes a second

    n = len(values)
    half = stdtrit(n - 1, 0.975) * values.std(ddof=1) / n**0.5 if n > 1 else 0.0
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half), n


MEASURES = (
    models_mean, models_percent, accuracy_balance, models_change, models_least, models_gap, accepted_share,
    accepted_over_chance, accepted_gap,
)  # fmt: skip
