"""The runs of a profile: which notebook, with what values, needing what, writing where.

A notebook says what it needs in its metadata::

    "sslauth": {
        "needs": ["02_enrol_keys"],       # its rows rest on these notebooks' rows or settings; ["*"]: all others
        "shows": ["03_verify_intact"],    # run before it, for what it shows beside its rows; may be left out
        "runs": "scenario-seed",          # once for each scenario and seed, "model-seed" or once a "profile"
        "reads": ["config/claims"]        # other files and folders of the project that it reads; may be left out
    }

A "scenario-seed" notebook writes ``rows.csv`` into its folder, and so does a "model-seed" notebook,
whose scenarios are the profile's models, each with seeds of its own. If it needs another one, it needs
that one's run of its own scenario and seed; a "profile" notebook needs all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.notebooks import read_notebook
from sslauth_utils.base.paths import NOTEBOOKS, ROOT
from sslauth_utils.study import parameters, profiles

KINDS = ("scenario-seed", "model-seed", "profile")


@dataclass(frozen=True)
class NotebookInfo:
    """What a notebook's metadata says about it."""

    needs: tuple[str, ...]
    shows: tuple[str, ...]
    runs: str
    reads: tuple[str, ...]

    @property
    def summary(self) -> bool:
        """True for a notebook that reads everybody's results, and draws them."""
        return self.needs == ("*",)


@dataclass(frozen=True)
class Run:
    """One execution of one notebook. All paths are relative to the project's root."""

    profile: str
    notebook: str
    scenario: str | None
    seed: int | None
    values: dict[str, Any]  # every parameter
    info: NotebookInfo
    needs: tuple["Run", ...]
    shows: tuple["Run", ...]

    @property
    def name(self) -> str:
        """How messages call it: ``05_pruning cifar10 seed 0``."""
        return self.notebook + (f" {self.scenario} seed {self.seed}" if self.scenario else "")

    @property
    def rule(self) -> str:
        """How Snakemake calls it: ``05_pruning_cifar10_seed_0``."""
        return self.name.replace(" ", "_").replace("-", "_")

    @property
    def source(self) -> Path:
        return NOTEBOOKS / f"{self.notebook}.ipynb"

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
    def before(self) -> tuple["Run", ...]:
        """Runs that must be done before this one starts."""
        return self.needs + self.shows

    @cached_property
    def data(self) -> tuple[str, ...]:
        """Names of the data sets that its values name, and those of what it needs."""
        own = [value for name, value in self.values.items() if name.endswith("_data")]
        flat = [name for value in own for name in (value if isinstance(value, list) else [value])]
        return tuple(dict.fromkeys([*flat, *(name for run in self.needs for name in run.data)]))


def notebook_info(path: Path) -> NotebookInfo:
    """The ``sslauth`` metadata of the notebook at `path`.

    Raises:
        UserError: it is missing or says something unknown.
    """
    about = read_notebook(path).get("metadata", {}).get("sslauth")
    known = isinstance(about, dict) and set(about) - {"reads", "shows"} == {"needs", "runs"}
    if not known or about["runs"] not in KINDS:
        raise UserError(
            f'{path}: its metadata must hold "sslauth": {{"needs": [...], "runs": one of {", ".join(KINDS)}}} '
            '(and may list "shows" and "reads").'
        )
    return NotebookInfo(
        tuple(about["needs"]), tuple(about.get("shows", ())), about["runs"], tuple(about.get("reads", ()))
    )


