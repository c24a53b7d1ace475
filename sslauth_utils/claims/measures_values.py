"""Measures of the numbers in measures.csv: shares of test images, changes of a task, densities, means.

Of a share test images count as independent, those of several encoders too, so its interval does not cover other
encoders: a rule that rests on it must hold with every seed as well (`judge.Results.judge`).
"""

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete, Measured, of_worst_encoder
from sslauth_utils.claims.statistics import share_interval
from sslauth_utils.study.rows import select


def share(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """A share of test images, %, pooled over seeds, with an exact interval; n counts images."""
    hits, n = (rows["value"] * rows["n"]).sum(), rows["n"].sum()
    low, high = share_interval(round(hits), n)
    return 100 * hits / n, 100 * low, 100 * high, int(n)


def accuracy_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Backdoored minus clean accuracy, in points; n counts images of the first.

    Taken as independent, though the images are the same: so the interval is wide rather than narrow.
    """
    return _share_gap(rows, {"quantity": "backdoored accuracy"}, {"quantity": "clean accuracy"})


def share_change(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """A share of test images at the second strength minus at the first, in points; n counts images at the second."""
    first, second = claim["where"]["strength"]
    return _share_gap(rows, {"strength": second}, {"strength": first})


def largest_change(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The largest |after - before| of any task, in points; n counts tasks. No interval: the encoder is the same."""
    wide = rows.pivot_table(index=["scenario", "seed", "tamper"], columns="quantity", values="value")
    if not {"accuracy before", "accuracy after"} <= set(wide.columns) or wide.isna().any(axis=None):
        raise Incomplete
    change = 100 * (wide["accuracy after"] - wide["accuracy before"]).abs()
    return change.max(), change.max(), change.max(), len(change)


def log_density_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean log-density of pre-training images minus of OOD ones, in nats, of the worst encoder; n counts its images.

    Low and high are 1.96 standard errors of that encoder's difference.
    """

    def gap(encoder: pd.DataFrame) -> Measured:
        quantity = encoder.set_index("quantity")
        wanted = [f"log density {name}" for name in ("id", "ood", "error id", "error ood")]
        if not set(wanted) <= set(quantity.index):
            raise Incomplete
        inside, outside, *errors = quantity.loc[wanted, "value"].astype(float)
        half = 1.96 * float(np.hypot(*errors))
        n = int(quantity["n"][wanted[:2]].sum())
        return inside - outside, inside - outside - half, inside - outside + half, n

    return of_worst_encoder(rows, claim, gap)


def value_mean(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean of a number over scenarios, seeds and generators, with a 95 % interval by Student's t; n counts them all.

    Over the seeds' means, or, of a single seed, over the generators' means: a generator's seed (in column strength)
    serves every encoder, so encoders times generators are not so many independent numbers.
    """
    from scipy.special import stdtrit

    wide = rows.pivot_table(index=["scenario", "strength"], columns="seed", values="value")
    if wide.isna().any(axis=None):
        raise Incomplete
    means = (wide.mean() if wide.shape[1] > 1 else wide.iloc[:, 0].groupby("strength").mean()).to_numpy()
    if len(means) < 2:
        raise Incomplete
    half = stdtrit(len(means) - 1, 0.975) * means.std(ddof=1) / len(means) ** 0.5
    return means.mean(), means.mean() - half, means.mean() + half, wide.size


def _share_gap(rows: pd.DataFrame, first: dict, second: dict) -> Measured:
    """`share` where `first` holds minus where `second` does, in points, with a normal 95 % interval."""
    parts = [select(rows, where) for where in (first, second)]
    if any(part.empty for part in parts):
        raise Incomplete
    (p, *_, m), (q, *_, n) = (share(part, 0, {}) for part in parts)
    p, q = p / 100, q / 100
    half = 1.96 * np.sqrt(p * (1 - p) / m + q * (1 - q) / n)
    return 100 * (p - q), 100 * (p - q - half), 100 * (p - q + half), m


MEASURES = (share, accuracy_gap, share_change, largest_change, log_density_gap, value_mean)
