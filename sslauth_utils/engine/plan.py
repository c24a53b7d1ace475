"""What runs again: the runs whose rows are not there, or depend on something that has changed since.

All that a run's rows depend on is `made_from`: its values, the meaning of its code (`base.fingerprint`), the user's
data, the files that it reads, and the values and rows of the runs that it needs. A run that succeeded leaves that in
its ``done.json``; what differs now is the reason to run it again. Snakemake is told which runs these are and decides
nothing itself.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sslauth_utils.base.files import sha256_file, sha256_json
from sslauth_utils.base.fingerprint import notebook_meanings
from sslauth_utils.base.paths import FIGURES, RESULTS, ROOT
from sslauth_utils.engine.graph import Run, with_needs
from sslauth_utils.images.identity import data_files, weights_sha256
from sslauth_utils.study.runs import tables_sha256

MadeFrom = dict[str, Any]


@dataclass(frozen=True)
class Pending:
    """One run that is to be made.

    Attributes:
        run: which.
        reasons: what changed, or what is missing, one phrase each; the first is the most telling.
        changed: names in `made_from` that differ, empty where nothing was done before.
        old: the ``done.json`` of its last success; {} if there is none.
    """

    run: Run
    reasons: tuple[str, ...]
    changed: tuple[str, ...] = ()
    old: dict[str, Any] = field(default_factory=dict)


def made_from(run: Run) -> MadeFrom:
    """All that the rows of `run` depend on, as JSON, by name. Rows that it needs count by what is there now."""
    found: MadeFrom = {f"value {name}": value for name, value in run.values.items()}
    found |= {f"code {path}": meaning for path, meaning in
              notebook_meanings(run.source, ROOT, everything=run.info.summary).items()}  # fmt: skip
    for name in run.data:
        if files := data_files(name):
            found[f"data {name}"] = sha256_json(files)
    for name in {other.values.get("weights_file") for other in with_needs([run])} - {None, ""}:
        found[f"data {name}"] = weights_sha256(name)
    for path in _files(run.info.reads):
        found[f"file {path}"] = sha256_file(ROOT / path)
    for needed in with_needs(run.needs):  # artifacts are made by these values, whatever rows show of them
        found[f"values {_short_folder(needed)}"] = needed.values
    for needed in run.needs:
        found[f"rows {needed.folder.split('/', 2)[2]}"] = _outputs_hash(needed)
    return found


def _files(reads: Sequence[str]) -> list[str]:
    """The files that metadata's "reads" names, those in folders one by one; an editor's hidden ones are none."""
    found = []
    for read in reads:
        path = ROOT / read
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [
            file.relative_to(ROOT).as_posix()
            for file in inside
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path.parent).parts)
        ]
    return found


def _short_folder(run: Run) -> str:
    return run.folder.split("/", 2)[2]


def _outputs_hash(run: Run) -> str | None:
    """Of what a needed run left: the hash of its rows and measures; without rows, of what it was made from."""
    return tables_sha256(ROOT / run.folder) if run.scenario else last_success(run).get("fingerprint")


def last_success(run: Run) -> dict[str, Any]:
    """The ``done.json`` of the run's last success, {} if there is none or it cannot be read."""
    try:
        content = json.loads((ROOT / run.done).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def pending(runs: Sequence[Run]) -> list[Pending]:
    """Those of `runs`, needed ones first, that are to be made, with reasons."""
    found: dict[str, Pending] = {}
    for run in runs:
        old = last_success(run)
        if not old:
            found[run.folder] = Pending(run, ("not there yet",))
            continue
        if lost := [path for path, digest in old.get("outputs", {}).items() if _differs(path, digest)]:
            what = "is gone" if not (ROOT / lost[0]).is_file() else "is not as the run left it"
            found[run.folder] = Pending(run, (f"{lost[0]} {what}",), old=old)
            continue
        again = [needed for needed in run.needs if needed.folder in found]
        now, then = made_from(run), old.get("made_from", {})
        waits = {
            f"{kind} {_short_folder(other)}"
            for other in with_needs(run.needs) if other.folder in found for kind in ("rows", "values")
        }  # fmt: skip
        changed = tuple(sorted(name for name in {*now, *then} - waits if now.get(name) != then.get(name)))
        reasons = list(dict.fromkeys(_reason(name, then.get(name), now.get(name), then) for name in changed))
        if again:
            reasons.append(f"needs {again[0].name}" + (f" and {len(again) - 1} more" if len(again) > 1 else ""))
        if reasons:
            found[run.folder] = Pending(run, tuple(reasons), changed, old)
    return list(found.values())


def other_settings(one: Pending) -> str:
    """The first setting that the run, or one that it needs, had otherwise, as "n_keys: 6 → 100"; "" if none had.

    A setting that there was not yet when the rows were made is no other one.
    """
    now, then = made_from(one.run), one.old.get("made_from", {})
    for name in one.changed:
        kind, _, rest = name.partition(" ")
        old, new = then.get(name), now.get(name)
        if kind == "value" and old is not None and new is not None:
            return _reason(name, old, new, then)
        if kind == "values" and isinstance(old, dict) and isinstance(new, dict):
            for setting in sorted(old.keys() & new.keys()):
                if old[setting] != new[setting]:
                    return f"{setting} of {rest}: {_short(old[setting])} → {_short(new[setting])}"
    return ""


def _differs(path: str, digest: str) -> bool:
    return not (ROOT / path).is_file() or sha256_file(ROOT / path) != digest


def _reason(name: str, old: Any, new: Any, then: MadeFrom) -> str:
    kind, _, rest = name.partition(" ")
    if not then:
        return "made by an older version"
    if kind == "value":
        return f"{rest}: {_short(old)} → {_short(new)}"
    if kind in ("rows", "values"):
        return f"{kind} of {rest} changed"
    what = {"code": rest.removeprefix("sslauth_utils/"), "data": f"data set {rest}"}.get(kind, rest)
    return what + (" is new" if old is None else " is no longer used" if new is None else " changed")


def _short(value: Any) -> str:
    text = "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"


# --- what a run leaves --------------------------------------------------------------------------------------------


def outputs_of(run: Run) -> dict[str, str]:
    """What a success left, path to SHA-256: rows and measures; of the summary, its tables, figures and report."""
    if run.info.summary:
        made = [RESULTS / run.profile / name for name in ("summary.csv", "findings.csv", "answers.csv")]
        made += sorted((FIGURES / run.profile).glob("*"))
    else:
        made = [ROOT / run.folder / name for name in ("rows.csv", "measures.csv")]
    return {path.relative_to(ROOT).as_posix(): sha256_file(path) for path in made if path.is_file()}


def fingerprint(found: MadeFrom) -> str:
    """One SHA-256 of `made_from`."""
    return sha256_json(found)


# --- what Snakemake is told ---------------------------------------------------------------------------------------


def jobs(todo: Sequence[Pending], seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """What Snakemake's file needs of each run; inputs are outputs of other runs that are to be made.

    Args:
        todo: as `pending` gives them.
        seconds: what each is expected to take, by folder. Of those that may start, the one goes first whose longest
            chain of followers takes longest.
    """
    folders = {one.run.folder for one in todo}
    chain: dict[str, float] = {}  # seconds from a run's start to the end of its longest chain of followers
    for one in reversed(todo):
        mine = one.run.folder
        followers = [other.run.folder for other in todo if mine in {before.folder for before in other.run.before}]
        after = max((chain[folder] for folder in followers), default=0.0)
        chain[mine] = after + seconds.get(mine, 1.0)
    return [
        {
            "name": one.run.rule,
            "profile": one.run.profile, "notebook": one.run.notebook, "scenario": one.run.scenario,
            "seed": one.run.seed, "outputs": list(one.run.outputs),
            "inputs": [path for other in one.run.before if other.folder in folders for path in other.outputs],
            "fingerprint": fingerprint(made_from(one.run)), "priority": round(10 * chain[one.run.folder]),
        }
        for one in todo
    ]  # fmt: skip
