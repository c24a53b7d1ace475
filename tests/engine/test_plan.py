"""The plan: why a run is to be made, what Snakemake is told, and what a run leaves."""

import json

import pytest
import yaml

from sslauth_utils.base.files import sha256_file, write_json
from sslauth_utils.engine import graph, plan
from sslauth_utils.study import profiles

A, B, Z = "a_make circle seed 0", "b_fill circle seed 0", "z_summary"
ROWS = "results/demo/{}/circle-s0/rows.csv"


class Toy:
    """The toy project as the one that `graph` and `plan` in this process work on."""

    def __init__(self, project):
        self.root, self.write = project.root, project.write

    def succeed(self, *notebooks):
        """Leave what a success of these notebooks, or of all, leaves."""
        for run in graph.with_needs(graph.profile_runs("demo")):
            if notebooks and run.notebook not in notebooks:
                continue
            if run.scenario and not (self.root / run.outputs[1]).exists():
                self.write(run.outputs[1], run.name)
            found = plan.made_from(run)
            record = {"made_from": found, "fingerprint": plan.fingerprint(found), "outputs": plan.outputs_of(run)}
            write_json(self.root / run.done, record)

    def edit(self, path, old, new):
        text = (self.root / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    def profile(self, change):
        """Let `change` alter the profile as nested dictionaries."""
        content = yaml.safe_load((self.root / "config/demo.yaml").read_text())
        change(content)
        self.write("config/demo.yaml", yaml.safe_dump(content, sort_keys=False))

    def metadata(self, notebook, **more):
        content = json.loads((self.root / f"notebooks/{notebook}.ipynb").read_text())
        content["metadata"]["sslauth"].update(more)
        self.write(f"notebooks/{notebook}.ipynb", json.dumps(content))

    def reasons(self, *names):
        """Reasons of the runs that are to be made, in their order."""
        return {one.run.name: list(one.reasons) for one in plan.pending(graph.profile_runs("demo"))}


@pytest.fixture
def toy(project, monkeypatch):
    for module, name, place in (
        (graph, "ROOT", ""), (graph, "NOTEBOOKS", "notebooks"), (plan, "ROOT", ""), (plan, "RESULTS", "results"),
        (plan, "FIGURES", "figures"), (profiles, "CONFIG", "config"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, project.root / place)
    monkeypatch.delenv("SSLAUTH_DATA", raising=False)
    made = Toy(project)
    made.profile(lambda content: content["scenarios"].pop("square"))
    return made


def test_a_run_without_a_record_is_not_there_yet(toy):
    assert toy.reasons() == {A: ["not there yet"], B: ["not there yet"], Z: ["not there yet"]}
    toy.succeed()
    assert toy.reasons() == {}
    for text in ("{", "[]"):
        toy.write("results/demo/z_summary/done.json", text)
        assert toy.reasons() == {Z: ["not there yet"]}


def test_a_record_of_an_older_version_says_so_once(toy):
    toy.succeed()
    toy.write("results/demo/b_fill/circle-s0/done.json", json.dumps({"inputs": {"x": "1"}, "seconds": 3.0}))
    assert toy.reasons() == {B: ["made by an older version"], Z: [f"needs {B}"]}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"factor": 3.0}, "factor: 2.0 → 3.0"),
        ({"factor": 3}, "factor: 2.0 → 3.0"),
    ],
)
def test_a_value_is_told_as_it_was_and_as_it_is(toy, values, reason):
    toy.succeed()
    toy.profile(lambda content: content["notebooks"].update(b_fill=values))
    assert toy.reasons() == {B: [reason], Z: [f"needs {B}"]}


def test_a_long_value_is_cut(toy):
    toy.succeed()
    toy.profile(lambda content: content["notebooks"].update(a_make={"sides": list(range(20))}))
    assert toy.reasons()[A] == ["sides: [1, 2] → [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11…"]


