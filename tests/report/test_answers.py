"""The five answers: they change when the rows do, and never know an outcome beforehand."""

import re

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
    backdoors = (gross["kind"] == "backdoor").sum()
    assert gross_tampering(missed, TAU).text.endswith(f"Only {backdoors} backdoors pass, and only Trans.")
    blind = gross.assign(DCmp=True)
    found = gross_tampering(blind, TAU)
    assert (found.answer, found.against) == ("Not always:", True) and "DCmp rejects none" in found.text
    assert "prunings by 10 %" in found.text and "by 5 %" not in found.text
    assert "; Trans accepts" in gross_tampering(gross.assign(DCmp=True, Trans=True), TAU).text


def test_gross_tampering_says_of_how_many_changes_its_verifications_are(verified):
    gross = verified.assign(DCmp=False, Trans=False)
    tuned = gross[gross["kind"] == "fine-tuning"].drop_duplicates(["scenario", "seed", "tamper"])
    epochs = (gross["kind"] == "fine-tuning").sum()
    assert 0 < len(tuned) < epochs, "an epoch is a verification, not a fine-tuning"
    assert (
        f"verifications, from {len(tuned)} fine-tunings, 12 backdoors and 36 prunings by 10 % or more of 4 encoders."
        in gross_tampering(gross, TAU).text
    )
    one = gross[(gross["kind"] == "backdoor") & (gross["seed"] == 0) & (gross["scenario"] == "cifar10")].iloc[:1]
    assert "of 1 verifications, from 1 backdoor of 1 encoder." in gross_tampering(one, TAU).text


def test_trans_is_needed_where_it_alone_rejects(verified):
    tampers = ~honest(verified)
    number = int(tampers.sum())
    alike = verified.assign(**{"DCmp": True, "DCmp matched": False, "Trans": False})
    found = is_trans_needed(alike, TAU)
    assert (found.answer, found.against) == ("No sign of it:", True)
    assert f"of {number} tampered encoders DCmp at 99.5 % accepts {number}; Trans rejects {number} of" in found.text
    assert "With DCmp made as strict as Trans, Trans alone rejects 0 and DCmp alone 0." in found.text
    sharper = alike.assign(**{"DCmp matched": tampers})
    found = is_trans_needed(sharper, TAU)
    assert (found.answer, found.against) == ("Yes:", False) and f"alone rejects {number} and" in found.text


def test_what_lies_near_the_tolerance_is_told_with_the_n_of_its_claims(verified, lite):
    asked = lite.summary[lite.summary["id"].str.startswith("matched-")]
    sizes = sorted(set(asked["n"]))
    assert f"the claims on it rest on n = {sizes[0]} and {sizes[1]} an encoder" in is_trans_needed(
        verified, TAU, lite.summary).text  # fmt: skip
    undecided = lite.summary.assign(verdict=NOT_TESTED)
    assert "to tell." in is_trans_needed(verified, TAU, undecided).text


def _small(trans):
    """Six honest roundings and four prunings as small; DCmp, matched on the roundings, rejects the two larger ones."""
    steps = {"rounding step": [1e-4, 2e-4, 4e-4, 8e-4, 16e-4, 32e-4], "pruning": [3e-4, 5e-4, 12e-4, 24e-4]}
    lines = []
    for tamper, losses in steps.items():
        for nth, loss in enumerate(losses):
            about = {"scenario": "cifar10", "seed": 0, "keys": "ood", "tamper": tamper, "strength": nth, "key": 0}
            shown = trans[nth] if tamper == "pruning" else 1 - 6 * loss
            lines += [
                about | {"scheme": "DCmp", "similarity": 1 - loss},
                about | {"scheme": "Trans", "similarity": shown},
            ]
    return pd.DataFrame(lines)


