"""What a run says while it works: one line in place on a terminal, lines in a pipe or a file."""

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from sslauth_utils.base.paths import ROOT
from sslauth_utils.engine.estimate import duration, in_words
from sslauth_utils.engine.graph import Run

ENDED = ("done", "failed")


def status(run: Run) -> dict[str, Any]:
    """What the run last said of itself; state "waiting" if it has not started."""
    try:
        return json.loads((ROOT / run.folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {"state": "waiting"}


class Progress:
    """Looks at what the runs say of themselves, and says what changed.

    Args:
        runs: those that are to be made, in order.
        seconds: what each is expected to take, by folder; may lack some.
        workers: how many run at once.
    """

    def __init__(self, runs: Sequence[Run], seconds: Mapping[str, float], workers: int, out: TextIO | None = None):
        self.runs, self.seconds, self.workers = runs, dict(seconds), workers
        self.out = sys.stdout if out is None else out
        self.in_place = self.out.isatty()
        self.start = time.monotonic()
        self.width = max(len(run.name) for run in runs)
        self._told: dict[str, str] = {}
        self._shown = ""

    def look(self) -> None:
        """Say what changed since the last look."""
        states = {run.folder: status(run) for run in self.runs}
        for run in self.runs:
            now = states[run.folder]
            # "waiting" again: somebody deleted its results
            if now["state"] not in ("waiting", self._told.get(run.folder)):
                self._told[run.folder] = now["state"]
                self._tell(run, now, states)
        if self.in_place:
            self._show(self._line(states))

    def end(self) -> None:
        """A last look; the line in place goes away."""
        self.look()
        if self.in_place:
            self._show("")

    def _tell(self, run: Run, now: Mapping[str, Any], states: Mapping[str, Mapping[str, Any]]) -> None:
        if self.in_place and now["state"] == "running":
            return  # the line in place shows it
        ended = sum(state["state"] in ENDED for state in states.values())
        count = f"[{ended:>{len(str(len(self.runs)))}}/{len(self.runs)}]"
        said = {"running": "started", "done": f"done in {now.get('seconds')} s", "failed": "FAILED"}[now["state"]]
        if now["state"] in ENDED and (left := self._left(states)):
            said = f"{said:<16}  {left}"
        self._show("")
        print(f"{count} {run.name:<{self.width}}  {said}", file=self.out, flush=True)

    def _left(self, states: Mapping[str, Mapping[str, Any]]) -> str:
        """How long it has taken, and about how long it still takes if that can be known."""
        open_runs = [run for run in self.runs if states[run.folder]["state"] not in ENDED]
        so_far = f"{in_words(time.monotonic() - self.start)} so far"
        if not open_runs or any(run.folder not in self.seconds for run in open_runs):
            return so_far
        ended = [run.folder for run in self.runs if states[run.folder]["state"] == "done"]
        expected = sum(self.seconds.get(folder, 0.0) for folder in ended)
        took = sum(states[folder]["seconds"] for folder in ended if folder in self.seconds)
        pace = took / expected if expected > 30 else 1.0  # this machine against the one that the seconds are of
        now = time.time()
        elapsed = {
            run.folder: now - states[run.folder].get("since", now)
            for run in open_runs if states[run.folder]["state"] == "running"
        }  # fmt: skip
        paced = {run.folder: pace * self.seconds[run.folder] for run in open_runs}
        return f"{so_far}, about {in_words(duration(open_runs, paced, self.workers, elapsed))} left"

    def _line(self, states: Mapping[str, Mapping[str, Any]]) -> str:
        ended = sum(state["state"] in ENDED for state in states.values())
        now = time.time()
        at_work = [
            f"{run.name} ({in_words(now - states[run.folder].get('since', now))})"
            for run in self.runs if states[run.folder]["state"] == "running"
        ]  # fmt: skip
        return f"{ended} of {len(self.runs)} · {self._left(states)} · {', '.join(at_work) or 'starting'}"

    def _show(self, line: str) -> None:
        """Put `line` where the last one stood."""
        if not self.in_place or line == self._shown:
            return
        columns = shutil.get_terminal_size((100, 24)).columns
        self.out.write("\r\x1b[2K" + (line if len(line) < columns else line[: columns - 2] + "…"))
        self.out.flush()
        self._shown = line
