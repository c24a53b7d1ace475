"""The front door's second half: shows the plan, lets Snakemake make it, and ends with one screen on what came out."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sslauth_utils.base import leash
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import write_json
from sslauth_utils.base.paths import FIGURES, RESULTS, ROOT, user_data
from sslauth_utils.base.threads import cores, threads
from sslauth_utils.engine import execute, front, gpu_slots, graph, plan
from sslauth_utils.engine.estimate import Estimate, duration, estimate, in_words
from sslauth_utils.engine.progress import Progress, status
from sslauth_utils.engine.warm import warm
from sslauth_utils.report.last_screen import last_screen
from sslauth_utils.study.profiles import KEPT, profile_of_rows

INTERRUPTED = 130  # the shell's code for Ctrl-C
GRACE = 10  # seconds in which an interrupted Snakemake may cancel what it has queued on other machines
FEW = 3  # notebooks from which on a warm process pays


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
            todo = plan.pending(chosen)
            expected = estimate(todo)
            show_plan(options, chosen, todo, expected, dry=True)
            if options.snakemake and todo:
                check_snakemake(options, todo, expected)
            return 0
        with lock(options.profile):
            if options.fresh:
                _check_can_start(options, chosen)
                remove_results(options.profile)
            return redraw(options, runs) if options.figures_only else make(options, runs, chosen)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; run the same command again and it goes on from here.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return front.reader_has_gone()


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
    """Files of the profile's results and figures, except the lock and what git tracks. Relative to the root.

    Raises:
        UserError: git does not say what it tracks.
    """
    folders = [(top / profile).relative_to(ROOT).as_posix() for top in (RESULTS, FIGURES)]
    tracked: set[str] = set()
    if any((folder / ".git").exists() for folder in (ROOT, *ROOT.parents)):
        tracked = _tracked(folders)
    if not tracked and (RESULTS / "reference" / profile / "summary.csv").is_file():
        folders = folders[:1]  # no checkout: the reference's figures, which came with it, cannot be told from others
    files = [
        path.relative_to(ROOT)
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() or path.is_symlink()
    ]
    return [path for path in files if path.name != ".lock" and path.as_posix() not in tracked]


def _tracked(folders: Sequence[str]) -> set[str]:
    """Files of the folders that git's index or last commit has: an index that was lost says that nothing is tracked."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=execute.GIT_PATIENCE
            )
        except subprocess.TimeoutExpired as error:
            raise unknown(f"git did not answer in {execute.GIT_PATIENCE} seconds") from error
        except OSError as error:
            raise unknown(f"git cannot be started ({error.strerror})") from error

    def unknown(why: str) -> UserError:
        return UserError(
            f"--fresh removes nothing, because it cannot know which files are committed: {why}; mend that, or remove "
            f"{' and '.join(folders)} yourself."
        )

    listed = git("ls-files", "-z", "--", *folders)
    if listed.returncode != 0:
        raise unknown((listed.stderr.strip().splitlines() or ["git failed"])[0])
    found = listed.stdout.split("\0")
    if git("rev-parse", "--verify", "--quiet", "HEAD").returncode == 0:  # else nothing was committed yet
        committed = git("ls-tree", "-r", "-z", "--name-only", "HEAD", "--", *folders)
        if committed.returncode != 0:
            raise unknown((committed.stderr.strip().splitlines() or ["git failed"])[0])
        found += committed.stdout.split("\0")
    return set(found) - {""}


def _check_can_start(options: Namespace, chosen: Sequence[graph.Run]) -> None:
    """See that a run can begin, before what earlier ones left is removed.

    Raises:
        UserError: the number of threads or SSLAUTH_DATA is not in order, the GPUs' driver does not answer, or Snakemake
            does not take its options.
    """
    threads()
    gpu_slots.gpus()
    user_data()
    if options.snakemake:
        todo = [plan.Pending(run, ("--fresh",)) for run in chosen]
        check_snakemake(options, todo, estimate(todo))


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
    return options.jobs or len(gpu_slots.gpus()) or min(2, cores())


