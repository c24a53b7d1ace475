"""The report: one self-contained page, the answer first, then the paper's tables and figures in its order."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from sslauth_utils.base.files import write_text
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.questions import IN_PART, MOSTLY_NO, MOSTLY_YES, NO, YES
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from sslauth_utils.report.answers import Answer
from sslauth_utils.report.cells import claim_cells, finding_cells
from sslauth_utils.report.opening import Opening
from sslauth_utils.report.printed import NAMES, printed_beside_ours
from sslauth_utils.report.sections import ORDER, SECTIONS, SIGNS, UNDECIDED, VERDICTS, Section, section_of
from sslauth_utils.report.tables import Table

TEMPLATES = Path(__file__).parent / "templates"
OVERVIEW = "fig00_overview"
WORDS = tuple(VERDICTS.values())
_LOOKS = [(sign, kind, word) for (sign, _, kind), word in zip([*SIGNS.values(), UNDECIDED], WORDS, strict=True)]


@dataclass
class Report:
    """What a report shows.

    Attributes:
        profile, note, lead: what was run, in a line and in a sentence.
        claims: as `judge.evaluate` gives them.
        findings: as `findings.evaluate` gives them.
        answers: as `answers.five_answers` gives them.
        questions: as `questions.answer_questions` gives them.
        tables: (heading, how to read it, table); a section takes those that it names, the others come last.
        figures: (PNG file, caption); they are put into the page.
        notebooks: (name, link relative to the page).
        runs, versions: as `provenance.provenance` gives them.
        opening: as `opening.opening` gives it; the sizes in it stand for `note`.
    """

    profile: str
    note: str
    lead: str
    claims: pd.DataFrame
    findings: pd.DataFrame
    answers: Sequence[Answer] = ()
    questions: pd.DataFrame = field(default_factory=pd.DataFrame)
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[Path, str]] = ()
    notebooks: Sequence[tuple[str, str]] = ()
    runs: pd.DataFrame = field(default_factory=pd.DataFrame)
    versions: dict[str, str] = field(default_factory=dict)
    opening: Opening = field(default_factory=Opening)


def build_report(path: Path, report: Report) -> None:
    """Write the page of `report` to `path`."""
    cells = claim_cells(report.claims, read_claims())
    cuts = _lists_of_cuts(cells)
    figures = {file.stem: (file.stem, caption, _data(file)) for file, caption in report.figures}
    tables = {heading: (heading, text, _html(table)) for heading, text, table in report.tables}
    kinds = {REPRODUCED: "good", NOT_REPRODUCED: "bad", NOT_TESTED: "idle"}
    # a section takes its figures and tables away: what is left comes last
    sections, asked = _sections(report, cells, figures, tables), _questions(report.questions)
    filled = {section["key"] for section in sections if not section["empty"]}
    shown = [cell for cell in cells if section_of(cell["source"]).key in filled]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        profile=report.profile,
        note=report.note,
        lead=report.lead,
        opening=report.opening,
        answers=report.answers,
        key=_LOOKS,
        overview=figures.pop(OVERVIEW, None),
        questions=[line for line in asked if any(number for number, *_ in line["decisive"][:2])] or asked,
        unasked=[line for line in asked if not any(number for number, *_ in line["decisive"][:2])],
        sections=[section for section in sections if not section["empty"]],
        empty=[section for section in sections if section["empty"]],
        ours=sum(cell["source"].startswith("ours") and section_of(cell["source"]).name != "Ours" for cell in shown),
        cuts=cuts,
        claims=cells,
        groups=_groups(cells, report.questions),
        kinds=[(VERDICTS[name], kind) for name, kind in kinds.items()],
        totals={VERDICTS[name]: int((report.claims["verdict"] == name).sum()) for name in kinds},
        tables=list(tables.values()),
        figures=list(figures.values()),
        runs=_html(report.runs) if len(report.runs) else "",
        versions=list(report.versions.items()),
        notebooks=report.notebooks,
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        js=(TEMPLATES / "report.js").read_text(encoding="utf-8"),
    )
    write_text(path, page.lstrip())


def _data(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _html(table: pd.DataFrame) -> str:
    return table.to_html(index=False, border=0, na_rep="")


def _counts(held: int, missed: int, undecided: int) -> list[tuple[int, str, str, str]]:
    """(number, sign, colour, word) of each verdict."""
    return [(number, *look) for number, look in zip((held, missed, undecided), _LOOKS, strict=True)]


def _sections(
    report: Report, cells: list[dict[str, Any]], figures: dict[str, Any], tables: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every section that has something to show; `figures` and `tables` lose what it takes."""
    known, claims = {section.key: section for section in SECTIONS}, read_claims()
    place = {cell["id"]: section_of(cell["source"]).key for cell in cells}
    findings, shown = finding_cells(report.findings, report.claims), []
    for section in (known[key] for key in ORDER):
        mine = [cell for cell in cells if place[cell["id"]] == section.key]
        pictures = [figures.pop(name) for name in section.figures if name in figures]
        numbers = [tables.pop(name) for name in section.tables if name in tables]
        if mine or pictures or numbers:
            summary = report.claims[[place[ident] == section.key for ident in report.claims["id"]]]
            printed = printed_beside_ours(summary, claims, report.opening.played)
            shown.append(_section(section, mine) | {"figures": pictures, "tables": numbers} | _printed(printed))
            shown[-1] |= _reasons(section, findings, place)
            shown[-1] |= {
                "empty": not (pictures or numbers or any(cell["measured"] for cell in mine)),
                "played": _played(report.opening.played, mine, pictures),
            }
    return shown


