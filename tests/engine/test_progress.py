"""What a run says while it works: lines in a pipe, one line in place on a terminal, and how long it still takes."""

import io
import json
import re

import pytest
from toy_project import toy_run

from sslauth_utils.engine import progress

A = toy_run("a_make")
B = toy_run("b_fill", needs=(A,))
Z = toy_run("z_summary", needs=(A, B), scenario=None)
SECONDS = {A.folder: 60.0, B.folder: 30.0, Z.folder: 10.0}
CLEAR = "\r\x1b[2K"


class Terminal(io.StringIO):
    """A stream that says it is a terminal; `screen` is what a reader sees at the end."""

    def isatty(self):
        return True

    @property
    def screen(self):
        return [re.split(re.escape(CLEAR), line)[-1] for line in self.getvalue().split("\n")]


class Clock:
    """The two clocks that a run looks at."""

    def __init__(self):
        self.now = 1000.0

    def time(self):
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    monkeypatch.setenv("COLUMNS", "100")
    return made


@pytest.fixture
def says(monkeypatch, tmp_path):
    """`says(run, state="done", ...)`: leave the run's status."""
    monkeypatch.setattr(progress, "ROOT", tmp_path)

    def leave(run, **what):
        (tmp_path / run.folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / run.folder / "status.json").write_text(json.dumps(what))

    return leave


def test_a_run_that_has_said_nothing_readable_waits(says, tmp_path):
    assert progress.status(A) == {"state": "waiting"}
    says(A, state="done", seconds=1.0)
    (tmp_path / A.folder / "status.json").write_text('{"state": "do')
    assert progress.status(A) == {"state": "waiting"}


def test_a_pipe_gets_a_line_for_each_change_and_none_twice(says, clock):
    out = io.StringIO()
    shown = progress.Progress([A, B, Z], SECONDS, 1, out)
    shown.look()
    assert out.getvalue() == ""
    says(A, state="running", since=clock.now)
    shown.look()
    shown.look()
    clock.now += 60
    says(A, state="done", seconds=60.0)
    says(B, state="running", since=clock.now)
    shown.look()
    clock.now += 5
    says(B, state="failed", reason="r", tail=[])
    shown.end()
    assert out.getvalue().splitlines() == [
        "[0/3] a_make circle seed 0  started",
        "[1/3] a_make circle seed 0  done in 60.0 s    1 min so far, about 40 s left",
        "[1/3] b_fill circle seed 0  started",
        "[2/3] b_fill circle seed 0  FAILED            1 min 5 s so far, about 10 s left",
    ]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_run_whose_results_are_deleted_while_it_works_is_told_again_when_it_says_something(
    says, clock, tmp_path, stream
):
    out = stream()
    told = progress.Progress([A], SECONDS, 2, out)
    says(A, state="running")
    told.look()
    (tmp_path / A.folder / "status.json").unlink()
    told.look()
    says(A, state="done", seconds=61)
    told.end()
    assert out.getvalue().count("done in 61 s") == 1


def test_a_terminal_gets_one_line_in_place_above_it_what_ended(says, clock):
    out = Terminal()
    shown = progress.Progress([A, B], SECONDS, 1, out)
    says(A, state="running", since=clock.now)
    clock.now += 20
    shown.look()
    assert out.screen == ["0 of 2 · 20 s so far, about 1 min 10 s left · a_make circle seed 0 (20 s)"]
    assert "\n" not in out.getvalue(), "what starts takes no line of its own"
    before = out.getvalue()
    shown.look()
    assert out.getvalue() == before, "the same line is not written again"
    clock.now += 40
    says(A, state="done", seconds=60.0)
    shown.look()
    ended = "[1/2] a_make circle seed 0  done in 60.0 s    1 min so far, about 30 s left"
    assert out.screen == [ended, "1 of 2 · 1 min so far, about 30 s left · starting"]
    says(B, state="done", seconds=30.0)
    shown.end()
    assert out.screen == [ended, "[2/2] b_fill circle seed 0  done in 30.0 s    1 min so far", ""]


def test_a_line_in_place_never_wraps(says, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    out = Terminal()
    says(A, state="running", since=clock.now)
    progress.Progress([A, B], SECONDS, 1, out).look()
    assert out.screen == ["0 of 2 · 0 s so far, about 1…"]
    assert len(out.screen[0]) <= 30


def left(runs, seconds, workers, out=None):
    """What the line of the last run that ended says of the time."""
    out = io.StringIO()
    progress.Progress(runs, seconds, workers, out).look()
    return out.getvalue().splitlines()[-1].partition(" so far")[2]


def test_time_left_is_that_of_the_longest_way(says, clock):
    others = [toy_run(name) for name in ("c", "d")]
    says(A, state="done", seconds=60.0)
    seconds = SECONDS | {run.folder: 25.0 for run in others}
    runs = [A, B, *others, Z]
    assert left(runs, seconds, 1) == ", about 1 min 30 s left"
    assert left(runs, seconds, 8) == ", about 40 s left"


def test_time_left_is_not_told_where_it_cannot_be_known(says, clock):
    says(A, state="done", seconds=60.0)
    assert left([A, B], {A.folder: 60.0}, 1) == ""
    assert left([A, B], {B.folder: 30.0}, 1) == ", about 30 s left", "the past need not be known"


@pytest.mark.parametrize(
    ("expected", "took", "told"), [(60.0, 120.0, "1 min"), (60.0, 30.0, "15 s"), (6.0, 60.0, "30 s")]
)
def test_time_left_follows_the_pace_of_this_machine_once_that_is_known(says, clock, expected, took, told):
    says(A, state="done", seconds=took)
    assert left([A, B], {A.folder: expected, B.folder: 30.0}, 1) == f", about {told} left"


def test_time_left_shrinks_while_a_run_is_at_work(says, clock):
    says(A, state="done", seconds=60.0)
    says(B, state="running", since=clock.now - 12)
    out = Terminal()
    progress.Progress([A, B], SECONDS, 1, out).look()
    assert out.screen[-1] == "1 of 2 · 0 s so far, about 18 s left · b_fill circle seed 0 (12 s)"
