"""The questions that a reviewer asks of a paper, each answered by the claims that decide it.

Trivial claims, repetitions and printed numbers stand beside the decisive ones and do not count with them.
"""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml
from sslauth_utils.base.paths import QUESTIONS
from sslauth_utils.claims.rules import NOT_REPRODUCED, REPRODUCED

YES, NO, IN_PART, OPEN = "yes", "no", "in part", "undecided here"
MOSTLY_YES, MOSTLY_NO = "mostly yes", "mostly no"
FIELDS = {"question", "short", "decisive", "also"}


def read_questions(folder: Path = QUESTIONS) -> list[dict[str, Any]]:
    """The questions of all files in `folder`, SSL-Auth's first, in the order in which they stand.

    Raises:
        UserError: one has an unknown field, or lacks one.
    """
    questions = [question for path in _papers(folder) for question in read_yaml(path)]
    for question in questions:
        if wrong := set(question) ^ FIELDS:
            raise UserError(f"{folder}: the question {question.get('short')} has the wrong fields: {sorted(wrong)}.")
    return questions


def _papers(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.yaml"), key=lambda path: (path.stem != "sslauth", path.stem))


def place(claim: str, questions: list[dict[str, Any]]) -> tuple[int, bool] | None:
    """(number of its question, is it decisive there?) of a claim's id; None if no question lists it."""
    for field in ("decisive", "also"):
        for number, question in enumerate(questions):
            if any(fnmatchcase(claim, pattern) for pattern in question[field]):
                return number, field == "decisive"
    return None


def answer_questions(summary: pd.DataFrame, questions: list[dict[str, Any]]) -> pd.DataFrame:
    """One line a question: what its decisive claims say, and how its others came out.

    Args:
        summary: as `judge.evaluate` gives it.

    Returns:
        Columns question, short, answer (`YES` where all decisive claims that are decided here hold, `NO` where none
        does, `MOSTLY_NO` where fewer than a third, `MOSTLY_YES` where more than two thirds do, else `IN_PART`; `OPEN`
        where none is decided), claims (ids, the decisive ones first), and counts held, missed, undecided (of decisive
        claims) and also_held, also_missed, also_undecided.
    """
    places = [place(claim, questions) for claim in summary["id"]]
    lines = []
    for number, question in enumerate(questions):
        line = {"question": question["question"], "short": question["short"], "claims": []}
        for decisive, prefix in ((True, ""), (False, "also_")):
            mine = summary[[found == (number, decisive) for found in places]]
            line["claims"] += mine["id"].tolist()
            held, missed = (int((mine["verdict"] == verdict).sum()) for verdict in (REPRODUCED, NOT_REPRODUCED))
            counts = {"held": held, "missed": missed, "undecided": len(mine) - held - missed}
            line |= {prefix + name: count for name, count in counts.items()}
        lines.append(line | {"answer": _answer(line["held"], line["missed"])})
    return pd.DataFrame(lines)


def _answer(held: int, missed: int) -> str:
    if held + missed == 0:
        return OPEN
    if not held or not missed:
        return YES if held else NO
    share = held / (held + missed)
    return MOSTLY_NO if share < 1 / 3 else MOSTLY_YES if share > 2 / 3 else IN_PART
