"""The engine as a user meets it: ./run_all.sh on a toy project, in processes of its own."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from toy_project import MAKE

from sslauth_utils.base.errors import UserError
from sslauth_utils.engine import graph, run
from sslauth_utils.study import profiles


def done_times(project):
    return {path: path.stat().st_mtime_ns for path in project.root.glob("results/demo/**/done.json")}


def to_do(project, *arguments):
    """Names of the runs that the plan wants to make."""
    answer = project.run_all("--dry-run", *arguments)
    assert answer.returncode == 0, answer.stderr
    return [line.split("  ")[1] for line in answer.stdout.splitlines() if line.startswith("  ")]


def test_a_whole_run_ends_with_one_screen(finished_once):
    project, answer = finished_once
    assert answer.returncode == 0, answer.stderr
    assert "Profile demo: 5 notebook runs, 5 to do, 0 up to date." in answer.stdout
    assert "[0/5] a_make circle seed 0  started" in answer.stdout
    assert "[5/5] z_summary             done in" in answer.stdout
    screen = answer.stdout.partition("Profile demo. SSL-Auth: of 1 claims 1 held, 0 did not")[2]
    assert "Fig. 5     pruning: agreement    ✓ 1" in screen and len(screen.splitlines()) <= 35
    assert re.search(r"^Took .+ \./run_all\.sh --claims lists every claim\.$", screen, re.MULTILINE)
    assert answer.stdout.strip().endswith("Report: figures/demo/report.html")
    assert max(map(len, answer.stdout.splitlines())) <= 100
    assert "rule" not in answer.stdout  # Snakemake's own words are in its log
    assert "rule a_make_circle_seed_0" in (project.root / "results/demo/snakemake.log").read_text()


def test_each_scenario_gets_its_run_and_its_own_results(finished_once):
    rows = finished_once[0].rows()
    folders = ["a_make/circle-s0", "a_make/square-s0", "b_fill/circle-s0", "b_fill/square-s0"]
    assert list(rows) == [f"demo/{folder}/rows.csv" for folder in folders]
    assert rows["demo/b_fill/square-s0/rows.csv"] == "side,area\n1,1\n2,4\nshades,6.0\n"


def test_a_run_in_strange_surroundings(project, tmp_path):
    """Another Python's packages, a start-up script, a cluster's profile, no home, a long path for temporary files."""
    (tmp_path / "yaml.py").write_text("raise SystemExit('of another Python')")
    (tmp_path / "start.py").write_text("started_up = 1\n")
    long = tmp_path / ("x" * 100)
    long.mkdir()
    code = "assert 'started_up' not in globals()\n" + MAKE
    project.notebook("a_make", code, 'profile = "demo"\nscenario = "circle"\nseed = 0\nsides = [1]\n', [])
    answer = project.run_all(
        "--only", "a_make", PYTHONPATH=str(tmp_path), PYTHONSTARTUP=str(tmp_path / "start.py"), PYTHONOPTIMIZE="2",
        SNAKEMAKE_PROFILE="slurm", HOME="/proc/nowhere", XDG_CACHE_HOME="/proc/nowhere", TMPDIR=str(long), LC_ALL="C",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert len(project.rows()) == 2


def test_with_nothing_changed_no_notebook_runs(finished):
    before = done_times(finished)
    for source in (finished.root / "sslauth_utils").rglob("*.py"):
        source.touch()  # newer, but the same: as after a checkout
    finished.write("sslauth_utils/study/colours_unused.py", "# a helper that no notebook uses\n")
    answer = finished.run_all()
    assert answer.returncode == 0, answer.stderr
    assert "5 notebook runs, 0 to do, 5 up to date" in answer.stdout
    assert "1 held" in answer.stdout
    assert done_times(finished) == before


A, B, Z = (
    [f"a_make {shape} seed 0" for shape in ("circle", "square")],
    [f"b_fill {shape} seed 0" for shape in ("circle", "square")],
    ["z_summary"],
)


@pytest.mark.parametrize(
    ("path", "old", "new", "again"),
    [
        ("sslauth_utils/attacks/shades.py", "SHADES = 3", "SHADES = 4", B + Z),
        ("sslauth_utils/attacks/shades.py", "that b_fill computes with", "of b_fill", []),
        ("sslauth_utils/report/colours.py", '"blue"', '"red"', Z),
        ("notebooks/b_fill.ipynb", "shades,", "tones,", B + Z),
        ("config/demo.yaml", "factor: 2.0", "factor: 3.0", B + Z),
        ("config/demo.yaml", "scenarios:", "scenarios:\n  ring: {}", ["a_make ring seed 0", "b_fill ring seed 0", *Z]),
        ("requirements.lock", "\n", "\n# changed\n", []),
    ],
    ids=["helper", "docstring", "colour", "notebook", "parameter", "new-scenario", "lock"],
)
def test_a_change_reaches_what_depends_on_it_and_nothing_else(finished, path, old, new, again):
    target = finished.root / path
    text = target.read_text()
    assert old in text
    target.write_text(text.replace(old, new))
    assert sorted(to_do(finished)) == sorted(again)


def test_only_takes_what_is_needed_along(project):
    assert to_do(project, "--only", "b") == A + B
    assert not (project.root / "results").exists(), "a dry run writes nothing"


def test_a_failure_is_told_and_the_others_still_run(finished):
    notebook = finished.root / "notebooks/b_fill.ipynb"
    good = notebook.read_text()
    cell = "assert scenario != 'square', 'squares are not filled'\\nimport os"
    notebook.write_text(good.replace("import csv, os", cell))
    answer = finished.run_all()
    assert answer.returncode == 1
    assert "b_fill square seed 0  FAILED" in answer.stdout
    assert "b_fill circle seed 0  done in" in answer.stdout
    assert "The summary was made from the rows that there are." in answer.stdout
    assert "FAILED: b_fill square seed 0; the reasons stand above." in answer.stdout
    assert "C1 4 3 [3, 3] 3 reproduced" in " ".join(finished.run_all("--claims").stdout.split())
    told = answer.stderr
    assert "b_fill square seed 0 failed" in told
    assert "AssertionError: squares are not filled" in told
    assert "----> 1 assert scenario != 'square'" in told
    assert "Executed notebook: results/demo/b_fill/square-s0/executed.ipynb" in told
    assert "Traceback" not in told

    notebook.write_text(good)
    assert to_do(finished, "--only", "b_fill") == B


HOLD = """import os, time
from pathlib import Path
here = Path(os.environ["SSLAUTH_RUN_DIR"])
(here / "pid").write_text(str(os.getpid()))
while Path("hold").exists():
    time.sleep(0.05)
