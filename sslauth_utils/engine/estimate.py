"""How long a plan takes and what comes from the cache, by earlier runs of the profile or by the reference's."""

import csv
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.fingerprint import meanings
from sslauth_utils.base.paths import RESULTS, ROOT
from sslauth_utils.engine.graph import Run
from sslauth_utils.engine.plan import Pending
from sslauth_utils.study.profiles import load_profile


@dataclass(frozen=True)
class Estimate:
    """What is known of a plan before it runs.

    Attributes:
        seconds: by the run's folder; runs of which nothing is known are missing.
        guessed: of these, the folders of runs that nobody has made yet: the profile says what it expects.
        kept: artifacts that the runs asked for last time and will find again.
        again: those that they will make again.
    """

    seconds: dict[str, float]
    guessed: set[str]
    kept: set[str]
    again: set[str]


def estimate(todo: Sequence[Pending]) -> Estimate:
    """Seconds of each run that is to be made: the notebook's own, and those of the artifacts that it makes again."""
    changed = {(one.run.notebook, name.removeprefix("value ")) for one in todo for name in one.changed}
    data = {name.removeprefix("data ") for one in todo for name in one.changed if name.startswith("data ")}
    artifacts = _Artifacts(todo[0].run.profile, changed, data) if todo else None
    seconds, guessed, kept, again = {}, set(), set(), set()
    for one in todo:
        run = one.run
        last = one.old or _previous(run)
        if "seconds" not in last:
            known = _reference(run.profile).get((run.notebook, run.scenario, run.seed))
            expected = load_profile(run.profile).expected_minutes.get(run.notebook, {}).get(run.scenario)
            if known is not None:
                seconds[run.folder] = known
            elif expected is not None:
                seconds[run.folder] = 60 * expected
                guessed.add(run.folder)
            continue
        own = last["seconds"]
        for name, made in last.get("artifacts", {}).items():
            own -= artifacts.seconds(name) if made else 0
            if not artifacts.again(name):
                kept.add(name)
            elif name not in again:
                again.add(name)
                own += artifacts.seconds(name)
        seconds[run.folder] = max(1.0, own)
    return Estimate(seconds, guessed, kept, again)


def duration(
    runs: Sequence[Run], seconds: Mapping[str, float], workers: int, elapsed: Mapping[str, float] | None = None
) -> float:
    """Seconds until the last of `runs` is done with `workers` at once; those of unknown length count as none.

    Args:
        runs: in an order in which each comes after those that it needs.
        elapsed: of those that have started, for how long they have run.
    """
    elapsed = elapsed or {}
    mine = {run.folder for run in runs}
    left = {run.folder: max(0.0, seconds.get(run.folder, 0.0) - elapsed.get(run.folder, 0.0)) for run in runs}
    waiting = {run.folder: {other.folder for other in run.before} & mine for run in runs}
    order = sorted((run.folder for run in runs), key=lambda folder: folder not in elapsed)  # at work come first
    now, busy = 0.0, []
    while order or busy:
        ready = [folder for folder in order if not waiting[folder]][: workers - len(busy)]
        for folder in ready:
            order.remove(folder)
            heapq.heappush(busy, (now + left[folder], folder))
        now, ended = heapq.heappop(busy)
        for others in waiting.values():
            others.discard(ended)
    return now


def in_words(seconds: float) -> str:
    """``45 s``, ``4 min 10 s``, ``3 h 20 min``, ``5 days``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 600:
        return f"{seconds // 60} min" + (f" {seconds % 60} s" if seconds % 60 else "")
    if seconds < 7200:
        return f"{round(seconds / 60)} min"
    if seconds < 172800:
        return f"{seconds // 3600} h" + (f" {seconds % 3600 // 60} min" if seconds < 36000 else "")
    return f"{round(seconds / 86400)} days"


class _Artifacts:
    """The artifacts of a profile, and which of them what has changed would make again."""

    def __init__(self, profile: str, changed: set[tuple[str, str]], data: set[str]):
        self.changed, self.data = changed, data
        self.made = {path.parent.name: _json(path) for path in (RESULTS / profile / "artifacts").glob("*/made.json")}
        self.by_address = {about.get("address"): name for name, about in self.made.items()}
        self._again: dict[str, bool] = {}

    def seconds(self, name: str) -> float:
        return float(self.made.get(name, {}).get("seconds", 0.0))

    def again(self, name: str) -> bool:
        if name not in self._again:
            self._again[name] = self._is_again(self.made.get(name))
        return self._again[name]

    def _is_again(self, about: Mapping[str, Any] | None) -> bool:
        if not about:
            return True
        values = {(notebook, value) for notebook, named in about["values"].items() for value in named}
        if values & self.changed or set(about["data"]) & self.data:
            return True
        try:
            if meanings([about["recipe"]]) != about["code"]:
                return True
        except UserError:  # its recipe is gone
            return True
        upstream = [self.by_address[address] for address in about["made_from"] if address in self.by_address]
        return any(self.again(other) for other in upstream)


def _previous(run: Run) -> dict[str, Any]:
    """What a run that was begun again, and not ended, had left before."""
    return _json(ROOT / run.folder / "previous.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def _reference(profile: str) -> dict[tuple[str, str | None, int | None], float]:
    """Seconds of the reference's runs, by (notebook, scenario, seed)."""
    path = RESULTS / "reference" / profile / "runs.csv"
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as handle:
        return {
            (line["notebook"], line["scenario"] or None, int(line["seed"]) if line["seed"] else None): float(
                line["seconds"]
            )
            for line in csv.DictReader(handle)
            if line["seconds"]
        }
