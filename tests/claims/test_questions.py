"""The questions: every claim belongs to one, and only decisive ones answer it."""

import pandas as pd
import pytest

from sslauth_utils.base.errors import UserError
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.questions import (
    IN_PART,
    MOSTLY_NO,
    MOSTLY_YES,
    NO,
    OPEN,
    YES,
    answer_questions,
    place,
    read_questions,
)
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED


def test_every_claim_belongs_to_a_question_and_every_pattern_to_a_claim():
    questions, ids = read_questions(), [claim["id"] for claim in read_claims()]
    places = [place(claim, questions) for claim in ids]
    assert None not in places, "a claim without a question"
    assert {number for number, decisive in places if decisive} == set(range(len(questions))), "each can be answered"
    for number, question in enumerate(questions):
        for field in ("decisive", "also"):
            for pattern in question[field]:
                assert any(place(claim, [question | {"also": [], "decisive": [pattern]}]) for claim in ids), pattern
        assert question["question"].endswith("?") and len(question["short"]) <= 20, number


@pytest.mark.parametrize(
    ("decisive", "also", "answer"),
    [
        ([REPRODUCED, NOT_TESTED], NOT_REPRODUCED, YES),
        ([NOT_REPRODUCED, NOT_TESTED], REPRODUCED, NO),
        ([NOT_REPRODUCED, REPRODUCED], REPRODUCED, IN_PART),
        ([NOT_TESTED, NOT_TESTED], REPRODUCED, OPEN),
    ],
)
def test_decisive_claims_alone_answer_and_the_others_are_counted_apart(decisive, also, answer):
    questions = [{"question": "Is it?", "short": "is", "decisive": ["a-*"], "also": ["*-x", "a-*"]}]
    summary = pd.DataFrame({"id": ["a-1", "a-x", "b-x"], "verdict": [*decisive, also]})
    [line] = answer_questions(summary, questions).to_dict("records")
    assert line["answer"] == answer and line["claims"] == ["a-1", "a-x", "b-x"]
    assert line["held"] + line["missed"] + line["undecided"] == 2
    assert line["also_held"] + line["also_missed"] + line["also_undecided"] == 1


@pytest.mark.parametrize(
    ("held", "missed", "answer"),
    [(2, 11, MOSTLY_NO), (1, 2, IN_PART), (6, 7, IN_PART), (2, 1, IN_PART), (7, 1, MOSTLY_YES)],
)
def test_under_a_third_is_mostly_no_and_over_two_thirds_mostly_yes(held, missed, answer):
    questions = [{"question": "Is it?", "short": "is", "decisive": ["a-*"], "also": []}]
    verdicts = [REPRODUCED] * held + [NOT_REPRODUCED] * missed
    summary = pd.DataFrame({"id": [f"a-{number}" for number in range(len(verdicts))], "verdict": verdicts})
    assert answer_questions(summary, questions)["answer"].tolist() == [answer]


def test_a_question_with_a_wrong_field_is_told(tmp_path):
    (tmp_path / "paper.yaml").write_text("- {question: Is it?, short: is, decisive: [], more: []}\n")
    with pytest.raises(UserError, match=r"the question is has the wrong fields: \['also', 'more'\]"):
        read_questions(tmp_path)