"""


def held(project, forked):
    """Start a run whose b_fill notebooks wait inside a cell; the front door's process and all processes below it.

    With `forked` a_make runs again, too: for so many notebooks, processes are forks of one that has imported.
    """
    if forked:
        other = project.root / "notebooks/a_make.ipynb"
        other.write_text(other.read_text().replace("import csv, os", "import os, csv"))
    path = project.root / "notebooks/b_fill.ipynb"
    content = json.loads(path.read_text())
    content["cells"][2]["source"] = HOLD + content["cells"][2]["source"]
    path.write_text(json.dumps(content))
    (project.root / "hold").touch()
    front = project.start_all("--only", "b_fill")
    kernels = [project.root / f"results/demo/b_fill/{shape}-s0/pid" for shape in ("circle", "square")]
    until = time.monotonic() + 200
    while not all(kernel.exists() and kernel.read_text() for kernel in kernels):
        assert time.monotonic() < until, "the notebooks did not start"
        assert front.poll() is None, front.communicate()
        time.sleep(0.1)
    below = psutil.Process(front.pid).children(recursive=True)
    assert {int(kernel.read_text()) for kernel in kernels} <= {process.pid for process in below}
    return front, below


FORKS = [
    pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")),
    pytest.param(False, marks=pytest.mark.all),  # the interruption below goes the same way
]


@pytest.mark.parametrize("forked", FORKS)
def test_after_a_kill_nothing_is_left_running_and_the_next_run_finishes(finished, forked):
    expected = finished.rows()
    front, below = held(finished, forked)
    assert forked == any("sslauth_utils.engine.warm" in process.cmdline() for process in below)
    front.send_signal(signal.SIGKILL)
    front.communicate()
    _, left = psutil.wait_procs(below, timeout=20)
    assert not left
    assert not list(finished.root.glob("results/demo/b_fill/*/done.json"))
    (finished.root / "hold").unlink()
    answer = finished.run_all("--only", "b_fill")
    assert answer.returncode == 0, answer.stderr
    assert "4 notebook runs, 2 to do, 2 up to date" in answer.stdout
    assert finished.rows() == expected


def test_an_interruption_ends_everything_and_says_how_to_go_on(finished):
    front, below = held(finished, forked=False)
    second = finished.run_all()
    assert second.returncode == 1
    assert second.stderr == "Another run of profile demo is at work in this folder; wait for its end, or stop it.\n"
    front.send_signal(signal.SIGINT)
    _, told = front.communicate(timeout=30)
    assert front.returncode == run.INTERRUPTED
    assert "Interrupted; run the same command again" in told
    assert "Traceback" not in told
    _, left = psutil.wait_procs(below, timeout=20)
    assert not left


def test_figures_only_runs_the_summary_alone_and_names_missing_rows(finished):
    before = done_times(finished)
    missing = finished.root / "results/demo/b_fill/square-s0/rows.csv"
    missing.unlink()
    finished.write("sslauth_utils/attacks/shades.py", "SHADES = 4\n")
    answer = finished.run_all("--figures-only")
    assert answer.returncode == 0, answer.stderr
    assert "Older rows: b_fill circle seed 0 (attacks/shades.py changed)\n" in answer.stdout
    assert (
        "Missing rows: b_fill of square seed 0\n" in answer.stdout
        and "Missing rows: b_fill of circle" not in answer.stdout
    )
    assert "C1 4 3 [3, 3] 3 reproduced" in " ".join(finished.run_all("--claims").stdout.split())
    changed = {path.parent.name for path, when in done_times(finished).items() if when != before[path]}
    assert changed == {"z_summary"}
    assert not missing.exists()


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        (
            "config/demo.yaml",
            "factor: 2.0",
            "factor: 9.0",
            "b_fill circle seed 0 were made with other settings (factor: 2.0 → 9.0)",
        ),
        (
            "config/demo.yaml",
            "[1, 2]",
            "[1, 5]",
            "a_make circle seed 0 were made with other settings (sides: [1, 2] → [1, 5])",
        ),
        ("results/demo/b_fill/circle-s0/rows.csv", "2,4", "2,5", "b_fill/circle-s0/rows.csv is not as the run left it"),
    ],
    ids=["own", "needed", "rows"],
)
def test_rows_of_other_settings_or_edited_by_hand_are_not_shown_with_todays(finished, path, old, new, said):
    before = (finished.root / "results/demo/summary.csv").read_text()
    finished.write(path, (finished.root / path).read_text().replace(old, new))
    answer = finished.run_all("--figures-only")
    assert answer.returncode == 1 and said in answer.stderr and "Traceback" not in answer.stderr
    assert (finished.root / "results/demo/summary.csv").read_text() == before


def test_where_a_run_fails_older_rows_of_other_settings_are_not_summed_up(finished):
    before = (finished.root / "results/demo/summary.csv").read_text()
    finished.write("config/demo.yaml", (finished.root / "config/demo.yaml").read_text().replace("[1, 2]", "[1, 5]"))
    finished.notebook(
        "a_make",
        MAKE + "\nif scenario == 'square': raise SystemError('no')\n",
        "sides = [1]\nseed = 0\nscenario = ''\nprofile = ''\n",
        [],
    )
    answer = finished.run_all()
    assert (
        answer.returncode == 1
        and "No summary was made. The rows of b_fill square seed 0 were made with other" in answer.stdout
    )
    assert (finished.root / "results/demo/summary.csv").read_text() == before


def test_rows_of_a_run_that_did_not_end_are_not_shown(finished):
    """Whoever stopped it, and whatever they hold: nothing says what they are."""
    before = (finished.root / "results/demo/summary.csv").read_text()
    (finished.root / "results/demo/b_fill/circle-s0/done.json").unlink()
    answer = finished.run_all("--figures-only")
    assert answer.returncode == 1 and "The rows of b_fill circle seed 0 are of a run that did not end" in answer.stderr
    assert (finished.root / "results/demo/summary.csv").read_text() == before


def test_where_a_run_fails_rows_that_rest_on_it_are_told_to_be_older(finished):
    parameters = "sides = [1]\nseed = 0\nscenario = ''\nprofile = ''\n"
    finished.notebook("a_make", "raise SystemError('no')\n", parameters, [])
    answer = finished.run_all()
    assert answer.returncode == 1 and "The summary was made from the rows that there are." in answer.stdout
    assert "Older rows: b_fill square seed 0 (rows of a_make/square-s0 changed)\n" in answer.stdout


def test_rows_that_the_profile_does_not_have_are_told_and_stay(finished):
    for copy in ("b_fill/circle-s0 (copy)", "b_fill/circle-s7"):
        shutil.copytree(finished.root / "results/demo/b_fill/circle-s0", finished.root / "results/demo" / copy)
    answer = finished.run_all("--figures-only")
    assert answer.returncode == 0
    assert (
        "Not counted: rows of results/demo/b_fill/circle-s0 (copy) and 1 more, which the profile does not have."
        in answer.stdout
    )
    assert (finished.root / "results/demo/b_fill/circle-s7/rows.csv").is_file()


def test_a_reference_that_was_laid_out_is_not_mixed_with_own_rows(finished):
    (finished.root / "results/demo/profile.yaml").write_text((finished.root / "config/demo.yaml").read_text())
    for path in finished.root.glob("results/demo/*/*/done.json"):
        path.unlink()  # as --restore leaves it: rows alone
    answer = finished.run_all("--only", "a_make")
    assert answer.returncode == 0 and "The reference's rows, which lay here, are removed" in answer.stdout
    assert sorted(finished.rows()) == ["demo/a_make/circle-s0/rows.csv", "demo/a_make/square-s0/rows.csv"]
    assert not (finished.root / "results/demo/profile.yaml").exists()


@pytest.mark.parametrize("arguments", ["--claims", "--list", "--dry-run", ""])
def test_a_pipe_that_closes_ends_it_quietly(finished, arguments):
    command = f"./run_all.sh {arguments} | head -n 1"
    answer = subprocess.run(
        ["bash", "-c", command], cwd=finished.root, env=finished.variables(), capture_output=True, text=True, check=True
    )
    assert answer.stdout.count("\n") == 1 and "Traceback" not in answer.stderr and "Error" not in answer.stderr


def test_a_colour_costs_the_summary_alone_and_figures_only_is_enough(finished):
    colours = finished.root / "sslauth_utils/report/colours.py"
    colours.write_text(colours.read_text().replace("blue", "red"))
    planned = finished.run_all("--dry-run").stdout
    assert "5 notebook runs, 1 to do, 4 up to date" in planned
    assert "z_summary             report/colours.py changed\n" in planned
    assert planned.endswith("Only figures and report are to be drawn again: --figures-only does the same.\n")
    assert finished.run_all("--figures-only").returncode == 0
    figure = finished.root / "figures/demo/areas.svg"
    assert "red" in figure.read_text()
    assert to_do(finished) == []
    figure.write_text("my own drawing")
    assert to_do(finished) == Z
    assert "figures/demo/areas.svg is not as the run left it" in finished.run_all("--dry-run").stdout


def test_the_plan_tells_the_reason_and_about_how_long_it_takes(finished):
    for number, notebook in enumerate(("b_fill/circle-s0", "b_fill/square-s0", "z_summary")):
        path = finished.root / f"results/demo/{notebook}/done.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 30.0 + 10 * number}))
    profile = finished.root / "config/demo.yaml"
    profile.write_text(profile.read_text().replace("factor: 2.0", "factor: 3.0"))
    lines = finished.run_all("--dry-run", "--jobs", "2", SSLAUTH_THREADS="1").stdout.splitlines()
    assert lines == [
        "Profile demo: 5 notebook runs, 3 to do, 2 up to date.",
        "  b_fill circle seed 0  factor: 2.0 → 3.0",
        "  b_fill square seed 0  factor: 2.0 → 3.0",
        "  z_summary             needs b_fill circle seed 0 and 1 more",
        "At most 2 at once, 1 threads each; about 1 min 30 s.",
        "By runs at once: 1: 2 min, 8: 1 min 30 s, 64: 1 min 30 s.",
    ]


def test_figures_only_without_rows_is_told(project):
    answer = project.run_all("--figures-only")
    assert answer.returncode == 1
    assert answer.stderr == "There are no rows of profile demo yet; run ./run_all.sh without --figures-only.\n"


@pytest.fixture
def removing(project, monkeypatch):
    """The toy project as the one whose results `run` removes."""
    for name, value in (("ROOT", ""), ("RESULTS", "results"), ("FIGURES", "figures")):
        monkeypatch.setattr(run, name, project.root / value)
    return project


def files(project):
    """Paths of what lies in results and figures."""
    return [path.relative_to(project.root).as_posix() for top in ("results", "figures")
            for path in sorted((project.root / top).rglob("*")) if path.is_file()]  # fmt: skip


def test_fresh_removes_the_profiles_own_results_but_not_what_git_has(removing, capsys):
    project = removing
    for path in ("results/demo/a/x.csv", "results/demo/kept.csv", "results/demo/.lock", "figures/demo/f.png",
                 "figures/demo/kept.png", "results/lite/y.csv", "results/reference/r.csv"):  # fmt: skip
        project.write(path, "1")
    for arguments in ("-c init.defaultBranch=main init", "add results/demo/kept.csv figures/demo/kept.png"):
        subprocess.run(["git", *arguments.split()], cwd=project.root, check=True, capture_output=True)
    run.remove_results("demo")
    assert capsys.readouterr().out == "Removed 2 files: figures/demo/f.png, results/demo/a.\n"
    assert files(project) == [
        "results/demo/.lock", "results/demo/kept.csv", "results/lite/y.csv", "results/reference/r.csv",
        "figures/demo/kept.png",
    ]  # fmt: skip
    run.remove_results("demo")
    assert capsys.readouterr().out == "There was nothing to remove.\n"


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        (None, "git cannot be started (No such file or directory)"),
        ("#!/bin/sh\necho 'fatal: detected dubious ownership' >&2\nexit 128\n", "fatal: detected dubious ownership"),
        ("#!/bin/sh\nexec /bin/sleep 60\n", "git did not answer in 1 seconds"),
    ],
    ids=["no-git", "git-refuses", "git-hangs"],
)
def test_fresh_removes_nothing_where_a_checkouts_git_does_not_answer(removing, monkeypatch, tmp_path, tool, said):
    removing.write("results/demo/a/x.csv", "1")
    (removing.root / ".git").mkdir()
    (tmp_path / "tools").mkdir()
    if tool:
        (tmp_path / "tools/git").write_text(tool)
        (tmp_path / "tools/git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))
    monkeypatch.setattr(run.execute, "GIT_PATIENCE", 1)
    with pytest.raises(UserError) as caught:
        run.remove_results("demo")
    assert str(caught.value) == (
        f"--fresh removes nothing, because it cannot know which files are committed: {said}; mend that, or remove "
        "results/demo and figures/demo yourself."
    )
    assert files(removing) == ["results/demo/a/x.csv"]


@pytest.mark.parametrize("above", [False, True], ids=["own", "above"])
def test_fresh_keeps_what_is_committed_where_the_index_is_lost_or_the_checkout_above(removing, above):
    root = removing.root
    for path in ("results/demo/kept.csv", "figures/demo/kept.png"):
        removing.write(path, "1")
    checkout = root.parent if above else root
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    for arguments in (["init"], ["add", root / "results", root / "figures"], ["commit", "-m", "first"]):
        subprocess.run(["git", *identity, *arguments], cwd=checkout, check=True, capture_output=True)
    removing.write("results/demo/a/x.csv", "1")
    if not above:
        (root / ".git" / "index").unlink()
    run.remove_results("demo")
    assert files(removing) == ["results/demo/kept.csv", "figures/demo/kept.png"]


@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({"SSLAUTH_THREADS": "x"}, [], "SSLAUTH_THREADS"),
        ({"SSLAUTH_DATA": "~nobody_of_that_name/x"}, [], "SSLAUTH_DATA"),
        ({}, ["--", "--no-such-option"], "no-such-option"),
    ],
    ids=["threads", "data", "snakemake"],
)
def test_fresh_removes_nothing_where_the_run_could_not_begin(project, variables, options, said):
    project.write("results/demo/old/rows.csv", "1")
    answer = project.run_all("--fresh", *options, **variables)
    assert answer.returncode != 0 and said in answer.stdout + answer.stderr
    assert (project.root / "results/demo/old/rows.csv").is_file()


def test_what_keeps_snakemake_from_beginning_is_told(project):
    answer = project.run_all("--", "--no-such-option")
    assert answer.returncode != 0 and "no-such-option" in answer.stderr


def test_fresh_without_a_checkout_keeps_figures_that_came_with_a_reference(removing):
    for path in ("results/demo/a/x.csv", "figures/demo/f.png", "results/lite/y.csv", "figures/lite/f.png",
                 "results/reference/lite/summary.csv", "results/reference/demo/runs.csv"):  # fmt: skip
        removing.write(path, "1")
    run.remove_results("demo")
    run.remove_results("lite")
    kept = ["results/reference/demo/runs.csv", "results/reference/lite/summary.csv", "figures/lite/f.png"]
    assert files(removing) == kept, "of demo only seconds were committed"


def test_what_follows_two_dashes_goes_to_snakemake(project):
    answer = project.run_all("--dry-run", "--", "--no-such-option")
    assert answer.returncode == 1
    assert "--no-such-option" in answer.stderr


def test_results_that_cannot_be_written_are_told(project):
    project.write("results", "a file where the folder should be")
    answer = project.run_all()
    assert answer.returncode == 1
    assert answer.stderr.startswith("Cannot write into ")
    assert len(answer.stderr.strip().splitlines()) == 1


def test_a_read_only_results_folder_is_told(monkeypatch, tmp_path):
    def refuse(*_arguments, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run, "RESULTS", tmp_path)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"\(Permission denied\); give yourself write permission"), run.lock("demo"):
        pass


def test_the_lock_is_free_again_when_its_holder_is_gone(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    with (
        run.lock("demo"),
        open(tmp_path / "demo/.lock") as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with run.lock("demo"):
        assert os.listdir(tmp_path / "demo") == [".lock"]


@pytest.fixture
def here(project, monkeypatch):
    """The toy project as the one that `graph` in this process works on."""
    monkeypatch.setattr(graph, "ROOT", project.root)
    monkeypatch.setattr(graph, "NOTEBOOKS", project.root / "notebooks")
    monkeypatch.setattr(profiles, "CONFIG", project.root / "config")
    return project


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"b_fill": {"factr": 1.0}}, "config/demo.yaml: notebook b_fill has no parameter 'factr'"),
        ({"b_fill": {"factor": "big"}}, "parameter 'factor' of b_fill is 'big' (str), but must be a float"),
        ({"a_make": None}, "b_fill needs a_make, which config/demo.yaml does not list; add it there."),
        ({"c_new": {}}, "There is no notebook"),
    ],
    ids=["unknown-parameter", "wrong-type", "needed-notebook-missing", "unknown-notebook"],
)
def test_a_profile_that_cannot_work_is_told_before_anything_runs(here, change, sentence):
    path = here.root / "config/demo.yaml"
    content = yaml.safe_load(path.read_text())
    content["notebooks"].update(change)
    content["notebooks"] = {name: values for name, values in content["notebooks"].items() if values is not None}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as caught:
        graph.profile_runs("demo")
    assert sentence in str(caught.value)


def test_the_front_door_prints_such_a_sentence_and_exits_with_2(project):
    project.write("config/demo.yaml", (project.root / "config/demo.yaml").read_text().replace("factor", "factr"))
    answer = project.run_all()
    assert answer.returncode == 2
    assert "has no parameter 'factr'" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert not (project.root / "results").exists()


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"needs": ["b_fill"], "runs": "scenario-seed"}, "in a circle: a_make -> b_fill -> a_make"),
        ({"needs": [], "runs": "daily"}, 'must hold "sslauth"'),
        ({"needs": []}, 'must hold "sslauth"'),
        ({"needs": [], "runs": "profile", "extra": 1}, 'must hold "sslauth"'),
        ({"needs": [], "runs": "scenario-seed", "reads": ["config/gone.yaml"]}, "gone.yaml, which does not exist"),
    ],
)
def test_metadata_that_cannot_work_is_told(here, about, sentence):
    path = here.root / "notebooks/a_make.ipynb"
    content = json.loads(path.read_text())
    content["metadata"]["sslauth"] = about
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        graph.profile_runs("demo")
    assert sentence in str(caught.value)


def test_needs_values_and_outputs_of_every_run(here):
    here.write("config/demo.yaml", (here.root / "config/demo.yaml").read_text().replace("[0]", "[0, 1]"))
    runs = {made.name: made for made in graph.profile_runs("demo")}
    assert len(runs) == 9
    assert [needed.name for needed in runs["b_fill square seed 1"].needs] == ["a_make square seed 1"]
    assert len(runs["z_summary"].needs) == 8
    assert runs["a_make circle seed 1"].values == {"profile": "demo", "scenario": "circle", "seed": 1, "sides": [1, 2]}
    assert runs["b_fill circle seed 0"].outputs == (
        "results/demo/b_fill/circle-s0/done.json", "results/demo/b_fill/circle-s0/rows.csv",
    )  # fmt: skip
    assert runs["z_summary"].outputs == ("results/demo/z_summary/done.json",)


def test_a_notebook_on_classifiers_runs_once_for_each_model_and_its_own_seeds(here):
    profile = (here.root / "config/demo.yaml").read_text()
    models = "models:\n  net: {seeds: [0, 2], sides: [5]}\n  tree: {seeds: [0], sides: [6]}\n"
    here.write("config/demo.yaml", profile + "  c_models: {sides: scenario}\n  d_more: {}\n" + models)
    own = 'profile = "demo"\nscenario = "net"\nseed = 0\n'
    here.notebook("c_models", "", own + "sides = [1]\n", [], runs="model-seed")
    here.notebook("d_more", "", own, ["c_models"], runs="model-seed")
    runs = {made.name: made for made in graph.profile_runs("demo")}
    found = [name for name in runs if name.startswith("c_models")]
    assert found == ["c_models net seed 0", "c_models net seed 2", "c_models tree seed 0"]
    assert runs["c_models net seed 2"].values["sides"] == [5] and runs["c_models tree seed 0"].values["sides"] == [6]
    assert runs["c_models net seed 2"].outputs[1] == "results/demo/c_models/net-s2/rows.csv"
    assert [needed.name for needed in runs["d_more net seed 2"].needs] == ["c_models net seed 2"]
    assert [name for name in runs if name.startswith("a_make")] == ["a_make circle seed 0", "a_make square seed 0"]
    assert len(runs["z_summary"].needs) == 4 + 6


@pytest.mark.parametrize(("gpus", "asked", "jobs"), [(0, None, 2), (1, None, 1), (4, None, 4), (4, 8, 8), (0, 1, 1)])
def test_how_many_notebooks_run_at_once(monkeypatch, gpus, asked, jobs):
    monkeypatch.setattr(run.gpu_slots, "gpus", lambda: ["GPU-x"] * gpus)
    monkeypatch.setattr(run, "cores", lambda: 16)
    assert run.jobs(run.Namespace(jobs=asked)) == jobs
