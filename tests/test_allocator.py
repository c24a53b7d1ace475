"""The allocator keeps freed memory where it can, and says where it cannot."""

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sslauth_utils import allocator

MEASURE = """
from pathlib import Path
import torch
from sslauth_utils.allocator import keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

for keep in (False, True):
    understood = keep and keep_freed_memory()
    before = resident()
    blocks = [torch.ones(2**20) for _ in range(64)]
    total = float(sum(block.sum() for block in blocks))
    full = resident()
    del blocks
    print(understood, total, full - before, resident() - before)
"""


def glibc():
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


@pytest.mark.skipif(not glibc(), reason="another C library keeps its own habits")
def test_freed_memory_stays_and_no_number_changes():
    """Of 256 MB taken and freed, in a process of its own, so that the tests' is left as it is."""
    said = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=120)
    usual, kept = (line.split() for line in said.stdout.splitlines())
    assert (usual[0], kept[0]) == ("False", "True") and float(usual[1]) == float(kept[1]) == 64 * 2**20
    assert min(float(usual[2]), float(kept[2])) > 200
    assert float(usual[3]) < 100 and float(kept[3]) > 200


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_nothing_is_done(monkeypatch, platform):
    monkeypatch.setattr(allocator, "sys", SimpleNamespace(platform=platform))
    assert allocator.keep_freed_memory() is False


def test_a_library_without_or_with_an_unwilling_mallopt_is_told(monkeypatch):
    monkeypatch.setattr(allocator, "sys", SimpleNamespace(platform="linux"))
    asked = []
    for library, understood in (
        (SimpleNamespace(), False),
        (SimpleNamespace(mallopt=lambda name, value: asked.append((name, value)) or 0), False),
        (SimpleNamespace(mallopt=lambda name, value: 1), True),
    ):
        monkeypatch.setattr(allocator, "ctypes", SimpleNamespace(CDLL=lambda name, library=library: library))
        assert allocator.keep_freed_memory() is understood
    assert asked == [(-4, 0), (-1, 2**31 - 1), (-2, 64 * 2**20)], "all are asked for, whatever the first answers"
