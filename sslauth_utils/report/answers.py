"""The five answers, a few short sentences each, computed from the rows: functions of verifications and verdicts."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from sslauth_utils.claims.near import ROUNDING, verdicts
from sslauth_utils.claims.rules import NOT_REPRODUCED, REPRODUCED
from sslauth_utils.claims.verifications import honest
from sslauth_utils.report.sections import PAPERS, paper_of, section_of
from sslauth_utils.study.rows import select

GROSS = 0.1  # pruning rate from which on a pruning is gross
NEAR = 10  # a change within this factor of the tolerance can tell two schemes apart
WORKS = 0.95  # attack success: the paper says of its attacks that they are above it
LAMBDA = 10  # §5.3: the weight of the disguise, "here we choose 10"; others are Fig. 12's


@dataclass(frozen=True)
class Answer:
    """A question, what the rows answer in a word, and the numbers in a few short sentences.

    Attributes:
        against: whether the answer is not what the paper says.
    """

    question: str
    answer: str
    text: str
    against: bool


def five_answers(
    verified: pd.DataFrame,
    attacks: pd.DataFrame | None,
    summary: pd.DataFrame,
    questions: pd.DataFrame,
    tau: float,
    generators: pd.DataFrame | None = None,
    small: pd.DataFrame | None = None,
) -> list[Answer]:
    """The five answers; those whose rows are missing say so.

    Args:
        verified: as `verifications.verifications` gives them.
        attacks: measures of 07_imitation, None if there are none.
        summary: as `judge.evaluate` gives it.
        questions: as `questions.answer_questions` gives them.
        tau: both schemes' tolerance.
        generators: rows of 10_generator_objective, None if there are none.
        small: rows of 15_near_tolerance, None if there are none.
    """
    return [
        gross_tampering(verified, tau),
        is_trans_needed(verified, tau, summary, generators, small),
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
    text = (
        f"at {100 * tau:g} % DCmp rejects {rejected['DCmp']} and Trans {rejected['Trans']} of {len(gross)} "
        f"verifications, {_sizes(gross)}.{_let_through(passed)}"
    )
    return Answer(question, word, text, caught < 0.9)


def _sizes(gross: pd.DataFrame) -> str:
    """Of how many independent changes and encoders: the epochs of one fine-tuning are one."""
    each = gross.drop_duplicates(["scenario", "seed", "kind", "tamper"])["kind"].value_counts()
    each["pruning"] = int((gross["kind"] == "pruning").sum())
    names = [("fine-tuning", "fine-tuning"), ("backdoor", "backdoor"), ("pruning", f"pruning by {100 * GROSS:g} %")]
    parts = [
        _many(each[kind], name) + (" or more" if kind == "pruning" else "") for kind, name in names if each.get(kind, 0)
    ]
    encoders = len(gross.drop_duplicates(["scenario", "seed"]))
    return f"from {_listed(parts)} of {_many(encoders, 'encoder')}"


def _let_through(passed: dict[str, pd.DataFrame]) -> str:
    """What each scheme accepts, in a sentence; of one kind and one scheme in words."""
    found = {scheme: _named(lines) for scheme, lines in passed.items() if len(lines)}
    if not found:
        return ""
    if len(found) == 1:
        [(scheme, names)] = found.items()
        if len(names) == 1:
            [(name, count)] = names.items()
            return f" Only {_many(count, name)} {'passes' if count == 1 else 'pass'}, and only {scheme}."
    told = [f"{scheme} accepts " + _listed([_many(count, name) for name, count in names.items()])
            for scheme, names in found.items()]  # fmt: skip
    return f" {'; '.join(told)}."


def is_trans_needed(
    verified: pd.DataFrame,
    tau: float,
    summary: pd.DataFrame | None = None,
    generators: pd.DataFrame | None = None,
    small: pd.DataFrame | None = None,
) -> Answer:
    """Whether Trans rejects tampers that DCmp, given the same strictness, accepts; and whether G must be trained."""
    question = "Is Trans needed?"
    tampers = verified[~honest(verified)]
    if tampers.empty:
        return _nothing(question)
    dcmp, matched, trans = (tampers[name].astype(bool) for name in ("DCmp", "DCmp matched", "Trans"))
    alone, other = int((matched & ~trans).sum()), int((~matched & trans).sum())
    if small is not None and len(small):
        fine = verdicts(small, tau).loc[lambda table: table["tamper"] != ROUNDING]
        finer, coarser = int((fine["dcmp"] & ~fine["trans"]).sum()), int((~fine["dcmp"] & fine["trans"]).sum())
        rest = (
            f"Of {len(fine)} smaller tampers, {int(fine['near'].sum())} near that tolerance, Trans alone rejects "
            f"{finer} and DCmp alone {coarser}."
        )
    else:
        finer, coarser = 0, 0
        near = (np.log10(tampers["change"].clip(lower=1e-12) / tampers["matched"]).abs() <= np.log10(NEAR)).sum()
        rest = f"Only {near} lie near enough to the tolerance to tell{_rests_on(summary)}."
    more, fewer = alone + finer, other + coarser
    word = "Yes:" if more > fewer else "No sign of it:" if not more else "Hardly:"
    text = (
        f"of {len(tampers)} tampered encoders DCmp at {100 * tau:g} % accepts {int(dcmp.sum())}; Trans rejects "
        f"{int((dcmp & ~trans).sum())} of these. With DCmp made as strict as Trans, Trans alone rejects {alone} and "
        f"DCmp alone {other}. {rest}{_untrained(generators, tau)}"
    )
    return Answer(question, word, text, more <= fewer)


def _rests_on(summary: pd.DataFrame | None) -> str:
    """On how many near tampers of an encoder the claims on an equally strict DCmp rest."""
    if summary is None:
        return ""
    asked = summary[summary["id"].str.startswith("matched-") & summary["verdict"].isin([REPRODUCED, NOT_REPRODUCED])]
    sizes = sorted({int(n) for n in asked["n"].dropna()})
    return f", and the claims on it rest on n = {_listed([str(n) for n in sizes])} an encoder" if sizes else ""


def _untrained(generators: pd.DataFrame | None, tau: float) -> str:
    """How many disguised encoders an untrained generator rejects: whether it must be trained."""
    if generators is None or generators.empty:
        return ""
    where = {"tamper": "disguised stl10", "scheme": "Trans G_ini", "strength": LAMBDA}
    rows = select(generators, where)
    if rows.empty:
        return ""
    passed = rows.groupby(["scenario", "seed", "keys"])["similarity"].min() > tau
    return f" An untrained generator rejects the disguise in {int((~passed).sum())} of {len(passed)} trials."


def honest_rounding(verified: pd.DataFrame, tau: float) -> Answer:
    """Which honest changes are rejected: rounding by decimals, then runs and casts."""
    question = "Does honest rounding raise alarms?"
    rounded = verified[verified["tamper"] == "rounded to decimals"]
    if rounded.empty:
        return _nothing(question)
    decimals = pd.to_numeric(rounded["strength"]).astype(int)
    alarms = {scheme: decimals[~rounded[scheme].astype(bool)].max() for scheme in ("DCmp", "Trans")}
    said = " and by ".join(f"{scheme} {_up_to(most)}" for scheme, most in alarms.items())
    quiet = verified[verified["kind"].isin(["honest run", "honest cast"])]
    wrong = {scheme: int((quiet[scheme] == False).sum()) for scheme in ("DCmp", "Trans", "SHA-256")}  # noqa: E712
    highest = max((most for most in alarms.values() if not pd.isna(most)), default=0)
    word = "Yes:" if highest >= 2 else "Only to one decimal:" if highest else "No:"
    text = (
        f"the rounded answer of an intact encoder is rejected by {said}. Of {len(quiet)} honest runs and casts DCmp "
        f"rejects {wrong['DCmp']}, Trans {wrong['Trans']} and SHA-256 {wrong['SHA-256']}."
    )
    return Answer(question, word, text, bool(wrong["DCmp"] or wrong["Trans"]))


def _up_to(most: float) -> str:
    """When an answer that keeps at most so many decimals is rejected."""
    if pd.isna(most):
        return "never"
    return "when it keeps 1 decimal" if most == 1 else f"when it keeps {int(most)} or fewer decimals"


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
        f"{passed['Trans']} and a DCmp as strict as Trans {passed['DCmp matched']}.{_success(attacks)}"
    )
    return Answer(question, word, text, bool(passed["Trans"] or not passed["DCmp"]))


def _success(attacks: pd.DataFrame | None) -> str:
    """How often the disguised backdoors of weight `LAMBDA` work, a sentence."""
    if attacks is None or attacks.empty:
        return ""
    values = select(attacks, {"quantity": "attack success", "strength": LAMBDA})["value"]
    if values.empty:
        return ""
    if len(values) == 1:
        return f" It works on {100 * values.iloc[0]:.0f} % of triggered images."
    good, worst = int((values > WORKS).sum()), 100 * values.min()
    return (
        f" {good} of {len(values)} work on more than {100 * WORKS:g} % of triggered images, the worst on {worst:.0f} %."
    )


def what_did_not(summary: pd.DataFrame, questions: pd.DataFrame) -> Answer:
    """How many claims did not come out, which questions miss most decisive ones, and which table misses most."""
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
    against = asked[asked["missed"] > 0].assign(share=lambda lines: lines["missed"] / (lines["held"] + lines["missed"]))
    worst = against.sort_values(["share", "missed"], ascending=False, kind="stable").head(3)
    named = [f"{line.missed} of {line.held + line.missed} on “{line.question}”" for line in worst.itertuples()]
    text = f"{missed} of the {len(decided)} claims of SSL-Auth that this run decides." + (
        f" Decisive ones: {', '.join(named)}." if named else ""
    )
    text += _most_missed(decided)
    return Answer(question, "Much:" if missed / len(decided) > 0.25 else "Some:", text, True)


def _most_missed(decided: pd.DataFrame) -> str:
    """The table or figure with most claims that did not come out, a sentence; the paper's first of equals."""
    places = decided["source"].map(lambda source: section_of(source).name)
    missed = places[decided["verdict"] == NOT_REPRODUCED].value_counts()
    name = missed.index[0]
    return f" Most in {name}, {missed.iloc[0]} of {int((places == name).sum())}."


def _nothing(question: str) -> Answer:
    return Answer(question, "Not measured:", f"there are no rows that answer “{question}”", False)


def _of(count: int, total: int) -> str:
    return "all" if count == total else "none" if not count else str(count)


def _named(lines: pd.DataFrame) -> dict[str, int]:
    """Kinds of tampers with their count, the most frequent first; prunings by their rate."""
    rates = pd.to_numeric(lines["strength"], errors="coerce").fillna(0)
    names = [
        f"{kind} by {100 * rate:g} %" if kind == "pruning" else kind
        for kind, rate in zip(lines["kind"], rates, strict=True)
    ]
    return pd.Series(names).value_counts().to_dict()


def _many(count: int, name: str) -> str:
    """ "1 pruning by 10 %", "3 prunings by 10 %"."""
    noun, *rest = name.split(" ")
    return " ".join([str(count), noun + ("" if count == 1 else "s"), *rest])


def _listed(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
