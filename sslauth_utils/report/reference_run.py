"""A committed run, asked for single numbers: what its summary and findings say, and what its rows say beside them."""

from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_json, read_yaml
from sslauth_utils.base.paths import RESULTS
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.judge import Results
from sslauth_utils.claims.measures import MEASURES
from sslauth_utils.claims.rules import NOT_TESTED, REPRODUCED
from sslauth_utils.claims.tolerance import Matched, matched_tolerances
from sslauth_utils.report.sections import PAPERS, paper_of
from sslauth_utils.study.profiles import KEPT
from sslauth_utils.study.rows import load_rows, select


@dataclass(frozen=True)
class Number:
    """A measured number, its 95 % interval and n; of a claim also what the paper says, and the verdict."""

    measured: float
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    paper: str = ""
    verdict: str = ""

    @property
    def hits(self) -> int:
        """Of a share in per cent: how many of the n."""
        return round(self.measured * self.n / 100)

    @property
    def turned(self) -> "Number":
        """What falls by it, of what rises by it."""
        return Number(-self.measured, -self.high, -self.low, self.n, self.paper, self.verdict)


class ReferenceRun:
    """The committed run of a profile.

    Args:
        profile: whose run.
        home: a results folder in which its rows lie as a run's (`reference.restore`).
    """

    def __init__(self, profile: str, home: Path):
        self.profile, self._home, self._folder = profile, home, RESULTS / "reference" / profile
        self._claims = {claim["id"]: claim for claim in read_claims()}
        self._read: dict[tuple[str, str], pd.DataFrame] = {}

    # --- what was run ---

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The parameters of the run by notebook."""
        return read_yaml(self._folder / KEPT)["notebooks"]

    @cached_property
    def models(self) -> dict[str, dict[str, Any]]:
        """The values of the run's classifiers, by their names in the profile."""
        return read_yaml(self._folder / KEPT).get("models", {})

    @cached_property
    def seeds(self) -> list[int]:
        return read_yaml(self._folder / KEPT)["seeds"]

    @property
    def tau(self) -> float:
        return self.settings["90_summary"]["tau"]

    def encoders(self, scenario: str) -> list[dict[str, Any]]:
        """Facts of the committed encoders, accuracies among them, seed by seed."""
        return [read_json(path) for path in sorted((self._folder / "encoders").glob(f"{scenario}-s*.json"))]

    # --- what its summary and its findings say ---

    @cached_property
    def summary(self) -> pd.DataFrame:
        """By the claims' ids."""
        return pd.read_csv(self._folder / "summary.csv").set_index("id", drop=False)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """By the findings' ids, a line a test."""
        return pd.read_csv(self._folder / "findings.csv").set_index("finding", drop=False)

    @property
    def papers(self) -> pd.DataFrame:
        """Of the summary, the claims that SSL-Auth itself makes."""
        of_ssl_auth = self.summary["source"].map(paper_of) == PAPERS[0]
        return self.summary[of_ssl_auth & ~self.summary["source"].str.startswith("ours")]

    def claim(self, name: str) -> Number:
        """What was measured for a claim."""
        line = self.summary.loc[name]
        n = 0 if pd.isna(line["n"]) else int(line["n"])
        return Number(line["measured"], line["low"], line["high"], n, line["paper"], line["verdict"])

    def claims(self, *patterns: str) -> list[Number]:
        """`claim` for all whose id fits one of the patterns ("table1-*-attack").

        Raises:
            UserError: a pattern fits none, or one without its rows.
        """
        found = []
        for pattern in patterns:
            names = [name for name in self.summary.index if fnmatch(name, pattern)]
            if not names or self.summary.loc[names, "measured"].isna().any():
                raise UserError(f"{pattern} fits no claim of {self.profile}, or one that was not measured.")
            found += [self.claim(name) for name in names]
        return found

    def tests(self, finding: str) -> list[Number]:
        """What the tests of a finding measured; the verdict is their answer."""
        lines = self.findings.loc[[finding]].itertuples()
        return [Number(line.measured, line.low, line.high, int(line.n), verdict=line.answer) for line in lines]

    # --- what its rows say ---

    def rows(self, notebook: str, table: str = "rows") -> pd.DataFrame:
        """All rows, or all measures, of a notebook."""
        if (notebook, table) not in self._read:
            self._read[notebook, table] = load_rows(self.profile, notebook, self._home, table)
        return self._read[notebook, table]

    def has(self, notebook: str) -> bool:
        """Whether it was run."""
        return (self._home / self.profile / notebook).is_dir()

    @cached_property
    def tolerances(self) -> dict[tuple[str, int], Matched]:
        """Of each encoder, DCmp's tolerance that matches Trans."""
        return matched_tolerances(self.rows("03_verify_intact"), self.tau)

    def measure(self, name: str, notebook: str, where: dict[str, Any], table: str = "rows", **fields: Any) -> Number:
        """A measure of claims (`measures.MEASURES`) on the rows at `where`; `fields` are a claim's others."""
        claim = {"where": where, "rule": {}, "tolerances": self.tolerances} | fields
        return Number(*MEASURES[name](select(self.rows(notebook, table), where), self.tau, claim))

    def each(self, name: str, notebook: str, where: dict[str, Any], table: str = "rows", **fields: Any) -> list[Number]:
        """`measure` for every encoder by itself."""
        rows = select(self.rows(notebook, table), where)
        encoders = dict.fromkeys(zip(rows["scenario"], rows["seed"], strict=True))
        wheres = [where | {"scenario": scenario, "seed": seed} for scenario, seed in encoders]
        return [self.measure(name, notebook, one, table, **fields) for one in wheres]

    def narrowed(self, claim: str, **where: Any) -> Number:
        """What fewer of the rows measure for a claim: those of one seed or of one classifier, say."""
        asked = self._claims[claim]
        fields = {name: asked[name] for name in ("versus", "rule") if name in asked}
        rows = asked["where"] | where
        return self.measure(asked["measure"], asked["notebook"], rows, asked.get("table", "rows"), **fields)

    def seeds_of(self, claim: str) -> list[int]:
        """The seeds whose rows decide a claim; none where one encoder has more of them than another."""
        asked = self._claims[claim]
        rows = select(self.rows(asked["notebook"], asked.get("table", "rows")), asked["where"])
        seeds = {tuple(sorted(part.unique())) for _, part in rows.groupby("scenario")["seed"]}
        return list(seeds.pop()) if len(seeds) == 1 else []

    def alone(self, claim: str) -> list[Number]:
        """What the rows of every seed by itself measure for a claim."""
        return [self.narrowed(claim, seed=seed) for seed in self.seeds_of(claim)]

    def met(self, seed: int | None = None) -> dict[str, bool]:
        """Of each claim that the rows, or one seed's, decide, whether its rule is met."""
        results = Results(self.profile, self.tau, self._home, seed)
        asked = [claim for claim in self._claims.values() if self.profile in claim["tested_in"]]
        judged = {claim["id"]: results.judge(claim) for claim in asked}
        return {name: found[1] for name, found in judged.items() if found}

    def alike(self) -> tuple[int, int]:
        """How many verdicts are the same with all seeds and with each alone, and how many each decides alone."""
        alone, decided = [self.met(seed) for seed in self.seeds], self.summary[self.summary["verdict"] != NOT_TESTED]
        together = {name: verdict == REPRODUCED for name, verdict in decided["verdict"].items()
                    if all(name in one for one in alone)}  # fmt: skip
        return sum(all(one[name] == met for one in alone) for name, met in together.items()), len(together)
