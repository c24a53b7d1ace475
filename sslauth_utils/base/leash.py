"""Run a Python module in a process that ends when its parent does, SIGKILL included.

    python -m sslauth_utils.base.leash [--fork] PARENT_PID MODULE [ARGUMENT ...]

A run is a chain of processes: front door, Snakemake, one wrapper a notebook,
one kernel each. If any of them is killed, those below it must not go on
writing into folders that the next run uses.

With ``--fork``, and where ``$SSLAUTH_WARM`` names the socket of `engine.warm`, the module runs in a fork of that
process, which has imported PyTorch and the rest already: this process hands over what it was given, waits, and ends as
the fork does.
"""

import contextlib
import ctypes
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # from Linux's <sys/prctl.h>
WARM = "SSLAUTH_WARM"


def command(module: str, *arguments: str, fork: bool = False) -> list[str]:
    """The command that runs `module` on a leash held by this process; with `fork`, in a fork if there can be one."""
    options = ["--fork"] if fork else []
    return [sys.executable, "-m", "sslauth_utils.base.leash", *options, str(os.getpid()), module, *arguments]


def die_with(parent: int) -> None:
    """Make this process end as soon as process `parent`, its parent, is gone.

    Linux kills us in that instant; elsewhere a thread looks twice a second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it died before we could ask to be told
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _hand_over(path: str, arguments: list[str]) -> int | None:
    """Let the process that listens at `path` run the module; its exit code, or None if nobody listens.

    When this process is killed the connection breaks, and the fork is killed with it.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return None
        request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
        message = json.dumps(request).encode()
        socket.send_fds(connection, [len(message).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(message)
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(64)
        return int(answer) if answer else 1


def main(arguments: list[str]) -> None:
    """Become the module that `arguments` name, or let a fork be it."""
    fork = arguments[0] == "--fork"
    parent, *module = arguments[fork:]
    die_with(int(parent))
    warm = os.environ.get(WARM) if fork else None
    code = _hand_over(warm, module) if warm else None
    if code is not None:
        sys.exit(code)
    sys.argv = module  # the module sees its own arguments
    runpy.run_module(module[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
