"""How long a plan takes, and which artifacts it finds again."""

import json

import pytest
from toy_project import toy_run

from sslauth_utils.base.errors import UserError
from sslauth_utils.engine import estimate
from sslauth_utils.engine.estimate import duration, in_words
from sslauth_utils.engine.plan import Pending

# --- durations --------------------------------------------------------------------------------------------------------

A = toy_run("a")
B, C = toy_run("b", needs=(A,)), toy_run("c", needs=(A,))
D = toy_run("d", needs=(B,), shows=(C,))
E = toy_run("e")
RUNS = [A, B, C, D, E]
SECONDS = {A.folder: 10, B.folder: 20, C.folder: 30, D.folder: 5, E.folder: 40}


@pytest.mark.parametrize(
    ("workers", "seconds"),
    [
        (1, 105),  # one after another
        (2, 65),  # a and e, b beside e, then c, then d
        (8, 45),  # the longest way: a, c, d
    ],
)
def test_duration_with_so_many_at_once(workers, seconds):
    assert duration(RUNS, SECONDS, workers) == seconds


def test_duration_of_nothing_is_none():
    assert duration([], {}, 2) == 0


def test_duration_counts_runs_of_unknown_length_as_none():
    assert duration(RUNS, {B.folder: 20, E.folder: 7}, 1) == 27


def test_duration_does_not_wait_for_what_is_not_to_be_made():
    assert duration([C, D], SECONDS, 8) == 35


def test_duration_takes_off_what_has_been_worked_on():
    assert duration(RUNS, SECONDS, 8, {A.folder: 4}) == 41
    assert duration(RUNS, SECONDS, 1, {A.folder: 4, E.folder: 15}) == 86
    assert duration([A], SECONDS, 1, {A.folder: 99}) == 0, "later than expected, but never less than none"


def test_duration_keeps_a_place_for_what_is_at_work():
    later = [toy_run("f"), toy_run("g")]
    seconds = {later[0].folder: 10, later[1].folder: 30}
    assert duration(later, seconds, 1, {later[1].folder: 10}) == 30
    assert duration([*later, E], seconds | SECONDS, 2, {later[1].folder: 10}) == 50, "g and f, then e beside g"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (44.6, "45 s"), (59.6, "1 min"), (60, "1 min"), (250, "4 min 10 s"), (600, "10 min"),
        (1500, "25 min"), (7199, "120 min"), (12000, "3 h 20 min"), (40000, "11 h"), (172800, "2 days"),
        (430000, "5 days"),
    ],
)  # fmt: skip
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words


# --- artifacts --------------------------------------------------------------------------------------------------------

#: encoder, a record that is made from it, and a tuned encoder made from the encoder; addresses are the names
ARTIFACTS = {
    "encoder": {"recipe": "r.encoders", "values": {"01_train": {"epochs": 1}, "": {"seed": 0}}, "data": ["photos"],
                "made_from": [], "seconds": 60.0},
    "record": {"recipe": "r.records", "values": {"02_enrol": {"steps": 4}}, "data": ["shapes"],
               "made_from": ["encoder"], "seconds": 20.0},
    "task": {"recipe": "r.tasks", "values": {"06_attack": {"epochs": 1}}, "data": ["digits"], "made_from": [],
             "seconds": 5.0},
}  # fmt: skip


