"""Where a run came from: code, packages, machines and seconds, from its own ``done.json`` or the reference's list."""

from pathlib import Path

import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_json
from sslauth_utils.base.paths import RESULTS
from sslauth_utils.study.profiles import profile_of_rows

#: columns of the table, as far as they are known
COLUMNS = ("notebook", "scenario", "seed", "finished", "seconds", "commit", "processor", "gpu", "rows_sha256")


def provenance(profile: str, results: Path = RESULTS) -> tuple[pd.DataFrame, dict[str, str]]:
    """One line a notebook run, and the packages' versions; both empty where nothing is known.

    A run that was restored from the reference has left no ``done.json``: then it is the reference's.
    """
    done = []
    for path in sorted((results / profile).glob("[0-9]*/*/done.json")):  # not the summary's, which is being made
        if path.parent.name in profile_of_rows(profile, results).folders(path.parent.parent.name):
            done.append(_read(path))
    if done:
        lines = [_line(one) for one in done]
        versions = done[-1].get("versions") or {}
    else:
        folder = results / "reference" / profile
        if not (folder / "runs.csv").is_file():
            return pd.DataFrame(columns=COLUMNS), {}
        lines = pd.read_csv(folder / "runs.csv").to_dict("records")
        known = _read(folder / "versions.json")
        versions = next(iter(known.values()), {})
    table = pd.DataFrame(lines).reindex(columns=COLUMNS).dropna(axis="columns", how="all")
    for name in ("commit", "rows_sha256"):
        if name in table:
            table[name] = table[name].str[:12]
    return table, versions


def _read(path: Path) -> dict:
    try:
        return read_json(path)
    except UserError:
        return {}


def _line(done: dict) -> dict:
    machine, git = done.get("machine") or {}, done.get("git") or {}
    outputs = {Path(path).name: digest for path, digest in (done.get("outputs") or {}).items()}
    return {
        **{name: done.get(name) for name in ("notebook", "scenario", "seed", "finished", "seconds")},
        "commit": git.get("commit"),
        "processor": machine.get("processor"),
        "gpu": machine.get("gpu"),
        "rows_sha256": outputs.get("rows.csv"),
    }