def profile_runs(name: str) -> list[Run]:
    """All runs of a profile, those that are needed before those that need them.

    Raises:
        UserError: no such profile, a notebook that is missing or needs one that the profile lacks,
            needs in a circle, or parameters that a notebook would not take.
    """
    profile = profiles.load_profile(name)
    infos = {notebook: notebook_info(NOTEBOOKS / f"{notebook}.ipynb") for notebook in profile.notebooks}
    made: dict[str, list[Run]] = {}
    for notebook in _in_order(infos, name):
        info, path = infos[notebook], NOTEBOOKS / f"{notebook}.ipynb"
        missing = [read for read in info.reads if not (ROOT / read).exists()]
        own = {"profile"} if info.runs == "profile" else {"profile", "scenario", "seed"}
        if given := sorted(own & profile.notebooks[notebook].keys()):
            raise UserError(
                f"config/{name}.yaml: {notebook} gives {given[0]}, which each run has by itself; remove it there."
            )
        if missing:
            raise UserError(f"{path} reads {missing[0]}, which does not exist; make it, or correct the metadata.")
        made[notebook] = [
            Run(
                profile=name,
                notebook=notebook,
                scenario=scenario,
                seed=seed,
                values=_values(profile, notebook, scenario, seed, path),
                info=info,
                needs=_of(_needed(notebook, infos), made, scenario, seed)
                + _left_out(profile, _needed(notebook, infos), infos, scenario, seed),
                shows=_of(info.shows, made, scenario, seed),
            )
            for scenario, seed in _cells(profile, notebook, info.runs)
        ]
    return [run for runs in made.values() for run in runs]


def _cells(profile: profiles.Profile, notebook: str, runs: str) -> list[tuple[str | None, int | None]]:
    """Scenario and seed of every run of a notebook of this kind; a model may name the notebooks that it is for."""
    if runs == "profile":
        return [(None, None)]
    if runs == "model-seed":
        return profile.models_of(notebook)
    return [(scenario, seed) for scenario in profile.scenarios for seed in profile.seeds]


def _of(
    notebooks: Iterable[str], made: dict[str, list[Run]], scenario: str | None, seed: int | None
) -> tuple[Run, ...]:
    """The runs of `notebooks` that belong to a scenario and seed; all of them if there is none."""
    return tuple(
        run
        for notebook in notebooks
        for run in made[notebook]
        if scenario is None or run.scenario is None or (run.scenario, run.seed) == (scenario, seed)
    )


def _left_out(
    profile: profiles.Profile, notebooks: Iterable[str], infos: dict[str, NotebookInfo],
    scenario: str | None, seed: int | None,
) -> tuple[Run, ...]:  # fmt: skip
    """Runs that are needed and that the model is not for: they are not made, but their settings and data count."""
    found = []
    for notebook in notebooks:
        info, path = infos[notebook], NOTEBOOKS / f"{notebook}.ipynb"
        if scenario is None or info.runs != "model-seed" or (scenario, seed) in profile.models_of(notebook):
            continue
        values = _values(profile, notebook, scenario, seed, path)
        needs = _left_out(profile, _needed(notebook, infos), infos, scenario, seed)
        found.append(Run(profile.name, notebook, scenario, seed, values, info, needs, ()))
    return tuple(found)


def _values(profile: profiles.Profile, notebook: str, scenario: str | None, seed: int | None, path: Path) -> dict:
    given = profile.parameters(notebook, scenario, seed if seed is not None else 0)
    return parameters.check(given, path, f"config/{profile.name}.yaml")


def _needed(notebook: str, infos: dict[str, NotebookInfo]) -> list[str]:
    if infos[notebook].summary:
        return [other for other, info in infos.items() if not info.summary]
    return list(infos[notebook].needs)


def _in_order(infos: dict[str, NotebookInfo], profile: str) -> list[str]:
    """Notebooks so that each comes after all that it needs or shows."""
    ordered: list[str] = []

    def visit(notebook: str, path: tuple[str, ...]) -> None:
        if notebook in path:
            raise UserError(f"Notebooks need each other in a circle: {' -> '.join([*path, notebook])}; break it.")
        if notebook in ordered:
            return
        for needed in [*_needed(notebook, infos), *infos[notebook].shows]:
            if needed not in infos:
                raise UserError(f"{notebook} needs {needed}, which config/{profile}.yaml does not list; add it there.")
            visit(needed, (*path, notebook))
        ordered.append(notebook)

    for notebook in infos:
        visit(notebook, ())
    return ordered


def with_needs(runs: Iterable[Run]) -> list[Run]:
    """`runs` and everything that must be done before them, each once, in that order."""
    found: dict[str, Run] = {}

    def visit(run: Run) -> None:
        if run.folder not in found:
            for other in run.before:
                visit(other)
            found[run.folder] = run

    for run in runs:
        visit(run)
    return list(found.values())
