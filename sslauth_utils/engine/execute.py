"""Run one notebook of a profile headlessly and strictly.

    python -m sslauth_utils.engine.execute --profile demo --notebook 05_pruning --scenario cifar10 --seed 0

Into the run's folder go ``executed.ipynb`` (the log, left on failure too),
``status.json`` (running, failed with the reason, or done: for the front door's
progress lines) and, last of all and on success only, ``done.json``.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sslauth_utils.base import leash
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import write_json
from sslauth_utils.base.notebooks import read_notebook
from sslauth_utils.base.paths import NOTEBOOKS, ROOT
from sslauth_utils.base.threads import threads
from sslauth_utils.engine import environment, gpu_slots, graph, plan
from sslauth_utils.engine.warm import skip_slow_grammar
from sslauth_utils.study.runs import FINGERPRINT, PEAK, RUN_DIR, USED

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TAIL_LINES = 12
GIT_PATIENCE = 30  # seconds; a network drive or a lock may keep it
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

#: glibc gives large blocks back to the system when they are freed and asks for them anew at the next training step, and
#: the system clears every page each time: a fifth of the time of pre-training. Other C libraries ignore it.
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}


class NotebookFailed(Exception):
    """A notebook did not run to its end: `reason` in one line, `tail` the last lines of what the cell said."""

    def __init__(self, reason: str, tail: list[str]) -> None:
        super().__init__(reason)
        self.reason, self.tail = reason, tail


def execute(run: graph.Run) -> None:
    """Run `run` and write its ``done.json``.

    Raises:
        UserError: the notebook is not of the strict form, a needed result is missing, or the folder cannot be written.
        NotebookFailed: a cell raised, the kernel died, or rows are missing at the end.
    """
    folder = ROOT / run.folder
    started = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (ROOT / run.done).is_file():  # no longer a success, but still how long it took
            (ROOT / run.done).replace(folder / "previous.json")
        for name in ("rows.csv", "measures.csv", USED, PEAK):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot write into {folder} ({error.strerror}); see to its permissions and run again."
        ) from error
    write_json(folder / "status.json", {"state": "running", "since": time.time()})
    _check_kernel_name(run.source)
    made_from = plan.made_from(run)
    fingerprint = plan.fingerprint(made_from)
    devices = [] if run.values.get("device") == "cpu" else gpu_slots.gpus()
    with gpu_slots.claim(devices) as gpu:
        _run_cells(run, folder, gpu, fingerprint)
    now = plan.made_from(_run_now(run))
    if changed := sorted(name for name in {*now, *made_from} if now.get(name) != made_from.get(name)):
        names = ", ".join(name.partition(" ")[2] for name in changed)
        raise NotebookFailed(f"{names} changed while the notebook ran; run again", [])
    if missing := [path for path in run.outputs[1:] if not (ROOT / path).is_file()]:
        raise NotebookFailed(f"the notebook ended without writing {missing[0]}", [])
    seconds = round(time.monotonic() - started, 1)
    record = {
        "profile": run.profile,
        "notebook": run.notebook,
        "scenario": run.scenario,
        "seed": run.seed,
        "parameters": run.values,
        "versions": versions(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "threads": threads(),
            "gpu": gpu and gpu_slots.model(gpu),
        },
        "git": git_state(),
        "made_from": made_from,
        "fingerprint": fingerprint,
        "artifacts": _artifacts(folder),
        "outputs": plan.outputs_of(run),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "peak_memory_mb": _peak_memory_mb(folder),
    }
    write_json(folder / "status.json", {"state": "done", "seconds": seconds})
    write_json(ROOT / run.done, record)


def _run_now(run: graph.Run) -> graph.Run:
    """The same run by what the profile says now: the notebook reads it again while it runs.

    Raises:
        NotebookFailed: the profile has it no longer, or cannot be read.
    """
    try:
        for one in graph.profile_runs(run.profile):
            if one.folder == run.folder:
                return one
        reason = "it no longer has this run"
    except UserError as error:
        reason = str(error)
    raise NotebookFailed(f"the profile {run.profile} changed while the notebook ran: {reason}", [])


def _artifacts(folder: Path) -> dict[str, bool]:
    """The artifacts that the notebook asked for, and whether it made them (or found them)."""
    log = folder / USED
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    log.unlink(missing_ok=True)
    asked: dict[str, bool] = {}
    for line in lines:
        asked[line["artifact"]] = asked.get(line["artifact"], False) or line["made"]
    return asked


def _check_kernel_name(path: Path) -> None:
    name = read_notebook(path).get("metadata", {}).get("kernelspec", {}).get("name")
    if name != "python3":
        raise UserError(f"{path} asks for the kernel {name!r}; its metadata must name python3.")


def _run_cells(run: graph.Run, folder: Path, gpu: str | None, fingerprint: str) -> None:
    skip_slow_grammar()
    import papermill  # takes a while to import: only when something runs
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    log = folder / "executed.ipynb"
    # The kernel's sockets lie there, and a socket's path has at most 104 characters.
    short = "/tmp" if len(tempfile.gettempdir()) > 70 else None
    with tempfile.TemporaryDirectory(prefix="sslauth-", dir=short) as temporary:
        os.environ.update(_kernel_environment(folder, gpu, temporary) | {FINGERPRINT: fingerprint})
        for name in ("MPLBACKEND", "PYTHONSTARTUP"):  # figures go into the notebook, and it alone is run
            os.environ.pop(name, None)
        try:
            papermill.execute_notebook(
                _literal(NOTEBOOKS / f"{run.notebook}.ipynb"),
                _literal(log),
                parameters=run.values,
                cwd=_literal(ROOT),
                kernel_name="python3",
                kernel_manager_class="sslauth_utils.engine.kernel.OwnKernelManager",
                progress_bar=False,
                shutdown_kernel="immediate",  # its work is done: asking it to stop takes longer, and noise to the log
                start_timeout=180,
            )
        except PapermillExecutionError as error:
            # A UserError is a whole sentence for the reader: its traceback would only hide it.
            told = error.ename == "UserError"
            reason = error.evalue if told else f"cell {error.exec_count}: {error.ename}: {error.evalue}"
            raise NotebookFailed(reason, [] if told else _tail(error.traceback)[:-1]) from error
        except DeadKernelError as error:
            raise NotebookFailed(
                "its Python process died; most often the machine ran out of memory: close other programs, "
                "or run fewer notebooks at once (--jobs 1)",
                [],
            ) from error
        except OSError as error:
            raise UserError(
                f"Cannot write {log} ({error.strerror or error}); free some disk space or see to the "
                "folder's permissions and run again."
            ) from error


def _literal(path: Path) -> str:
    """The path for papermill, which fills in parameters where one has braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _kernel_environment(folder: Path, gpu: str | None, temporary: str) -> dict[str, str]:
    return {
        RUN_DIR: str(folder),
        **shared_variables(),
        "CUDA_VISIBLE_DEVICES": gpu or "",
        # Neither the user's start-up scripts nor a home that cannot be written matter.
        "IPYTHONDIR": f"{temporary}/ipython",
        "JUPYTER_RUNTIME_DIR": temporary,
    }


