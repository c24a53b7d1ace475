"""Verifications of DeepAuth's signatures: a row is a key, its similarity 1 where the label is the enrolled one."""

from math import comb

import pandas as pd

#: what makes one verification; `keys` names the protected model
ONE = ["scenario", "seed", "kind", "scheme", "tamper", "strength", "keys"]
#: eps_a of Table 2, the strictest last
TOLERANCES = (0.4, 0.3, 0.2, 0.1, 0.0)


def verifications(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a verification: the columns `ONE`, errors (share of keys with another label, [0, 1]) and n (keys)."""
    groups = (1 - rows["similarity"]).groupby([rows[name] for name in ONE if name in rows], sort=False, observed=True)
    return groups.agg(errors="mean", n="size").reset_index()


def accepted(table: pd.DataFrame, tolerance: float) -> pd.Series:
    """Whether each verification is accepted: its errors are at most the tolerance."""
    return table["errors"] <= tolerance + 1e-9


def chance(n: int, tolerance: float) -> float:
    """Probability that fair coins accept: of n labels, c* or c' each with 1/2, at most `tolerance` are wrong."""
    return sum(comb(n, wrong) for wrong in range(int(n * tolerance + 1e-9) + 1)) / 2**n


def acceptance(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Share of accepted verifications, in per cent, by tolerance.

    Returns:
        One line a group of `by`: those columns, one column a tolerance ("40 %", ...), n (verifications), keys (of one
        signature, the fewest).
    """
    table = verifications(rows)
    lines = []
    for names, group in table.groupby(by, sort=False, observed=True):
        line = dict(zip(by, names, strict=True))
        line |= {f"{100 * t:g} %": 100 * accepted(group, t).mean() for t in TOLERANCES}
        lines.append(line | {"n": len(group), "keys": int(group["n"].min())})
    return pd.DataFrame(lines)
