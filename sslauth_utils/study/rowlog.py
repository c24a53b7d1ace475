"""Rows of a running sweep, kept step by step so that a killed run goes on where it was."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sslauth_utils.base.files import write_rows


class RowLog:
    """Collects the rows of a sweep; each step is one atomic file until `finish` joins them.

    A step that is added again replaces its rows, so a cell may be run twice by hand.

    Args:
        folder: the run's folder; the result is ``folder/rows.csv``.
        columns: of the rows, in order.
        fingerprint: of everything that the rows depend on; steps kept under another
            fingerprint are thrown away.
        constant: values that every row shares.
        name: of the file, without ``.csv``.
    """

    def __init__(
        self, folder: Path, columns: Sequence[str], fingerprint: str, constant: Mapping[str, Any], name: str = "rows"
    ):
        self.path = Path(folder) / f"{name}.csv"
        self.columns = list(columns)
        self.constant = dict(constant)
        self._folder = Path(folder) / f"{name}.partial"
        self._kept = self._folder / fingerprint[:16].strip()
        self._steps: dict[Path, list[dict[str, str]]] = {}  # in the order in which they were added
        if self._folder.is_dir():
            for stale in self._folder.iterdir():
                if stale != self._kept:
                    shutil.rmtree(stale)

    def _file(self, step: str) -> Path:
        return self._kept / (quote(step, safe=" ") + ".csv")

    def _take(self, path: Path) -> None:
        with open(path, newline="", encoding="utf-8") as handle:
            self._steps[path] = list(csv.DictReader(handle))

    def has(self, step: str) -> bool:
        """Whether `step` is done; if by an earlier, interrupted run, its rows are taken over."""
        path = self._file(step)
        if path not in self._steps and path.is_file():
            self._take(path)
        return path in self._steps

    def add(self, step: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the rows of `step`, each with the constant values filled in."""
        path = self._file(step)
        write_rows(path, [self.constant | dict(row) for row in rows], self.columns)
        self._take(path)

    def finish(self) -> Path:
        """Join all steps, in the order in which they were added, into rows.csv and return its path."""
        write_rows(self.path, [row for rows in self._steps.values() for row in rows], self.columns)
        shutil.rmtree(self._folder, ignore_errors=True)
        return self.path
