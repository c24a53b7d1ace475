"""The strict wrapper around papermill, its parameters, the modules that it rests on, threads and GPU slots."""

import json
import os
import select
import subprocess
import sys
import time

import pytest
from toy_project import notebook

from sslauth_utils.base import leash
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import sha256_file, sha256_json
from sslauth_utils.base.fingerprint import notebook_meanings
from sslauth_utils.base.paths import ROOT
from sslauth_utils.engine import execute, gpu_slots
from sslauth_utils.study import parameters


def write_notebook(folder, code="", cell="rate = 0.5\n", **changes):
    content = notebook(code, cell, [])
    content.update(changes)
    path = folder / "05_toy.ipynb"
    path.write_text(json.dumps(content))
    return path


# --- parameters ---------------------------------------------------------------------------------


CELL = 'rate = 0.5  # why\nsteps: int = 3\nname = "x"\nrates = [0.1, 0.2]\nflag = True\nnothing = None\n'


def test_defaults_are_the_literals_of_the_tagged_cell(tmp_path):
    assert parameters.defaults(write_notebook(tmp_path, cell=CELL)) == {
        "rate": 0.5, "steps": 3, "name": "x", "rates": [0.1, 0.2], "flag": True, "nothing": None,
    }  # fmt: skip


def test_given_values_replace_defaults_and_whole_numbers_become_fractions(tmp_path):
    given = {"rate": 1, "rates": [0, 0.3], "nothing": "any"}
    values = parameters.check(given, write_notebook(tmp_path, cell=CELL), "f")
    assert values == {"rate": 1.0, "steps": 3, "name": "x", "rates": [0.0, 0.3], "flag": True, "nothing": "any"}
    assert type(values["rate"]) is float
    assert type(values["rates"][0]) is float


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"rat": 0.1}, "f: notebook 05_toy has no parameter 'rat'; it has rate, steps, name, rates, flag, nothing."),
        ({"steps": 1.5}, "parameter 'steps' of 05_toy is 1.5 (float), but must be a int"),
        ({"steps": True}, "is True (bool), but must be a int"),
        ({"flag": 1}, "is 1 (int), but must be a bool"),
        ({"rate": "1e-3"}, "YAML reads 1e-3 as text: write 1.0e-3"),
        ({"rates": 0.1}, "is 0.1 (float), but must be a list"),
        ({"rates": [0.1, "b"]}, "parameter 'rates[1]' of 05_toy is 'b' (str), but must be a float"),
        ({"name": None}, "is None (NoneType), but must be a str"),
    ],
)
def test_unknown_or_ill_typed_parameters_are_told(tmp_path, given, sentence):
    with pytest.raises(UserError) as caught:
        parameters.check(given, write_notebook(tmp_path, cell=CELL), "f")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("cell", ["rate = 1 / 2", "import os", "a = b = 1", "a, b = 1, 2", "rate: int", "rate ="])
def test_anything_but_literals_in_the_parameters_cell_is_an_error(tmp_path, cell):
    with pytest.raises(UserError, match="must hold lines of the form name = literal only"):
        parameters.defaults(write_notebook(tmp_path, cell=cell))


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_cell_is_tagged(tmp_path, count):
    path = write_notebook(tmp_path)
    content = json.loads(path.read_text())
    tagged = content["cells"].pop(1)
    content["cells"] += [tagged] * count
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"has {count} cells tagged 'parameters'; it must have exactly one"):
        parameters.defaults(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}'])
def test_a_file_that_is_no_notebook_is_told(tmp_path, text):
    path = tmp_path / "x.ipynb"
    path.write_text(text)
    with pytest.raises(UserError, match="notebook"):
        parameters.defaults(path)


# --- modules that it rests on -------------------------------------------------------------------