def test_a_value_that_the_notebook_gained_or_lost_is_told(toy):
    toy.succeed()
    toy.edit("notebooks/a_make.ipynb", "sides = [1]\\n", "sides = [1]\\ncolour = 'red'\\n")
    assert toy.reasons()[A] == ["notebooks/a_make.ipynb changed", 'colour: none → "red"']
    toy.succeed("a_make")
    toy.edit("notebooks/a_make.ipynb", "\\ncolour = 'red'", "")
    assert toy.reasons()[A] == ["notebooks/a_make.ipynb changed", 'colour: "red" → none']


def test_a_module_that_changed_or_came_or_went_is_named(toy):
    toy.succeed()
    toy.edit("sslauth_utils/attacks/shades.py", "SHADES = 3", "SHADES = 4")
    assert toy.reasons() == {B: ["attacks/shades.py changed"], Z: [f"needs {B}"]}
    toy.edit("sslauth_utils/attacks/shades.py", "SHADES = 4", "SHADES = 3")
    new = "from sslauth_utils.study import shapes\nSHADES = 3\nUSED = shapes\n"
    toy.edit("sslauth_utils/attacks/shades.py", "SHADES = 3\n", new)
    assert toy.reasons()[B] == ["attacks/shades.py changed", "study/shapes.py is new"]
    toy.succeed("b_fill")
    toy.edit("sslauth_utils/attacks/shades.py", new, "SHADES = 3\n")
    assert toy.reasons()[B] == ["attacks/shades.py changed", "study/shapes.py is no longer used"]


def test_a_module_that_only_shows_counts_for_the_summary_alone(toy):
    toy.succeed()
    toy.edit("sslauth_utils/report/colours.py", "blue", "red")
    assert toy.reasons() == {Z: ["report/colours.py changed"]}


def test_rows_that_came_out_otherwise_are_told(toy):
    toy.succeed()
    toy.write(ROWS.format("a_make"), "other rows")
    assert toy.reasons() == {
        A: ["results/demo/a_make/circle-s0/rows.csv is not as the run left it"],
        B: [f"needs {A}"],
        Z: [f"needs {A} and 1 more"],
    }
    toy.succeed("a_make")
    assert toy.reasons() == {
        B: ["rows of a_make/circle-s0 changed"],
        Z: ["rows of a_make/circle-s0 changed", f"needs {B}"],
    }


def test_measures_count_as_rows_do(toy):
    measures = ROWS.format("a_make").replace("rows", "measures")
    toy.write(measures, "1")
    toy.succeed()
    toy.write(measures, "2")
    assert toy.reasons()[A] == [f"{measures} is not as the run left it"]
    toy.succeed("a_make")
    assert toy.reasons()[B] == ["rows of a_make/circle-s0 changed"]


def test_a_run_that_came_out_as_before_leaves_the_others_alone(toy):
    toy.succeed()
    toy.edit("notebooks/a_make.ipynb", "import csv, os", "import os, csv")
    assert list(toy.reasons()) == [A, B, Z]
    toy.succeed("a_make")
    assert toy.reasons() == {}


def test_files_and_folders_that_a_notebook_reads_are_named(toy):
    toy.write("config/claims/one.yaml", "1")
    toy.write("config/notes.txt", "1")
    toy.metadata("z_summary", reads=["config/claims", "config/notes.txt"])
    toy.succeed()
    toy.write("config/claims/one.yaml", "2")
    toy.write("config/claims/two.yaml", "1")
    toy.write("config/notes.txt", "2")
    assert toy.reasons() == {
        Z: ["config/claims/one.yaml changed", "config/claims/two.yaml is new", "config/notes.txt changed"]
    }
    toy.succeed("z_summary")
    (toy.root / "config/claims/two.yaml").unlink()
    assert toy.reasons() == {Z: ["config/claims/two.yaml is no longer used"]}


