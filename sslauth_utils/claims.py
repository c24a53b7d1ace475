"""The paper's claims: what each says, what the rows say, and the verdict.

The claims stand in ``config/claims.yaml`` with the rule that decides each. Nothing
here knows an outcome: a measure is a function of rows, a rule one of intervals.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sslauth_utils import measures, measures_attacks, measures_generators, measures_keys
from sslauth_utils.errors import UserError
from sslauth_utils.measures import Incomplete
from sslauth_utils.paths import CONFIG, RESULTS
from sslauth_utils.results import UnequalKeys, load_rows, select
from sslauth_utils.tolerance import matched_tolerances

MEASURES = {
    name: measure
    for module in (measures, measures_attacks, measures_keys, measures_generators)
    for name, measure in module.MEASURES.items()
}
#: measures that a figure draws as points, and what they are points of
POINTS = {
    "agreement": "agreement", "generator_agreement": "agreement",
    "auth_success": "auth_success", "generator_success": "auth_success",
}  # fmt: skip
COLUMNS = ["id", "source", "quantity", "paper", "measured", "low", "high", "n", "verdict"]
RULES = {"within", "factor", "below", "above", "between", "at_least", "at_most"}
#: a bootstrap over fewer seeds than this does not say what other encoders would do
ENOUGH_SEEDS = 5
REPRODUCED, NOT_REPRODUCED, NOT_TESTED = "reproduced", "not reproduced", "not tested at this size"


@lru_cache(maxsize=4)
def parse_yaml(text: str) -> Any:
    """The plain values in `text`, parsed once: every figure with the paper's numbers asks for the claims. Do not change
    what comes back."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # the same rules in C


def read_claims(path: Path = CONFIG / "claims.yaml") -> list[dict[str, Any]]:
    """The claims in the order in which they stand.

    Raises:
        UserError: an unknown or missing field, measure or rule, or an id used twice.
    """
    claims = parse_yaml(path.read_text(encoding="utf-8"))
    for claim in claims:
        check_fields(claim, {"id", "source", "paper", "tested_in"}, f"{path}: claim {claim.get('id')}")
    ids = [claim["id"] for claim in claims]
    if len(set(ids)) != len(ids):
        raise UserError(f"{path}: two claims have the same id.")
    return claims


def check_fields(claim: dict[str, Any], own: set[str], where: str) -> None:
    """See that `claim` has what `measure` and `holds` need, and the fields `own` beside.

    Raises:
        UserError: an unknown or missing field, measure or rule; `where` begins the sentence.
    """
    needed = own | {"quantity", "notebook", "where", "measure", "rule"}
    if wrong := (set(claim) - {"versus", "table"}) ^ needed:
        raise UserError(f"{where} has the wrong fields: {wrong}.")
    if claim["measure"] not in MEASURES:
        raise UserError(f"{where} has the unknown measure {claim['measure']!r}.")
    if len(claim["rule"]) != 1 or not set(claim["rule"]) <= RULES:
        raise UserError(f"{where} has the unknown rule {claim['rule']}.")
    if {"within", "factor"} & set(claim["rule"]) and not isinstance(claim["paper"], int | float):
        raise UserError(f"{where} is decided by a distance, but states no number.")


def holds(claim: dict[str, Any], measured: float, low: float, high: float) -> bool:
    """Whether these numbers meet the claim's rule."""
    (kind, bound), slack = next(iter(claim["rule"].items())), 1e-9
    return {
        "within": lambda: abs(measured - float(claim["paper"])) <= bound + slack,
        "factor": lambda: 1 / bound - 1e-6 <= (100 - measured) / (100 - float(claim["paper"])) <= bound + 1e-6,
        "below": lambda: high < bound,
        "above": lambda: low > bound,
        "between": lambda: bound[0] < low and high < bound[1],
        "at_least": lambda: measured >= bound - slack,
        "at_most": lambda: measured <= bound + slack,
    }[kind]()


def rule_text(claim: dict[str, Any]) -> str:
    """The rule in words, for the report."""
    kind, bound = next(iter(claim["rule"].items()))
    each = f", with each seed alone as well if there are 2 to {ENOUGH_SEEDS - 1}"
    if kind == "between":
        return f"95 % interval between {bound[0]:g} and {bound[1]:g}{each}"
    return {
        "within": f"within {bound:g} of the paper's number",
        "factor": f"at most {bound:g} times as far from 100 as the paper's number, and no {bound:g} times nearer",
        "below": f"95 % interval below {bound:g}{each}",
        "above": f"95 % interval above {bound:g}{each}",
        "at_least": f"at least {bound:g}",
        "at_most": f"at most {bound:g}",
    }[kind]


class Results:
    """The rows of a profile, of one seed or of all, each table read once, and what claims measure in them."""

    def __init__(self, profile: str, tau: float, results: Path = RESULTS, seed: int | None = None):
        self.profile, self.tau, self._results, self._seed = profile, tau, results, seed
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

    def judge(self, claim: dict[str, Any]) -> tuple[measures.Measured, bool] | None:
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
            parts += [part for _, part in rows.groupby("seed")]
        try:
            found = [MEASURES[claim["measure"]](part, self.tau, claim | {"tolerances": self._tolerances})
                     for part in parts]  # fmt: skip
        except (Incomplete, UnequalKeys):
            return None
        return found[0], all(holds(claim, *numbers[:3]) for numbers in found)


def evaluate(profile: str, tau: float, results: Path = RESULTS, seed: int | None = None) -> pd.DataFrame:
    """All claims against the rows of `profile`, or of one seed of it: the columns of summary.csv.

    A claim without (all) its rows keeps empty numbers and is not tested; one that this profile's
    size cannot decide shows its numbers and is not tested.
    """
    lines, results_of = [], Results(profile, tau, results, seed)
    for claim in read_claims():
        line = {name: claim[name] for name in ("id", "source", "quantity", "paper")} | {"verdict": NOT_TESTED}
        lines.append(line)
        judged = results_of.judge(claim)
        if judged is None:
            continue
        found, met = judged
        line |= dict(zip(("measured", "low", "high", "n"), found, strict=True))
        if profile in claim["tested_in"]:
            line["verdict"] = REPRODUCED if met else NOT_REPRODUCED
    return pd.DataFrame(lines, columns=COLUMNS).astype({"n": "Int64"})  # whole numbers, some of them missing


def printed_points(notebook: str) -> pd.DataFrame:
    """The paper's numbers for single points of a notebook's rows, to draw behind ours.

    Returns:
        Columns scenario, scheme, measure (agreement or auth_success), paper (a number), and
        strength and tamper where the claim says them.
    """
    points = [
        {name: claim["where"].get(name) for name in ("scenario", "scheme", "strength", "tamper")}
        | {"measure": POINTS[claim["measure"]], "paper": claim["paper"]}
        for claim in read_claims()
        if claim["notebook"] == notebook
        and claim["measure"] in POINTS
        and isinstance(claim["paper"], int | float)
        and isinstance(claim["where"].get("scheme"), str)
        and isinstance(claim["where"].get("scenario"), str)
    ]
    return pd.DataFrame(points)
