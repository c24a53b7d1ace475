"""A toy project whose notebooks take a moment, run by the project's own engine."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from sslauth_utils.engine.graph import NotebookInfo, Run

ROOT = Path(__file__).resolve().parents[2]

SHAPES = '''"""A helper that a_make computes with."""


def area(side):
    """Its area."""
    return side * side
'''
SHADES = '''"""A helper that b_fill computes with."""

SHADES = 3
'''
COLOURS = '''"""A helper that only shows: b_fill and the summary use it."""

COLOUR = "blue"
'''
MAKE = """import csv, os
from pathlib import Path
from sslauth_utils.study.shapes import area
folder = Path(os.environ["SSLAUTH_RUN_DIR"])
with open(folder / "rows.csv", "w", newline="") as out:
    csv.writer(out).writerows([["side", "area"], *([side, area(side) + seed] for side in sides)])
"""
FILL = """import csv, os
from pathlib import Path
from sslauth_utils.attacks.shades import SHADES
from sslauth_utils.report.colours import COLOUR
folder = Path(os.environ["SSLAUTH_RUN_DIR"])
made = folder.parent.parent / "a_make" / folder.name / "rows.csv"
with open(folder / "rows.csv", "w") as out:
    out.write(made.read_text() + f"shades,{SHADES * factor}\\n")
(folder / "peak_memory_kb").write_text("204800")
print(COLOUR)
"""
SUMMARY = """import os
from pathlib import Path
from sslauth_utils.report.colours import COLOUR
folder = Path(os.environ["SSLAUTH_RUN_DIR"])
results = folder.parent
rows = sorted(path.relative_to(results).as_posix() for path in results.glob("*/*/rows.csv"))
(results / "summary.csv").write_text(
    "id,source,quantity,paper,measured,low,high,n,verdict,cuts\\n"
    f"C1,Fig. 5,runs with rows,4,{len(rows)},{len(rows)},{len(rows)},{len(rows)},reproduced,\\n"
)
figures = results.parent.parent / "figures" / profile
figures.mkdir(parents=True, exist_ok=True)
(figures / "report.html").write_text("<p>report</p>")
(figures / "areas.svg").write_text(f"<svg fill='{COLOUR}'/>")
"""
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


def tree(top: Path, *more: str) -> list[Path]:
    """Files of the folder `top` of this project and the files `more`, without what Python leaves behind."""
    inside = (path for path in sorted((ROOT / top).rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return [path.relative_to(ROOT) for path in inside] + [Path(name) for name in more]


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
    own = ("run_all.sh", "run_tests.sh", ".ci/python.sh", "Snakefile", "requirements.lock", "pyproject.toml")
    for path in tree("sslauth_utils", *own):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, root / path)
    project.write("sslauth_utils/study/shapes.py", SHAPES)
    project.write("sslauth_utils/attacks/shades.py", SHADES)
    project.write("sslauth_utils/report/colours.py", COLOURS)
    project.write("config/demo.yaml", PROFILE)
    common = 'profile = "demo"\n'
    both = common + 'scenario = "circle"\nseed = 0\n'
    project.notebook("a_make", MAKE, both + "sides = [1]\n", [])
    project.notebook("b_fill", FILL, both + "factor = 1.0\n", ["a_make"])
    project.notebook("z_summary", SUMMARY, common, ["*"], runs="profile")
    return project


def toy_run(
    notebook: str, needs: tuple[Run, ...] = (), shows: tuple[Run, ...] = (), scenario: str | None = "circle"
) -> Run:
    """A run of profile demo without values."""
    info = NotebookInfo((), (), "scenario-seed" if scenario else "profile", ())
    return Run("demo", notebook, scenario, 0 if scenario else None, {}, info, needs, shows)
