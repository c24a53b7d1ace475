"""Why a claim did not come out: reasons, each with tests of its own on the same rows.

A reason stands in ``config/findings`` with the claims that it explains and what must be
measured if it is right. A reason whose tests fail is shown as not supported: it is then no reason.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml
from sslauth_utils.base.paths import FINDINGS, RESULTS
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.judge import Results
from sslauth_utils.claims.rules import NOT_REPRODUCED, check_fields
from sslauth_utils.study.profiles import load_profile

SUPPORTED, NOT_SUPPORTED, NO_ROWS = "supported", "not supported", "not measured"
#: of a claim that no finding explains
UNEXPLAINED = "no reason found"


def read_findings(folder: Path = FINDINGS) -> list[dict[str, Any]]:
    """The findings in the order in which they stand: id, claims, profiles, reason, tests.

    Raises:
        UserError: an unknown or missing field, claim, measure or rule, or a claim explained twice for a profile.
    """
    findings = [finding for path in sorted(folder.glob("*.yaml")) for finding in read_yaml(path)]
    known, taken = {claim["id"] for claim in read_claims()}, set()
    for finding in findings:
        where = f"{folder}: finding {finding.get('id')}"
        if wrong := set(finding) ^ {"id", "claims", "profiles", "reason", "tests"}:
            raise UserError(f"{where} has the wrong fields: {wrong}.")
        if unknown := set(finding["claims"]) - known:
            raise UserError(f"{where} names claims that do not exist: {unknown}.")
        mine = {(claim, profile) for claim in finding["claims"] for profile in finding["profiles"]}
        if twice := mine & taken:
            raise UserError(f"{where} explains what another finding explains: {sorted(twice)[0]}.")
        taken |= mine
        for test in finding["tests"]:
            own = {"paper"} if {"within", "factor"} & set(test.get("rule", {})) else set()
            check_fields(test, own, f"{where}: the test {test.get('quantity')!r}")
    return findings


def evaluate(
    profile: str, tau: float, summary: pd.DataFrame, results: Path = RESULTS, seed: int | None = None
) -> pd.DataFrame:
    """The reasons for what `profile` did not reproduce, one line a test.

    Tests on a scenario that the profile lacks are left out.

    Args:
        summary: as `judge.evaluate` gives it.
        seed: whose rows the tests see; all seeds' if None.

    Returns:
        Columns finding, claims (ids, as a list), reason, test, measured, low, high, n, answer. The
        claims without a reason come last, in one line with empty numbers.
    """
    missed = summary.loc[summary["verdict"] == NOT_REPRODUCED, "id"].tolist()
    results_of, lines, explained = Results(profile, tau, results, seed), [], set()
    known = load_profile(profile)
    scenarios = {None, *known.scenarios, *known.models}
    for finding in read_findings():
        mine = [claim for claim in missed if claim in finding["claims"]]
        tests = [test for test in finding["tests"] if test["where"].get("scenario") in scenarios]
        if not mine or not tests or profile not in finding["profiles"]:
            continue
        explained |= set(mine)
        for test in tests:
            line = {"finding": finding["id"], "claims": mine, "reason": finding["reason"].strip()}
            line |= {"test": test["quantity"], "answer": NO_ROWS}
            if judged := results_of.judge(test):
                found, met = judged
                line |= dict(zip(("measured", "low", "high", "n"), found, strict=True))
                line["answer"] = SUPPORTED if met else NOT_SUPPORTED
            lines.append(line)
    if left := [claim for claim in missed if claim not in explained]:
        lines.append({"finding": UNEXPLAINED, "claims": left, "reason": "", "test": "", "answer": ""})
    columns = ["finding", "claims", "reason", "test", "measured", "low", "high", "n", "answer"]
    return pd.DataFrame(lines, columns=columns).astype({"n": "Int64"})
