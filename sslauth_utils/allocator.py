"""Freed memory stays with the process, so that the next training step finds it again.

glibc gives large blocks back to the system when they are freed and asks for them anew
at the next step; the system clears every page each time. In pre-training on two
cores that is a fifth of the time (``docs/method.md``, "Speed").
"""

import ctypes
import sys

# glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell this process's allocator to keep what is freed; whether it understood.

    No number changes by it. The process keeps its largest size until it ends.
    Other C libraries than glibc (macOS, musl) are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20))
    return all([mallopt(name, value) == 1 for name, value in settings])
