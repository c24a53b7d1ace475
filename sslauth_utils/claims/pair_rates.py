"""Rates at which sensitive samples and pairs change their labels: what rows of notebooks 20 and 21 amount to."""

from collections.abc import Sequence

import pandas as pd

#: honest changes that leave every weight and pixel as it is, and must not change a label
_RUN = ("run",)


def counts(rows: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """How many samples changed their label, by scenario, seed and `by`.

    Args:
        rows: columns scenario, seed, key, before and after (0 or 1; after is empty for single images).

    Returns:
        Columns first (the single or the pair's first image), either (any of the sample's images), n.
    """
    first = rows["before"].astype(int)
    after = pd.to_numeric(rows["after"], errors="coerce").fillna(0).astype(int)
    flags = rows.assign(first=first, either=first | after, n=1)
    return flags.groupby(["scenario", "seed", *by], sort=True)[["first", "either", "n"]].sum()


def rates(rows: pd.DataFrame) -> pd.DataFrame:
    """How often a method's samples changed their label, %, by scenario, seed, kind, tamper, strength and method.

    Args:
        rows: columns scenario, seed, kind, tamper, strength, method, key, before and after (0 or 1; after is empty for
            single images).

    Returns:
        The columns of a line, and: first image (of pairs: the first one alone), rate (a single image, or either of a
        pair), random pair (of all pairs of single images, those of which one changed; NaN for pairs), independent pair
        (1 − (1 − p)² of the single rate; NaN for pairs), n.
    """
    by = ["scenario", "seed", "kind", "tamper", "strength", "method"]
    flags = rows.assign(single=rows["after"].astype(str) == "", first=rows["before"].astype(int))
    flags["either"] = flags["first"] | pd.to_numeric(flags["after"], errors="coerce").fillna(0).astype(int)
    found = flags.groupby(by, sort=False, as_index=False).agg(
        single=("single", "all"), first=("first", "mean"), rate=("either", "mean"), n=("either", "size")
    )
    calm, n = ((1 - found["rate"]) * found["n"]).round(), found["n"]
    found["random pair"] = (100 * (1 - calm * (calm - 1) / (n * (n - 1)))).where(found["single"] & (n > 1))
    found["independent pair"] = (100 * (1 - (1 - found["rate"]) ** 2)).where(found["single"])
    found["first image"], found["rate"] = 100 * found["first"], 100 * found["rate"]
    return found.drop(columns=["single", "first"])


def false_alarms(rows: pd.DataFrame) -> pd.Series:
    """By method: the largest rate over ways of running the untouched classifier, mean over scenarios and seeds, %."""
    honest = rates(rows[rows["kind"].isin(_RUN)])
    return honest.groupby(["scenario", "seed", "method"])["rate"].max().groupby("method").mean()
