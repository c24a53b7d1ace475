"""Measures of one side: how similar keys stay, how many pass, and what verifications decide."""

from dataclasses import replace

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete, Measured, level, of_worst_encoder
from sslauth_utils.claims.statistics import resamples, share_interval
from sslauth_utils.claims.tolerance import at_one_tolerance

ONE_VERIFICATION = ["scenario", "seed", "keys", "scheme", "tamper", "strength"]


def agreement(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean similarity, %; n counts keys x seeds."""
    return level(rows["similarity"].to_numpy(float), resamples(rows["seed"].to_numpy()))


def lowest_agreement(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The lowest mean similarity of any encoder, tamper and strength, %; n counts that encoder's keys."""
    groups = rows.groupby(["scenario", "seed", "tamper", "strength"])
    return min(agreement(group, tau, claim) for _, group in groups)


def auth_success(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of keys above tau, %; n counts keys x seeds."""
    return share_of(rows["similarity"] > tau)


def highest_success(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The highest authentication success of any strength, %, of the worst encoder; n counts its keys."""
    return of_worst_encoder(
        rows, claim, lambda encoder: max(auth_success(group, tau, claim) for _, group in encoder.groupby("strength"))
    )


def passing(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verifications that pass, %; n counts verifications."""
    return share_of(_verdicts(rows, tau))


def failing(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verifications that fail, %; n counts verifications."""
    return share_of(~_verdicts(rows, tau))


def verdicts_differ(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verdicts that differ between ID and OOD keys, %; n counts pairs of verifications."""
    if not {"id", "ood"} <= set(rows["keys"]):
        raise Incomplete
    verdicts = _verdicts(rows, tau).unstack("keys")
    return share_of(verdicts["id"] != verdicts["ood"])


def choice_verdicts(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of (encoder, scheme, tampering) whose verdict is not the same for all `key_choices`, %; n counts them."""
    verdicts = _verdicts(key_choices(rows), tau).unstack("keys")
    if verdicts.isna().any(axis=None):
        raise Incomplete
    return share_of(verdicts.nunique(axis=1) > 1)


def beyond_matched(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verifications that Trans at tau rejects while DCmp at its matched tolerance accepts, %.

    Of the worst encoder; n counts its verifications. The exact interval of a share excludes 0 from a single hit
    on, so "above 0" asks for one in every encoder.
    """
    rows, tolerances = rows[rows["scheme"].isin(["DCmp", "Trans"])], claim["tolerances"] or {}
    if rows["scheme"].nunique() < 2 or not set(zip(rows["scenario"], rows["seed"], strict=True)) <= set(tolerances):
        raise Incomplete

    def beyond(encoder: pd.DataFrame) -> Measured:
        marked = at_one_tolerance(encoder, tolerances, tau)
        verdicts = marked.groupby(["tamper", "strength", "check"])["passes"].all().unstack("check")
        return share_of(verdicts["DCmp matched"] & ~verdicts["Trans"])

    return of_worst_encoder(rows, claim, beyond)


def beyond_loosest(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """`beyond_matched` with DCmp at the loosest tolerance that accepts the same honest changes, not at the middle."""
    matched = claim["tolerances"] or {}
    loosest = {encoder: replace(tolerance, tau=tolerance.loosest) for encoder, tolerance in matched.items()}
    return beyond_matched(rows, tau, claim | {"tolerances": loosest})


def key_choices(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of A.2's key choices, K1 to K3: key sets "id:N" for some N."""
    rows = rows[rows["keys"].str.startswith("id:")]
    if rows["keys"].nunique() < 2:
        raise Incomplete
    return rows


def share_of(hits: pd.Series) -> Measured:
    """How many of `hits` (bool) are true, %, with an exact interval; n counts them."""
    hits = np.asarray(hits)
    low, high = share_interval(hits.sum(), len(hits))
    return 100 * hits.mean(), 100 * low, 100 * high, len(hits)


def _verdicts(rows: pd.DataFrame, tau: float) -> pd.Series:
    """Whether every key of a verification passes."""
    return (rows["similarity"] > tau).groupby([rows[name] for name in ONE_VERIFICATION]).all()


MEASURES = (
    agreement, lowest_agreement, auth_success, highest_success, passing, failing, verdicts_differ, choice_verdicts,
    beyond_matched, beyond_loosest,
)  # fmt: skip
