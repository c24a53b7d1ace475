"""Profiles: which values each notebook gets.

A profile is ``config/<name>.yaml``::

    seeds: [0]
    scenarios:
      cifar10: {pretrain_data: ..., key_data: ...}      # values that differ by scenario
    models:                                              # may be left out: classifiers, each with its seeds
      digits: {seeds: [0, 1], train_data: embedded_digits, ...}    # notebooks: [...] if not for all of them
    notebooks:
      01_pretrain_encoders: {width: 16, ...}             # values of one notebook
    expected_minutes:                                    # may be left out: of a run that nobody has made yet
      01_pretrain_encoders: {cifar10: 85, imagenet: 15}

A notebook's parameters are its own values, then those of its scenario that it
declares, then ``profile``, ``scenario`` and ``seed``. A model is the scenario of the
notebooks on classifiers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslauth_utils.base.checks import check_name, is_number, is_whole
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml
from sslauth_utils.base.paths import CONFIG, RESULTS

#: notebooks whose parameters say how the artifacts are made that others share
PRETRAIN, ENROL, FINE_TUNE, BACKDOOR = "01_pretrain_encoders", "02_enrol_keys", "04_fine_tuning", "06_backdoor"
CLASSIFIERS, TAMPERS = "20_sensitive_samples", "21_sample_pairing"
SIGNATURE_KEYS, SIGNATURES = "22_deepauth_keys", "23_deepauth"
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Profile:
    """One profile as read from its file."""

    name: str
    seeds: list[int]
    scenarios: dict[str, dict[str, Any]]
    notebooks: dict[str, dict[str, Any]]
    expected_minutes: dict[str, dict[str, float]] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)

    def parameters(self, notebook: str, scenario: str | None = None, seed: int = 0) -> dict[str, Any]:
        """The explicit parameters of one notebook run.

        Scenario values fill the notebook's entries that read ``scenario``
        (so the file shows that they exist), everything else is the notebook's own.

        Raises:
            UserError: unknown notebook or scenario, or an entry that the scenario lacks.
        """
        if notebook not in self.notebooks:
            raise UserError(f"Profile {self.name} has no notebook {notebook!r}; it has {', '.join(self.notebooks)}.")
        values = dict(self.notebooks[notebook])
        if scenario is not None:
            known = self.scenarios | self.models
            if scenario not in known:
                raise UserError(f"Profile {self.name} has no scenario {scenario!r}; it has {', '.join(known)}.")
            for name, value in values.items():
                if value == "scenario":
                    if name not in known[scenario]:
                        raise UserError(f"config/{self.name}.yaml: scenario {scenario} lacks the value {name!r}.")
                    values[name] = known[scenario][name]
        return {"profile": self.name, **({"scenario": scenario, "seed": seed} if scenario else {}), **values}


def profile_names() -> list[str]:
    """Names of all profiles, sorted."""
    return sorted(path.stem for path in CONFIG.glob("[!.]*.yaml"))  # hidden: an editor's lock or swap file


def load_profile(name: str) -> Profile:
    """Read and check ``config/<name>.yaml``.

    Raises:
        UserError: no such profile, or its file lacks a section, has an unknown one, or holds what cannot be run.
    """
    if name not in profile_names():
        raise UserError(f"There is no profile {name!r}; choose one of {', '.join(profile_names())}.")
    check_name("The profile's name", name)
    return _read(name, CONFIG / f"{name}.yaml")


#: in a folder of rows that were not made here: the profile with which they were made
KEPT = "profile.yaml"


def profile_of_rows(name: str, results: Path = RESULTS) -> Profile:
    """The profile with which the rows in ``results/<name>`` were made: a reference run's own, else today's.

    Raises:
        UserError: as `load_profile`.
    """
    kept = results / name / KEPT
    return _read(name, kept) if kept.is_file() else load_profile(name)


def _read(name: str, path: Path) -> Profile:
    content = read_yaml(path)
    wanted = {"seeds": list, "scenarios": dict, "notebooks": dict}
    if not isinstance(content, dict) or set(content) - {"expected_minutes", "models"} != set(wanted):
        raise UserError(
            f"{path} must have exactly the sections {', '.join(wanted)} (and may have models and expected_minutes)."
        )
    for section, kind in wanted.items():
        if not isinstance(content[section], kind) or not content[section]:
            raise UserError(f"{path}: section {section} must be a non-empty {kind.__name__}.")
    models = content.get("models", {})
    if not isinstance(models, dict) or not all(isinstance(values, dict) for values in models.values()):
        raise UserError(f"{path}: models must hold, for each model, names and values, seeds among them.")
    if twice := set(models) & set(content["scenarios"]):
        raise UserError(f"{path}: {min(twice)} is the name of a scenario and of a model; call one of them otherwise.")
    for seeds in (content["seeds"], *(values.get("seeds") for values in models.values())):
        if not isinstance(seeds, list) or not all(is_whole(seed) and seed >= 0 for seed in seeds):
            raise UserError(f"{path}: seeds must be whole numbers from 0 on, not {seeds}.")
        if len(set(seeds)) < len(seeds):
            raise UserError(f"{path}: seeds names one twice ({seeds}); name each once.")
    for section in ("scenarios", "notebooks"):
        for entry, values in content[section].items():
            check_name(f"{path}: a name in {section}", entry)
            if not isinstance(values, dict):
                raise UserError(
                    f"{path}: {section}.{entry} must hold names and values, not {values!r}; write {{}} for none."
                )
    expected = content.get("expected_minutes", {})
    known = isinstance(expected, dict) and all(
        notebook in content["notebooks"]
        and isinstance(minutes, dict)
        and set(minutes) <= {*content["scenarios"], *models}
        and all(is_number(value) for value in minutes.values())
        for notebook, minutes in expected.items()
    )
    if not known:
        raise UserError(f"{path}: expected_minutes must hold minutes by notebook and scenario, those of the file only.")
    return Profile(name, content["seeds"], content["scenarios"], content["notebooks"], expected, models)


def notebook_settings(
    profile: str, notebook: str, scenario: str, seed: int, given: Settings | None = None
) -> dict[str, Any]:
    """The parameters of `notebook` without profile, scenario and seed: `given`, or else the profile's."""
    values = load_profile(profile).parameters(notebook, scenario, seed) if given is None else given
    return {name: value for name, value in values.items() if name not in ("profile", "scenario", "seed")}