@pytest.fixture
def here(monkeypatch, tmp_path):
    """An empty project with the three artifacts; their code means what it meant, as `code` says."""
    monkeypatch.setattr(estimate, "ROOT", tmp_path)
    monkeypatch.setattr(estimate, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(estimate, "meanings", lambda recipes: {recipes[0]: "as it was"})
    for name, about in ARTIFACTS.items():
        folder = tmp_path / "results/demo/artifacts" / name
        folder.mkdir(parents=True)
        code = {about["recipe"]: "as it was"}
        (folder / "made.json").write_text(json.dumps(about | {"address": name, "code": code}))
    return tmp_path


def again(notebook="05_prune", changed=(), made=("encoder", "record"), found=(), seconds=100.0):
    """A run that is to be made again, and made and found these artifacts last time."""
    artifacts = dict.fromkeys(made, True) | dict.fromkeys(found, False)
    return Pending(toy_run(notebook), ("x",), tuple(changed), {"seconds": seconds, "artifacts": artifacts})


@pytest.mark.parametrize(
    ("notebook", "changed", "made_again"),
    [
        ("05_prune", ["code a.py"], set()),
        ("05_prune", ["value epochs"], set()),  # another notebook's value of that name
        ("02_enrol", ["value steps"], {"record"}),
        ("01_train", ["value epochs"], {"encoder", "record"}),
        ("05_prune", ["data shapes"], {"record"}),
        ("05_prune", ["data photos"], {"encoder", "record"}),
        ("01_train", ["value epochs", "value seed"], {"encoder", "record"}),
    ],
    ids=["code-of-the-run", "other-value", "value", "value-upstream", "data", "data-upstream", "two"],
)
def test_artifacts_are_made_again_by_what_changed(here, notebook, changed, made_again):
    found = estimate.estimate([again(notebook, changed)])
    assert found.again == made_again
    assert found.kept == {"encoder", "record"} - made_again


def test_artifacts_whose_code_means_something_else_are_made_again(here, monkeypatch):
    monkeypatch.setattr(
        estimate, "meanings", lambda recipes: {recipes[0]: {"r.records": "new"}.get(*recipes, "as it was")}
    )
    assert estimate.estimate([again()]).again == {"record"}
    monkeypatch.setattr(
        estimate, "meanings", lambda recipes: {recipes[0]: {"r.encoders": "new"}.get(*recipes, "as it was")}
    )
    assert estimate.estimate([again()]).again == {"encoder", "record"}, "the record is made from the encoder"


def test_artifacts_whose_recipe_or_folder_is_gone_are_made_again(here, monkeypatch):
    (here / "results/demo/artifacts/record/made.json").unlink()
    assert estimate.estimate([again()]).again == {"record"}

    def gone(recipes):
        raise UserError("there is no such module")

    monkeypatch.setattr(estimate, "meanings", gone)
    assert estimate.estimate([again(made=["task"])]).again == {"task"}


def test_seconds_are_the_notebooks_own_and_those_of_what_it_makes_again(here):
    kept = estimate.estimate([again()])
    assert kept.seconds == {toy_run("05_prune").folder: 20}, "it made both in 80 of its 100 seconds"
    anew = estimate.estimate([again("02_enrol", ["value steps"])])
    assert anew.seconds == {toy_run("02_enrol").folder: 40}
    waited = estimate.estimate([again("02_enrol", ["value steps"], made=(), found=["record"])])
    assert waited.seconds == {toy_run("02_enrol").folder: 120}, "found then, made now"


def test_an_artifact_of_several_runs_is_made_once(here):
    runs = [again("02_enrol", ["value steps"]), again("05_prune", made=(), found=["encoder", "record"], seconds=10.0)]
    found = estimate.estimate(runs)
    assert found.again == {"record"}
    assert found.seconds == {toy_run("02_enrol").folder: 40, toy_run("05_prune").folder: 10}


def test_no_run_takes_less_than_a_second(here):
    assert list(estimate.estimate([again(seconds=80.1)]).seconds.values()) == [1.0]


# --- what else is known -----------------------------------------------------------------------------------------------


def test_a_run_that_was_begun_and_not_ended_is_known_by_its_last_success(here):
    run = toy_run("05_prune")
    (here / run.folder).mkdir(parents=True)
    (here / run.folder / "previous.json").write_text(json.dumps({"seconds": 33.0}))
    assert estimate.estimate([Pending(run, ("not there yet",))]).seconds == {run.folder: 33.0}


def test_a_run_that_was_never_made_is_known_by_the_references_or_not_at_all(here):
    runs = toy_run("05_prune"), toy_run("90_summary", scenario=None), toy_run("05_prune", scenario="square")
    first = [Pending(run, ("not there yet",)) for run in runs]
    assert estimate.estimate(first).seconds == {}
    reference = here / "results/reference/demo/runs.csv"
    reference.parent.mkdir(parents=True)
    reference.write_text(
        "notebook,scenario,seed,seconds\n05_prune,circle,0,12.5\n90_summary,,,4\n05_prune,square,0,\n05_prune,circle,1,9\n"
    )
    assert estimate.estimate(first).seconds == {runs[0].folder: 12.5, runs[1].folder: 4.0}


def test_nothing_to_do_takes_no_time():
    assert estimate.estimate([]) == estimate.Estimate({}, set(), set(), set())