def _played(played: Mapping[str, str], cells: list[dict[str, Any]], pictures: list[tuple[str, str, str]]) -> str:
    """Which other sets play those that a section names; the encoders' own are told once, above all sections."""
    texts = " ".join([*(cell["quantity"] for cell in cells), *(caption for _, caption, _ in pictures)])
    names = [f"{player} plays {role}" for role, player in played.items()
             if role in texts and not role.startswith(("ImageNet", "CIFAR"))]  # fmt: skip
    return f"In this run {'; '.join(names)}." if names else ""


def _lists_of_cuts(cells: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """(id, cuts) of each list, once, in the order of the claims; each cell is given its list's id."""
    known: dict[tuple[str, ...], str] = {}
    for cell in cells:
        cell["cuts_id"] = known.setdefault(tuple(cell["cuts"]), f"cuts-{len(known) + 1}") if cell["cuts"] else ""
    return [(ident, list(cuts)) for cuts, ident in known.items()]


def _section(section: Section, mine: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = [sum(cell["kind"] == kind for cell in mine) for _, kind, _ in _LOOKS]
    return {
        "key": section.key,
        "name": section.name,
        "subject": section.subject,
        "total": len(mine),
        "counts": _counts(*numbers),
        "decided": [cell for cell in mine if cell["kind"] != "idle"],
        "open": [cell for cell in mine if cell["kind"] == "idle"],
    }


def _printed(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The paper's numbers, with the columns that they need; none for a single one, which stands among the verdicts."""
    columns = [name for name in NAMES.values() if any(name in line["cells"] for line in lines)]
    return {
        "printed": lines if len(lines) > 1 else [],
        "columns": columns,
        "schemes": any(line["scheme"] for line in lines),
    }


def _reasons(section: Section, findings: list[dict[str, Any]], place: dict[str, str]) -> dict[str, Any]:
    """The findings on this section's claims, and the sections where others of its claims are explained.

    A finding stands once: in the first section, in the page's order, of whose claims it speaks.
    """
    names, mine, elsewhere = {one.key: one.name for one in SECTIONS}, [], []
    for found in findings:
        keys = sorted({place[claim] for claim in found["claims"] if claim in place}, key=ORDER.index)
        if not found["text"]:  # no reason: each section tells its own
            if left := [claim for claim in found["claims"] if place.get(claim) == section.key]:
                mine.append(found | {"claims": left, "id": f"none-{section.key}"})
        elif keys[:1] == [section.key]:
            mine.append(found)
        elif section.key in keys:
            elsewhere.append((keys[0], names[keys[0]]))
    return {"findings": mine, "elsewhere": list(dict.fromkeys(elsewhere))}


def _questions(questions: pd.DataFrame) -> list[dict[str, Any]]:
    kinds = {YES: "good", MOSTLY_YES: "good", IN_PART: "bad", MOSTLY_NO: "bad", NO: "bad"}
    return [
        {
            "question": line.question,
            "answer": line.answer,
            "kind": kinds.get(line.answer, "idle"),
            "decisive": _counts(line.held, line.missed, line.undecided),
            "also": _counts(line.also_held, line.also_missed, line.also_undecided),
        }
        for line in questions.itertuples()
    ]


def _groups(cells: list[dict[str, Any]], questions: pd.DataFrame) -> list[tuple[str, list[dict[str, Any]]]]:
    """(question, its claims), the decisive ones first; what no question asks comes last."""
    known = {cell["id"]: cell for cell in cells}
    groups = [(line.question, [known.pop(claim) for claim in line.claims]) for line in questions.itertuples()]
    return [*groups, ("Other claims" if groups else "", list(known.values()))] if known else groups