def test_tampers_as_small_as_the_tolerance_say_whether_trans_is_needed(verified):
    alike = verified.assign(**{"DCmp": True, "DCmp matched": False, "Trans": False})
    found = is_trans_needed(alike, TAU, small=_small([0.999, 0.999, 0.999, 0.9]))
    assert (found.answer, found.against) == ("No sign of it:", True)
    near = "Of 4 smaller tampers, 3 near that tolerance, Trans alone rejects"
    assert found.text.endswith(f"{near} 0 and DCmp alone 1.")
    found = is_trans_needed(alike, TAU, small=_small([0.9, 0.9, 0.9, 0.9]))
    assert (found.answer, found.against) == ("Yes:", False) and "Trans alone rejects 2 and DCmp alone 0." in found.text
    assert "to tell" in is_trans_needed(alike, TAU, small=_small([0.9] * 4)[:0]).text, "no rows, no sentence"


def test_an_untrained_generator_that_rejects_is_told_if_there_are_rows(verified, lite):
    rows = lite.rows["10_generator_objective"]
    untrained = rows[(rows["scheme"] == "Trans G_ini") & (rows["tamper"] == "disguised stl10")]
    trials = len(untrained.drop_duplicates(["scenario", "seed", "keys"]))
    told = is_trans_needed(verified, TAU, lite.summary, rows).text
    assert told.endswith(f"An untrained generator rejects the disguise in {trials} of {trials} trials.")
    blind = is_trans_needed(verified, TAU, lite.summary, rows.assign(similarity=1.0)).text
    assert blind.endswith(f"rejects the disguise in 0 of {trials} trials.")
    assert "untrained" not in is_trans_needed(verified, TAU, lite.summary, rows[rows["scheme"] == "DCmp"]).text


def test_rounding_says_up_to_how_many_decimals(verified):
    never = verified.assign(DCmp=True, Trans=True)
    found = honest_rounding(never, TAU)
    assert found.answer == "No:" and "by DCmp never and by Trans never" in found.text and not found.against
    rounded = verified["tamper"] == "rounded to decimals"
    one = never.assign(Trans=~(rounded & (verified["strength"] == "1")))
    assert honest_rounding(one, TAU).answer == "Only to one decimal:"
    three = never.assign(Trans=~(rounded & (verified["strength"].isin(["1", "3"]))))
    told = honest_rounding(three, TAU)
    assert told.answer == "Yes:" and "by Trans when it keeps 3 or fewer decimals." in told.text
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
    good = (values > 0.95).sum()
    assert f"{good} of {len(values)} work on more than 95 %" in found.text
    assert f"the worst on {100 * values.min():.0f} %." in found.text
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
    said = f"1 of the {papers} claims of SSL-Auth that this run decides. "
    said += "Decisive ones: 1 of 4 on “Is fine-tuning detected?”. Most in Fig. 4, 1 of 10."
    assert (found.answer, found.text) == ("Some:", said)


def test_without_rows_the_answers_say_so(lite):
    summary = lite.summary.assign(verdict=NOT_TESTED)
    questions = answer_questions(summary, read_questions())
    assert set(questions["answer"]) == {OPEN}
    answers = five_answers(verifications({}, TAU), None, summary, questions, TAU)
    assert [answer.answer for answer in answers] == ["Not measured:"] * 4 + ["Undecided:"]


def test_every_answer_is_a_few_short_sentences(reference):
    questions = answer_questions(reference.summary, read_questions())
    attacks = reference.measures["07_imitation"]
    generators = reference.rows["10_generator_objective"]
    answers = five_answers(verifications(reference.rows, TAU), attacks, reference.summary, questions, TAU, generators)
    assert [answer.question for answer in answers] == [
        "Is gross tampering detected?", "Is Trans needed?", "Does honest rounding raise alarms?",
        "Does the disguise get through?", "What did not come out?",
    ]  # fmt: skip
    for answer in answers:
        assert answer.answer.endswith(":") and answer.text.endswith(".") and "(" not in answer.text
        assert len(re.findall(r"\. (?=[A-Z\d])", answer.text)) <= 3 and len(answer.text) < 330
        assert isinstance(answer.against, bool | pd.BooleanDtype)
