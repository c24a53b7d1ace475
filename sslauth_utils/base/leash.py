"""Run a Python module in a process that ends when its parent does, SIGKILL included.

    python -m sslauth_utils.base.leash PARENT_PID MODULE [ARGUMENT ...]

A run is a chain of processes: front door, Snakemake, one wrapper a notebook,
one kernel each. If any of them is killed, those below it must not go on
writing into folders that the next run uses.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # from Linux's <sys/prctl.h>


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs `module` on a leash held by this very process."""
    return [sys.executable, "-m", "sslauth_utils.base.leash", str(os.getpid()), module, *arguments]


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


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    del sys.argv[:2]  # the module sees its own arguments
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
