"""What the benchmarks share: contenders timed in turn, the machine, one table, one CSV."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sslauth_utils.base.device import fast_bfloat16
from sslauth_utils.base.files import write_rows
from sslauth_utils.base.paths import RESULTS


def in_turn(contenders: Mapping[str, Callable[[], Any]], repeats: int, label: str) -> dict[str, list[float]]:
    """Seconds of every contender: A-B-A-B..., one warm-up each, then `repeats` timed calls each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in tqdm(range(repeats + 1), desc=label, leave=False):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def rates(seconds: Sequence[float], amount: float) -> dict[str, float]:
    """Median, lowest and highest rate (amount per second) of timed calls."""
    values = sorted(amount / s for s in seconds)
    return {"median": statistics.median(values), "low": values[0], "high": values[-1], "n": len(values)}


def plain_bfloat16(device: torch.device) -> torch.autocast:
    """PyTorch's own bfloat16 autocast, for contenders in our precision; off where we compute in float32 too."""
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16(device))


def machine(*packages: str) -> dict[str, str]:
    """CPU or GPU model, cores, load at the start, and versions; no names of hosts or users."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].split(":", 1)[1].strip() if models else cpu
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return {
        "machine": f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {gpu}, {load}",
        "versions": ", ".join(f"{p} {version(p)}" for p in ("torch", "torchvision", *packages)),
    }


def show(name: str, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, str]) -> None:
    """Print the rows as a table and write them, with the facts in every row, to results/benchmarks/<name>.csv."""
    columns = list(rows[0])
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    print(*facts.values(), sep="\n", end="\n\n")
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    path = RESULTS / "benchmarks" / f"{name}.csv"
    write_rows(path, [{**row, **facts} for row in rows], [*columns, *facts])
    print(f"\nWritten: {path.relative_to(RESULTS.parent)}")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
