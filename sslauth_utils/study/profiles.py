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

A notebook's parameters are its own values, ``profile``, ``scenario`` and ``seed``. One that reads ``scenario`` in the
notebook's block has the scenario's value. A model is the scenario of the notebooks on classifiers.
"""

from collections import Counter
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
SUMMARY = "90_summary"
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


    def folders(self, notebook: str) -> set[str]:
        """Names of the folders that the profile's runs of `notebook` may have, ``cifar10-s0``, if it has any."""
        if notebook not in self.notebooks:
            return set()
        found = {f"{scenario}-s{seed}" for scenario in self.scenarios for seed in self.seeds}
        return found | {f"{model}-s{seed}" for model, seed in self.models_of(notebook)}

    def models_of(self, notebook: str) -> list[tuple[str, int]]:
        """The models for which `notebook` is run, each with its seeds."""
        chosen = {name: of for name, of in self.models.items() if notebook in of.get("notebooks", [notebook])}
        return [(model, seed) for model, values in chosen.items() for seed in values["seeds"]]


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
    if name in _TAKEN:
        raise UserError(f"No profile can be called {name!r}: results/{name} holds something else; rename its file.")
    return _read(name, CONFIG / f"{name}.yaml")


#: folders of results that are no profile's
_TAKEN = ("by_hand", "reference")
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
    alike = Counter(str(entry).replace("-", "_") for entry in (*content["scenarios"], *models))
    if twice := [entry for entry, count in alike.items() if count > 1]:
        raise UserError(f"{path}: two scenarios or models are called {twice[0]} but for '-' and '_'; rename one.")
    for seeds in (content["seeds"], *(values.get("seeds") for values in models.values())):
        if not isinstance(seeds, list) or not seeds or not all(is_whole(seed) and 0 <= seed < 2**32 for seed in seeds):
            raise UserError(f"{path}: seeds must be whole numbers from 0 to {2**32 - 1}, not {seeds}.")
        if len(set(seeds)) < len(seeds):
            raise UserError(f"{path}: seeds names one twice ({seeds}); name each once.")
    for section in ("scenarios", "notebooks", "models"):
        for entry, values in content.get(section, {}).items():
            check_name(f"{path}: a name in {section}", entry)
            if not isinstance(values, dict):
                raise UserError(
                    f"{path}: {section}.{entry} must hold names and values, not {values!r}; write {{}} for none."
                )
    _check_values(path, content)
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


def _check_values(path: Path, content: dict[str, Any]) -> None:
    """Refuse what would be passed over without a word, or would make every verdict wrong."""
    notebooks = content["notebooks"]
    read = {name for values in notebooks.values() for name, value in values.items() if value == "scenario"}
    for section, own in (("scenarios", set()), ("models", {"seeds", "notebooks"})):
        for entry, values in content.get(section, {}).items():
            if unread := sorted(values.keys() - read - own):
                raise UserError(
                    f"{path}: {section}.{entry} gives {unread[0]}, but no notebook reads it: write scenario as its "
                    "value in the notebook's block, or correct the name."
                )
            named = values.get("notebooks", [])
            if "notebooks" in own and (not isinstance(named, list) or not set(named) <= notebooks.keys()):
                raise UserError(
                    f"{path}: {section}.{entry}.notebooks must list notebooks of this file, not {named!r}."
                )
    taus = {name: notebooks[name]["tau"] for name in (ENROL, SUMMARY) if "tau" in notebooks.get(name, {})}
    for name, tau in taus.items():
        if not is_number(tau) or not 0 < tau < 1:
            raise UserError(f"{path}: {name}'s tau must be a similarity in (0, 1), not {tau!r}; 99.5 % is 0.995.")


def notebook_settings(
    profile: str, notebook: str, scenario: str, seed: int, given: Settings | None = None
) -> dict[str, Any]:
    """The parameters of `notebook` without profile, scenario and seed: `given`, or else the profile's."""
    values = load_profile(profile).parameters(notebook, scenario, seed) if given is None else given
    return {name: value for name, value in values.items() if name not in ("profile", "scenario", "seed")}
