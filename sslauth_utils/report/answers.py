"""The answer in five sentences, each computed from the rows: pure functions of verifications and verdicts."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from sslauth_utils.claims.questions import IN_PART, NO
from sslauth_utils.claims.rules import NOT_REPRODUCED, REPRODUCED
from sslauth_utils.claims.verifications import honest
from sslauth_utils.report.sections import PAPERS, paper_of
from sslauth_utils.study.rows import select

GROSS = 0.1  # pruning rate from which on a pruning is gross
NEAR = 10  # a change within this factor of the tolerance can tell two schemes apart
LAMBDA = 10  # §5.3: the weight of the disguise, "here we choose 10"; others are Fig. 12's


@dataclass(frozen=True)
class Answer:
    """A question, what the rows answer in a word, and the numbers in a sentence.

    Attributes:
        against: whether the answer is not what the paper says.
    """

    question: str
    answer: str
    text: str
    against: bool


def five_answers(
    verified: pd.DataFrame, attacks: pd.DataFrame | None, summary: pd.DataFrame, questions: pd.DataFrame, tau: float
) -> list[Answer]:
    """The five answers; those whose rows are missing say so.

    Args:
        verified: as `verifications.verifications` gives them.
        attacks: measures of 07_imitation, None if there are none.
        summary: as `judge.evaluate` gives it.
        questions: as `questions.answer_questions` gives them.
        tau: both schemes' tolerance.
    """
    return [
        gross_tampering(verified, tau),
        is_trans_needed(verified, tau),
        honest_rounding(verified, tau),
        disguise(verified, attacks, tau),
        what_did_not(summary, questions),
    ]


def answers_table(answers: list[Answer]) -> pd.DataFrame:
    """The answers as they are kept in ``answers.csv``."""
    return pd.DataFrame([asdict(answer) for answer in answers])


def gross_tampering(verified: pd.DataFrame, tau: float) -> Answer:
    """Whether fine-tuned, backdoored and by 10 % or more pruned encoders are rejected."""
    question = "Is gross tampering detected?"
    rates = pd.to_numeric(verified["strength"].where(verified["kind"] == "pruning"), errors="coerce")
    gross = verified[verified["kind"].isin(["fine-tuning", "backdoor"]) | (rates >= GROSS - 1e-9)]
    if gross.empty:
        return _nothing(question)
    passed = {scheme: gross[gross[scheme].astype(bool)] for scheme in ("DCmp", "Trans")}
    caught = min(1 - len(lines) / len(gross) for lines in passed.values())
    word = "Yes:" if caught == 1 else "Nearly always:" if caught >= 0.9 else "Not always:"
    rejected = {scheme: _of(len(gross) - len(lines), len(gross)) for scheme, lines in passed.items()}
    through = gross[gross["DCmp"].astype(bool) | gross["Trans"].astype(bool)]
    text = (
        f"at {100 * tau:g} % DCmp rejects {rejected['DCmp']} and Trans {rejected['Trans']} of {len(gross)} "
        f"verifications of fine-tuned, backdoored and by {100 * GROSS:g} % or more pruned encoders"
        + (f"; what passes one of them is {_named(through)}." if len(through) else ".")
    )
    return Answer(question, word, text, caught < 0.9)


def is_trans_needed(verified: pd.DataFrame, tau: float) -> Answer:
    """Whether Trans rejects tampers that DCmp, given the same strictness, accepts."""
    question = "Is Trans needed?"
    tampers = verified[~honest(verified)]
    if tampers.empty:
        return _nothing(question)
    dcmp, matched, trans = (tampers[name].astype(bool) for name in ("DCmp", "DCmp matched", "Trans"))
    alone, other = int((matched & ~trans).sum()), int((~matched & trans).sum())
    near = (np.log10(tampers["change"].clip(lower=1e-12) / tampers["matched"]).abs() <= np.log10(NEAR)).sum()
    word = "Yes:" if alone > other else "No sign of it:" if not alone else "Hardly:"
    text = (
        f"at {100 * tau:g} % it rejects {int((dcmp & ~trans).sum())} of {len(tampers)} tampered encoders that DCmp "
        "accepts, but if DCmp is made as strict (it then accepts the honest changes that Trans accepts, and no others) "
        f"Trans alone rejects {alone} and DCmp alone {other}; {near} lie near enough to the tolerance to tell."
    )
    return Answer(question, word, text, alone <= other)


def honest_rounding(verified: pd.DataFrame, tau: float) -> Answer:
    """Which honest changes are rejected: rounding by decimals, then runs and casts."""
    question = "Does honest rounding raise alarms?"
    rounded = verified[verified["tamper"] == "rounded to decimals"]
    if rounded.empty:
        return _nothing(question)
    decimals = pd.to_numeric(rounded["strength"]).astype(int)
    alarms = {scheme: decimals[~rounded[scheme].astype(bool)].max() for scheme in ("DCmp", "Trans")}
    said = " and by ".join(
        f"{scheme} {'never' if pd.isna(most) else f'up to {int(most)} decimal' + ('s' if most > 1 else '')}"
        for scheme, most in alarms.items()
    )
    quiet = verified[verified["kind"].isin(["honest run", "honest cast"])]
    wrong = {scheme: int((quiet[scheme] == False).sum()) for scheme in ("DCmp", "Trans", "SHA-256")}  # noqa: E712
    highest = max((most for most in alarms.values() if not pd.isna(most)), default=0)
    word = "Yes:" if highest >= 2 else "Only to one decimal:" if highest else "No:"
    text = (
        f"the rounded answer of an intact encoder is rejected by {said}, while of {len(quiet)} honest runs and casts "
        f"DCmp rejects {wrong['DCmp']}, Trans {wrong['Trans']} and SHA-256 {wrong['SHA-256']}."
    )
    return Answer(question, word, text, bool(wrong["DCmp"] or wrong["Trans"]))


def disguise(verified: pd.DataFrame, attacks: pd.DataFrame | None, tau: float) -> Answer:
    """Which schemes a backdoor that knows the keys gets past, and whether it still works."""
    question = "Does the disguise get through?"
    weights = pd.to_numeric(verified["strength"].where(verified["kind"] == "disguise"), errors="coerce")
    hidden = verified[weights == LAMBDA]
    if hidden.empty:
        return _nothing(question)
    passed = {name: int(hidden[name].astype(bool).sum()) for name in ("DCmp", "DCmp matched", "Trans")}
    word = "Past Trans, too:" if passed["Trans"] else "Past DCmp only:" if passed["DCmp"] else "No:"
    text = (
        f"of {len(hidden)} disguised backdoor{'s' if len(hidden) > 1 else ''} with the paper's λ of {LAMBDA} "
        f"DCmp at {100 * tau:g} % accepts {passed['DCmp']}, Trans "
        f"{passed['Trans']} and a DCmp as strict as Trans {passed['DCmp matched']}{_success(attacks)}."
    )
    return Answer(question, word, text, bool(passed["Trans"] or not passed["DCmp"]))


def _success(attacks: pd.DataFrame | None) -> str:
    """How often the disguised backdoors of weight `LAMBDA` work."""
    if attacks is None or attacks.empty:
        return ""
    values = 100 * select(attacks, {"quantity": "attack success", "strength": LAMBDA})["value"]
    if values.empty:
        return ""
    if len(values) == 1:
        return f"; it works on {values.iloc[0]:.0f} % of triggered images"
    return (
        f"; half of them work on {values.median():.0f} % of triggered images or more, the worst on {values.min():.0f} %"
    )


def what_did_not(summary: pd.DataFrame, questions: pd.DataFrame) -> Answer:
    """How many claims did not come out, and which questions are answered against the paper."""
    question = "What did not come out?"
    papers = summary[~summary["source"].str.startswith("ours") & (summary["source"].map(paper_of) == PAPERS[0])]
    decided = papers[papers["verdict"].isin([REPRODUCED, NOT_REPRODUCED])]
    missed = int((decided["verdict"] == NOT_REPRODUCED).sum())
    if decided.empty:
        return Answer(question, "Undecided:", "this profile is too small to decide any claim.", False)
    if not missed:
        return Answer(question, "Nothing:", f"all {len(decided)} claims that this run decides held.", False)
    ids = set(papers["id"])
    asked = questions[[bool(ids & set(claims)) for claims in questions["claims"]]] if len(questions) else questions
    against = asked[asked["answer"].isin([NO, IN_PART])].assign(
        share=lambda lines: lines["missed"] / (lines["held"] + lines["missed"])
    )
    worst = against.sort_values(["share", "missed"], ascending=False, kind="stable").head(3)
    named = "; ".join(f"“{line.question}” ({line.missed} of {line.held + line.missed})" for line in worst.itertuples())
    text = f"{missed} of the {len(decided)} claims of SSL-Auth that this run decides" + (
        f", above all {named}." if named else "."
    )
    return Answer(question, "Much:" if missed / len(decided) > 0.25 else "Some:", text, True)


def _nothing(question: str) -> Answer:
    return Answer(question, "Not measured:", f"there are no rows that answer “{question}”", False)


def _of(count: int, total: int) -> str:
    return "all" if count == total else "none" if not count else str(count)


def _named(lines: pd.DataFrame) -> str:
    """Kinds of tampers with their count, the most frequent first; prunings by their rate."""
    rates = pd.to_numeric(lines["strength"], errors="coerce").fillna(0)
    names = [
        f"{kind} by {100 * rate:g} %" if kind == "pruning" else kind
        for kind, rate in zip(lines["kind"], rates, strict=True)
    ]
    return ", ".join(f"{name} ({count})" for name, count in pd.Series(names).value_counts().items())
