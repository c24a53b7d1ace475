"""Measures that compare generators and other forms of a feature: objective, seed, vectors against images."""

import numpy as np
import pandas as pd

from sslauth_utils.claims.measures_verdicts import Incomplete, Measure, Measured, wide_form, worst
from sslauth_utils.claims.statistics import amplification, mean_interval, resamples


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


def _over_generators(values: np.ndarray) -> Measured:
    """Mean of one number an (encoder, generator, key), in per cent, with a 95 % bootstrap interval.

    Encoders are drawn, and keys of each, and generator seeds, once for all encoders: every encoder has the generators
    of the same seeds, and all generators of an encoder share its keys. So encoders times generators times keys are
    not so many independent numbers.
    """
    encoders, generators, keys = values.shape
    draw = np.random.default_rng(0)
    encoder = draw.integers(encoders, size=(2000, encoders, 1, 1))
    generator = draw.integers(generators, size=(2000, 1, generators, 1))
    key = draw.integers(keys, size=(2000, encoders, 1, keys))
    means = values[encoder, generator, key].mean(axis=(1, 2, 3))
    low, high = np.quantile(means, [0.025, 0.975])
    return 100 * values.mean(), 100 * low, 100 * high, values.size


def _generator_agreement(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean similarity over generators and keys, %."""
    return _over_generators(_generators(rows, [claim["where"]["scheme"]])[0])


def _generator_success(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of (generator, key) above tau, %."""
    return _over_generators((_generators(rows, [claim["where"]["scheme"]])[0] > tau).astype(float))


def _generator_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement of one generator objective minus that of another, paired by generator seed and key, in points."""
    [scheme] = set(claim["where"]["scheme"]) - {claim["versus"]}
    one, other = _generators(rows, [scheme, claim["versus"]])
    return _over_generators(one - other)


def _generator_spread(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Standard deviation over generator seeds of the agreement, of one objective over that of another.

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


def _form_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement of each other scheme minus that of `versus`, paired by key, in points.

    Of several schemes the one that is closest to breaking the rule: the lowest gap for "above", else the highest.
    """
    schemes = [scheme for scheme in claim["where"]["scheme"] if scheme != claim["versus"]]
    wide = wide_form(rows, ["scenario", "seed", "key"], "scheme", [*schemes, claim["versus"]])
    seeds = wide.index.get_level_values("seed").to_numpy()
    gaps = []
    for scheme in schemes:
        gap = (wide[scheme] - wide[claim["versus"]]).to_numpy()
        low, high = mean_interval(gap, seeds)
        gaps.append((100 * gap.mean(), 100 * low, 100 * high, len(gap)))
    return min(gaps) if "above" in claim["rule"] else max(gaps)


def _form_success_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Authentication success of each other scheme minus that of `versus`, paired by key, in points: the lowest."""
    passes = rows.assign(similarity=(rows["similarity"] > tau).astype(float))
    return _form_gap(passes, tau, claim | {"rule": {"above": 0}})


def _form_kappa(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """(1 - similarity after the form `versus`) / (1 - cos of the feature itself): how much that form magnifies."""
    wide = 1 - wide_form(rows, ["scenario", "seed", "tamper", "key"], "scheme", ["DCmp", claim["versus"]])
    form, feature = wide[claim["versus"]].to_numpy(), wide["DCmp"].to_numpy()
    picks = resamples(wide.index.get_level_values("seed").to_numpy())
    low, high = np.quantile(form[picks].mean(axis=1) / feature[picks].mean(axis=1), [0.025, 0.975])
    return form.mean() / feature.mean(), low, high, len(form)


def _kappa_unevenness(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The largest kappa of a tamper over the smallest, Trans against DCmp: 1 if all changes are magnified alike.

    Of the `worst` encoder; n counts its keys x tampers.
    """
    ratios = []
    for _, encoder in rows[rows["scheme"].isin(["DCmp", "Trans"])].groupby(["scenario", "seed"]):
        table = amplification(encoder, ["tamper"])
        if len(table) < 2:
            raise Incomplete
        top, bottom = table.loc[table["kappa"].idxmax()], table.loc[table["kappa"].idxmin()]
        low, high = max(1.0, top["low"] / bottom["high"]), top["high"] / bottom["low"]
        ratios.append((top["kappa"] / bottom["kappa"], low, high, int(table["n"].sum())))
    return worst(ratios, claim)


def _value_mean(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean of a number from measures.csv over scenarios, seeds and generators, with a 95 % interval by Student's t.

    Over the seeds' means, or, of a single seed, over the generators' means: a generator's seed (in column strength)
    serves every encoder, so encoders times generators are not so many independent numbers. n counts them all.
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


MEASURES: dict[str, Measure] = {
    "form_kappa": _form_kappa,
    "kappa_unevenness": _kappa_unevenness,
    "value_mean": _value_mean,
    "generator_agreement": _generator_agreement,
    "generator_success": _generator_success,
    "generator_gap": _generator_gap,
    "generator_spread": _generator_spread,
    "form_gap": _form_gap,
    "form_success_gap": _form_success_gap,
}
