"""The paper's claims: what each says, what the rows say, and the verdict.

The claims stand in ``config/claims`` with the rule that decides each. Nothing
here knows an outcome: a measure is a function of rows, a rule one of intervals.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import RESULTS
from sslauth_utils.claims.contrast import Incomplete, Measured
from sslauth_utils.claims.cuts import cuts_in_words
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.measures import ACROSS, MEASURES
from sslauth_utils.claims.rules import ENOUGH_SEEDS, NOT_REPRODUCED, NOT_TESTED, REPRODUCED, holds
from sslauth_utils.claims.statistics import UnequalKeys
from sslauth_utils.claims.tolerance import matched_tolerances
from sslauth_utils.schemes.record import check_tau
from sslauth_utils.study.rows import load_rows, select

COLUMNS = ["id", "source", "quantity", "paper", "measured", "low", "high", "n", "verdict", "cuts"]


class Results:
    """The rows of a profile, of one seed or of all, each table read once, and what claims measure in them."""

    def __init__(self, profile: str, tau: float, results: Path = RESULTS, seed: int | None = None):
        self.profile, self.tau, self._results, self._seed = profile, check_tau(tau), results, seed
        self._tables: dict[tuple[str, str], pd.DataFrame | None] = {}
        null = self._rows("03_verify_intact", "rows")
        self._tolerances = None if null is None else matched_tolerances(null, tau)

    def _rows(self, notebook: str, table: str) -> pd.DataFrame | None:
        if (notebook, table) not in self._tables:
            try:
                rows = load_rows(self.profile, notebook, self._results, table)
                self._tables[notebook, table] = rows if self._seed is None else rows[rows["seed"] == self._seed]
            except UserError:
                self._tables[notebook, table] = None
        return self._tables[notebook, table]

    def judge(self, claim: dict[str, Any]) -> tuple[Measured, bool] | None:
        """(measured, low, high, n) and whether the claim's rule is met; None where rows, or some of them, are missing.

        Some are missing, too, where the seeds have different numbers of keys. The interval covers other keys; whether
        it covers other encoders, seeds decide: with fewer than `ENOUGH_SEEDS` a rule that rests on it must hold with
        all seeds together and with every seed by itself.
        """
        rows = self._rows(claim["notebook"], claim.get("table", "rows"))
        rows = None if rows is None else select(rows, claim["where"])
        if rows is None or rows.empty:
            return None
        parts = [rows]
        if {"below", "above", "between"} & set(claim["rule"]) and 1 < rows["seed"].nunique() < ENOUGH_SEEDS:
            alone = [part for _, part in rows.groupby("seed")]
            if claim["measure"] in ACROSS:  # a seed that only one of the networks has compares nothing
                alone = [part for part in alone if part["scenario"].nunique() == rows["scenario"].nunique()]
            parts += alone
        try:
            found = [MEASURES[claim["measure"]](part, self.tau, claim | {"tolerances": self._tolerances})
                     for part in parts]  # fmt: skip
        except (Incomplete, UnequalKeys):
            return None
        return found[0], all(holds(claim, *numbers[:3]) for numbers in found)


def evaluate(profile: str, tau: float, results: Path = RESULTS, seed: int | None = None) -> pd.DataFrame:
    """All claims against the rows of `profile`, or of one seed of it: the columns of summary.csv.

    A claim without (all) its rows keeps empty numbers and is not tested; one that this profile's
    size cannot decide shows its numbers and is not tested. Beside each stands what `profile` cuts of the settings on
    which it hangs (`cuts`).
    """
    lines, results_of, cuts = [], Results(profile, tau, results, seed), cuts_in_words(profile, results)
    for claim in read_claims():
        line = {name: claim[name] for name in ("id", "source", "quantity", "paper")}
        line |= {"verdict": NOT_TESTED, "cuts": cuts(claim)}
        lines.append(line)
        judged = results_of.judge(claim)
        if judged is None:
            continue
        found, met = judged
        line |= dict(zip(("measured", "low", "high", "n"), found, strict=True))
        if profile in claim["tested_in"]:
            line["verdict"] = REPRODUCED if met else NOT_REPRODUCED
    return pd.DataFrame(lines, columns=COLUMNS).astype({"n": "Int64"})  # whole numbers, some of them missing