def snakemake(options: Namespace, todo: Sequence[plan.Pending], expected: Estimate, *more: str) -> list[str]:
    """Freeze the plan, and return the Snakemake command that makes all of it.

    ``--forceall``: what is to be made was decided by `plan.pending`. ``--nolock``: the lock above is ours, and
    Snakemake's own survives a SIGKILL.
    """
    count, frozen = str(jobs(options)), RESULTS / options.profile / "plan.json"
    # frozen, because Snakemake's file is read again for every job, and must find the same rules
    write_json(frozen, plan.jobs(todo, expected.seconds))
    return leash.command(
        "snakemake", *(path for one in todo for path in one.run.outputs),
        "--snakefile", "Snakefile", "--cores", count, "--jobs", count, "--nolock", "--rerun-incomplete", "--keep-going",
        "--forceall", "--scheduler", "greedy", "--nocolor",
        "--config", f"plan={frozen.relative_to(ROOT).as_posix()}", *more, *options.snakemake,
    )  # fmt: skip


def check_snakemake(options: Namespace, todo: Sequence[plan.Pending], expected: Estimate) -> None:
    """See that Snakemake takes the options after ``--``.

    Raises:
        UserError: it does not.
    """
    command = snakemake(options, todo, expected, "--dry-run", "--quiet")
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise UserError(f"Snakemake could not plan the run; it said:\n{(answer.stderr or answer.stdout).strip()}")


def show_plan(
    options: Namespace, chosen: Sequence[graph.Run], todo: Sequence[plan.Pending], expected: Estimate, dry: bool = False
) -> None:
    """Print which runs are to be made and why, what comes from the cache, and about how long it takes."""
    print(f"Profile {options.profile}: {len(chosen)} notebook runs, {len(todo)} to do, "
          f"{len(chosen) - len(todo)} up to date.")  # fmt: skip
    width = max(len(run.name) for run in chosen)
    for one in todo:
        more = f" (and {len(one.reasons) - 1} more)" if len(one.reasons) > 1 else ""
        print(f"  {one.run.name:<{width}}  {one.reasons[0]}{more}")
    if not todo:
        return
    if expected.kept or expected.again:
        print(f"Artifacts: {len(expected.kept)} from the cache, {len(expected.again)} made again.")
    runs = [one.run for one in todo]
    unknown = [run for run in runs if run.folder not in expected.seconds]
    about = ""
    if len(unknown) < len(runs):
        about = f"; about {in_words(duration(runs, expected.seconds, jobs(options)))}"
        about += f", {len(unknown)} of unknown length left out" if unknown else ""
    print(f"At most {jobs(options)} at once, {threads()} threads each{about}.")
    if dry and about:
        several = ", ".join(f"{n}: {in_words(duration(runs, expected.seconds, n))}" for n in (1, 8, 64))
        print(f"By runs at once: {several}.")
    if expected.guessed:
        file = f"config/{options.profile}.yaml"
        print(f"{len(expected.guessed)} of these times are what {file} expects: nobody has run them yet.")
    if all(one.run.info.summary for one in todo):
        print("Only figures and report are to be drawn again: --figures-only does the same.")
    sys.stdout.flush()


def make(options: Namespace, runs: list[graph.Run], chosen: list[graph.Run]) -> int:
    """Run what is to be made of `chosen`, then show the outcome."""
    start = time.monotonic()
    todo = plan.pending(chosen)
    expected = estimate(todo)
    show_plan(options, chosen, todo, expected)
    if todo:
        _remove_restored(options.profile)
    failed = _run_snakemake(options, todo, expected) if todo else []
    if failed and not options.only:
        # Snakemake starts no summary when something it needs failed; the reader still wants the rest.
        for run in _summaries(runs):
            if run in failed and status(run)["state"] == "waiting":
                try:
                    older = _check_settings(run.needs)
                except UserError as error:
                    print(f"No summary was made. {error}")
                    continue
                _tell_older(older)
                if not _alone(run, options):
                    failed.remove(run)
                    print("The summary was made from the rows that there are.")
    return _outcome(options, chosen, failed, start)


def _remove_restored(profile: str) -> None:
    """Take away the reference's rows, where they were laid out: what is made now would be judged with them."""
    folder = RESULTS / profile
    if not (folder / KEPT).is_file():
        return
    for table in (*folder.glob("*/*/rows.csv"), *folder.glob("*/*/measures.csv")):
        if not (table.parent / "done.json").is_file():
            table.unlink()
    (folder / KEPT).unlink()
    print("The reference's rows, which lay here, are removed; they stay in results/reference.")