@pytest.fixture
def package(tmp_path):
    """A package in which one module leads to another in every way that Python knows."""
    for name, text in {
        "base/__init__": "", "base/errors": "x = 1\n", "models/__init__": "", "attacks/__init__": "",
        "models/plain": "", "models/unused": "",
        "models/named": "from sslauth_utils.models.deeper import thing\nthing\n", "models/deeper": "thing = 1\n",
        "models/inside": "def f():\n    from sslauth_utils.models import late\n    late\n", "models/late": "",
        "models/relative": "from . import near\nnear\n", "models/near": "from .far import x\nx\n",
        "models/far": "x = 1\n", "attacks/up": "from ..models import far\nfar\n",
        "models/circle_a": "import sslauth_utils.models.circle_b as b\nb", 
        "models/circle_b": "import sslauth_utils.models.circle_a as a\na",
        "models/hinted": "from sslauth_utils.models.plain import P\n\n\ndef f(x: P) -> P: ...\n",
        "models/checked": "from sslauth_utils.base.errors import x\nfrom sslauth_utils.models.far import x as y\nx, y",
        "report/__init__": "", "report/plot": "from sslauth_utils.models import far\nfar\n",
        "models/showing": "from sslauth_utils.report import plot\nplot\n",
    }.items():  # fmt: skip
        path = tmp_path / f"sslauth_utils/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import numpy\nfrom os import path\nnumpy, path", []),
        ("import sslauth_utils.models.plain\nsslauth_utils.models.plain", ["models/plain"]),
        ("from sslauth_utils.models import plain\nplain", ["models/plain"]),
        ("from sslauth_utils.models.plain import anything\nanything", ["models/plain"]),
        ("from sslauth_utils.models.named import thing\nthing", ["models/deeper", "models/named"]),
        ("import sslauth_utils.models.inside as i\ni", ["models/inside", "models/late"]),
        ("from sslauth_utils.models import relative\nrelative", ["models/far", "models/near", "models/relative"]),
        ("from sslauth_utils.attacks import up\nup", ["attacks/up", "models/far"]),
        ("from sslauth_utils.models import circle_a\ncircle_a", ["models/circle_a", "models/circle_b"]),
        ("%matplotlib inline\n!ls\nfrom sslauth_utils.models import plain\nplain", ["models/plain"]),
        ("from sslauth_utils.models import plain as other\nother", ["models/plain"]),
        ("from sslauth_utils.models import plain", []),
        ("from sslauth_utils.models.hinted import f\nf", ["models/hinted"]),
        ("from sslauth_utils.models.checked import y\ny", ["models/checked", "models/far"]),
        ("from sslauth_utils.report import plot\nplot", []),
        ("from sslauth_utils.models import showing\nshowing", ["models/showing"]),
    ],
    ids=[
        "others", "module", "from-room", "from-module", "deeper", "inside-a-function", "relative", "from-another-room",
        "circle", "magic", "renamed", "unused", "type-hint", "plumbing", "showing", "showing-behind",
    ],
)  # fmt: skip
def test_what_its_code_rests_on_is_the_closure_of_its_imports(package, code, modules):
    found = notebook_meanings(write_notebook(package, code), package)
    assert list(found) == ["05_toy.ipynb", *(f"sslauth_utils/{name}.py" for name in modules)]


def test_a_notebook_that_draws_rests_on_what_only_shows(package):
    path = write_notebook(package, "from sslauth_utils.models import showing\nshowing")
    found = notebook_meanings(path, package, everything=True)
    assert [name.rpartition("/")[2] for name in found] == ["05_toy.ipynb", "far.py", "showing.py", "plot.py"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [("import sslauth_utils.models.gone as g\ng", "imports sslauth_utils.models.gone, but there is no such module"),
     ("from sslauth_utils.gone import x\nx", "imports sslauth_utils.gone, but there is no such module"),
     ("from sslauth_utils.models import gone\ngone", "imports sslauth_utils.models.gone, but there is no such module"),
     ("def f(:", "is not valid Python (line 1 of code cell 2")],
)  # fmt: skip
def test_imports_that_cannot_work_are_told(package, code, sentence):
    with pytest.raises(UserError) as caught:
        notebook_meanings(write_notebook(package, code), package)
    assert sentence in str(caught.value)


