"""Freeze a finished run as the reference that later runs are compared with.

    python -m sslauth_utils.claims.reference lite
    python -m sslauth_utils.claims.reference lite --restore

The first copies into ``results/reference/<profile>/``: ``summary.csv``, the rows of every notebook
(one compressed CSV each), the encoders (safetensors with their JSON), and where they
came from (``provenance.json``). Figures and report are committed where they lie.
The second lays the reference's rows out as if the profile had been run, so that
``./run_all.sh --profile lite --figures-only`` redraws the reference figures on any machine.
"""

import argparse
import gzip
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import atomic, read_json, write_json, write_text
from sslauth_utils.base.paths import RESULTS
from sslauth_utils.study.rows import load_rows


def freeze(profile: str, results: Path = RESULTS) -> Path:
    """Copy the run of `profile` to ``reference/<profile>``, replacing what is there; returns that folder.

    Raises:
        UserError: the profile has not been run to its end, or an encoder of the run is gone.
    """
    run, target = results / profile, results / "reference" / profile
    if not (run / "summary.csv").is_file():
        raise UserError(f"results/{profile} holds no summary.csv; finish ./run_all.sh --profile {profile} first.")
    finished = sorted(run.glob("01_pretrain_encoders/*/done.json"))
    working = target.with_name(f"{profile}.new")  # the old reference stays until the new one is whole
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    for name in ("summary.csv", "findings.csv"):
        shutil.copyfile(run / name, working / name)
    for folder in sorted(run.glob("[0-9]*")):
        for table, ending in (("rows", ""), ("measures", ".measures")):
            if any(folder.glob(f"*/{table}.csv")):
                text = load_rows(profile, folder.name, results, table).to_csv(index=False, lineterminator="\n")
                with atomic(working / f"{folder.name}{ending}.csv.gz") as temporary:
                    temporary.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    for done in finished:
        made = _encoder_of(read_json(done)["parameters"], run / "artifacts", done.parent.name)
        for suffix in (".safetensors", ".json"):
            path = working / "encoders" / f"{done.parent.name}{suffix}"
            path.parent.mkdir(exist_ok=True)
            shutil.copyfile(made / f"encoder{suffix}", path)
    provenance = read_json(finished[0])
    machine = {name: value for name, value in provenance["machine"].items() if name != "system"}
    write_json(working / "provenance.json", {"versions": provenance["versions"], "machine": machine})
    shutil.rmtree(target, ignore_errors=True)
    working.rename(target)
    return target


def _encoder_of(parameters: dict[str, Any], artifacts: Path, which: str) -> Path:
    """The artifact that a run of 01_pretrain_encoders with these parameters left: others may lie beside it."""
    made = [path for path in artifacts.glob(f"encoder-{which}-*") if (path / "encoder.json").is_file()]
    # but for the device: the encoder may have been handed over by `reference_encoders`
    asked = {path: {**read_json(path / "encoder.json")["settings"], "device": parameters["device"]} for path in made}
    mine = [path for path in made if asked[path].items() <= parameters.items()]
    if not mine:
        raise UserError(f"The encoder {which} of this run is no longer in {artifacts}; run the profile again.")
    return max(mine, key=lambda path: path.stat().st_mtime)


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
    if run.exists():
        raise UserError(f"results/{profile} is there already; move it away first: restoring would overwrite its rows.")
    for path in tables:
        name = path.name.removesuffix(".csv.gz")
        table = "measures" if name.endswith(".measures") else "rows"
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        for (scenario, seed), part in rows.groupby(["scenario", "seed"], sort=False):
            target = run / name.removesuffix(".measures") / f"{scenario}-s{seed}" / f"{table}.csv"
            write_text(target, part.to_csv(index=False, lineterminator="\n"))
    return run


def compare(profile: str, summary: pd.DataFrame, results: Path = RESULTS) -> pd.DataFrame | None:
    """This run's claims beside the reference run's, or None if there is no reference for `profile`.

    Args:
        summary: as `claims.evaluate` gives it.

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", help="whose finished run")
    parser.add_argument("--restore", action="store_true", help="the other way: the reference's rows to results/<profile>")
    options = parser.parse_args()
    try:
        folder = restore(options.profile) if options.restore else freeze(options.profile)
        print(f"Written: {folder.relative_to(RESULTS.parent)}")
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
