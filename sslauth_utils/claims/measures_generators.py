"""Measures over generators: every objective has several, one a seed, and each is tried on every encoder's keys."""

from functools import lru_cache

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete, Measured, contrast, level


def generator_agreement(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean similarity over generators and keys, %; n counts encoders x generators x keys."""
    [values] = _generators(rows, [claim["where"]["scheme"]])
    return level(values.ravel(), _resamples(*values.shape))


def generator_success(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of (generator, key) above tau, %; n counts encoders x generators x keys."""
    [values] = _generators(rows, [claim["where"]["scheme"]])
    return level((values > tau).astype(float).ravel(), _resamples(*values.shape))


def generator_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement of one generator objective minus that of `versus`, paired by generator seed and key, in points.

    n counts encoders x generators x keys of each.
    """
    [scheme] = set(claim["where"]["scheme"]) - {claim["versus"]}
    one, other = _generators(rows, [scheme, claim["versus"]])
    return contrast(one.ravel(), other.ravel(), _resamples(*one.shape))


def generator_spread(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Standard deviation over generator seeds of the agreement, of one objective over that of `versus`.

    The interval is that of a ratio of variances of normal numbers (F distribution), pooled over E encoders with G
    generators each. The first objective is an untrained one, whose generator of a seed is the same for all encoders
    and moves their agreements alike: G - 1 degrees of freedom. Those of `versus` were trained for each encoder
    by itself: E (G - 1). n counts generators of one objective.
    """
    from scipy.special import fdtri  # of scipy.stats the import alone takes a second

    [scheme] = set(claim["where"]["scheme"]) - {claim["versus"]}
    agreement = _generators(rows, [scheme, claim["versus"]]).mean(axis=3)  # (2, encoders, generators)
    encoders, generators = agreement.shape[1:]
    if generators < 2:
        raise Incomplete
    top, bottom = agreement.var(axis=2, ddof=1).mean(axis=1)
    ratio, freedom = top / bottom, generators - 1
    bounds = ratio / fdtri(freedom, encoders * freedom, [0.975, 0.025])
    return float(np.sqrt(ratio)), *(float(bound) for bound in np.sqrt(bounds)), encoders * generators


def _generators(rows: pd.DataFrame, schemes: list[str]) -> np.ndarray:
    """Similarities by scheme, encoder, generator seed and key, float (S, E, G, K); keys tells the generators apart."""
    rows = rows[rows["scheme"].isin(schemes)]
    if rows["scheme"].nunique() != len(schemes):
        raise Incomplete
    sides = [["scheme"], ["scenario", "seed"], ["keys"], ["key"]]
    sizes = [len(schemes)] + [rows.groupby(side).ngroups for side in sides[1:]]
    wide = rows.pivot_table(index=["scheme", "scenario", "seed", "keys", "key"], values="similarity")["similarity"]
    if len(wide) != np.prod(sizes):
        raise Incomplete
    order = sorted(schemes)
    return wide.to_numpy().reshape(sizes)[[order.index(scheme) for scheme in schemes]]


@lru_cache(maxsize=4)
def _resamples(encoders: int, generators: int, keys: int) -> np.ndarray:
    """Index sets of a bootstrap of numbers laid out as (encoder, generator, key), int (2000, E G K).

    Encoders are drawn, and keys of each, and generator seeds, once for all encoders: every encoder has the generators
    of the same seeds, and all generators of an encoder share its keys. So encoders times generators times keys are
    not so many independent numbers.
    """
    draw = np.random.default_rng(0)
    encoder = draw.integers(encoders, size=(2000, encoders, 1, 1))
    generator = draw.integers(generators, size=(2000, 1, generators, 1))
    key = draw.integers(keys, size=(2000, encoders, 1, keys))
    return ((encoder * generators + generator) * keys + key).reshape(2000, -1)


MEASURES = (generator_agreement, generator_success, generator_gap, generator_spread)
