"""Measures of one side against another, key by key: schemes, strengths, encoders, key sets, forms of a feature.

Seeds are drawn, then keys of each. Both sides of a pair show the same keys, so a draw has them of both.
"""

from collections.abc import Hashable

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete, Measured, contrast, of_worst_encoder
from sslauth_utils.claims.measures_verdicts import key_choices
from sslauth_utils.claims.statistics import amplification, resamples

# --- Trans against DCmp -----------------------------------------------------------------------------------------------


def order(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement by Trans minus by DCmp, in points, at the tamper and strength where it is largest; n counts keys."""
    wide = _beside(rows, "scheme", ["Trans", "DCmp"], "tamper", "strength")
    return max(_paired(group, "Trans", "DCmp") for _, group in wide.groupby(["tamper", "strength"]))


def success_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Authentication success by Trans minus by DCmp, in points; n counts keys x seeds."""
    return _gap(_passes(rows, tau), "scheme", "Trans", "DCmp")


def kappa(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """(1 - SSIM) / (1 - cos) of the paper's Trans: how much it magnifies; n counts keys x seeds."""
    return _loss_ratio(rows, "scheme", "Trans", "DCmp")


def kappa_ratio(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """`kappa` of G_min over that of another generator, the change in cosine cancelling; n counts keys x seeds."""
    return _loss_ratio(rows, "scheme", "Trans", claim["versus"])


def kappa_unevenness(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The largest `kappa` of a tamper over the smallest: 1 if all changes are magnified alike.

    Of the worst encoder; n counts its keys x tampers.
    """

    def unevenness(encoder: pd.DataFrame) -> Measured:
        table = amplification(encoder, ["tamper"])
        if len(table) < 2:
            raise Incomplete
        top, bottom = table.loc[table["kappa"].idxmax()], table.loc[table["kappa"].idxmin()]
        low, high = max(1.0, top["low"] / bottom["high"]), top["high"] / bottom["low"]
        return top["kappa"] / bottom["kappa"], low, high, int(table["n"].sum())

    return of_worst_encoder(rows[rows["scheme"].isin(["DCmp", "Trans"])], claim, unevenness)


# --- other forms of a feature -----------------------------------------------------------------------------------------


def form_kappa(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """(1 - similarity after the form `versus`) / (1 - cos of the feature itself); n counts keys x seeds."""
    return _loss_ratio(rows, "scheme", claim["versus"], "DCmp")


def form_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement of each other scheme minus that of `versus`, in points; n counts keys x seeds.

    Of several schemes the one that is closest to breaking the rule: the lowest gap for "above", else the highest.
    """
    others = [scheme for scheme in claim["where"]["scheme"] if scheme != claim["versus"]]
    wide = _beside(rows, "scheme", [*others, claim["versus"]])
    gaps = [_paired(wide, scheme, claim["versus"]) for scheme in others]
    return min(gaps) if "above" in claim["rule"] else max(gaps)


def form_success_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Authentication success of each other scheme minus that of `versus`, in points: the lowest; n as in `form_gap`."""
    return form_gap(_passes(rows, tau), tau, claim | {"rule": {"above": 0}})


# --- strengths and encoders -------------------------------------------------------------------------------------------


def rise(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement at the claim's second strength minus at its first, in points; n counts keys x seeds."""
    return _gap(_at_strengths(rows, claim["where"]["strength"]), "nth", 1, 0)


def success_rise(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Authentication success at the second strength minus at the first, in points; n counts keys x seeds."""
    return rise(_passes(rows, tau), tau, claim)


def last_minus_first(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement at the largest strength of all minus at the smallest, in points; n counts keys x seeds."""
    strengths = pd.to_numeric(rows["strength"])
    if strengths.nunique() < 2:
        raise Incomplete
    return _gap(_at_strengths(rows, [strengths.min(), strengths.max()]), "nth", 1, 0)


def scenario_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement of the ImageNet encoder minus that of the CIFAR-10 encoder, in points; n counts the keys of both."""
    parts = [rows[rows["scenario"] == scenario] for scenario in ("imagenet", "cifar10")]
    if any(part.empty for part in parts):
        raise Incomplete
    one, other = (part.groupby(["seed", "key"])["similarity"].mean() for part in parts)
    # the draws of one, turned round, are no draws of the other: encoders of one seed are unrelated
    found = contrast(one.to_numpy(), other.to_numpy(), resamples(_seeds(one)), resamples(_seeds(other))[::-1])
    return *found[:3], len(one) + len(other)


# --- generators of two settings, which column keys tells apart; the keys are the same ---------------------------------


def setting_kappa_ratio(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """`kappa` with the second of the claim's ``keys`` over that with the first; n counts keys x seeds."""
    first, second = claim["where"]["keys"]
    return _loss_ratio(rows[rows["scheme"] == "Trans"], "keys", second, first)


def setting_success_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Authentication success by Trans with the second of the claim's ``keys`` minus with the first, in points."""
    first, second = claim["where"]["keys"]
    return _gap(_passes(rows[rows["scheme"] == "Trans"], tau), "keys", second, first)


# --- key sets: other images that check the same encoders --------------------------------------------------------------


def key_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement with OOD keys minus with ID keys, in points, over all tamperings; n counts keys x seeds of each kind.

    The sets hold different images. Keys of one number share a line, which is no pairing: their differences spread as
    two independent samples do, and the seeds are drawn together, since both sets check the same encoders.
    """
    return _gap(rows, "keys", "ood", "id")


def key_loss_ratio(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """(100 % - agreement) with OOD keys over that with ID keys; n counts keys x seeds of each kind.

    How much more the OOD keys are moved. Seeds are drawn together, keys apart.
    """
    lost = 1 - _beside(rows, "keys", ["ood", "id"])
    picks, others = (resamples(_seeds(lost), key_set) for key_set in (0, 1))
    return contrast(lost["ood"].to_numpy(), lost["id"].to_numpy(), picks, others, ratio=True)


def rise_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """`rise` with OOD keys minus that with ID keys, in points; n counts keys x seeds of each kind."""
    wide = _beside(_at_strengths(rows, claim["where"]["strength"]), "nth", [0, 1], "keys")
    rises = (wide[1] - wide[0]).rename("similarity").reset_index()
    return _gap(rises, "keys", "ood", "id")


def key_spread(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement of the key choice that scores highest minus of the one that scores lowest, in points.

    Of the worst encoder; n counts keys of each choice. The interval is that of the difference of these two, which
    were picked because they are far apart: a spread above zero is what chance alone gives, so the rule should ask how
    large it is, not whether it is there.
    """

    def spread(encoder: pd.DataFrame) -> Measured:
        means = encoder.groupby("keys")["similarity"].mean()
        return _gap(encoder, "keys", means.idxmax(), means.idxmin())

    return of_worst_encoder(key_choices(rows), claim, spread)


# --- the two sides ----------------------------------------------------------------------------------------------------


def _beside(rows: pd.DataFrame, column: str, wanted: list, *more: str) -> pd.DataFrame:
    """Similarities of the same keys side by side, a column for each of the `wanted` values of `column`."""
    values = rows[rows[column].isin(wanted)].groupby(["scenario", "seed", *more, "key", column])["similarity"].mean()
    wide = values.unstack(column)
    if set(wide.columns) != set(wanted) or wide.isna().any(axis=None):
        raise Incomplete
    return wide


def _paired(wide: pd.DataFrame, first: Hashable, second: Hashable, ratio: bool = False) -> Measured:
    """The column `first` minus `second`, or over it, drawn key by key."""
    return contrast(wide[first].to_numpy(), wide[second].to_numpy(), resamples(_seeds(wide)), ratio=ratio)


def _gap(rows: pd.DataFrame, column: str, first: Hashable, second: Hashable) -> Measured:
    """Agreement where `column` is `first` minus where it is `second`, paired by key, in points."""
    return _paired(_beside(rows, column, [first, second]), first, second)


def _loss_ratio(rows: pd.DataFrame, column: str, first: Hashable, second: Hashable) -> Measured:
    """(1 - similarity) where `column` is `first` over that where it is `second`, paired by key."""
    return _paired(1 - _beside(rows, column, [first, second]), first, second, ratio=True)


def _seeds(by_key: pd.DataFrame | pd.Series) -> np.ndarray:
    return by_key.index.get_level_values("seed").to_numpy()


def _passes(rows: pd.DataFrame, tau: float) -> pd.DataFrame:
    """The rows with 1 for a similarity above tau and 0 for another, so that agreement becomes success."""
    return rows.assign(similarity=(rows["similarity"] > tau).astype(float))


def _at_strengths(rows: pd.DataFrame, strengths: list[float]) -> pd.DataFrame:
    """The rows of these strengths alone, with column nth: the place of theirs among them."""
    numbers = pd.to_numeric(rows["strength"])
    parts = [rows[np.isclose(numbers, strength)].assign(nth=nth) for nth, strength in enumerate(strengths)]
    return pd.concat(parts)


MEASURES = (
    order, success_gap, kappa, kappa_ratio, kappa_unevenness, form_kappa, form_gap, form_success_gap, rise,
    success_rise, last_minus_first, scenario_gap, setting_kappa_ratio, setting_success_gap, key_gap, key_loss_ratio,
    rise_gap, key_spread,
)  # fmt: skip
