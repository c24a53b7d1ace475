"""The runs of a profile: which notebook, with what values, needing what, writing where.

A notebook says what it needs in its metadata::

    "sslauth": {
        "needs": ["02_enrol_keys"],       # notebooks whose results it reads; ["*"]: all others
        "runs": "scenario-seed",          # once for each scenario and seed, or once a "profile"
        "reads": ["config/claims.yaml"]   # other files of the project that it reads; may be left out
    }

A "scenario-seed" notebook writes ``rows.csv`` into its folder. If it needs another one, it needs
that one's run of its own scenario and seed; a "profile" notebook needs all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslauth_utils import config, parameters
from sslauth_utils.dependencies import helper_files, read_notebook
from sslauth_utils.errors import UserError
from sslauth_utils.paths import NOTEBOOKS, ROOT

LOCK = ROOT / "requirements.lock"
KINDS = ("scenario-seed", "profile")


@dataclass(frozen=True)
class Run:
    """One execution of one notebook. All paths are relative to the project's root."""

    profile: str
    notebook: str
    scenario: str | None
    seed: int | None
    values: dict[str, Any]  # every parameter
    sources: tuple[str, ...]  # notebook, helpers, other files that it reads, lock
    needs: tuple["Run", ...]

    @property
    def name(self) -> str:
        """How messages call it: ``05_pruning cifar10 seed 0``."""
        return self.notebook + (f" {self.scenario} seed {self.seed}" if self.scenario else "")

    @property
    def folder(self) -> str:
        own = f"/{self.scenario}-s{self.seed}" if self.scenario else ""
        return f"results/{self.profile}/{self.notebook}{own}"

    @property
    def done(self) -> str:
        return f"{self.folder}/done.json"

    @property
    def outputs(self) -> tuple[str, ...]:
        """What must be there after a success; ``done.json`` first."""
        return (self.done, f"{self.folder}/rows.csv") if self.scenario else (self.done,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What makes the run stale when it changes."""
        return self.sources + tuple(path for run in self.needs for path in run.outputs)


@dataclass(frozen=True)
class NotebookInfo:
    """What a notebook's metadata says about it."""

    needs: tuple[str, ...]
    runs: str
    reads: tuple[str, ...]

    @property
    def summary(self) -> bool:
        """True for a notebook that reads everybody's results."""
        return self.needs == ("*",)


def notebook_info(path: Path) -> NotebookInfo:
    """The ``sslauth`` metadata of the notebook at `path`.

    Raises:
        UserError: it is missing or says something unknown.
    """
    about = read_notebook(path).get("metadata", {}).get("sslauth")
    if not isinstance(about, dict) or set(about) - {"reads"} != {"needs", "runs"} or about["runs"] not in KINDS:
        raise UserError(
            f'{path}: its metadata must hold "sslauth": {{"needs": [...], "runs": "scenario-seed" or "profile"}} '
            '(and may list files under "reads").'
        )
    return NotebookInfo(tuple(about["needs"]), about["runs"], tuple(about.get("reads", ())))


def profile_runs(name: str) -> list[Run]:
    """All runs of a profile, those that are needed before those that need them.

    Raises:
        UserError: no such profile, a notebook that is missing or needs one that the profile lacks,
            needs in a circle, or parameters that a notebook would not take.
    """
    profile = config.load_profile(name)
    infos = {notebook: notebook_info(NOTEBOOKS / f"{notebook}.ipynb") for notebook in profile.notebooks}
    made: dict[str, list[Run]] = {}
    for notebook in _in_order(infos, name):
        info, path = infos[notebook], NOTEBOOKS / f"{notebook}.ipynb"
        files = [path, *helper_files(path), *(ROOT / read for read in info.reads), LOCK]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise UserError(f"{path} reads {missing[0]}, which does not exist; make it, or correct the metadata.")
        sources = tuple(file.relative_to(ROOT).as_posix() for file in files)
        cells = [(scenario, seed) for scenario in profile.scenarios for seed in profile.seeds]
        made[notebook] = [
            Run(
                profile=name,
                notebook=notebook,
                scenario=scenario,
                seed=seed,
                values=_values(profile, notebook, scenario, seed, path),
                sources=sources,
                needs=tuple(
                    run
                    for needed in _needed(notebook, infos)
                    for run in made[needed]
                    if scenario is None or run.scenario is None or (run.scenario, run.seed) == (scenario, seed)
                ),
            )
            for scenario, seed in (cells if info.runs == "scenario-seed" else [(None, None)])
        ]
    return [run for notebook in profile.notebooks for run in made[notebook]]


def _values(profile: config.Profile, notebook: str, scenario: str | None, seed: int | None, path: Path) -> dict:
    given = profile.parameters(notebook, scenario, seed if seed is not None else 0)
    return parameters.check(given, path, f"config/{profile.name}.yaml")


def _needed(notebook: str, infos: dict[str, NotebookInfo]) -> list[str]:
    if infos[notebook].summary:
        return [other for other, info in infos.items() if not info.summary]
    return list(infos[notebook].needs)


def _in_order(infos: dict[str, NotebookInfo], profile: str) -> list[str]:
    """Notebooks so that each comes after all that it needs."""
    ordered: list[str] = []

    def visit(notebook: str, path: tuple[str, ...]) -> None:
        if notebook in path:
            raise UserError(f"Notebooks need each other in a circle: {' -> '.join([*path, notebook])}; break it.")
        if notebook in ordered:
            return
        for needed in _needed(notebook, infos):
            if needed not in infos:
                raise UserError(f"{notebook} needs {needed}, which config/{profile}.yaml does not list; add it there.")
            visit(needed, (*path, notebook))
        ordered.append(notebook)

    for notebook in infos:
        visit(notebook, ())
    return ordered


def with_needs(runs: Iterable[Run]) -> list[Run]:
    """`runs` and everything that they need, each once, needed ones first."""
    found: dict[str, Run] = {}

    def visit(run: Run) -> None:
        if run.folder not in found:
            for needed in run.needs:
                visit(needed)
            found[run.folder] = run

    for run in runs:
        visit(run)
    return list(found.values())
