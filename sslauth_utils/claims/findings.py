"""Why a claim did not come out: causes, observations and what is unknown, each with tests on the same rows.

A finding stands in ``config/findings`` with the claims to which it belongs and what must be measured if it is right.
It counts as a cause only in a run in which its cause was varied, and made the difference.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml
from sslauth_utils.base.paths import FINDINGS, RESULTS
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.judge import Results
from sslauth_utils.claims.measures import COMPARES
from sslauth_utils.claims.rules import NOT_REPRODUCED, check_fields
from sslauth_utils.study.profiles import profile_of_rows

CAUSE, OBSERVATION, UNKNOWN = "cause", "observation", "unknown"
VARIED = {"what", "column", "values"}
#: when a test was written: before the first rows that it was asked of, or after
BEFORE, AFTER = "before", "after"
CONFIRMED, REFUTED, FITS, FITS_NOT = "confirmed", "refuted", "fits", "does not fit"
NOT_MEASURED = "not measured"
#: the answer of a test, by when it was written and whether its rule is met
ANSWERS = {(BEFORE, True): CONFIRMED, (BEFORE, False): REFUTED, (AFTER, True): FITS, (AFTER, False): FITS_NOT}
#: of a claim to which no finding belongs
UNEXPLAINED = "no reason found"
COLUMNS = ["finding", "kind", "claims", "reason", "test", "written", "measured", "low", "high", "n", "answer"]


def read_findings(folder: Path = FINDINGS) -> list[dict[str, Any]]:
    """The findings in the order in which they stand: id, claims, profiles, kind, varied (a cause's), reason, tests.

    Raises:
        UserError: an unknown or missing field, kind, claim, measure or rule, a claim explained twice for a profile, or
            a cause of which no test compares the values that were varied.
    """
    findings = [finding for path in sorted(folder.glob("[!.]*.yaml")) for finding in read_yaml(path)]
    known, taken = {claim["id"] for claim in read_claims()}, set()
    for finding in findings:
        where = f"{folder}: finding {finding.get('id')}"
        needed = {"id", "claims", "profiles", "kind", "reason", "tests"}
        if wrong := set(finding) ^ (needed | {"varied"} if finding.get("kind") == CAUSE else needed):
            raise UserError(f"{where} has the wrong fields: {wrong}.")
        if finding["kind"] not in (CAUSE, OBSERVATION, UNKNOWN):
            raise UserError(f"{where} has the unknown kind {finding['kind']!r}.")
        if set(finding.get("varied", VARIED)) != VARIED:
            raise UserError(f"{where}: varied must hold {', '.join(sorted(VARIED))}.")
        if unknown := set(finding["claims"]) - known:
            raise UserError(f"{where} names claims that do not exist: {unknown}.")
        mine = {(claim, profile) for claim in finding["claims"] for profile in finding["profiles"]}
        if twice := mine & taken:
            raise UserError(f"{where} explains what another finding explains: {sorted(twice)[0]}.")
        taken |= mine
        for test in finding["tests"]:
            own = {"paper"} if {"within", "factor"} & set(test.get("rule", {})) else set()
            asked = {name: value for name, value in test.items() if name != "written"}
            check_fields(asked, own, f"{where}: the test {test.get('quantity')!r}")
            if test.get("written", AFTER) not in (BEFORE, AFTER):
                raise UserError(f"{where}: the test {test['quantity']!r} was written before or after its rows.")
        if finding["kind"] == CAUSE and not any(compares(test, finding["varied"]) for test in finding["tests"]):
            raise UserError(f"{where} is called a cause, but no test compares what it says was varied.")
    return findings


def compares(test: dict[str, Any], varied: dict[str, Any]) -> bool:
    """Whether the test sets the varied values, two different ones, against each other."""
    column, values = varied["column"], varied["values"]
    return COMPARES.get(test["measure"]) == column and test["where"].get(column) == values and len(set(values)) == 2


def _scenarios(test: dict[str, Any]) -> set[str]:
    """The scenarios that a test asks for; none: whichever there are."""
    asked = test["where"].get("scenario", [])
    return {asked} if isinstance(asked, str) else set(asked)


def evaluate(
    profile: str, tau: float, summary: pd.DataFrame, results: Path = RESULTS, seed: int | None = None
) -> pd.DataFrame:
    """The findings about what `profile` did not reproduce, one line a test.

    Tests on a scenario that the profile lacks are left out.

    Args:
        summary: as `judge.evaluate` gives it.
        seed: whose rows the tests see; all seeds' if None.

    Returns:
        Columns finding, kind (as this run shows it), claims (ids, as a list), reason, test, written, measured, low,
        high, n, answer. The claims without a finding come last, in one line with empty numbers.
    """
    missed = summary.loc[summary["verdict"] == NOT_REPRODUCED, "id"].tolist()
    results_of, lines, explained = Results(profile, tau, results, seed), [], set()
    known = profile_of_rows(profile, results)
    scenarios = {*known.scenarios, *known.models}
    for finding in read_findings():
        mine = [claim for claim in missed if claim in finding["claims"]]
        tests = [test for test in finding["tests"] if _scenarios(test) <= scenarios]
        if not mine or not tests or profile not in finding["profiles"]:
            continue
        explained |= set(mine)
        judged = [results_of.judge(test) for test in tests]
        about = {"finding": finding["id"], "kind": _kind(finding, tests, judged), "claims": mine}
        for test, found in zip(tests, judged, strict=True):
            line = about | {"reason": finding["reason"].strip(), "test": test["quantity"], "answer": NOT_MEASURED}
            line["written"] = test.get("written", AFTER)
            if found:
                line |= dict(zip(("measured", "low", "high", "n"), found[0], strict=True))
                line["answer"] = ANSWERS[line["written"], found[1]]
            lines.append(line)
    if left := [claim for claim in missed if claim not in explained]:
        line = {"finding": UNEXPLAINED, "kind": UNKNOWN, "claims": left}
        lines.append(line | dict.fromkeys(("reason", "test", "written", "answer"), ""))
    return pd.DataFrame(lines, columns=COLUMNS).astype({"n": "Int64"})


def _kind(finding: dict[str, Any], tests: list[dict[str, Any]], judged: list[Any]) -> str:
    """What a finding is in this run: a cause that was not varied here is an observation, one that failed is unknown."""
    if finding["kind"] != CAUSE:
        return finding["kind"]
    varied = [found for test, found in zip(tests, judged, strict=True) if compares(test, finding["varied"])]
    if any(found and not found[1] for found in varied):
        return UNKNOWN
    return CAUSE if varied and all(varied) else OBSERVATION
