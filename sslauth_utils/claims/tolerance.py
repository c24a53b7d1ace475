"""DCmp and Trans at one tolerance.

The paper compares two statistics of different scale at one tau = 99.5 %. Here DCmp gets the
tolerance at which it accepts exactly the same honest changes as Trans does at tau, so
that what is left of a difference is a difference in what they see, not in how strict they are.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.study.rows import load_rows


@dataclass(frozen=True)
class Matched:
    """DCmp's tolerance that matches Trans at tau.

    Attributes:
        tau: the tolerance for DCmp: the geometric middle, in 1 - cos, between `strictest` and `loosest`.
        strictest, loosest: every tolerance from `loosest` up to below `strictest` accepts the
            same honest changes: `strictest` is the worst key of the accepted change that DCmp scores
            lowest, `loosest` the best worst key of a rejected one.
        disagreements: honest changes on which the two still differ; 0 if a matching tolerance exists.
        accepted, rejected: honest changes that Trans accepts and rejects at its tau.
    """

    tau: float
    strictest: float
    loosest: float
    disagreements: int
    accepted: int
    rejected: int


def match(null: pd.DataFrame, tau: float) -> Matched:
    """The tolerance at which DCmp accepts the honest changes that Trans accepts at `tau`.

    Where no tolerance does so exactly, the one with the fewest disagreements; among
    equals the strictest.

    Args:
        null: rows of 03_verify_intact of one scenario and seed, floor rows left out.

    Raises:
        UserError: the rows are of several encoders, or lack a scheme.
    """
    if null.groupby(["scenario", "seed"]).ngroups != 1:
        raise UserError("A tolerance is matched for one encoder; give the rows of one scenario and seed.")
    worst = null.groupby(["tamper", "strength", "scheme"], sort=False)["similarity"].min().unstack("scheme")
    if not {"DCmp", "Trans"} <= set(worst.columns) or worst[["DCmp", "Trans"]].isna().any(axis=None):
        raise UserError("The null's rows lack DCmp or Trans; run 03_verify_intact again.")
    loss = 1 - worst["DCmp"].to_numpy(float)  # small is good
    accepted = (worst["Trans"] > tau).to_numpy()
    edges = np.unique(np.concatenate([[0.0], loss, [1.0]]))
    # a cut between two neighbouring losses; everything up to its lower edge passes
    wrong = [int(((loss <= low) != accepted).sum()) for low in edges[:-1]]
    best = int(np.argmin(wrong))
    low, high = max(edges[best], 1e-12), max(edges[best + 1], 2e-12)
    return Matched(
        tau=1 - float(np.sqrt(low * high)),
        strictest=1 - low,
        loosest=1 - high,
        disagreements=wrong[best],
        accepted=int(accepted.sum()),
        rejected=int((~accepted).sum()),
    )


def matched_tolerances(null: pd.DataFrame, tau: float) -> dict[tuple[str, int], Matched]:
    """`match` for every (scenario, seed) of 03_verify_intact's rows."""
    null = null[(null["kind"] != "floor") & null["scheme"].isin(["DCmp", "Trans"])]
    return {(scenario, int(seed)): match(rows, tau) for (scenario, seed), rows in null.groupby(["scenario", "seed"])}


def at_one_tolerance(rows: pd.DataFrame, tolerances: dict[tuple[str, int], Matched], tau: float) -> pd.DataFrame:
    """Whether each key passes: DCmp at tau, DCmp matched, the Trans schemes at tau, SHA-256 by equality.

    Args:
        rows: similarities with scenario, seed, scheme.

    Returns:
        The rows with columns check ("DCmp at 99.5 %", "DCmp matched", scheme names) and
        passes (bool); DCmp's rows appear twice.
    """
    dcmp = rows[rows["scheme"] == "DCmp"]
    encoders = zip(dcmp["scenario"], dcmp["seed"], strict=True)
    limits = [tolerances[scenario, int(seed)].tau for scenario, seed in encoders]
    others = rows[rows["scheme"] != "DCmp"]
    return pd.concat(
        [
            dcmp.assign(check=f"DCmp at {100 * tau:g} %", passes=dcmp["similarity"] > tau),
            dcmp.assign(check="DCmp matched", passes=dcmp["similarity"].to_numpy() > np.array(limits)),
            others.assign(check=others["scheme"], passes=others["similarity"] > tau),
        ],
        ignore_index=True,
    )


def load_tolerances(profile: str, tau: float) -> dict[tuple[str, int], Matched]:
    """`matched_tolerances` from the rows that 03_verify_intact left under `profile`.

    Raises:
        UserError: there are none.
    """
    return matched_tolerances(load_rows(profile, "03_verify_intact"), tau)


def passing_table(rows: pd.DataFrame, tolerances: dict[tuple[str, int], Matched], tau: float) -> pd.DataFrame:
    """Share of keys that pass, in per cent, by tamper and check; SHA-256 passes at 0 or 100.

    Args:
        rows: similarities with scenario, seed, tamper, strength, scheme; generators other than
            the paper's are left out.

    Returns:
        One line a (tamper, strength), one column a check, DCmp first.
    """
    rows = rows[rows["scheme"].isin(["DCmp", "Trans", "SHA-256"])]
    marked = at_one_tolerance(rows, tolerances, tau)
    table = marked.pivot_table(index=["tamper", "strength"], columns="check", values="passes", sort=False) * 100
    order = [f"DCmp at {100 * tau:g} %", "DCmp matched", "Trans", "SHA-256"]
    return table[[check for check in order if check in table]].rename_axis(columns="passing keys, %").round(1)
