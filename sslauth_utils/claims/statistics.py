"""The numbers computed from result rows, with their intervals.

Rows are tidy: one line a (scenario, seed, scheme, tamper, strength, key). Aggregates
are computed from rows here, never stored instead of them.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.claims.contrast import contrast

_RESAMPLES = 2000


class UnequalKeys(UserError):
    """The seeds of a group have different numbers of keys: no bootstrap draws them alike."""


def resamples(seeds: np.ndarray, key_set: int = 0) -> np.ndarray:
    """Index sets of a two-level bootstrap: seeds are drawn, then keys within each.

    With one seed only the keys are resampled, and with a handful hardly more: of two seeds every second draw holds
    one twice. So the interval does not cover other encoders; `judge.Results.judge` says what verdicts do about it.

    Args:
        seeds: the seed of each value, (n,).
        key_set: 0, 1, ... of sets of different images that check the same encoders: the draws of seeds are the
            same for all, those of keys are not.

    Returns:
        int (2000, n), deterministic.

    Raises:
        UnequalKeys: the seeds have different numbers of keys.
    """
    return _resamples(tuple(seeds.tolist()), key_set)


@lru_cache(maxsize=32)
def _resamples(seeds: tuple, key_set: int) -> np.ndarray:
    """`resamples`, kept: a report asks for few arrangements of seeds, and a thousand times."""
    seeds = np.array(seeds)
    names, counts = np.unique(seeds, return_counts=True)
    if len(set(counts)) != 1:
        raise UnequalKeys(
            "The seeds of one group have different numbers of keys; run the notebook again for all seeds."
        )
    draw = np.random.default_rng(0)
    positions = np.stack([np.flatnonzero(seeds == name) for name in names])  # (seeds, keys)
    chosen = draw.integers(len(names), size=(_RESAMPLES, len(names)))
    for _ in range(key_set + 1):
        within = draw.integers(counts[0], size=(_RESAMPLES, len(names), counts[0]))
    drawn = np.take_along_axis(positions[chosen], within, axis=2).reshape(_RESAMPLES, -1)
    drawn.flags.writeable = False
    return drawn


def mean_interval(values: np.ndarray, seeds: np.ndarray) -> tuple[float, float]:
    """95 % percentile-bootstrap interval (`resamples`) of the mean of one number a key, (n,)."""
    low, high = np.quantile(values[resamples(seeds)].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def share_interval(hits: int, n: int) -> tuple[float, float]:
    """Exact 95 % (Clopper-Pearson) interval of a share, in [0, 1]: 100 of 100 has a lower bound of 0.964."""
    from scipy.special import betaincinv  # of scipy.stats the import alone takes a second

    low = betaincinv(hits, n - hits + 1, 0.025) if hits > 0 else 0.0
    high = betaincinv(hits + 1, n - hits, 0.975) if hits < n else 1.0
    return float(low), float(high)


def summarise(rows: pd.DataFrame, by: Sequence[str], tau: float) -> pd.DataFrame:
    """Agreement (eq. 4), authentication success rate (eq. 5) and verdicts, one line a group.

    Args:
        rows: with columns seed, key, similarity and those in `by`.
        by: what makes a group, ``["scenario", "scheme", "strength"]``, say.
        tau: similarity that a key must exceed.

    Returns:
        Columns of `by`, then, in per cent: agreement, agreement_low, agreement_high
        (95 %, `mean_interval`; NaN where the seeds have different numbers of keys), worst
        (lowest similarity of a key), auth_success, success_low, success_high (95 %,
        `share_interval`, keys taken as independent), passed (share of seeds whose every
        key passes); and n (keys x seeds), seeds.
    """
    lines = []
    for names, group in rows.groupby(list(by), sort=True, observed=True):
        values, seeds = group["similarity"].to_numpy(float), group["seed"].to_numpy()
        passes = values > tau
        try:
            low, high = mean_interval(values, seeds)
        except UnequalKeys:
            low = high = float("nan")
        success_low, success_high = share_interval(passes.sum(), len(passes))
        lines.append(
            dict(zip(by, names, strict=True))
            | {
                "agreement": 100 * values.mean(),
                "agreement_low": 100 * low,
                "agreement_high": 100 * high,
                "worst": 100 * values.min(),
                "auth_success": 100 * passes.mean(),
                "success_low": 100 * success_low,
                "success_high": 100 * success_high,
                "passed": 100 * group.assign(ok=passes).groupby("seed")["ok"].all().mean(),
                "n": len(values),
                "seeds": len(np.unique(seeds)),
            }
        )
    return pd.DataFrame(lines)


def amplification(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """kappa = (1 - SSIM) / (1 - cos), means over keys, of every Trans scheme against DCmp.

    How many times larger a change looks after the generator. With kappa known, Trans
    at tau decides about as DCmp at 1 - (1 - tau) / kappa.

    Args:
        rows: with DCmp and Trans rows of the same keys; SHA-256 rows are ignored.
        by: what makes a group, beside the scheme.

    Returns:
        Columns of `by`, scheme, kappa, low, high (95 %, percentile bootstrap over seeds and
        keys of the ratio), n. Groups in which DCmp sees no change (mean 1 - cos below
        1e-9), or whose seeds have different numbers of keys, are left out.
    """
    lines = []
    for names, group in rows[rows["scheme"] != "SHA-256"].groupby(list(by), sort=True, observed=True):
        wide = 1 - group.pivot_table(index=["seed", "key"], columns="scheme", values="similarity")
        if "DCmp" not in wide or wide["DCmp"].mean() < 1e-9:
            continue
        try:
            picks = resamples(wide.index.get_level_values("seed").to_numpy())
        except UnequalKeys:
            continue
        feature_change = wide["DCmp"].to_numpy()
        for scheme in wide.columns.drop("DCmp"):
            found = contrast(wide[scheme].to_numpy(), feature_change, picks, ratio=True)
            lines.append(
                dict(zip(by, names, strict=True))
                | {"scheme": scheme}
                | dict(zip(("kappa", "low", "high", "n"), found, strict=True))
            )
    return pd.DataFrame(lines)
