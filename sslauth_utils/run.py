"""The front door's second half: shows the plan, lets Snakemake run it, and ends with the table of claims."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sslauth_utils import execute, front, gpu_slots, graph, leash
from sslauth_utils.claims_table import claims_table
from sslauth_utils.errors import UserError
from sslauth_utils.paths import FIGURES, RESULTS, ROOT

INTERRUPTED = 130  # the shell's code for Ctrl-C
REASONS = {  # Snakemake's words, as --summary prints them, in ours
    "missing": "not there yet",
    "updated input files": "a file that it depends on changed",
    "rule implementation changed": "the Snakefile changed",
    "set of input files changed": "it depends on other files now",
    "params changed": "a parameter changed",
    "ok": "something that it needs runs again",
}


def main(arguments: Sequence[str]) -> int:
    """Do what the options ask; 0 if every notebook that should have run did, else 1."""
    options = front.parse(arguments)
    try:
        runs = graph.profile_runs(options.profile)
        chosen = _chosen(runs, options)
    except UserError as error:
        print(error, file=sys.stderr)
        return front.USAGE_ERROR  # config or notebooks are not in order: nothing was run
    try:
        if options.dry_run:
            if options.fresh:
                print("--fresh would first remove: " + (", ".join(map(str, _removable(options.profile))) or "nothing"))
            show_plan(options, chosen, stale(options, chosen))
            return 0
        with lock(options.profile):
            if options.fresh:
                remove_results(options.profile)
            return redraw(options, runs) if options.figures_only else make(options, runs, chosen)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; run the same command again and it goes on from here.", file=sys.stderr)
        return INTERRUPTED


def _chosen(runs: list[graph.Run], options: Namespace) -> list[graph.Run]:
    """The runs that were asked for and all that they need, in the profile's order."""
    if not options.only:
        return runs
    known = dict.fromkeys(run.notebook for run in runs)
    if unknown := [name for name in options.only if name not in known]:
        raise UserError(f"Profile {options.profile} does not run {unknown[0]}; it runs {', '.join(known)}.")
    wanted = {run.folder for run in graph.with_needs(run for run in runs if run.notebook in options.only)}
    return [run for run in runs if run.folder in wanted]


@contextmanager
def lock(profile: str) -> Iterator[None]:
    """Hold the profile's results for this process; the system lets go when it ends, however it ends.

    Raises:
        UserError: another run holds them, or the folder cannot be written.
    """
    path = RESULTS / profile / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a", encoding="utf-8")  # noqa: SIM115 - stays open as long as the lock is held
    except OSError as error:
        raise UserError(
            f"Cannot write into {path.parent} ({error.strerror}); give yourself write permission, free some disk "
            "space, or copy the project elsewhere."
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"Another run of profile {profile} is at work in this folder; wait for its end, or stop it."
            ) from error
        yield


def _removable(profile: str) -> list[Path]:
    """Files of the profile's results and figures, except the lock and what git tracks. Relative to the root."""
    folders = [(top / profile).relative_to(ROOT).as_posix() for top in (RESULTS, FIGURES)]
    tracked: set[str] = set()
    if shutil.which("git"):
        command = ["git", "ls-files", "-z", *folders]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        tracked = set(listed.stdout.split("\0"))
    files = [
        path.relative_to(ROOT)
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() or path.is_symlink()
    ]
    return [path for path in files if path.name != ".lock" and path.as_posix() not in tracked]


