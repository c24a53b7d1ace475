"""Freeze a finished run as the reference that later runs are compared with.

    python -m sslauth_utils.claims.reference lite
    python -m sslauth_utils.claims.reference lite --restore

The first copies into ``results/reference/<profile>/``: ``summary.csv``, the rows of every notebook
(one compressed CSV each), the profile, the encoders (safetensors, each with its facts as JSON), and where every run
came from (``runs.csv``, with the packages' versions in ``versions.json``). Figures and report are
committed where they lie.
The second lays the reference's rows out as if the profile had been run, so that
``./run_all.sh --profile lite --figures-only`` redraws the reference figures on any machine.
"""

import argparse
import gzip
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sslauth_utils.base.errors import UserError, command
from sslauth_utils.base.files import atomic, read_json, sha256_file, sha256_json, write_json, write_rows, write_text
from sslauth_utils.base.paths import CONFIG, RESULTS
from sslauth_utils.base.tensors import describe
from sslauth_utils.study.profiles import KEPT, PRETRAIN, load_profile
from sslauth_utils.study.rows import load_rows
from sslauth_utils.study.runs import tables_sha256

#: columns of runs.csv
PROVENANCE = (
    "notebook", "scenario", "seed", "finished", "seconds", "peak_memory_mb", "commit", "uncommitted_changes",
    "versions", "processor", "threads", "gpu", "made_from_sha256", "rows_sha256", "measures_sha256",
)  # fmt: skip


def freeze(profile: str, results: Path = RESULTS) -> Path:
    """Copy the run of `profile` to ``reference/<profile>``, replacing what is there; returns that folder.

    Raises:
        UserError: the profile has not been run to its end, or not with its settings of today; rows or verdicts rest on
            other rows than those that are there; what lies there is the restored reference itself; or an encoder of
            the run is gone.
    """
    run, target = results / profile, results / "reference" / profile
    if (run / KEPT).is_file():
        raise UserError(f"results/{profile} holds the reference itself, laid out by --restore: no run to keep.")
    for name in ("summary.csv", "findings.csv"):
        if not (run / name).is_file():
            raise UserError(f"results/{profile} holds no {name}; finish ./run_all.sh --profile {profile} first.")
    finished = _finished(profile, run)
    _check_all_of_one_kind(finished, run)
    working = target.with_name(f".{profile}.new")  # the old reference stays until the new one is whole
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    for name in ("summary.csv", "findings.csv"):
        shutil.copyfile(run / name, working / name)
    shutil.copyfile(CONFIG / f"{profile}.yaml", working / KEPT)
    for folder in sorted(run.glob("[0-9]*")):
        for table, ending in (("rows", ""), ("measures", ".measures")):
            if any(folder.glob(f"*/{table}.csv")):
                text = load_rows(profile, folder.name, results, table).to_csv(index=False, lineterminator="\n")
                with atomic(working / f"{folder.name}{ending}.csv.gz") as temporary:
                    temporary.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    for done in finished:
        if done["notebook"] == PRETRAIN:
            _copy_encoder(done, run / "artifacts", working / "encoders" / f"{done['scenario']}-s{done['seed']}.json")
    _write_provenance(finished, working)
    shutil.rmtree(target, ignore_errors=True)
    working.rename(target)
    return target


def _finished(profile: str, run: Path) -> list[dict[str, Any]]:
    """``done.json`` of all runs that are there: each whole, and made with the settings that the profile has."""
    known, found = load_profile(profile), []
    for notebook in known.notebooks:
        own = sorted(run / notebook / name for name in known.folders(notebook))
        for folder in [run / notebook, *own]:
            tables = [folder / "rows.csv", folder / "measures.csv"]
            if not any(path.is_file() for path in [*tables, folder / "executed.ipynb"]):
                continue
            done = _whole(folder / "done.json", tables)
            if done is None:
                raise UserError(f"{folder} is not as a finished run left it; finish ./run_all.sh --profile {profile}.")
            given = known.parameters(notebook, done["scenario"], done["seed"] or 0)
            for name, value in given.items():
                if done["parameters"].get(name, value) != value:
                    raise UserError(
                        f"{folder} was run with {name} {done['parameters'][name]!r}, and config/{profile}.yaml now "
                        f"says {value!r}; run it again, or put the value back."
                    )
            found.append(done)
    return found


def _check_all_of_one_kind(finished: Sequence[dict[str, Any]], run: Path) -> None:
    """See that every run, the summary too, was made from the rows and settings of the others that are there now."""
    here = {}
    for done in finished:
        name = done["notebook"] + (f"/{done['scenario']}-s{done['seed']}" if done["scenario"] else "")
        if tables := tables_sha256(run / name):
            here |= {f"rows {name}": tables, f"values {name}": done["parameters"]}
    for done in finished:
        for part, then in done.get("made_from", {}).items():
            if part in here and then is not None and here[part] != then:
                raise UserError(
                    f"{done['notebook']} was made from other {part} than those that are there; "
                    f"finish ./run_all.sh --profile {run.name} first."
                )
        left = {Path(name).name: digest for name, digest in done["outputs"].items()}
        for name in ("summary.csv", "findings.csv"):
            if name in left and sha256_file(run / name) != left[name]:
                raise UserError(f"{run / name} is not as {done['notebook']} left it; run it again.")


def _whole(path: Path, tables: Sequence[Path]) -> dict[str, Any] | None:
    """What a run says of itself, if its tables are as it left them."""
    try:
        done = read_json(path)
        digests = {Path(name).name: digest for name, digest in done["outputs"].items()}
        now = {table.name: sha256_file(table) for table in tables if table.is_file()}
        whole = all(digests.get(name) == digest for name, digest in now.items())
        return done if whole and done.keys() >= {"notebook", "scenario", "seed", "parameters", "artifacts"} else None
    except (UserError, KeyError, TypeError, AttributeError):
        return None


