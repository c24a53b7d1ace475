"""The cuts of a profile: settings that a paper states, or the code on which it builds, and that it sets otherwise.

A claim hangs on the settings of its notebook and of all that this one needs, or, of a setting that names claims, on
those alone. So far is a verdict the profile's and not the paper's. ``config/stated`` holds what is stated.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml
from sslauth_utils.base.notebooks import read_notebook
from sslauth_utils.base.paths import NOTEBOOKS, RESULTS, STATED
from sslauth_utils.claims.cut_texts import BREAK, WITHOUT
from sslauth_utils.study import parameters
from sslauth_utils.study.profiles import Profile, profile_of_rows

NEEDED, OPTIONAL = {"setting", "is", "by", "says"}, {"or", "scenario", "unless", "claims", "quote"}


class Cut(NamedTuple):
    """What is set otherwise, in words, in which of the profile's scenarios, and for which claims (patterns of ids)."""

    text: str
    scenarios: set[str]
    claims: list[str]


def read_stated(folder: Path = STATED) -> dict[str, list[dict[str, Any]]]:
    """Notebook to its stated settings, as they stand.

    Raises:
        UserError: an unknown or missing field, or words that would read as two cuts.
    """
    stated: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.yaml")):
        content = read_yaml(path)
        content.pop("shared", None)
        for notebook, settings in content.items():
            for setting in settings:
                where = f"{path}: {notebook}, {setting.get('setting')}"
                if wrong := NEEDED - set(setting) | set(setting) - NEEDED - OPTIONAL:
                    raise UserError(f"{where} has the wrong fields: {', '.join(sorted(wrong))}.")
                if ";" in setting["says"]:
                    raise UserError(f"{where}: leave the semicolon out of says; it parts cuts.")
            stated[notebook] = stated.get(notebook, []) + settings
    return stated


def cuts_of(profile: Profile) -> Callable[[dict[str, Any]], list[str]]:
    """A function that gives a claim's cuts in words, those of the notebooks needed first before the others'.

    Where the claim's notebook has several scenarios (encoders, or of notebooks on classifiers the profile's models), a
    cut that not all of them have begins with those that have it. A claim on none of them has one cut: that they are
    left out.
    """
    stated = read_stated()

    @cache
    def found(notebook: str, scenarios: tuple[str, ...]) -> list[Cut]:
        return _of_notebook(profile, notebook, stated.get(notebook, []), scenarios)

    def cuts(claim: dict[str, Any]) -> list[str]:
        notebook, scenarios = claim["notebook"], scenarios_of(profile, claim["notebook"])
        wanted = claim["where"].get("scenario", list(scenarios))
        asked = [wanted] if isinstance(wanted, str) else wanted
        if notebook in profile.notebooks and not set(asked) & set(scenarios):
            return [WITHOUT + " or ".join(asked)]
        needed = [cut for other in sorted(all_needs(notebook)) for cut in found(other, scenarios)]
        return [
            cut.text for cut in needed
            if set(asked) & cut.scenarios and any(fnmatchcase(claim["id"], pattern) for pattern in cut.claims)
        ]  # fmt: skip

    return cuts


def cuts_in_words(name: str, results: Path = RESULTS) -> Callable[[dict[str, Any]], str]:
    """`cuts_of` the profile with which the rows in ``results/<name>`` were made, as one text."""
    cuts = cuts_of(profile_of_rows(name, results))
    return lambda claim: BREAK.join(cuts(claim))


def scenarios_of(profile: Profile, notebook: str) -> tuple[str, ...]:
    """The profile's scenarios for which `notebook` runs: its encoders, or its models that are for this notebook."""
    if read_notebook(NOTEBOOKS / f"{notebook}.ipynb")["metadata"]["sslauth"]["runs"] == "model-seed":
        return tuple(dict.fromkeys(model for model, _ in profile.models_of(notebook)))
    return tuple(profile.scenarios)


def _of_notebook(
    profile: Profile, notebook: str, settings: list[dict[str, Any]], scenarios: tuple[str, ...]
) -> list[Cut]:
    """The cuts in one notebook of `profile`, in these of its scenarios."""
    if notebook not in profile.notebooks:
        return []
    source = NOTEBOOKS / f"{notebook}.ipynb"  # whose defaults count where the profile says nothing
    values = {
        scenario: parameters.check(profile.parameters(notebook, scenario), source, f"config/{profile.name}.yaml")
        for scenario in scenarios
    }
    found = []
    for setting in settings:
        texts: dict[str, set[str]] = {}
        for scenario, given in values.items():
            ours = given[setting["setting"]]
            if stated_for(setting, scenario) and not given.get(setting.get("unless")) and ours not in as_good(setting):
                text = setting["says"].format(ours=_shown(ours), stated=_shown(setting["is"]))
                texts.setdefault(text, set()).add(scenario)
        for text, having in texts.items():
            own = "" if having == set(values) else f"{', '.join(sorted(having))}: "
            found.append(Cut(own + text, having, setting.get("claims", ["*"])))
    return found


def stated_for(setting: dict[str, Any], scenario: str) -> bool:
    """Whether a stated setting is stated for this scenario."""
    of = setting.get("scenario", scenario)
    return scenario in ([of] if isinstance(of, str) else of)


def as_good(setting: dict[str, Any]) -> list[Any]:
    """The values of a stated setting that are no cut."""
    return [setting["is"], *setting.get("or", [])]


@cache
def all_needs(notebook: str) -> frozenset[str]:
    """`notebook` and every other one that its rows rest on, by the notebooks' metadata."""
    needs = read_notebook(NOTEBOOKS / f"{notebook}.ipynb")["metadata"]["sslauth"]["needs"]
    return frozenset({notebook}).union(*(all_needs(other) for other in needs))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}" if value >= 10_000 else f"{value:g}"
    return str(value)
