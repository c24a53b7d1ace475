"""Every verification of a run in one table: what was done to the encoder, how far its worst key moved, who rejects it.

A verification passes only if every key does, so the worst key stands for it.
"""

from collections.abc import Mapping

import pandas as pd

from sslauth_utils.claims.tolerance import Matched, matched_tolerances

#: what may have been done to an encoder, honest changes first; of each, how a tamper's name begins
KINDS = {
    "honest run": (),
    "honest cast": (),
    "honest upload": (),
    "pruning": ("pruning",),
    "fine-tuning": ("fine-tuning",),
    "backdoor": ("backdoor",),
    "disguise": ("disguised",),
}
#: the notebooks whose rows are verifications of the suite's own encoders, by the paper's keys
NOTEBOOKS = ("03_verify_intact", "04_fine_tuning", "05_pruning", "06_backdoor", "07_imitation")
COLUMNS = ["scenario", "seed", "kind", "tamper", "strength", "change", "matched", "DCmp", "DCmp matched", "Trans"]


def verifications(rows: Mapping[str, pd.DataFrame], tau: float) -> pd.DataFrame:
    """One line a verification with DCmp and Trans, of honest changes and tampers alike.

    Left out: a backdoor's single epochs, pruning with batch norm (ablations), and encoders without honest changes.

    Args:
        rows: by notebook name; those of `NOTEBOOKS` are taken.
        tau: both schemes' tolerance.

    Returns:
        Columns scenario, seed, kind (one of `KINDS`), tamper, strength (text), change (1 - cos of the worst key),
        matched (1 - DCmp's matched tolerance for this encoder), and whether it passes: DCmp (at tau), DCmp matched,
        Trans, SHA-256 (None where it was not asked).
    """
    if "03_verify_intact" not in rows:
        return pd.DataFrame(columns=[*COLUMNS, "SHA-256"])
    tolerances = matched_tolerances(rows["03_verify_intact"], tau)
    found = [_of_notebook(rows[name], tolerances, tau) for name in NOTEBOOKS if name in rows and len(rows[name])]
    return pd.concat(found, ignore_index=True)


def _of_notebook(rows: pd.DataFrame, tolerances: Mapping[tuple[str, int], Matched], tau: float) -> pd.DataFrame:
    rows = rows[rows["scheme"].isin(["DCmp", "Trans", "SHA-256"])]
    rows = rows.assign(kind=_kinds(rows), strength=rows["strength"].astype(str))
    rows = rows[rows["kind"].isin(KINDS)]
    index = ["scenario", "seed", "kind", "tamper", "strength"]
    worst = rows.groupby([*index, "scheme"], sort=False)["similarity"].min().unstack("scheme")
    worst = worst.reindex(columns=["DCmp", "Trans", "SHA-256"]).dropna(subset=["DCmp", "Trans"]).reset_index()
    encoders = list(zip(worst["scenario"], worst["seed"].astype(int), strict=True))
    worst = worst[[encoder in tolerances for encoder in encoders]]
    limits = [tolerances[encoder].tau for encoder in encoders if encoder in tolerances]
    return pd.DataFrame(
        {name: worst[name] for name in index}
        | {
            "change": 1 - worst["DCmp"],
            "matched": [1 - limit for limit in limits],
            "DCmp": worst["DCmp"] > tau,
            "DCmp matched": worst["DCmp"] > limits,
            "Trans": worst["Trans"] > tau,
            "SHA-256": [None if pd.isna(same) else same == 1 for same in worst["SHA-256"]],
        }
    )


def _kinds(rows: pd.DataFrame) -> pd.Series:
    """The kind of every row; "" for those that are left out."""
    if "kind" in rows:  # of an intact encoder: run, cast, upload, or floor, which is no change
        return "honest " + rows["kind"]
    tampers = rows["tamper"]
    kinds = pd.Series("", index=rows.index)
    for kind, beginnings in KINDS.items():
        for beginning in beginnings:
            kinds[tampers.str.startswith(beginning)] = kind
    kinds[tampers.str.endswith("by epoch") | tampers.eq("pruning with batch norm")] = ""
    return kinds


def honest(verified: pd.DataFrame) -> pd.Series:
    """Which lines of `verifications` are honest changes of an intact encoder."""
    return verified["kind"].str.startswith("honest")
