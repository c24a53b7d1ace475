"""Every seed by itself: which verdicts, and which tests of findings, hang on the encoder.

With few seeds an interval says little about other encoders; what one says and another does not, says more.
Where a rule rests on an interval, each seed decides with the others (`judge.Results.judge`).
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sslauth_utils.base.paths import RESULTS
from sslauth_utils.claims import findings, judge, rules
from sslauth_utils.report.tables import Table, with_interval


def seed_tables(
    profile: str,
    tau: float,
    summary: pd.DataFrame,
    reasons: pd.DataFrame,
    seeds: Sequence[int],
    results: Path = RESULTS,
) -> list[Table]:
    """Two tables (heading, how to read it, table) of what the seeds do not agree on; none for a single seed.

    Args:
        summary: of all seeds, as `judge.evaluate` gives it.
        reasons: of all seeds, as `findings.evaluate` gives it.
    """
    if len(seeds) < 2:
        return []
    alone = {seed: judge.evaluate(profile, tau, results, seed) for seed in seeds}
    decided = (summary["verdict"] != rules.NOT_TESTED).to_numpy()
    verdicts = _beside(
        summary[decided].rename(columns={"id": "claim", "verdict": "answer"}),
        {seed: table[decided].rename(columns={"verdict": "answer"}) for seed, table in alone.items()},
        "claim",
    )
    alone = {seed: findings.evaluate(profile, tau, summary, results, seed) for seed in seeds}
    tested = reasons["finding"] != findings.UNEXPLAINED
    for table in alone.values():  # a test that names a seed has no answer from another
        tested = tested & (table["answer"] != findings.NOT_MEASURED)
    answers = _beside(reasons[tested], {seed: table[tested] for seed, table in alone.items()}, "test")
    return [
        ("Every seed by itself: claims", _text("claims that this run decides", verdicts), _differing(verdicts)),
        (
            "Every seed by itself: findings",
            _text("tests of findings that every seed can answer (those written after its rows too)", answers),
            _differing(answers),
        ),
    ]


def _beside(together: pd.DataFrame, alone: dict[int, pd.DataFrame], name: str) -> pd.DataFrame:
    """`name`, the answer of all seeds, and for each seed its number and its answer."""
    columns = {name: together[name].to_numpy(), "all seeds": together["answer"].to_numpy()}
    for seed, table in alone.items():
        lines = zip(table["measured"], table["low"], table["high"], strict=True)
        columns[f"seed {seed} measures"] = ["" if pd.isna(line[0]) else with_interval(*line, 3) for line in lines]
        columns[f"seed {seed}"] = table["answer"].to_numpy()
    return pd.DataFrame(columns)


def _answers(table: pd.DataFrame) -> pd.DataFrame:
    return table[[name for name in table if name.startswith(("all seeds", "seed")) and not name.endswith("measures")]]


def _differing(table: pd.DataFrame) -> pd.DataFrame:
    return table[_answers(table).nunique(axis=1) > 1]


def _text(what: str, table: pd.DataFrame) -> str:
    if table.empty:
        return f"There are no {what}."
    answers = _answers(table)
    same = int((answers.nunique(axis=1) == 1).sum())
    counts = "; ".join(
        f"{column}: " + ", ".join(f"{count} {answer}" for answer, count in answers[column].value_counts().items())
        for column in answers
    )
    others = " The others, with each seed's 95 % intervals, over its keys, images or generators:"
    return (
        f"Of {len(table)} {what}, {same} come out the same with every seed alone and with all together ({counts})."
        + (others if same < len(table) else "")
    )