def _copy_encoder(done: dict[str, Any], artifacts: Path, target: Path) -> None:
    """The encoder that a run of 01_pretrain_encoders left: its weights, and its facts with its accuracies."""
    kinds = ("encoder-", "accuracies-")
    folders = [artifacts / name for kind in kinds for name in done["artifacts"] if name.startswith(kind)]
    if len(folders) != len(kinds) or not all(folder.is_dir() for folder in folders):
        raise UserError(f"The encoder {target.stem} of this run is no longer in {artifacts}; run the profile again.")
    encoder, accuracies = folders
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(encoder / "encoder.safetensors", target.with_suffix(".safetensors"))
    write_json(target, describe(encoder / "encoder.safetensors") | read_json(accuracies / "accuracies.json"))


def _write_provenance(finished: list[dict[str, Any]], folder: Path) -> None:
    """One line for every run: which code, packages and machine made it, how long it took, and what it left."""
    lines, versions = [], {}
    for done in finished:
        key = sha256_json(done["versions"])[:12]
        versions[key] = done["versions"]
        digests = {Path(path).name: digest for path, digest in done["outputs"].items()}
        git, machine = done["git"] or {}, done["machine"]
        lines.append({
            "notebook": done["notebook"], "scenario": done["scenario"], "seed": done["seed"],
            "finished": done["finished"], "seconds": done["seconds"], "peak_memory_mb": done["peak_memory_mb"],
            "commit": git.get("commit"), "uncommitted_changes": git.get("dirty"), "versions": key,
            "processor": machine["processor"], "threads": machine["threads"], "gpu": machine["gpu"],
            "made_from_sha256": done["fingerprint"], "rows_sha256": digests.get("rows.csv"),
            "measures_sha256": digests.get("measures.csv"),
        })  # fmt: skip
    write_rows(
        folder / "runs.csv", sorted(lines, key=lambda line: (line["notebook"], str(line["scenario"]))), PROVENANCE
    )
    write_json(folder / "versions.json", versions)


def restore(profile: str, results: Path = RESULTS) -> Path:
    """Lay the reference's rows out as a run's, ``results/<profile>/...``; returns that folder.

    Only rows and measures come back: the next real run of the profile runs every notebook.

    Raises:
        UserError: there is no reference for `profile`, or a run of it lies there already.
    """
    source, run = results / "reference" / profile, results / profile
    tables = sorted(source.glob("[0-9]*.csv.gz"))
    if not tables:
        raise UserError(f"There is no reference run of profile {profile} in results/reference.")
    if run.exists() and any(path.name != ".lock" for path in run.iterdir()):
        raise UserError(f"results/{profile} is there already; move it away first: restoring would overwrite its rows.")
    working = run.with_name(f".{profile}.new")
    shutil.rmtree(working, ignore_errors=True)
    for path in tables:
        name = path.name.removesuffix(".csv.gz")
        table = "measures" if name.endswith(".measures") else "rows"
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        for (scenario, seed), part in rows.groupby(["scenario", "seed"], sort=False):
            target = working / name.removesuffix(".measures") / f"{scenario}-s{seed}" / f"{table}.csv"
            write_text(target, part.to_csv(index=False, lineterminator="\n"))
    if (source / KEPT).is_file():
        shutil.copyfile(source / KEPT, working / KEPT)
    run.mkdir(exist_ok=True)
    for path in sorted(working.iterdir(), key=lambda path: path.name == KEPT):  # the last one makes it the reference's
        path.rename(run / path.name)
    working.rmdir()
    return run


def reference_claims(profile: str, claims: Sequence[str], results: Path = RESULTS) -> pd.DataFrame:
    """What the committed reference run of `profile` measured for these claims, for a text that must not be typed in.

    Returns:
        Lines of its ``summary.csv`` in the order of `claims`: id, quantity, measured, low, high, n, verdict, and the
        others; claims that it lacks are left out, and without a reference there are none.
    """
    path = results / "reference" / profile / "summary.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["id", "quantity", "measured", "low", "high", "n", "verdict"])
    summary = pd.read_csv(path).set_index("id", drop=False)
    return summary.reindex([claim for claim in claims if claim in summary.index]).reset_index(drop=True)


def compare(profile: str, summary: pd.DataFrame, results: Path = RESULTS) -> pd.DataFrame | None:
    """This run's claims beside the reference run's, or None if there is no reference for `profile`.

    Args:
        summary: as `judge.evaluate` gives it.

    Returns:
        Columns claim, this run, reference, difference, verdict, reference verdict.
    """
    path = results / "reference" / profile / "summary.csv"
    if not path.is_file():
        return None
    both = summary.merge(pd.read_csv(path), on="id", how="left", suffixes=("", "_reference"))
    return pd.DataFrame(
        {
            "claim": both["id"],
            "this run": both["measured"],
            "reference": both["measured_reference"],
            "difference": both["measured"] - both["measured_reference"],
            "verdict": both["verdict"],
            "reference verdict": both["verdict_reference"],
        }
    )


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", help="whose finished run")
    parser.add_argument(
        "--restore", action="store_true", help="the other way: the reference's rows to results/<profile>"
    )
    options = parser.parse_args()
    folder = restore(options.profile) if options.restore else freeze(options.profile)
    print(f"Written: {folder.relative_to(RESULTS.parent)}")


if __name__ == "__main__":
    sys.exit(main())
