"""Claims and findings as the page shows them: texts, numbers in words, colours."""

from typing import Any

import pandas as pd

from sslauth_utils.claims import findings as found
from sslauth_utils.claims.cut_texts import parted
from sslauth_utils.claims.rules import rule_text
from sslauth_utils.report.numbers import quantity_and_unit, with_digits
from sslauth_utils.report.sections import SIGNS, UNDECIDED, VERDICTS

#: of a finding, as the page says it
KINDS = {found.CAUSE: "Cause", found.OBSERVATION: "Observation", found.UNKNOWN: "Cause unknown"}


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
            "verdict": VERDICTS.get(claim.verdict, claim.verdict), "sign": sign, "kind": kind,
            "rule": rules.get(claim.id, ""), "cuts": parted(claim.cuts),
        })  # fmt: skip
    return cells


def finding_cells(findings: pd.DataFrame, summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Every finding with its tests and the cuts of its claims; what none explains comes last, without a text.

    Args:
        findings: as `findings.evaluate` gives them.
        summary: as `judge.evaluate` gives it, for its cuts.
    """
    kinds = {found.CONFIRMED: "good", found.REFUTED: "bad"}
    cuts, shown = summary.set_index("id")["cuts"], []
    for name, lines in findings.groupby("finding", sort=False):
        first, tests = lines.iloc[0], []
        for line in lines.itertuples() if name != found.UNEXPLAINED else ():
            measured, interval = with_digits(line.measured, line.low, line.high)
            tests.append({
                "test": line.test, "measured": measured, "interval": interval, "n": line.n, "answer": line.answer,
                "kind": kinds.get(line.answer, "idle"), "after": line.answer in (found.FITS, found.FITS_NOT),
            })  # fmt: skip
        mine = dict.fromkeys(cut for claim in first["claims"] for cut in parted(cuts[claim]))
        shown.append({
            "id": str(name), "kind": KINDS[first["kind"]], "text": first["reason"], "claims": first["claims"],
            "tests": tests, "cuts": list(mine),
        })  # fmt: skip
    return shown
