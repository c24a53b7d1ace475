"""Measures of sensitive samples and pairs: rows of 20_sensitive_samples and 21_sample_pairing.

The unit of replication is the model: a rate is the mean over models (scenario and seed), and its interval draws models,
and within each as many samples anew. That a rate of 0 or 100 % leaves room, half a sample is added on either side.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete, Measured
from sslauth_utils.claims.pair_rates import counts

_DRAWS = 2000
Rate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def detected(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of a method's samples, or of its pairs by either image, whose label changed, %; n counts them."""
    return _level(counts(rows), "either", _single)


def first_detected(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The same of the first image of each pair alone, "only one sample from the sample pair" (Table IV)."""
    return _level(counts(rows), "first", _single)


def random_pairs_detected(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of all pairs of single images of which at least one changed its label, %; n counts images."""
    return _level(counts(rows), "either", _random_pair)


def detected_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """A method's rate minus that of the method in ``versus``, in points; n counts the first's samples."""
    return _gap(rows, claim, "either", _single)


def first_detected_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The same of the first image of each pair alone: one image against one image."""
    return _gap(rows, claim, "first", _single)


def gap_to_random_pairs(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The pairs' rate minus that of random pairs of the single images in ``versus``, in points."""
    return _gap(rows, claim, "either", _random_pair)


def gap_to_tamper(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """A method's rate under one tamper minus that under the tamper in ``versus``, in points."""
    others = rows["tamper"] == claim["versus"]
    if not others.any() or others.all():
        raise Incomplete
    return _contrast(counts(rows[~others]), counts(rows[others]), "either", _single)


def above_false_alarms(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """A tamper's rate minus the model's worst false alarm when it is only run otherwise, in points."""
    tampered = rows[rows["kind"] == "tamper"]
    if tampered.empty:
        raise Incomplete
    return _contrast(counts(tampered), _worst(rows), "either", _single)


def false_alarm_rate(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of samples whose label changes when an untouched model is run otherwise, %: the worst way of each."""
    return _level(_worst(rows), "either", _single)


def cost_ratio(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Seconds of the first core over those of the second: geometric mean and range over models; n counts these. Of a
    model timed with several numbers of samples the geometric mean counts.
    """
    first, second = claim["where"]["quantity"]
    wide = rows.pivot_table(index=["scenario", "seed", "strength"], columns="quantity", values="value")
    if not {first, second} <= set(wide.columns) or wide[[first, second]].isna().any(axis=None):
        raise Incomplete
    by_model = np.log((wide[first] / wide[second]).astype(float)).groupby(level=["scenario", "seed"]).mean()
    ratios = np.exp(by_model.to_numpy())
    return float(np.exp(np.log(ratios).mean())), float(ratios.min()), float(ratios.max()), len(ratios)


def _single(share: np.ndarray, n: np.ndarray) -> np.ndarray:
    return share


def _random_pair(share: np.ndarray, n: np.ndarray) -> np.ndarray:
    calm = (1 - share) * n
    return 1 - calm * (calm - 1).clip(min=0) / (n * (n - 1))


def _worst(rows: pd.DataFrame) -> pd.DataFrame:
    """`counts` of the way of running each untouched model that changes most labels."""
    honest = rows[rows["kind"] == "run"]
    if honest.empty:
        raise Incomplete
    found = counts(honest, ["tamper", "strength"]).reset_index()
    return found.sort_values("either").groupby(["scenario", "seed"]).last()


def _gap(rows: pd.DataFrame, claim: dict, column: str, of_second: Rate) -> Measured:
    others = rows["method"] == claim["versus"]
    if not others.any() or others.all():
        raise Incomplete
    return _contrast(counts(rows[~others]), counts(rows[others]), column, of_second)


def _level(found: pd.DataFrame, column: str, rate: Rate) -> Measured:
    draw = np.random.default_rng(0)
    chosen = draw.integers(len(found), size=(_DRAWS, len(found)))
    measured = rate(*_shares(found, column)).mean()
    return _measured(measured, _drawn(found, column, rate, chosen, draw), int(found["n"].sum()))


def _contrast(first: pd.DataFrame, second: pd.DataFrame, column: str, of_second: Rate) -> Measured:
    if not first.index.equals(second.index):
        raise Incomplete
    draw = np.random.default_rng(0)
    chosen = draw.integers(len(first), size=(_DRAWS, len(first)))
    sides = ((first, column, _single), (second, "either", of_second))
    ours, theirs = (rate(*_shares(found, which)).mean() for found, which, rate in sides)
    draws = [_drawn(found, which, rate, chosen, draw) for found, which, rate in sides]
    return _measured(ours - theirs, draws[0] - draws[1], int(first["n"].sum()))


def _shares(found: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    n = found["n"].to_numpy(float)
    return found[column].to_numpy(float) / n, n


def _drawn(found: pd.DataFrame, column: str, rate: Rate, chosen: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The mean over models in every draw, (2000,)."""
    n = found["n"].to_numpy()[chosen]
    hits = draw.binomial(n, (found[column].to_numpy()[chosen] + 0.5) / (n + 1))
    return rate(hits / n, n.astype(float)).mean(axis=1)


def _measured(value: float, draws: np.ndarray, n: int) -> Measured:
    low, high = np.quantile(draws, [0.025, 0.975])
    return 100 * value, 100 * min(low, value), 100 * max(high, value), n


MEASURES = (
    detected, first_detected, random_pairs_detected, detected_gap, first_detected_gap, gap_to_random_pairs,
    gap_to_tamper, above_false_alarms, false_alarm_rate, cost_ratio,
)  # fmt: skip
