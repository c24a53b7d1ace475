"""A process that imports once what every notebook needs, and forks itself for each of them.

    python -m sslauth_utils.engine.warm SOCKET

PyTorch, papermill, pandas and matplotlib take four seconds of a core to import, a notebook's wrapper and its kernel
each need them, and a profile has thirty notebooks. `base.leash` asks here for a fork; where nobody listens (a
cluster's other machines, macOS) it starts a process of its own, with the same result.

This process does nothing but import, and starts no thread: only so is a fork a clean copy.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sslauth_utils.base import leash
from sslauth_utils.base.paths import ROOT

#: what notebooks import, and what PyTorch imports when the first optimiser is made (`torch._dynamo`)
MODULES = (
    "papermill", "ipykernel.kernelapp", "ipykernel.ipkernel", "IPython.core.completer", "torch", "torch._dynamo",
    "torch.nn.utils.prune", "pandas", "matplotlib.pyplot", "pytorch_msssim", "safetensors.torch", "scipy.special",
    "sklearn.linear_model", "tqdm.auto", "PIL.Image", "filelock", "yaml",
)  # fmt: skip


def skip_slow_grammar() -> None:
    """Keep papermill's import from building a grammar of web addresses: a second, for a check that notebooks need not.

    jsonschema takes the package where it is there and does without it where it is not.
    """
    sys.modules.setdefault("rfc3987_syntax", None)


@contextmanager
def warm(variables: Mapping[str, str], wanted: bool) -> Iterator[dict[str, str]]:
    """Start the warm process; yields the environment variable that tells `base.leash` of it, {} if there is none.

    Args:
        variables: environment that all forks share. What is read when PyTorch is imported must stand here.
        wanted: False for so few notebooks that it would not pay.
    """
    if not wanted or sys.platform != "linux":
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="sslauth-warm-") as folder:
        path = str(Path(folder, "socket"))
        environment = {**os.environ, **variables, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        environment.pop(leash.WARM, None)
        command = leash.command("sslauth_utils.engine.warm", path)
        with open(Path(folder, "log"), "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield {leash.WARM: path}
        finally:
            process.kill()
            process.wait()


def serve(path: str) -> None:
    """Listen at `path`, import, and fork for whoever asks; never returns.

    Requests that come while it still imports wait in the socket's queue.
    """
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        skip_slow_grammar()
        for module in MODULES:
            with contextlib.suppress(ImportError):  # who needs it says so
                importlib.import_module(module)
        at_work: dict[int, socket.socket] = {}  # process to the connection of who asked for it
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a child's end wakes `select`
        wake, woken = socket.socketpair()
        woken.setblocking(False)
        signal.set_wakeup_fd(woken.fileno())
        while True:
            ready, _, _ = select.select([listening, wake, *at_work.values()], [], [])
            if wake in ready:
                wake.recv(4096)
            _tell_ends(at_work)
            if listening in ready:
                connection, _ = listening.accept()
                if asked := _receive(connection):
                    process = _fork(*asked, [connection, listening, wake, woken, *at_work.values()])
                    at_work[process] = connection
            for process, connection in list(at_work.items()):
                if connection in ready:  # nothing more is ever sent: who asked is gone
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)


def _tell_ends(at_work: dict[int, socket.socket]) -> None:
    """Tell those who asked how their forks ended."""
    for process in list(at_work):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            connection = at_work.pop(process)
            with contextlib.suppress(OSError), connection:
                connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """What `base.leash` asks for, and its three streams; None if it went away meanwhile."""
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    message = b""
    while size and len(message) < int.from_bytes(size, "big"):
        part = connection.recv(1 << 20)
        if not part:
            break
        message += part
    try:
        return json.loads(message), streams
    except ValueError:
        connection.close()
        return None


def _fork(request: Mapping[str, Any], streams: list[int], sockets: list[socket.socket]) -> int:
    """Fork; the child becomes what was asked for, the parent gets its process number."""
    parent = os.getpid()
    process = os.fork()
    if process:
        for stream in streams:
            os.close(stream)
        return process
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        leash.die_with(parent)
        for one in sockets:
            one.close()
        _become(request, streams)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become(request: Mapping[str, Any], streams: list[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ.pop("MPLBACKEND", None)  # a kernel sets its own
    os.chdir(request["folder"])
    sys.argv = list(request["arguments"])
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(sys.argv[1])
