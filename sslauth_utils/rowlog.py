"""Rows of a running sweep, kept step by step so that a killed run goes on where it was."""

import csv
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslauth_utils.files import write_rows


class RowLog:
    """Collects the rows of a sweep; each step is one atomic file until `finish` joins them.

    Args:
        folder: the run's folder; the result is ``folder/rows.csv``.
        columns: of the rows, in order.
        fingerprint: of everything that the rows depend on; steps kept under another
            fingerprint are thrown away.
        constant: values that every row shares.
    """

    def __init__(self, folder: Path, columns: Sequence[str], fingerprint: str, constant: Mapping[str, Any]):
        self.path = Path(folder) / "rows.csv"
        self.columns = list(columns)
        self.constant = dict(constant)
        self._folder = Path(folder) / "rows.partial"
        self._kept = self._folder / fingerprint[:16]
        self._steps: list[Path] = []
        if self._folder.is_dir():
            for stale in self._folder.iterdir():
                if stale != self._kept:
                    shutil.rmtree(stale)

    def _file(self, step: str) -> Path:
        return self._kept / (re.sub(r"[^\w.=-]+", "_", step) + ".csv")

    def has(self, step: str) -> bool:
        """Whether `step` was done by an earlier, interrupted run; if so its rows are taken over."""
        path = self._file(step)
        if path.is_file() and path not in self._steps:
            self._steps.append(path)
        return path.is_file()

    def add(self, step: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the rows of `step`, each with the constant values filled in."""
        path = self._file(step)
        write_rows(path, [self.constant | dict(row) for row in rows], self.columns)
        self._steps.append(path)

    def finish(self) -> Path:
        """Join all steps, in the order in which they were added, into rows.csv and return its path."""
        rows: list[dict[str, str]] = []
        for path in self._steps:
            with open(path, newline="", encoding="utf-8") as handle:
                rows += csv.DictReader(handle)
        write_rows(self.path, rows, self.columns)
        shutil.rmtree(self._folder, ignore_errors=True)
        return self.path
