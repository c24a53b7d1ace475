"""Measures that compare key sets: where keys come from, and how densely their features lie."""

import numpy as np
import pandas as pd

from sslauth_utils.claims.measures_verdicts import (
    ONE_VERIFICATION,
    Incomplete,
    Measure,
    Measured,
    share,
    verdicts_of,
    wide_form,
    worst,
)
from sslauth_utils.claims.statistics import mean_interval, resamples


def _difference(rows: pd.DataFrame, first: str, second: str) -> Measured:
    """Agreement with the `first` key set minus with the `second`, in points; means over the tamperings.

    The sets hold different images. Keys of one number share a line, which is no pairing: their differences spread as
    two independent samples do, and the seeds are drawn together, since both sets check the same encoders.
    """
    wide = wide_form(rows, ["scenario", "seed", "key"], "keys", [first, second])
    gap = (wide[first] - wide[second]).to_numpy()
    low, high = mean_interval(gap, wide.index.get_level_values("seed").to_numpy())
    return 100 * gap.mean(), 100 * low, 100 * high, len(gap)


def _key_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement with OOD keys minus with ID keys, in points; n counts keys x seeds of each kind."""
    return _difference(rows, "ood", "id")


def _rise_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """`rise` from the first strength to the second with OOD keys minus that with ID keys, in points."""
    first, second = claim["where"]["strength"]
    parts = []
    for strength in (first, second):
        part = rows[np.isclose(pd.to_numeric(rows["strength"]), strength)]
        parts.append(wide_form(part, ["scenario", "seed", "key"], "keys", ["ood", "id"]))
    change = parts[1] - parts[0]
    gap = (change["ood"] - change["id"]).to_numpy()
    low, high = mean_interval(gap, change.index.get_level_values("seed").to_numpy())
    return 100 * gap.mean(), 100 * low, 100 * high, len(gap)


def _key_loss_ratio(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """(100 % - agreement) with OOD keys over that with ID keys: how much more the OOD keys are moved.

    Both sets check the same encoders, with different images: seeds are drawn together, keys apart.
    """
    wide = 1 - wide_form(rows, ["scenario", "seed", "key"], "keys", ["ood", "id"])
    seeds = wide.index.get_level_values("seed").to_numpy()
    outside, inside = (wide[name].to_numpy() for name in ("ood", "id"))
    picks, others = resamples(seeds), resamples(seeds, key_set=1)
    low, high = np.quantile(outside[picks].mean(axis=1) / inside[others].mean(axis=1), [0.025, 0.975])
    return outside.mean() / inside.mean(), low, high, len(wide)


def _choices(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of A.2's key choices, K1 to K3: key sets "id:N" for some N."""
    rows = rows[rows["keys"].str.startswith("id:")]
    if rows["keys"].nunique() < 2:
        raise Incomplete
    return rows


def _key_spread(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement of the key choice that scores highest minus of the one that scores lowest, in points.

    Of the `worst` encoder; n counts keys of each choice. The interval is that of the difference of these two, which
    were picked because they are far apart: a spread above zero is what chance alone gives, so the rule should ask how
    large it is, not whether it is there.
    """
    spreads = []
    for _, encoder in _choices(rows).groupby(["scenario", "seed"]):
        means = encoder.groupby("keys")["similarity"].mean()
        spreads.append(_difference(encoder, means.idxmax(), means.idxmin()))
    return worst(spreads, claim)


def _choice_verdicts(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of (encoder, scheme, tampering) whose verdict is not the same for all key choices, %."""
    verdicts = verdicts_of(_choices(rows), tau, ONE_VERIFICATION).unstack("keys")
    if verdicts.isna().any(axis=None):
        raise Incomplete
    return share((verdicts.nunique(axis=1) > 1).to_numpy())


def _log_density_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean log-density of pre-training images minus of OOD ones, in nats: that of the `worst` encoder.

    From measures.csv. Low and high are 1.96 standard errors of that encoder's difference; n counts its images.
    """
    gaps = []
    for _, group in rows.groupby(["scenario", "seed"]):
        quantity = group.set_index("quantity")
        wanted = [f"log density {name}" for name in ("id", "ood", "error id", "error ood")]
        if not set(wanted) <= set(quantity.index):
            raise Incomplete
        inside, outside, *errors = quantity.loc[wanted, "value"].astype(float)
        half = 1.96 * float(np.hypot(*errors))
        n = int(quantity["n"][wanted[:2]].sum())
        gaps.append((inside - outside, inside - outside - half, inside - outside + half, n))
    return worst(gaps, claim)


MEASURES: dict[str, Measure] = {
    "key_gap": _key_gap,
    "key_loss_ratio": _key_loss_ratio,
    "rise_gap": _rise_gap,
    "key_spread": _key_spread,
    "choice_verdicts": _choice_verdicts,
    "log_density_gap": _log_density_gap,
}
