"""How many cores this process may use, and how many threads one notebook computes with."""

import os

from sslauth_utils.base.errors import UserError


def cores() -> int:
    """Cores that this process may use: those that it is bound to (taskset, Slurm), where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Threads of one notebook: ``$SSLAUTH_THREADS``, or half of the cores where it is unset or empty.

    Sums are formed in another order with another number of threads, so it is fixed for
    a machine and does not depend on how many notebooks run at once.

    Raises:
        UserError: the variable is no whole number from 1 on.
    """
    given = os.environ.get("SSLAUTH_THREADS")
    if not given:
        return max(1, cores() // 2)
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"SSLAUTH_THREADS is {given!r}; set it to a whole number from 1 on, or unset it.")
    return int(given)
