"""Measures near the tolerance (`claims.near`): rows of 15_near_tolerance, the honest roundings among them."""

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete, Measured
from sslauth_utils.claims.measures_verdicts import share_of
from sslauth_utils.claims.near import ROUNDING, rejected_from, verdicts
from sslauth_utils.claims.statistics import resamples


def near_verdicts_differ(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of tampers near the matched tolerance on which DCmp and Trans differ, %; n counts verifications.

    The exact interval takes them as independent; those of one encoder share its keys and its generator.
    """
    table = verdicts(rows, tau)
    table = table[table["near"] & (table["tamper"] != ROUNDING)]
    if table.empty:
        raise Incomplete
    return share_of(table["dcmp"] != table["trans"])


def rejected_from_ratio(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The 1 - cos from which on Trans rejects a key, tampered over honestly rounded: geometric mean over keys.

    Below 1 Trans magnifies the tamper more than the honest change, and sees it earlier than DCmp at the matched
    tolerance would; above 1 it sees it later. Several tampers count alike. n counts keys x seeds x tampers.
    """
    if ROUNDING not in set(rows["tamper"]):
        raise Incomplete
    honest = np.log(rejected_from(rows[rows["tamper"] == ROUNDING], tau))
    found = [
        np.log(rejected_from(part, tau)) - honest
        for tamper, part in rows.groupby("tamper")
        if tamper != ROUNDING and part["strength"].nunique() > 1
    ]
    if not found:
        raise Incomplete
    ratios = pd.concat(found, axis=1)
    if ratios.isna().mean(axis=None) > 0.2:  # most keys never cross the tolerance: the sweep does not reach it
        raise Incomplete
    by_key = ratios.mean(axis=1)
    draws = np.nanmean(by_key.to_numpy()[resamples(by_key.index.get_level_values("seed").to_numpy())], axis=1)
    low, high = np.exp(np.quantile(draws, [0.025, 0.975]))
    return float(np.exp(by_key.mean())), float(low), float(high), int(ratios.notna().sum(axis=None))


MEASURES = (near_verdicts_differ, rejected_from_ratio)