# --- GPU slots, leash ---------------------------------------------------------------------------


LISTED = """GPU 0: NVIDIA A100 (UUID: GPU-aaa1)
GPU 1: NVIDIA A100 (UUID: GPU-bbb2)
  MIG 3g.20gb     Device  0: (UUID: MIG-ccc3)
  MIG 3g.20gb     Device  1: (UUID: MIG-ddd4)
"""


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["GPU-aaa1", "MIG-ccc3", "MIG-ddd4"]),
        ("", []),
        ("-1", []),
        ("0", ["GPU-aaa1"]),
        ("2,0", ["MIG-ddd4", "GPU-aaa1"]),
        ("GPU-aaa", ["GPU-aaa1"]),
    ],
)
def test_gpus_are_those_that_the_process_may_use(visible, expected, monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_slots.gpus() == expected
    assert gpu_slots.model("GPU-bbb2") == "NVIDIA A100"
    assert gpu_slots.model("MIG-ddd4") == "NVIDIA A100, MIG 3g.20gb"
    assert gpu_slots.model("GPU-of-another-machine") == "GPU-of-another-machine"


def test_a_broken_driver_counts_as_no_gpu(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: (UUID: GPU-aaa1)'\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gpu_slots.gpus() == []


def test_a_driver_that_does_not_answer_is_told_and_can_be_left_alone(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(gpu_slots, "PATIENCE", 0.2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UserError, match=r"did not answer in 0\.2 seconds.*set CUDA_VISIBLE_DEVICES to nothing"):
        gpu_slots.gpus()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_slots.gpus() == []


def test_jobs_get_a_gpu_each_and_share_only_when_all_are_taken(tmp_path):
    devices = ["GPU-a", "GPU-b"]
    with (
        gpu_slots.claim(devices, 2, tmp_path) as first,
        gpu_slots.claim(devices, 2, tmp_path) as second,
        gpu_slots.claim(devices, 2, tmp_path) as third,
    ):
        assert [first, second, third] == ["GPU-a", "GPU-b", "GPU-a"]
    with gpu_slots.claim([], 1, tmp_path) as none:
        assert none is None


def test_a_job_waits_for_a_gpu_and_a_killed_one_gives_it_back(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom sslauth_utils.engine.gpu_slots import claim\n"
        "with claim(['GPU-a'], 1, Path(sys.argv[1])):\n    print('claimed', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "claimed\n"
        with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as waiter:
            said_early, _, _ = select.select([waiter.stdout], [], [], 1)
            holder.kill()
            said_then = waiter.stdout.readline()
            waiter.kill()
    assert not said_early
    assert said_then == "claimed\n"


def test_a_process_on_the_leash_ends_with_the_one_that_holds_it(tmp_path):
    (tmp_path / "sleeper.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    holder_code = (
        "import subprocess, time\nfrom sslauth_utils.base import leash\n"
        "subprocess.Popen(leash.command('sleeper'))\ntime.sleep(60)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    holder = subprocess.Popen(
        [sys.executable, "-c", holder_code], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    )
    sleeper = int(holder.stdout.readline())
    assert alive(sleeper)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert ends(sleeper)


def alive(pid):
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def ends(pid, seconds=5):
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not alive(pid)


def test_a_leash_whose_holder_is_already_gone_ends_at_once():
    command = leash.command("json.tool")
    command[3] = "1"  # not our parent
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 1


# --- running a notebook -------------------------------------------------------------------------


def run_one(project, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "sslauth_utils.engine.execute", "--profile", "demo", *arguments],
        cwd=project.root, env=project.variables(**variables), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


CIRCLE = ("--notebook", "a_make", "--scenario", "circle", "--seed", "0")


def test_a_success_leaves_rows_log_and_a_record_of_everything(finished):
    folder = finished.root / "results/demo/b_fill/circle-s0"
    done = json.loads((folder / "done.json").read_text())
    assert done["parameters"] == {"profile": "demo", "scenario": "circle", "seed": 0, "factor": 2.0}
    assert done["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "papermill", "snakemake"} <= set(done["versions"])
    values = {f"value {name}" for name in done["parameters"]}
    assert set(done["made_from"]) == values | {
        "code notebooks/b_fill.ipynb", "code sslauth_utils/attacks/shades.py", "rows a_make/circle-s0",
        "values a_make/circle-s0",
    }  # fmt: skip
    assert done["made_from"]["value factor"] == 2.0
    assert done["fingerprint"] == sha256_json(done["made_from"])
    rows = "results/demo/b_fill/circle-s0/rows.csv"
    assert done["outputs"] == {rows: sha256_file(finished.root / rows)}
    assert done["artifacts"] == {}
    assert done["seconds"] > 0
    assert done["peak_memory_mb"] == 200, "as the notebook says"
    assert done["machine"]["threads"] >= 1
    assert done["git"] is None  # the toy project is no checkout of its own
    executed = json.loads((folder / "executed.ipynb").read_text())
    assert any("injected-parameters" in cell["metadata"].get("tags", []) for cell in executed["cells"])


def test_git_commit_and_changes_are_recorded(monkeypatch, tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(execute, "ROOT", tmp_path.resolve())
    assert execute.git_state() is None
    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    state = execute.git_state()
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    (tmp_path / "a").write_text("2")
    assert execute.git_state() == {"commit": state["commit"], "dirty": True}


PROBE = """
import csv, json, os, sys
from pathlib import Path
folder = Path(os.environ["SSLAUTH_RUN_DIR"])
variables = ("SSLAUTH_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTHONHASHSEED")
seen = {"prefix": sys.prefix, "cwd": os.getcwd(), "started_up": "marker" in globals()}
seen |= {name: os.environ.get(name) for name in variables}
(folder / "seen.json").write_text(json.dumps(seen))
(folder / "rows.csv").write_text("a\\n")
"""


def test_the_kernel_is_this_python_whatever_the_user_has_installed(project, tmp_path):
    project.notebook("a_make", PROBE, 'profile = "demo"\nscenario = "c"\nseed = 0\nsides = [1]\n', [])
    kernel = tmp_path / "home/.local/share/jupyter/kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    other = {"argv": ["/bin/false", "{connection_file}"], "display_name": "other", "language": "python"}
    kernel.write_text(json.dumps(other))
    startup = tmp_path / "home/.ipython/profile_default/startup/first.py"
    startup.parent.mkdir(parents=True)
    startup.write_text("marker = 1\n")
    home = str(tmp_path / "home")
    answer = run_one(project, *CIRCLE, HOME=home, JUPYTER_PATH=f"{home}/.local/share/jupyter", SSLAUTH_THREADS="3")
    assert answer.returncode == 0, answer.stderr
    seen = json.loads((project.root / "results/demo/a_make/circle-s0/seen.json").read_text())
    assert seen == {
        "prefix": sys.prefix, "cwd": str(project.root), "started_up": False, "SSLAUTH_THREADS": "3",
        "OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "PYTHONHASHSEED": "0",
        "CUDA_VISIBLE_DEVICES": "" if not gpu_slots.gpus() else seen["CUDA_VISIBLE_DEVICES"],
    }  # fmt: skip


BOTH = 'profile = "demo"\nscenario = "circle"\nseed = 0\nsides = [1]\n'


@pytest.mark.parametrize(
    ("code", "wanted", "unwanted"),
    [
        ("first = 1\nraise ValueError('the side is negative')",
         ["cell 3: ValueError: the side is negative", "first = 1"], ["papermill", "\x1b", "-----"]),
        ("from sslauth_utils.base.errors import UserError as E\nraise E('There is no GPU here; choose device: cpu.')",
         ["a_make circle seed 0 failed: There is no GPU here; choose device: cpu."], ["Traceback", "UserError"]),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
         ["its Python process died", "memory"], ["Traceback"]),
        ("pass", ["ended without writing results/demo/a_make/circle-s0/rows.csv"], ["Traceback"]),
    ],
    ids=["error", "user-error", "killed", "no-rows"],
)  # fmt: skip
def test_a_failure_is_told_and_leaves_the_log_but_no_success(project, code, wanted, unwanted):
    project.write("results/demo/a_make/circle-s0/done.json", "{}")  # of an earlier run
    project.notebook("a_make", code, BOTH, [])
    answer = run_one(project, *CIRCLE)
    assert answer.returncode == 1
    told = answer.stderr[answer.stderr.index("a_make circle seed 0 failed") :]
    for text in wanted:
        assert text in told
    for text in unwanted:
        assert text not in told
    assert told.endswith("Executed notebook: results/demo/a_make/circle-s0/executed.ipynb\n")
    folder = project.root / "results/demo/a_make/circle-s0"
    assert not (folder / "done.json").exists()
    assert (folder / "executed.ipynb").exists()
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"


def test_a_notebook_for_another_kernel_is_refused(project):
    path = project.root / "notebooks/a_make.ipynb"
    path.write_text(path.read_text().replace('"name": "python3"', '"name": "conda-env-mine"'))
    answer = run_one(project, *CIRCLE)
    assert answer.returncode == 1
    assert "asks for the kernel 'conda-env-mine'; its metadata must name python3" in answer.stderr


def test_a_source_that_changes_during_the_run_makes_it_a_failure(project):
    code = (
        "from pathlib import Path\nimport os\nfrom sslauth_utils.study.shapes import area\narea(1)\n"
        "Path('sslauth_utils/study/shapes.py').write_text('def area(side):\\n    return side\\n')\n"
        "(Path(os.environ['SSLAUTH_RUN_DIR']) / 'rows.csv').touch()\n"
    )
    project.notebook("a_make", code, BOTH, [])
    answer = run_one(project, *CIRCLE)
    assert answer.returncode == 1
    assert "sslauth_utils/study/shapes.py changed while the notebook ran" in answer.stderr


def test_an_unknown_run_is_told(project):
    answer = run_one(project, "--notebook", "a_make", "--scenario", "triangle", "--seed", "0")
    assert answer.returncode == 1
    assert "has no run of a_make with scenario triangle and seed 0" in answer.stderr


def test_a_folder_that_cannot_be_written_is_told(project):
    project.write("results/demo/a_make", "a file where a folder should be")
    answer = run_one(project, *CIRCLE)
    assert answer.returncode == 1
    assert "Cannot write into" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_full_disk_is_told(project):
    log = project.root / "results/demo/a_make/circle-s0/executed.ipynb"
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")
    answer = run_one(project, *CIRCLE)
    assert answer.returncode == 1
    assert "executed.ipynb (No space left on device); free some disk space" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [("text.replace('[1, 2]', '[1, 5]')", "sides changed while the notebook ran"),
     ("text.replace('  circle: {}', '')", "the profile demo changed while the notebook ran: it no longer has this run"),
     ("text.replace('seeds', 'speeds')", "the profile demo changed while the notebook ran: ")],
)  # fmt: skip
def test_a_profile_that_changes_during_the_run_makes_it_a_failure(project, change, said):
    """The notebook reads it again while it runs: other notebooks' settings, say."""
    code = (
        "from pathlib import Path\nimport os\nfile = Path('config/demo.yaml')\ntext = file.read_text()\n"
        f"file.write_text({change})\n(Path(os.environ['SSLAUTH_RUN_DIR']) / 'rows.csv').touch()\n"
    )
    project.notebook("a_make", code, BOTH, [])
    answer = run_one(project, *CIRCLE)
    assert answer.returncode == 1 and said in answer.stderr and "Traceback" not in answer.stderr
    assert not (project.root / "results/demo/a_make/circle-s0/done.json").exists()
