"""The cuts of a profile: settings that the paper states, or the code on which it builds, and that it sets otherwise.

A claim hangs on the settings of its notebook and of all that this one needs. So far is a verdict the profile's and not
the paper's. ``config/stated`` holds what is stated.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml
from sslauth_utils.base.notebooks import read_notebook
from sslauth_utils.base.paths import NOTEBOOKS, STATED
from sslauth_utils.study import parameters
from sslauth_utils.study.profiles import Profile, load_profile

NEEDED, OPTIONAL = {"setting", "is", "by", "says"}, {"scenario", "unless"}
#: between the cuts of one claim, in summary.csv
BREAK = "; "


def read_stated(folder: Path = STATED) -> dict[str, list[dict[str, Any]]]:
    """Notebook to its stated settings, as they stand.

    Raises:
        UserError: an unknown or missing field, or words that would read as two cuts.
    """
    stated: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.yaml")):
        for notebook, settings in read_yaml(path).items():
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

    Where the profile has several scenarios, a cut that not all of them have begins with the one that has it.
    """
    made = {notebook: _of_notebook(profile, notebook, settings) for notebook, settings in read_stated().items()}

    def cuts(claim: dict[str, Any]) -> list[str]:
        asked = claim["where"].get("scenario")
        asked = set(profile.scenarios) if asked is None else {asked} if isinstance(asked, str) else set(asked)
        mine = [cut for notebook in sorted(all_needs(claim["notebook"])) for cut in made.get(notebook, ())]
        return [text for text, scenarios in mine if asked & scenarios]

    return cuts


def cuts_in_words(name: str) -> Callable[[dict[str, Any]], str]:
    """`cuts_of` the profile called `name`, as one text."""
    cuts = cuts_of(load_profile(name))
    return lambda claim: BREAK.join(cuts(claim))


def _of_notebook(profile: Profile, notebook: str, settings: list[dict[str, Any]]) -> list[tuple[str, set[str]]]:
    """(words, scenarios) of the cuts in one notebook of `profile`."""
    if notebook not in profile.notebooks:
        return []
    source = NOTEBOOKS / f"{notebook}.ipynb"  # whose defaults count where the profile says nothing
    values = {
        scenario: parameters.check(profile.parameters(notebook, scenario), source, f"config/{profile.name}.yaml")
        for scenario in profile.scenarios
    }
    found = []
    for setting in settings:
        texts: dict[str, set[str]] = {}
        for scenario, given in values.items():
            ours = given[setting["setting"]]
            stated_here = setting.get("scenario", scenario) == scenario and not given.get(setting.get("unless"))
            if stated_here and ours != setting["is"]:
                text = setting["says"].format(ours=_shown(ours), stated=_shown(setting["is"]))
                texts.setdefault(text, set()).add(scenario)
        for text, scenarios in texts.items():
            own = "" if scenarios == set(values) else f"{', '.join(sorted(scenarios))}: "
            found.append((own + text, scenarios))
    return found


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
