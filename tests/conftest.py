"""Fixtures for all tests: a toy project whose notebooks take a moment, run by the project's own engine."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

# A busy machine must not fail a property: how long an example takes is not what is tested.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent
ENGINE = [
    "__init__", "claims_table", "check", "config", "dependencies", "environment", "errors", "execute", "files", "front",
    "gpu_slots", "graph", "kernel", "leash", "parameters", "paths", "run",
]  # fmt: skip

SHAPES = '''"""A helper that the notebooks share."""


def area(side):
    return side * side
'''
COLOURS = '''"""A helper that only b_fill uses."""

SHADES = 3
'''
MAKE = '''import csv, os
from pathlib import Path
from sslauth_utils.shapes import area
folder = Path(os.environ["SSLAUTH_RUN_DIR"])
with open(folder / "rows.csv", "w", newline="") as out:
    csv.writer(out).writerows([["side", "area"], *([side, area(side) + seed] for side in sides)])
'''
FILL = '''import csv, os
from pathlib import Path
from sslauth_utils.colours import SHADES
folder = Path(os.environ["SSLAUTH_RUN_DIR"])
made = folder.parent.parent / "a_make" / folder.name / "rows.csv"
with open(folder / "rows.csv", "w") as out:
    out.write(made.read_text() + f"shades,{SHADES * factor}\\n")
'''
SUMMARY = '''import os
from pathlib import Path
folder = Path(os.environ["SSLAUTH_RUN_DIR"])
results = folder.parent
rows = sorted(path.relative_to(results).as_posix() for path in results.glob("*/*/rows.csv"))
(results / "summary.csv").write_text(
    "id,source,quantity,paper,measured,low,high,n,verdict\\n"
    f"C1,Fig. 5,runs with rows,4,{len(rows)},{len(rows)},{len(rows)},{len(rows)},reproduced\\n"
)
report = results.parent.parent / "figures" / profile / "report.html"
report.parent.mkdir(parents=True, exist_ok=True)
report.write_text("<p>report</p>")
'''
PROFILE = """# Toy profile
seeds: [0]
scenarios:
  circle: {}
  square: {}
notebooks:
  a_make: {sides: [1, 2]}
  b_fill: {factor: 2.0}
  z_summary: {}
"""


def notebook(code: str, parameters: str, needs: list[str], runs: str = "scenario-seed", title: str = "Toy") -> dict:
    """A notebook of two cells: the tagged parameters and `code`."""
    return {
        "cells": [
            {"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {title}\n"},
            {"cell_type": "code", "id": "parameters", "metadata": {"tags": ["parameters"]}, "source": parameters,
             "outputs": [], "execution_count": None},
            {"cell_type": "code", "id": "code", "metadata": {}, "source": code, "outputs": [], "execution_count": None},
        ],
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
            "sslauth": {"needs": needs, "runs": runs},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip


class Project:
    """A project folder with the engine's files, and the commands that a user types."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def notebook(self, name: str, code: str, parameters: str, needs: list[str], runs: str = "scenario-seed") -> None:
        self.write(f"notebooks/{name}.ipynb", json.dumps(notebook(code, parameters, needs, runs)))

    def variables(self, **more: str) -> dict[str, str]:
        """The tests' own interpreter as the activated environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SSLAUTH_", "CONDA"))}
        return {**kept, "VIRTUAL_ENV": sys.prefix, **more}

    def run_all(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.root / "run_all.sh", *arguments],
            env=self.variables(**variables), capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip

    def start_all(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [self.root / "run_all.sh", *arguments],
            env=self.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # Where tests run in the background, Ctrl-C's signal is ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def rows(self) -> dict[str, str]:
        """Contents of all rows.csv, by path."""
        results = self.root / "results"
        return {path.relative_to(results).as_posix(): path.read_text() for path in sorted(results.rglob("rows.csv"))}


def make_project(root: Path) -> Project:
    project = Project(root)
    for name in ("run_all.sh", "run_tests.sh", ".ci/python.sh", "Snakefile", "requirements.lock", "pyproject.toml",
                 *(f"sslauth_utils/{module}.py" for module in ENGINE)):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    project.write("sslauth_utils/shapes.py", SHAPES)
    project.write("sslauth_utils/colours.py", COLOURS)
    project.write("config/demo.yaml", PROFILE)
    common = 'profile = "demo"\n'
    both = common + 'scenario = "circle"\nseed = 0\n'
    project.notebook("a_make", MAKE, both + "sides = [1]\n", [])
    project.notebook("b_fill", FILL, both + "factor = 1.0\n", ["a_make"])
    project.notebook("z_summary", SUMMARY, common, ["*"], runs="profile")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A toy project that has not run yet, in a folder whose name has a blank."""
    return make_project(tmp_path / "toy project")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, subprocess.CompletedProcess]:
    """A toy project that has run, with what the run said. Shared: copy it (`finished`) before changing anything."""
    project = make_project(tmp_path_factory.mktemp("once") / "toy project")
    return project, project.run_all()


@pytest.fixture
def finished(finished_once: tuple[Project, subprocess.CompletedProcess], tmp_path: Path) -> Project:
    """A copy of a toy project that has run completely."""
    shutil.copytree(finished_once[0].root, tmp_path / "toy project", symlinks=True)
    return Project(tmp_path / "toy project")