def _check_settings(runs: Sequence[graph.Run]) -> list[plan.Pending]:
    """Those of `runs` whose rows are older than the code or the data, say.

    Raises:
        UserError: rows were made with other settings than the profile's of today, which would be told beside them, or
            are not as their run left them, or of a run that did not end.
    """
    for run in runs:
        rows, done = (ROOT / run.folder / "rows.csv"), ROOT / run.done
        if rows.is_file() and not done.is_file():
            raise UserError(
                f"The rows of {run.name} are of a run that did not end, so they cannot be shown; "
                f"run ./run_all.sh --profile {run.profile} to its end, or remove {run.folder}."
            )
    found = []
    for one in plan.pending([run for run in runs if all((ROOT / path).is_file() for path in run.outputs)]):
        if not one.changed and one.old and not one.reasons[0].startswith("needs "):
            raise UserError(f"{one.reasons[0]}; run ./run_all.sh --profile {one.run.profile} again.")
        if other := plan.other_settings(one):
            raise UserError(
                f"The rows of {one.run.name} were made with other settings ({other}), so they cannot be shown with "
                f"today's; run ./run_all.sh --profile {one.run.profile}, or put the settings back."
            )
        found.append(one)
    return found


def _tell_older(found: Sequence[plan.Pending]) -> None:
    for one in found:
        print(f"Older rows: {one.run.name} ({one.reasons[0]})")


def _tell_left_over(profile: str) -> None:
    """Say which rows are not counted: of seeds or scenarios that the profile no longer has, or copies of folders."""
    known = profile_of_rows(profile)
    folders = sorted(table.parent for table in (RESULTS / profile).glob("*/*/rows.csv"))
    if left := [folder for folder in folders if folder.name not in known.folders(folder.parent.name)]:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        print(f"Not counted: rows of {left[0].relative_to(ROOT).as_posix()}{more}, which the profile does not have.")


def redraw(options: Namespace, runs: list[graph.Run]) -> int:
    """``--figures-only``: run the summary from the rows that there are.

    Raises:
        UserError: there is no summary, there are no rows, or as `_check_settings`.
    """
    start, summaries = time.monotonic(), _summaries(runs)
    if not summaries:
        raise UserError(f"Profile {options.profile} has no summary notebook; add 90_summary to its file.")
    needed = [run for run in summaries[0].needs if run.scenario]
    missing = [run for run in needed if not all((ROOT / path).is_file() for path in run.outputs[1:])]
    if len(missing) == len(needed):
        raise UserError(f"There are no rows of profile {options.profile} yet; run ./run_all.sh without --figures-only.")
    for notebook in dict.fromkeys(run.notebook for run in missing):
        absent, runs_of = ([run for run in of if run.notebook == notebook] for of in (missing, needed))
        if len(absent) == len(runs_of):
            print(f"Missing rows: {notebook}, all of them")
        else:
            print(f"Missing rows: {notebook} of {', '.join(f'{run.scenario} seed {run.seed}' for run in absent)}")
    if not (RESULTS / options.profile / KEPT).is_file():
        _tell_older(_check_settings(needed))
    failed = [run for run in summaries if _alone(run, options)]
    return _outcome(options, summaries, failed, start)


def _summaries(runs: list[graph.Run]) -> list[graph.Run]:
    return [run for run in runs if run.info.summary]


def _alone(run: graph.Run, options: Namespace) -> int:
    """Execute one run without Snakemake; its exit code."""
    which = ["--profile", options.profile, "--notebook", run.notebook]
    with open(RESULTS / options.profile / f"{run.notebook}.log", "w", encoding="utf-8") as log:
        command = leash.command("sslauth_utils.engine.execute", *which)
        return subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode


