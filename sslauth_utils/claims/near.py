"""Tampers as small as the tolerance itself: do DCmp and Trans decide alike where it is hard?

Rows of 15_near_tolerance. DCmp gets the tolerance at which it accepts the same honest roundings as Trans at tau,
found on a fine scale of roundings, so that it hangs on no gap between them.
"""

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete
from sslauth_utils.claims.tolerance import Matched, match

#: the honest change on which the two tolerances are matched
ROUNDING = "rounding step"
#: a verification is near if its worst key's 1 - cos lies within this factor of DCmp's matched tolerance
NEAR = 3.0


def verdicts(rows: pd.DataFrame, tau: float) -> pd.DataFrame:
    """Every verification beside the matched tolerance of its encoder.

    Args:
        rows: of 15_near_tolerance; schemes other than DCmp and Trans are ignored.
        tau: the tolerance of Trans.

    Returns:
        One line a (scenario, seed, tamper, strength): worst (largest 1 - cos of a key), tolerance (DCmp's matched
        one, as 1 - cos), dcmp and trans (bool: accepted), near (bool, `NEAR`).

    Raises:
        Incomplete: an encoder has no roundings.
    """
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    limits = {encoder: 1 - of.tau for encoder, of in matched_on_rounding(rows, tau).items()}
    lowest = rows.groupby(["scenario", "seed", "tamper", "strength", "scheme"])["similarity"].min().unstack()
    table = lowest.reset_index().assign(worst=(1 - lowest["DCmp"]).to_numpy())
    table["tolerance"] = [limits[one] for one in zip(table["scenario"], table["seed"], strict=True)]
    table["dcmp"], table["trans"] = table["worst"] < table["tolerance"], table["Trans"] > tau
    table["near"] = table["worst"].between(table["tolerance"] / NEAR, table["tolerance"] * NEAR)
    return table.drop(columns=["DCmp", "Trans"]).rename_axis(columns=None)


def matched_on_rounding(rows: pd.DataFrame, tau: float) -> dict[tuple[str, int], Matched]:
    """`tolerance.match` on the roundings of each (scenario, seed).

    Raises:
        Incomplete: an encoder has none.
    """
    honest = rows[(rows["tamper"] == ROUNDING) & rows["scheme"].isin(["DCmp", "Trans"])]
    found = {(scenario, seed): match(part, tau) for (scenario, seed), part in honest.groupby(["scenario", "seed"])}
    if not found or set(zip(rows["scenario"], rows["seed"], strict=True)) - set(found):
        raise Incomplete
    return found


def rejected_from(rows: pd.DataFrame, tau: float) -> pd.Series:
    """The 1 - cos from which on Trans rejects a key, by key: the smaller, the more Trans magnifies this tamper.

    Between the two strengths of which it accepts the one and rejects the other, 1 - cos is read off where 1 - SSIM
    reaches 1 - tau, on logarithmic scales.

    Args:
        rows: of one tamper; of 15_near_tolerance.

    Returns:
        Index (scenario, seed, key); NaN where Trans accepts the key at every strength or at none.
    """
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])].assign(strength=pd.to_numeric(rows["strength"]))
    wide = 1 - rows.set_index(["scenario", "seed", "key", "strength", "scheme"])["similarity"].unstack("scheme")
    wide = np.log(wide.clip(lower=1e-12)).unstack("strength").sort_index(axis=1)  # strengths in rising order
    change, shown = wide["DCmp"].to_numpy(), wide["Trans"].to_numpy() - np.log(1 - tau)
    after = (shown > 0).argmax(axis=1)
    rows_of = np.arange(len(wide))
    before = np.maximum(after - 1, 0)
    y0, y1 = shown[rows_of, before], shown[rows_of, after]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = change[rows_of, before] - y0 / (y1 - y0) * (change[rows_of, after] - change[rows_of, before])
    return pd.Series(np.where((after > 0) & (y1 > 0), np.exp(at), np.nan), index=wide.index)