def shared_variables() -> dict[str, str]:
    """Environment variables that are the same for all notebooks' processes."""
    return {
        "SSLAUTH_THREADS": str(threads()),
        **{name: str(threads()) for name in THREAD_VARIABLES},
        **KEEP_FREED_MEMORY,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS may sum in a different order each time
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": str(ROOT),
    }


def _tail(traceback: list[str]) -> list[str]:
    """The last lines of an IPython traceback, without colours and heading; the very last repeats the error itself."""
    lines = [line.rstrip() for line in ANSI.sub("", "\n".join(traceback)).splitlines()]
    return [line for line in lines if line.strip("- ") and "Traceback (most recent" not in line][-TAIL_LINES:]


def versions() -> dict[str, str]:
    """Versions of Python and of the project's direct dependencies."""
    found = {"python": platform.python_version()}
    for name in environment.direct_dependencies():
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def git_state() -> dict[str, Any] | None:
    """The commit of the project and whether tracked files differ from it; None outside a git checkout of its own."""

    def git(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False, timeout=GIT_PATIENCE
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    commit = git("rev-parse", "HEAD")
    if not top or Path(top).resolve() != ROOT or not commit:
        return None
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores"


def _peak_memory_mb(folder: Path) -> int | None:
    """Largest resident memory of the notebook's process; some 480 MB of it are shared by all forks of the warm one."""
    path = folder / PEAK
    if path.is_file():  # `notebook.start` sees to it
        peak = round(int(path.read_text(encoding="utf-8")) / 1024)
        path.unlink()
        return peak
    if leash.WARM in os.environ:  # a fork is no child of this process
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KiB on Linux, bytes on macOS
    return round(peak / (1024 if sys.platform == "linux" else 1024**2))


def main(arguments: list[str] | None = None) -> int:
    """Execute the run that the command line names; 0 on success, 1 on failure."""
    parser = argparse.ArgumentParser(prog="python -m sslauth_utils.engine.execute", allow_abbrev=False)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--notebook", required=True)
    parser.add_argument("--scenario")
    parser.add_argument("--seed", type=int)
    wanted = parser.parse_args(arguments)
    os.chdir(ROOT)
    try:
        matching = [
            run
            for run in graph.profile_runs(wanted.profile)
            if (run.notebook, run.scenario, run.seed) == (wanted.notebook, wanted.scenario, wanted.seed)
        ]
        if not matching:
            raise UserError(
                f"Profile {wanted.profile} has no run of {wanted.notebook} with scenario {wanted.scenario} "
                f"and seed {wanted.seed}; ./run_all.sh --profile {wanted.profile} --dry-run lists them."
            )
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    [run] = matching
    log = f"{run.folder}/executed.ipynb"
    try:
        execute(run)
    except (UserError, NotebookFailed) as error:
        tail = error.tail if isinstance(error, NotebookFailed) else []
        print("\n".join([f"{run.name} failed: {error}", *tail, f"Executed notebook: {log}"]), file=sys.stderr)
        _leave_status(run, {"state": "failed", "reason": str(error), "tail": tail})
        return 1
    except Exception as error:  # ours or papermill's fault: the traceback goes to the log
        _leave_status(run, {"state": "failed", "reason": f"{type(error).__name__}: {error}", "tail": []})
        raise
    print(f"{run.name}: done", flush=True)
    return 0


def _leave_status(run: graph.Run, status: dict[str, Any]) -> None:
    try:
        write_json(ROOT / run.folder / "status.json", status)
    except UserError as error:  # the disk is full, say; the log says it too
        print(error, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
