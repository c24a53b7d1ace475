"""What 09_key_distribution shows of its rows: key sets side by side. Pure functions of rows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sslauth_utils.claims.statistics import mean_interval, summarise


def by_key_set(rows: pd.DataFrame, key_sets: Sequence[str], tau: float, value: str) -> pd.DataFrame:
    """`value` of `summarise` by tamper, one column a scheme and key set.

    Args:
        rows: of 09_key_distribution, one encoder.
        key_sets: in the order of the columns.
        value: "agreement" or "auth_success".
    """
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    summary = summarise(rows, ["keys", "scheme", "tamper", "strength"], tau)
    columns = pd.MultiIndex.from_product([["DCmp", "Trans"], key_sets], names=["scheme", "keys"])
    return summary.pivot(index=["tamper", "strength"], columns=columns.names, values=value)[columns]


def ood_minus_id(rows: pd.DataFrame) -> pd.DataFrame:
    """Agreement with OOD keys minus with ID keys, in points, with its interval, by tamper and scheme.

    ID and OOD keys have nothing to do with each other: the keys that stand in one line are no pairs, and the
    differences spread as two independent samples do.

    Args:
        rows: as in `by_key_set`.
    """
    lines = []
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    for (tamper, strength, scheme), group in rows.groupby(["tamper", "strength", "scheme"]):
        sides = group.pivot(index="key", columns="keys", values="similarity")
        gap = 100 * (sides["ood"] - sides["id"]).to_numpy()
        low, high = mean_interval(gap, np.zeros(len(gap)))
        lines.append({"tamper": tamper, "strength": strength, "scheme": scheme, "OOD − ID, points": gap.mean(),
                      "low": low, "high": high, "n": len(gap)})  # fmt: skip
    return pd.DataFrame(lines)


def rises(agreement: pd.DataFrame) -> pd.DataFrame:
    """Where agreement rises from one pruning rate to the next, by scheme and key set.

    Args:
        agreement: of `by_key_set`.
    """
    steps = agreement.loc["pruning"].diff().iloc[1:]
    told = {
        columns: ", ".join(f"to {100 * rate:g} %: +{rise:.2f}" for rate, rise in step[step > 0].items()) or "never"
        for columns, step in steps.items()
    }
    table = pd.Series(told, name="agreement rises, points")
    return table.rename_axis(agreement.columns.names).to_frame()


def apart(rows: pd.DataFrame, tau: float) -> pd.DataFrame:
    """Agreement by choice of keys within classes (K1, K2, K3), and how far the choices lie apart, in points.

    Args:
        rows: as in `by_key_set`.

    Returns:
        Empty where no keys were chosen by class.
    """
    choices = [keys for keys in dict.fromkeys(rows["keys"]) if keys.startswith("id:")]
    if not choices:
        return pd.DataFrame()
    table = by_key_set(rows, choices, tau, "agreement").stack("scheme", future_stack=True)
    return table.assign(**{"apart, points": table.max(axis=1) - table.min(axis=1)})