def remove_results(profile: str) -> None:
    """Remove what earlier runs of the profile left, and say what."""
    files = _removable(profile)
    for path in files:
        (ROOT / path).unlink()
    for top in (RESULTS, FIGURES):
        for folder in sorted((path for path in (top / profile).rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
    folders = sorted({"/".join(path.parts[:3]) if len(path.parts) > 3 else path.as_posix() for path in files})
    print(f"Removed {len(files)} files: {', '.join(folders)}." if files else "There was nothing to remove.")


def jobs(options: Namespace) -> int:
    """How many notebooks run at once: as asked; else one a GPU; else two, each on half of the cores."""
    return options.jobs or len(gpu_slots.gpus()) or min(2, os.cpu_count() or 1)


def snakemake(options: Namespace, chosen: list[graph.Run], *more: str) -> list[str]:
    """The Snakemake command that makes `chosen`.

    ``--nolock``: the lock above is ours, and Snakemake's own survives a SIGKILL.
    """
    count = str(jobs(options))
    return leash.command(
        "snakemake", *(path for run in chosen for path in run.outputs),
        "--snakefile", "Snakefile", "--cores", count, "--jobs", count, "--nolock", "--rerun-incomplete", "--keep-going",
        "--scheduler", "greedy", "--nocolor", "--config", f"profile={options.profile}", *more, *options.snakemake,
    )  # fmt: skip


def stale(options: Namespace, chosen: list[graph.Run]) -> dict[str, str]:
    """Folder of each run that is to be made, with the reason.

    Raises:
        UserError: Snakemake cannot work out the plan.
    """
    command = snakemake(options, chosen, "--summary")
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise UserError(f"Snakemake could not plan the run; it said:\n{(answer.stderr or answer.stdout).strip()}")
    reasons = {}
    for line in answer.stdout.splitlines():
        fields = line.split("\t")
        if len(fields) == 6 and fields[5] == "update pending":
            folder = fields[0].rpartition("/")[0]
            reason = REASONS.get(fields[4], fields[4])
            if reasons.get(folder) in (None, REASONS["ok"]):
                reasons[folder] = reason
    return {run.folder: reasons[run.folder] for run in chosen if run.folder in reasons}


def show_plan(options: Namespace, chosen: list[graph.Run], todo: dict[str, str]) -> None:
    """Print which runs are to be made, why, and how many are up to date."""
    print(f"Profile {options.profile}: {len(chosen)} notebook runs, {len(todo)} to do, "
          f"{len(chosen) - len(todo)} up to date.")  # fmt: skip
    width = max(len(run.name) for run in chosen)
    for run in chosen:
        if run.folder in todo:
            print(f"  {run.name:<{width}}  {todo[run.folder]}")
    if todo:
        print(f"At most {jobs(options)} at once, {execute.threads()} threads each.")
    sys.stdout.flush()


def make(options: Namespace, runs: list[graph.Run], chosen: list[graph.Run]) -> int:
    """Run what is stale of `chosen`, then show the outcome."""
    todo = stale(options, chosen)
    show_plan(options, chosen, todo)
    pending = [run for run in chosen if run.folder in todo]
    failed: list[graph.Run] = []
    if pending:
        failed = _run_snakemake(options, pending)
    if failed and not options.only:
        # Snakemake starts no summary when something it needs failed; the reader still wants the rest.
        for run in _summaries(runs):
            if run in failed and _status(run)["state"] == "waiting" and not _alone(run, options):
                failed.remove(run)
                print("The summary was made from the rows that there are.")
    return _outcome(options, chosen, failed)


def redraw(options: Namespace, runs: list[graph.Run]) -> int:
    """``--figures-only``: run the summary from the rows that there are."""
    summaries = _summaries(runs)
    if not summaries:
        raise UserError(f"Profile {options.profile} has no summary notebook; add 90_summary to its file.")
    needed = [run for run in summaries[0].needs if run.scenario]
    missing = [run for run in needed if not all((ROOT / path).is_file() for path in run.outputs[1:])]
    if len(missing) == len(needed):
        raise UserError(f"There are no rows of profile {options.profile} yet; run ./run_all.sh without --figures-only.")
    for run in missing:
        print(f"Missing rows: {run.name}")
    failed = [run for run in summaries if _alone(run, options)]
    return _outcome(options, summaries, failed)


def _summaries(runs: list[graph.Run]) -> list[graph.Run]:
    return [run for run in runs if graph.notebook_info(ROOT / run.sources[0]).summary]


def _alone(run: graph.Run, options: Namespace) -> int:
    """Execute one run without Snakemake; its exit code."""
    which = ["--profile", options.profile, "--notebook", run.notebook]
    with open(RESULTS / options.profile / f"{run.notebook}.log", "w", encoding="utf-8") as log:
        command = leash.command("sslauth_utils.execute", *which)
        return subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode


def _run_snakemake(options: Namespace, pending: list[graph.Run]) -> list[graph.Run]:
    """Run `pending` with a line for each start and end; those that did not succeed."""
    variables = dict(os.environ)
    if devices := gpu_slots.gpus():
        variables[gpu_slots.SHARE] = str(-(-jobs(options) // len(devices)))
    log_path = RESULTS / options.profile / "snakemake.log"
    for run in pending:
        (ROOT / run.folder / "status.json").unlink(missing_ok=True)
    seen: dict[str, str] = {}
    with open(log_path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(snakemake(options, pending), cwd=ROOT, env=variables,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
        try:
            while process.poll() is None:
                _tell_progress(pending, seen)
                time.sleep(0.2)
        except KeyboardInterrupt:
            process.kill()  # everything below it is on a leash
            process.wait()
            raise
    _tell_progress(pending, seen)
    # A run that was never reached still has the done.json of an earlier time.
    unfinished = [run for run in pending if process.returncode != 0 and _status(run)["state"] != "done"]
    failed = [run for run in pending if run in unfinished or not (ROOT / run.done).is_file()]
    if process.returncode != 0 and not failed:
        last = log_path.read_text(encoding="utf-8").strip().splitlines()[-3:]
        raise UserError(f"Snakemake stopped ({'; '.join(last)}); its log is {log_path.relative_to(ROOT)}.")
    return failed


def _status(run: graph.Run) -> dict:
    """What the run last said of itself; state "waiting" if it has not started."""
    try:
        return json.loads((ROOT / run.folder / "status.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {"state": "waiting"}


def _tell_progress(pending: list[graph.Run], seen: dict[str, str]) -> None:
    """Print what changed since the last look; `seen` maps folders to the state last told."""
    width = max(len(run.name) for run in pending)
    for run in pending:
        status = _status(run)
        if status["state"] == seen.get(run.folder, "waiting"):
            continue
        seen[run.folder] = status["state"]
        ended = sum(state in ("done", "failed") for state in seen.values())
        count = f"[{ended:>{len(str(len(pending)))}}/{len(pending)}]"
        said = {"running": "started", "done": f"done in {status.get('seconds')} s", "failed": "FAILED"}[status["state"]]
        print(f"{count} {run.name:<{width}}  {said}", flush=True)


def _outcome(options: Namespace, chosen: list[graph.Run], failed: list[graph.Run]) -> int:
    """Print the table of claims, where the report lies, and what failed; the exit code."""
    summary = RESULTS / options.profile / "summary.csv"
    made = [run for run in _summaries(chosen) if run not in failed]
    if made and summary.is_file():
        print()
        print(claims_table(summary, min(100, shutil.get_terminal_size((100, 24)).columns)))
        report = FIGURES / options.profile / "report.html"
        if report.is_file():
            print(f"\nReport: {report.relative_to(ROOT)}")
    elif not failed:
        print("Figures, report and the table of claims are not part of --only; ./run_all.sh --figures-only makes them.")
    for run in failed:
        status = _status(run)
        print(f"\n{run.name} failed", file=sys.stderr)
        if status["state"] == "failed":
            print("  " + "\n  ".join([status["reason"], *status["tail"]]), file=sys.stderr)
        elif status["state"] == "running":
            print("  It was killed, most often for want of memory: run fewer at once (--jobs 1).", file=sys.stderr)
        else:
            broken = ", ".join(needed.name for needed in graph.with_needs([run]) if needed in failed and needed != run)
            print(f"  It was not started{f', because it needs {broken}' if broken else ''}.", file=sys.stderr)
        if status["state"] != "waiting":
            print(f"  Executed notebook: {run.folder}/executed.ipynb", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