def _run_snakemake(options: Namespace, todo: Sequence[plan.Pending], expected: Estimate) -> list[graph.Run]:
    """Make `todo`, saying what happens; those that did not succeed."""
    runs = [one.run for one in todo]
    variables = dict(os.environ)
    if devices := gpu_slots.gpus():
        variables[gpu_slots.SHARE] = str(-(-jobs(options) // len(devices)))
    log_path = RESULTS / options.profile / "snakemake.log"
    for run in runs:
        (ROOT / run.folder / "status.json").unlink(missing_ok=True)
    progress = Progress(runs, expected.seconds, jobs(options))
    shared = execute.shared_variables()
    with warm(shared, len(runs) >= FEW) as known, open(log_path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            snakemake(options, todo, expected), cwd=ROOT, env=variables | known,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            # A session of its own: Ctrl-C reaches it through `_stop`, and once; in a script's background it is ignored.
            start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        try:
            while process.poll() is None:
                progress.look()
                time.sleep(0.2)
        except KeyboardInterrupt:
            _stop(process)
            raise
    progress.end()
    failed = [run for run in runs if status(run)["state"] != "done" or not (ROOT / run.done).is_file()]
    log = log_path.read_text(encoding="utf-8", errors="replace")
    started = [run for run in runs if status(run)["state"] != "waiting"]
    if process.returncode != 0 and (not failed or (not started and "Error in rule" not in log)):
        last = log.strip().splitlines()[-3:]
        raise UserError(f"Snakemake stopped ({'; '.join(last)}); its log is {log_path.relative_to(ROOT)}.")
    return failed


def _stop(process: subprocess.Popen) -> None:
    """End Snakemake: first as Ctrl-C does, so that it cancels what it has queued on a cluster, then for certain."""
    try:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGINT)
            process.wait(GRACE)
    finally:
        process.kill()  # everything below it is on a leash
        process.wait()


def executor_says(run: graph.Run, log: str) -> str:
    """What Snakemake's log says of a run that failed on a cluster, "… SLURM status is: 'TIMEOUT'", say; else ""."""
    found = re.search(rf"^Error in rule {run.rule}:\n +message: (?!None$)(.+)", log, re.MULTILINE)
    return found[1].partition("For further error details")[0].strip() if found else ""


def _outcome(options: Namespace, chosen: list[graph.Run], failed: list[graph.Run], start: float) -> int:
    """Tell what failed, then print the last screen; the exit code."""
    log = ""
    if failed and not options.figures_only:
        log = (RESULTS / options.profile / "snakemake.log").read_text(encoding="utf-8", errors="replace")
    for run in failed:
        _tell_failure(run, failed, log)
    folder = RESULTS / options.profile
    _tell_left_over(options.profile)
    made = [run for run in _summaries(chosen) if run not in failed]
    if made and (folder / "summary.csv").is_file():
        report = FIGURES / options.profile / "report.html"
        place = str(report.relative_to(ROOT)) if report.is_file() else ""
        took, names = in_words(time.monotonic() - start), [run.name for run in failed]
        width = min(100, shutil.get_terminal_size((100, 24)).columns)
        sys.stderr.flush()
        print()
        print(last_screen(folder, options.profile, names, place, took, width, sys.stdout.encoding or "ascii"))
    elif not failed:
        print("Figures, report and verdicts are not part of --only; ./run_all.sh --figures-only makes them.")
    return int(bool(failed))


def _tell_failure(run: graph.Run, failed: list[graph.Run], log: str) -> None:
    """Why `run` failed, on standard error; `log` is Snakemake's."""
    said, elsewhere = status(run), executor_says(run, log)
    print(f"\n{run.name} failed", file=sys.stderr)
    if said["state"] == "failed":
        print("  " + "\n  ".join([said["reason"], *said["tail"]]), file=sys.stderr)
    elif elsewhere:
        print(f"  {elsewhere}", file=sys.stderr)
    elif said["state"] == "running":
        print("  It was killed, most often for want of memory: run fewer at once (--jobs 1).", file=sys.stderr)
    else:
        broken = ", ".join(needed.name for needed in graph.with_needs([run]) if needed in failed and needed != run)
        print(f"  It was not started{f', because it needs {broken}' if broken else ''}.", file=sys.stderr)
    if said["state"] != "waiting":
        print(f"  Executed notebook: {run.folder}/executed.ipynb", file=sys.stderr)


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C, so that a cluster's jobs are cancelled, too
        if signal.getsignal(ending) is signal.SIG_DFL:  # under nohup SIGHUP is ignored
            signal.signal(ending, signal.default_int_handler)
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = front.reader_has_gone()
    sys.exit(code)
