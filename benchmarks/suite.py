"""Wall time of run_all.sh: cold, with nothing changed, and figures only.

    python -m benchmarks.suite --profile demo

Runs in a copy of the project without results, figures and caches, so that cold means
cold and nothing of yours is touched. Seconds are those that a user waits; memory is the
largest sum of resident memory over all processes at one moment (shared pages count in
each, so it is an upper bound). The last column is a hash of all rows.csv: equal hashes
mean equal results.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from tqdm import tqdm

from benchmarks.timing import machine, show
from sslauth_utils.base.paths import ROOT

LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".snakemake", "__pycache__", "cache", ".*_cache", "by_hand")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--cold", type=int, default=2, metavar="N", help="how often to run from nothing (default 2)")
    parser.add_argument("--repeats", type=int, default=3, help="how often each of the others (default 3)")
    options = parser.parse_args()
    facts = machine("snakemake", "papermill")
    plan = ["cold"] * options.cold + ["unchanged", "figures only"] * options.repeats
    arguments = {"cold": ["--fresh"], "unchanged": [], "figures only": ["--figures-only"]}
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "project"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT, symlinks=True)
        for made in (copy / "results" / options.profile, copy / "figures" / options.profile):
            shutil.rmtree(made, ignore_errors=True)
        rows = []
        for kind in tqdm(plan, desc="runs"):
            if kind == "cold":
                shutil.rmtree(copy / "data" / "cache", ignore_errors=True)
            rows.append({"run": kind, **measure(copy, ["--profile", options.profile, *arguments[kind]]),
                         "rows_sha256": rows_hash(copy / "results" / options.profile)})  # fmt: skip
    show(f"suite_{options.profile}", rows, facts)


def measure(project: Path, arguments: list[str]) -> dict[str, float | int]:
    """Seconds, peak memory in GB and notebooks executed of one run_all.sh; stops if it fails."""
    variables = {**os.environ, "VIRTUAL_ENV": sys.prefix}  # this very environment, so that none is made
    if data := os.environ.get("SSLAUTH_DATA"):
        variables["SSLAUTH_DATA"] = str((ROOT / data).resolve())
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        command = [project / "run_all.sh", *arguments]
        process = psutil.Popen(command, env=variables, stdout=said, stderr=subprocess.STDOUT)
        peak = 0
        while process.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(0.2)
        seconds = time.perf_counter() - start
        said.seek(0)
        text = said.read()
    if process.returncode != 0:
        sys.exit(f"run_all.sh {' '.join(arguments)} failed:\n{text}")
    notebooks = len(re.findall(r" done in [\d.]+ s\b", text))
    return {"seconds": seconds, "peak_memory_gb": peak / 1e9, "notebooks": notebooks}


def resident(process: psutil.Process) -> int:
    """Bytes of resident memory of a process and all below it; those that end meanwhile count as none."""
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        return total
    return total


def rows_hash(results: Path) -> str:
    """The first 12 digits of a SHA-256 over all rows.csv, names and contents."""
    digest = hashlib.sha256()
    for path in sorted(results.rglob("rows.csv")):
        digest.update(f"{path.relative_to(results).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    main()
