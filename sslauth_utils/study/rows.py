"""Result rows, one line a (scenario, seed, scheme, tamper, strength, key): their columns, reading, selecting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import RESULTS
from sslauth_utils.study.profiles import profile_of_rows

COLUMNS = ["experiment", "scenario", "seed", "keys", "scheme", "tamper", "strength", "key", "similarity"]


#: of measures.csv: one number of one encoder, ``n`` being how many test images or keys it rests on
MEASURE_COLUMNS = ["experiment", "scenario", "seed", "tamper", "strength", "quantity", "value", "n"]


def load_rows(profile: str, notebook: str, results: Path = RESULTS, table: str = "rows") -> pd.DataFrame:
    """All rows that runs of `notebook` left under `profile`, in a fixed order.

    Of seeds and scenarios that the profile has; others, of an earlier profile, say, and copies are left out.

    Args:
        table: "rows" (similarities) or "measures" (utility, attack success).

    Raises:
        UserError: there are none, or the profile is not in order.
    """
    known = profile_of_rows(profile, results).folders(notebook)
    files = sorted(
        path for path in (results / profile / notebook).glob(f"*/{table}.csv") if path.parent.name in known
    )
    if not files:
        raise UserError(
            f"There are no {table} of {notebook} in results/{profile}; make them with "
            f"./run_all.sh --profile {profile} --only {notebook}."
        )
    return pd.concat([read_rows(path) for path in files], ignore_index=True)


def read_rows(path: Path) -> pd.DataFrame:
    """One table of rows or measures; empty cells stay empty texts.

    A column has one type from its first line to its last. Read in pieces, as pandas does with long files, a strength
    would be the number 0.1 in one piece and the text "0.1" in the next, and the two would count as different tampers.
    """
    return pd.read_csv(path, keep_default_na=False, low_memory=False)


def honest_rows(profile: str, scenario: str, seed: int) -> pd.DataFrame:
    """What 03_verify_intact found on this encoder: the honest changes that figures show beside an attack.

    Returns:
        Its rows; none where it has not been run, so that a lesson can be read without it.
    """
    try:
        return select(load_rows(profile, "03_verify_intact"), {"scenario": scenario, "seed": seed})
    except UserError:
        return pd.DataFrame()


def select(rows: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The rows whose columns have the wanted value, or one of the wanted values.

    A strength is compared as a number; one in words (of 8-bit weights, say) as it stands.
    """
    for column, wanted in where.items():
        in_words = isinstance(wanted, str)
        wanted = wanted if isinstance(wanted, list) else [wanted]
        if column == "strength" and not in_words:
            numbers = pd.to_numeric(rows[column], errors="coerce")
            rows = rows.assign(strength=numbers)[np.isclose(numbers.to_numpy()[:, None], wanted).any(axis=1)]
        else:
            rows = rows[rows[column].isin(wanted)]
    return rows
