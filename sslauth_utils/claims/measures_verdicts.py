"""What a claim's rows say: one function a measure, each giving a number, its 95 % interval and n.

`MEASURES` of this file, of `measures_attacks`, `measures_keys` and `measures_generators` are what
``config/claims.yaml`` may name.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from sslauth_utils.claims.statistics import amplification, mean_interval, resamples, share_interval

#: (measured, low, high, n)
Measured = tuple[float, float, float, int]


class Incomplete(LookupError):
    """The rows lack one side of a comparison: a rate or a generator, say, that the profile leaves out."""


def worst(found: list[Measured], claim: dict) -> Measured:
    """Of several encoders' numbers the one that is farthest from meeting the claim's rule."""
    [(kind, bound)] = claim["rule"].items()
    lack = {
        "above": lambda one: -one[1],
        "at_least": lambda one: -one[0],
        "below": lambda one: one[2],
        "at_most": lambda one: one[0],
        "between": lambda one: max(bound[0] - one[1], one[2] - bound[1]),
    }.get(kind, lambda one: abs(one[0] - claim["paper"]))  # within, factor
    return max(found, key=lack)


def wide_form(rows: pd.DataFrame, index: list[str], columns: str, wanted: list) -> pd.DataFrame:
    """Similarities of the same keys side by side, a column for each of the `wanted` values of `columns`, no others."""
    wide = rows[rows[columns].isin(wanted)].pivot_table(index=index, columns=columns, values="similarity")
    if set(wide.columns) != set(wanted) or wide.isna().any(axis=None):
        raise Incomplete
    return wide


def _agreement(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean similarity, %; n counts keys x seeds."""
    values = rows["similarity"].to_numpy(float)
    low, high = mean_interval(values, rows["seed"].to_numpy())
    return 100 * values.mean(), 100 * low, 100 * high, len(values)


def _lowest_agreement(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The lowest mean similarity of any encoder, tamper and strength, %; n counts that encoder's keys."""
    groups = rows.groupby(["scenario", "seed", "tamper", "strength"])
    return min(_agreement(group, tau, claim) for _, group in groups)


def auth_success(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of keys above tau, %."""
    return share((rows["similarity"] > tau).to_numpy())


def verdicts_of(rows: pd.DataFrame, tau: float, by: list[str]) -> pd.Series:
    """Whether every key of a verification passes."""
    return (rows["similarity"] > tau).groupby([rows[name] for name in by]).all()


ONE_VERIFICATION = ["scenario", "seed", "keys", "scheme", "tamper", "strength"]


def _passing(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verifications that pass, %; n counts verifications."""
    return share(verdicts_of(rows, tau, ONE_VERIFICATION).to_numpy())


def _failing(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verifications that fail, %; n counts verifications."""
    return share(~verdicts_of(rows, tau, ONE_VERIFICATION).to_numpy())


def _verdicts_differ(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verdicts that differ between ID and OOD keys, %."""
    if not {"id", "ood"} <= set(rows["keys"]):
        raise Incomplete
    verdicts = verdicts_of(rows, tau, ONE_VERIFICATION).unstack("keys")
    return share((verdicts["id"] != verdicts["ood"]).to_numpy())


def share(hits: np.ndarray) -> Measured:
    """How many of `hits`, bool (n,), are true, %, with an exact interval; n counts them."""
    low, high = share_interval(hits.sum(), len(hits))
    return 100 * hits.mean(), 100 * low, 100 * high, len(hits)


def _pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Trans beside DCmp for the same seed and key."""
    return wide_form(rows, ["scenario", "seed", "key"], "scheme", ["DCmp", "Trans"]).reset_index()


def _order(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Trans minus DCmp, paired by key, in points, at the tamper and strength where it is largest."""
    differences = []
    for _, group in rows.groupby(["tamper", "strength"]):
        pairs = _pairs(group)
        gap = (pairs["Trans"] - pairs["DCmp"]).to_numpy()
        low, high = mean_interval(gap, pairs["seed"].to_numpy())
        differences.append((100 * gap.mean(), 100 * low, 100 * high, len(gap)))
    return max(differences)


def _success_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Trans minus DCmp authentication success, paired by key, in points."""
    pairs = _pairs(rows)
    gap = (pairs["Trans"] > tau).to_numpy(float) - (pairs["DCmp"] > tau).to_numpy(float)
    low, high = mean_interval(gap, pairs["seed"].to_numpy())
    return 100 * gap.mean(), 100 * low, 100 * high, len(gap)


def rise(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement at the second strength minus at the first, paired by key, in points."""
    first, second = claim["where"]["strength"]
    wide = wide_form(rows, ["seed", "key"], "strength", [first, second])
    gap = (wide[second] - wide[first]).to_numpy()
    low, high = mean_interval(gap, wide.index.get_level_values("seed").to_numpy())
    return 100 * gap.mean(), 100 * low, 100 * high, len(gap)


def _kappa(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """(1 - SSIM) / (1 - cos) of the paper's Trans."""
    table = amplification(rows, ["tamper"])
    if table.empty or "Trans" not in set(table["scheme"]):
        raise Incomplete
    line = table[table["scheme"] == "Trans"].iloc[0]
    return line["kappa"], line["low"], line["high"], int(line["n"])


def _kappa_ratio(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """kappa of G_min over kappa of another generator; the change in cosine cancels."""
    wide = 1 - wide_form(rows, ["seed", "scenario", "key"], "scheme", ["Trans", claim["versus"]])
    top, bottom = wide["Trans"].to_numpy(), wide[claim["versus"]].to_numpy()
    picks = resamples(wide.index.get_level_values("seed").to_numpy())
    low, high = np.quantile(top[picks].mean(axis=1) / bottom[picks].mean(axis=1), [0.025, 0.975])
    return top.mean() / bottom.mean(), low, high, len(top)


Measure = Callable[[pd.DataFrame, float, dict], Measured]
MEASURES: dict[str, Measure] = {
    "agreement": _agreement,
    "lowest_agreement": _lowest_agreement,
    "auth_success": auth_success,
    "passing": _passing,
    "failing": _failing,
    "verdicts_differ": _verdicts_differ,
    "order": _order,
    "success_gap": _success_gap,
    "rise": rise,
    "kappa": _kappa,
    "kappa_ratio": _kappa_ratio,
}
