"""Claims and findings as the page shows them: texts, numbers in words, colours."""

from typing import Any

import pandas as pd

from sslauth_utils.claims.findings import NO_ROWS, NOT_SUPPORTED, SUPPORTED, UNEXPLAINED
from sslauth_utils.claims.rules import rule_text
from sslauth_utils.report.numbers import quantity_and_unit, with_digits
from sslauth_utils.report.sections import SIGNS, UNDECIDED


def look(verdict: str) -> tuple[str, str]:
    """(sign, colour) of a verdict."""
    sign, _, kind = SIGNS.get(verdict, UNDECIDED)
    return sign, kind


def claim_cells(summary: pd.DataFrame, claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every claim of the summary, in its order.

    Args:
        summary: as `judge.evaluate` gives it.
        claims: as `families.read_claims` gives them, for their rules.
    """
    rules = {claim["id"]: rule_text(claim) for claim in claims}
    cells = []
    for claim in summary.itertuples():
        measured, interval = with_digits(claim.measured, claim.low, claim.high)
        quantity, unit = quantity_and_unit(claim.quantity)
        sign, kind = look(claim.verdict)
        cells.append({
            "id": claim.id, "source": claim.source, "quantity": quantity, "unit": unit, "paper": claim.paper,
            "measured": measured, "interval": interval, "n": "" if pd.isna(claim.n) else f"{claim.n:.0f}",
            "verdict": claim.verdict, "sign": sign, "kind": kind, "rule": rules.get(claim.id, ""),
        })  # fmt: skip
    return cells


def finding_cells(findings: pd.DataFrame) -> list[dict[str, Any]]:
    """Every finding with its tests; what no finding explains comes last, without a text.

    Args:
        findings: as `findings.evaluate` gives them.
    """
    kinds = {SUPPORTED: "good", NOT_SUPPORTED: "bad", NO_ROWS: "idle"}
    shown = []
    for name, lines in findings.groupby("finding", sort=False):
        first, tests = lines.iloc[0], []
        for line in lines.itertuples() if name != UNEXPLAINED else ():
            measured, interval = with_digits(line.measured, line.low, line.high)
            tests.append({
                "test": line.test, "measured": measured, "interval": interval, "n": line.n, "answer": line.answer,
                "kind": kinds[line.answer],
            })  # fmt: skip
        shown.append({"id": str(name), "text": first["reason"], "claims": first["claims"], "tests": tests})
    return shown
