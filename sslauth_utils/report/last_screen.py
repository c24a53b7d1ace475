"""What a run ends with: one screen that says what held, what did not, what stands out, and where the report lies.

Standard library only: it reads the files that the summary left.
"""

import csv
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from sslauth_utils.base.errors import UserError
from sslauth_utils.claims.cut_texts import WITHOUT, parted
from sslauth_utils.report.sections import PAPERS, SIGNS, UNDECIDED, Section, paper_of, scoreboard, totals

FINDINGS = 3
LINES, WIDE = 35, 100  # no more lines on a terminal so wide
#: for terminals that print ASCII only; anything else becomes "?"
ASCII = {
    "−": "-", "–": "-", "≥": ">=", "≤": "<=", "×": "x", "τ": "tau", "λ": "lambda", "κ": "kappa", "§": "", "“": '"',
    "”": '"', "…": "...", "→": "->",
} | {sign: plain for sign, plain, _ in [*SIGNS.values(), UNDECIDED]}  # fmt: skip


def last_screen(
    folder: Path,
    profile: str,
    failed: Sequence[str] = (),
    report: str = "",
    took: str = "",
    width: int = 100,
    encoding: str = "utf-8",
) -> str:
    """At most 35 lines, if `width` is 100: verdicts by table and figure, findings, what failed, the report's place.

    Args:
        folder: that holds the profile's ``summary.csv`` and ``answers.csv``; without the second no findings are shown.
        failed: names of the runs that failed.
        report, took: where the report lies and how long the run took, in words; left out if empty.
        width: of the terminal, in characters.
        encoding: of the terminal.

    Raises:
        UserError: ``summary.csv`` lacks a column.
    """
    claims = _read(folder / "summary.csv", ("source", "verdict", "measured", "cuts"))
    measured = {paper_of(claim["source"]) for claim in claims if claim["measured"]} | {PAPERS[0]}
    absent = [paper for paper in PAPERS if paper not in measured]
    nothing = [f"No rows of {' and '.join(absent)}."] if absent else []
    claims = [claim for claim in claims if paper_of(claim["source"]) in measured]
    counts = scoreboard((claim["source"], claim["verdict"]) for claim in claims)
    signs = "   ".join(f"{sign} {text}" for sign, text in zip(_signs(), _words(), strict=True))
    parts = [
        [*_wrapped(f"Profile {profile}. {totals((one['source'], one['verdict']) for one in claims)}", width)],
        [signs, *_columns([_line(*line) for line in counts], width)],
        _wrapped(" ".join([_undecided(claims, profile), *nothing, *_cut(claims)]), width),
    ]
    if answers := _read(folder / "answers.csv", ("question", "answer", "text", "against"), needed=False):
        sentences = [f"- {one['question']} {one['answer']} {one['text']}" for one in _telling(answers)]
        sentences = sentences if _prints(encoding) else [_plain(sentence) for sentence in sentences]  # some get longer
        parts.append(sentences)
    if failed:
        names = ", ".join(failed[:4]) + (f" and {len(failed) - 4} more" if len(failed) > 4 else "")
        parts.append(_wrapped(f"FAILED: {names}; the reasons stand above.", width))
    parts.append(_wrapped((f"Took {took}. " if took else "") + "./run_all.sh --claims lists every claim.", width))
    if answers:
        room = LINES - sum(len(part) + 1 for part in parts if part is not sentences) - bool(report)
        sentences[:] = _fitting(sentences, room if width >= WIDE else None, width)
    lines = [line for part in parts for line in [*part, ""]][:-1]
    text = "\n".join([*lines, *([f"Report: {report}"] if report else [])])
    return text if _prints(encoding) else _plain(text)


def _read(path: Path, columns: Sequence[str], needed: bool = True) -> list[dict[str, str]]:
    if not needed and not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise UserError(f"{path} lacks the column {missing[0]!r}; run 90_summary again (--figures-only).")
        return list(reader)


def _undecided(claims: Sequence[dict[str, str]], profile: str) -> str:
    """What this profile cannot decide, in a line."""
    left = [claim for claim in claims if claim["verdict"] not in SIGNS and not claim["source"].startswith("ours")]
    shown = sum(bool(claim["measured"]) for claim in left)
    if not left:
        return f"Profile {profile} leaves nothing undecided."
    elsewhere = sum(not claim["measured"] and claim["cuts"].startswith(WITHOUT) for claim in left)
    lacking = len(left) - shown - elsewhere
    reasons = [
        f"{shown} need profile paper's size, our number stands in the report" if shown else "",
        f"{elsewhere} are of what {profile} leaves out" if elsewhere else "",
        f"{lacking} lack rows" if lacking else "",
    ]
    return f"Undecided in {profile}: {'; '.join(filter(None, reasons))}."


def _cut(claims: Sequence[dict[str, str]]) -> list[str]:
    """A sentence on how many stated settings are cut, by paper, in the claims that have numbers; none without any."""
    cut: dict[str, set[str]] = {}
    for claim in claims:
        if claim["measured"]:
            cut.setdefault(paper_of(claim["source"]), set()).update(parted(claim["cuts"]))
    counts = ", ".join(f"{paper} {len(cut[paper])}" for paper in PAPERS if cut.get(paper))
    return [f"Stated settings cut: {counts}; the report names them."] if counts else []


def _telling(answers: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The most telling answers: first those that are not what the paper says, then those on the schemes' limits."""
    order = [1, 3, 2, 0, 4]  # of `answers.five_answers`: Trans, the disguise, rounding, gross tampers, the rest
    ranked = [answers[number] for number in order if number < len(answers)]
    return sorted(ranked, key=lambda answer: answer["against"] != "True")[:FINDINGS]


def _fitting(answers: Sequence[str], room: int | None, width: int) -> list[str]:
    """The answers as lines; where these are more than `room`, the longest loses its last sentence, never its first."""
    parts = [re.split(r"(?<=\.) (?=[A-Z\d])", answer) for answer in answers]
    while True:
        texts = [_wrapped(" ".join(sentences), width, "  ") for sentences in parts]
        longest = max(parts, key=lambda sentences: (len(sentences) > 1, len(" ".join(sentences))))
        if room is None or sum(map(len, texts)) <= room or len(longest) == 1:
            return [line for text in texts for line in text]
        longest.pop()


def _signs() -> list[str]:
    return [sign for sign, *_ in [*SIGNS.values(), UNDECIDED]]


def _words() -> list[str]:
    return ["held", "did not", "cannot be decided here"]


def _line(section: Section, counts: tuple[int, int, int]) -> str:
    numbers = [f"{sign} {count:<3}" if count else " " * 5 for sign, count in zip(_signs(), counts, strict=True)]
    return f"{section.name:<11}{section.subject:<22}{''.join(numbers)}".rstrip()


def _columns(lines: list[str], width: int) -> list[str]:
    """`lines` in two columns, the first half on the left, where they fit."""
    left = max(map(len, lines), default=0) + 3
    if 2 * left - 3 > width:
        return lines
    half = -(-len(lines) // 2)
    right = [*lines[half:], ""]
    return [f"{line:<{left}}{other}".rstrip() for line, other in zip(lines[:half], right, strict=False)]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)


def _prints(encoding: str) -> bool:
    try:
        "".join([*_signs(), *ASCII]).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _plain(text: str) -> str:
    for sign, plain in ASCII.items():
        text = text.replace(sign, plain)
    return text.encode("ascii", "replace").decode()