def test_the_users_own_data_count_by_their_bytes(toy, monkeypatch, tmp_path):
    cell = "sides = [1]\\n"
    toy.edit("notebooks/a_make.ipynb", cell, cell + "key_data = 'mine'\\n")
    toy.succeed()
    own = tmp_path / "own"
    own.mkdir()
    for name in ("mine_train.npz", "yours_train.npz"):
        (own / name).write_bytes(b"1")
    monkeypatch.setenv("SSLAUTH_DATA", str(own))
    assert toy.reasons() == {
        A: ["data set mine is new"],
        B: ["data set mine is new", f"needs {A}"],
        Z: ["data set mine is new", f"needs {A} and 1 more"],
    }
    toy.succeed()
    (own / "yours_train.npz").write_bytes(b"22")
    assert toy.reasons() == {}
    (own / "mine_train.npz").write_bytes(b"22")
    assert toy.reasons()[A] == ["data set mine changed"]


@pytest.mark.parametrize("order", [["b_fill", "a_make", "z_summary"], ["z_summary", "b_fill", "a_make"]])
def test_what_needs_another_one_runs_again_wherever_the_profile_lists_it(toy, order):
    toy.profile(lambda content: content.update(notebooks={name: content["notebooks"][name] for name in order}))
    toy.succeed()
    toy.edit("sslauth_utils/study/shapes.py", "side * side", "side + side")
    assert set(toy.reasons()) == {A, B, Z}


# --- what Snakemake is told, and what a run leaves --------------------------------------------------------------------


def test_jobs_wait_for_what_is_made_before_them_and_for_nothing_else(toy):
    toy.metadata("b_fill", needs=[], shows=["a_make"])
    jobs = {job["notebook"]: job for job in plan.jobs(plan.pending(graph.profile_runs("demo")), {})}
    of_a = ["results/demo/a_make/circle-s0/done.json", ROWS.format("a_make")]
    of_b = ["results/demo/b_fill/circle-s0/done.json", ROWS.format("b_fill")]
    assert [jobs[name]["inputs"] for name in ("a_make", "b_fill", "z_summary")] == [[], of_a, of_a + of_b]
    assert jobs["a_make"]["outputs"] == of_a
    assert jobs["b_fill"]["name"] == "b_fill_circle_seed_0"
    toy.succeed("a_make")
    jobs = {job["notebook"]: job for job in plan.jobs(plan.pending(graph.profile_runs("demo")), {})}
    assert [jobs[name]["inputs"] for name in ("b_fill", "z_summary")] == [[], of_b]


def test_of_those_that_may_start_the_longest_chain_goes_first(toy):
    todo = plan.pending(graph.profile_runs("demo"))
    folders = {one.run.notebook: one.run.folder for one in todo}
    seconds = {folders["a_make"]: 5.0, folders["b_fill"]: 7.0}  # of the summary nothing is known: 1
    priorities = {job["notebook"]: job["priority"] for job in plan.jobs(todo, seconds)}
    assert priorities == {"a_make": 130, "b_fill": 80, "z_summary": 10}


def test_what_is_only_shown_makes_nothing_stale(toy):
    toy.metadata("b_fill", needs=[], shows=["a_make"])
    toy.succeed()
    toy.edit("sslauth_utils/study/shapes.py", "side * side", "side + side")
    assert list(toy.reasons()) == [A, Z]


def test_outputs_are_rows_and_measures_and_of_the_summary_all_that_a_reader_sees(toy):
    first, _, last = graph.profile_runs("demo")
    for name in ("rows.csv", "measures.csv", "executed.ipynb"):
        toy.write(f"{first.folder}/{name}", name)
    for path in ("results/demo/summary.csv", "results/demo/findings.csv", "figures/demo/a.png", "results/demo/x.log"):
        toy.write(path, path)
    for run, names in (
        (first, [f"{first.folder}/rows.csv", f"{first.folder}/measures.csv"]),
        (last, ["results/demo/summary.csv", "results/demo/findings.csv", "figures/demo/a.png"]),
    ):
        assert plan.outputs_of(run) == {name: sha256_file(toy.root / name) for name in names}
