"""Run one notebook of a profile headlessly and strictly.

    python -m sslauth_utils.execute --profile demo --notebook 05_pruning --scenario cifar10 --seed 0

Into the run's folder go ``executed.ipynb`` (the log, left on failure too),
``status.json`` (running, failed with the reason, or done: for the front door's
progress lines) and, last of all and on success only, ``done.json``.
"""

import argparse
import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sslauth_utils import environment, gpu_slots, graph
from sslauth_utils.dependencies import read_notebook
from sslauth_utils.errors import UserError
from sslauth_utils.files import sha256_file, write_json
from sslauth_utils.paths import NOTEBOOKS, ROOT

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TAIL_LINES = 12
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class NotebookFailed(Exception):
    """A notebook did not run to its end: `reason` in one line, `tail` the last lines of what the cell said."""

    def __init__(self, reason: str, tail: list[str]) -> None:
        super().__init__(reason)
        self.reason, self.tail = reason, tail


def threads() -> int:
    """Threads of one notebook: half of the cores that this process may use, or ``$SSLAUTH_THREADS``.

    Sums are formed in another order with another number of threads, so it is fixed for
    a machine and does not depend on how many notebooks run at once.
    """
    given = os.environ.get("SSLAUTH_THREADS")
    if given is not None:
        if not given.isdecimal() or int(given) < 1:
            raise UserError(f"SSLAUTH_THREADS is {given!r}; set it to a whole number from 1 on, or unset it.")
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)


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
        for output in run.outputs:
            (ROOT / output).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot write into {folder} ({error.strerror}); see to its permissions and run again."
        ) from error
    write_json(folder / "status.json", {"state": "running"})
    _check_kernel_name(NOTEBOOKS / f"{run.notebook}.ipynb")
    inputs = _hashes(run.inputs)
    devices = [] if run.values.get("device") == "cpu" else gpu_slots.gpus()
    with gpu_slots.claim(devices) as gpu:
        _run_cells(run, folder, gpu)
    if changed := [path for path, digest in _hashes(run.inputs).items() if digest != inputs[path]]:
        raise NotebookFailed(f"{', '.join(changed)} changed while the notebook ran; run again", [])
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
        "inputs": inputs,
        "outputs": _hashes(run.outputs[1:]),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "peak_memory_mb": _peak_memory_mb(),
    }
    write_json(folder / "status.json", {"state": "done", "seconds": seconds})
    write_json(ROOT / run.done, record)


def _check_kernel_name(path: Path) -> None:
    name = read_notebook(path).get("metadata", {}).get("kernelspec", {}).get("name")
    if name != "python3":
        raise UserError(f"{path} asks for the kernel {name!r}; its metadata must name python3.")


def _run_cells(run: graph.Run, folder: Path, gpu: str | None) -> None:
    import papermill  # takes a second to import: only when something runs
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    log = folder / "executed.ipynb"
    with tempfile.TemporaryDirectory(prefix="sslauth-") as temporary:
        os.environ.update(_kernel_environment(folder, gpu, temporary))
        os.environ.pop("MPLBACKEND", None)  # the kernel's own: figures go into the notebook
        try:
            papermill.execute_notebook(
                NOTEBOOKS / f"{run.notebook}.ipynb",
                log,
                parameters=run.values,
                cwd=ROOT,
                kernel_name="python3",
                kernel_manager_class="sslauth_utils.kernel.OwnKernelManager",
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


def _kernel_environment(folder: Path, gpu: str | None, temporary: str) -> dict[str, str]:
    python_path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "SSLAUTH_RUN_DIR": str(folder),
        "SSLAUTH_THREADS": str(threads()),
        **{name: str(threads()) for name in THREAD_VARIABLES},
        "CUDA_VISIBLE_DEVICES": gpu or "",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS may sum in a different order each time
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(python_path)),
        # Neither the user's start-up scripts nor a home that cannot be written matter.
        "IPYTHONDIR": f"{temporary}/ipython",
        "JUPYTER_RUNTIME_DIR": temporary,
    }


def _tail(traceback: list[str]) -> list[str]:
    """The last lines of an IPython traceback, without colours and heading; the very last repeats the error itself."""
    lines = [line.rstrip() for line in ANSI.sub("", "\n".join(traceback)).splitlines()]
    return [line for line in lines if line.strip("- ") and "Traceback (most recent" not in line][-TAIL_LINES:]


def _hashes(paths: Iterable[str]) -> dict[str, str | None]:
    """SHA-256 of each file; None for one that is not there (``--figures-only`` takes what rows there are)."""
    return {path: sha256_file(ROOT / path) if (ROOT / path).is_file() else None for path in paths}


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
            answer = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:
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


def _peak_memory_mb() -> int:
    """Largest resident memory of the kernel; getrusage gives KiB on Linux and bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(peak / (1024 if sys.platform == "linux" else 1024**2))


def main(arguments: list[str] | None = None) -> int:
    """Execute the run that the command line names; 0 on success, 1 on failure."""
    parser = argparse.ArgumentParser(prog="python -m sslauth_utils.execute", allow_abbrev=False)
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
