"""The answer in five sentences: it changes when the rows do, and never knows an outcome beforehand."""

import pandas as pd
import pytest
from drawn import TAU

from sslauth_utils.claims.questions import OPEN, answer_questions, read_questions
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from sslauth_utils.claims.verifications import honest, verifications
from sslauth_utils.report.answers import (
    disguise,
    five_answers,
    gross_tampering,
    honest_rounding,
    is_trans_needed,
    what_did_not,
)
from sslauth_utils.report.sections import paper_of


@pytest.fixture(scope="module")
def verified(lite):
    return verifications(lite.rows, TAU)


def test_gross_tampering_counts_what_each_scheme_rejects(verified):
    gross = verified.assign(DCmp=False, Trans=False)
    assert gross_tampering(gross, TAU).answer == "Yes:" and "DCmp rejects all and Trans all" in gross_tampering(
        gross, TAU).text  # fmt: skip
    missed = gross.assign(Trans=gross["kind"] == "backdoor")
    assert f"backdoor ({(gross['kind'] == 'backdoor').sum()})" in gross_tampering(missed, TAU).text
    blind = gross.assign(DCmp=True)
    found = gross_tampering(blind, TAU)
    assert (found.answer, found.against) == ("Not always:", True) and "DCmp rejects none" in found.text
    assert "pruning by 10 %" in found.text and "pruning by 5 %" not in found.text


def test_trans_is_needed_where_it_alone_rejects(verified):
    tampers = ~honest(verified)
    number = int(tampers.sum())
    alike = verified.assign(**{"DCmp": True, "DCmp matched": False, "Trans": False})
    found = is_trans_needed(alike, TAU)
    assert (found.answer, found.against) == ("No sign of it:", True)
    assert (
        f"it rejects {number} of {number} tampered" in found.text and "alone rejects 0 and DCmp alone 0;" in found.text
    )
    sharper = alike.assign(**{"DCmp matched": tampers})
    found = is_trans_needed(sharper, TAU)
    assert (found.answer, found.against) == ("Yes:", False) and f"alone rejects {number} and" in found.text


def test_rounding_says_up_to_how_many_decimals(verified):
    never = verified.assign(DCmp=True, Trans=True)
    found = honest_rounding(never, TAU)
    assert found.answer == "No:" and "by DCmp never and by Trans never" in found.text and not found.against
    rounded = verified["tamper"] == "rounded to decimals"
    one = never.assign(Trans=~(rounded & (verified["strength"] == "1")))
    assert honest_rounding(one, TAU).answer == "Only to one decimal:"
    three = never.assign(Trans=~(rounded & (verified["strength"].isin(["1", "3"]))))
    assert (
        "by Trans up to 3 decimals" in honest_rounding(three, TAU).text and honest_rounding(three, TAU).answer == "Yes:"
    )
    casts = never.assign(Trans=verified["kind"] != "honest cast")
    assert honest_rounding(casts, TAU).against, "an honest cast is to pass"


def test_the_disguise_s_way_is_told_with_its_success(verified, lite):
    attacks = lite.measures["07_imitation"]
    hidden = (verified["kind"] == "disguise") & (pd.to_numeric(verified["strength"], errors="coerce") == 10)
    values = attacks.loc[(attacks["quantity"] == "attack success") & (attacks["strength"] == 10), "value"]
    assert 0 < hidden.sum() == len(values) < (verified["kind"] == "disguise").sum(), "Fig. 12's other λ are left out"
    for passes, word, against in (
        ({"DCmp": True, "Trans": True}, "Past Trans, too:", True),
        ({"DCmp": True, "Trans": False}, "Past DCmp only:", False),
        ({"DCmp": False, "Trans": False}, "No:", True),
    ):
        found = disguise(verified.assign(**passes), attacks, TAU)
        assert (found.answer, found.against) == (word, against)
        numbers = [hidden.sum() * passes[scheme] for scheme in ("DCmp", "Trans")]
        said = f"of {hidden.sum()} disguised backdoors with the paper's λ of 10 DCmp at 99.5 % accepts {numbers[0]}, "
        said += f"Trans {numbers[1]} "
        assert found.text.startswith(said)
    assert f"half of them work on {100 * values.median():.0f} %" in found.text
    assert "work" not in disguise(verified, None, TAU).text


def test_what_did_not_come_out_is_counted_by_the_questions(lite):
    questions = read_questions()

    def told(verdict):
        summary = lite.summary.assign(verdict=verdict)
        return what_did_not(summary, answer_questions(summary, questions))

    ours = lite.summary["source"].str.startswith("ours")
    papers = int((~ours & (lite.summary["source"].map(paper_of) == "SSL-Auth")).sum())
    held = told(REPRODUCED)
    assert (held.answer, held.text) == ("Nothing:", f"all {papers} claims that this run decides held.")
    assert told(NOT_TESTED).answer == "Undecided:"
    found = told(NOT_REPRODUCED)
    assert found.answer == "Much:" and found.against and f"{papers} of the {papers} claims of SSL-Auth" in found.text
    alone = lite.summary["verdict"].where(lite.summary["id"] != "matched-pruning", NOT_TESTED)
    alone[:] = REPRODUCED
    alone[lite.summary["id"].str.startswith("fig4-cifar10-dcmp-success")] = NOT_REPRODUCED
    found = told(alone)
    said = f"1 of the {papers} claims of SSL-Auth that this run decides, above all “Is fine-tuning detected?” (1 of 4)."
    assert (found.answer, found.text) == ("Some:", said)


def test_without_rows_the_answers_say_so(lite):
    summary = lite.summary.assign(verdict=NOT_TESTED)
    questions = answer_questions(summary, read_questions())
    assert set(questions["answer"]) == {OPEN}
    answers = five_answers(verifications({}, TAU), None, summary, questions, TAU)
    assert [answer.answer for answer in answers] == ["Not measured:"] * 4 + ["Undecided:"]


def test_every_answer_is_one_sentence(reference):
    questions = answer_questions(reference.summary, read_questions())
    attacks = reference.measures["07_imitation"]
    answers = five_answers(verifications(reference.rows, TAU), attacks, reference.summary, questions, TAU)
    assert [answer.question for answer in answers] == [
        "Is gross tampering detected?", "Is Trans needed?", "Does honest rounding raise alarms?",
        "Does the disguise get through?", "What did not come out?",
    ]  # fmt: skip
    for answer in answers:
        assert answer.answer.endswith(":") and answer.text.endswith(".") and ". " not in answer.text
        assert len(answer.text) < 330 and isinstance(answer.against, bool | pd.BooleanDtype)
