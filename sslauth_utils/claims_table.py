"""The table of claims as the terminal shows it at the end of a run."""

import csv
import textwrap
from collections.abc import Sequence
from pathlib import Path

from sslauth_utils.errors import UserError

COLUMNS = ("id", "source", "quantity", "paper", "measured", "low", "high", "n", "verdict")
NARROWEST = 8  # no column is wrapped to less


def claims_table(path: Path, width: int = 100) -> str:
    """The rows of a ``summary.csv``, aligned, long texts wrapped, within `width` characters.

    Raises:
        UserError: the file lacks a column.
    """
    with open(path, newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise UserError(f"{path} lacks the column {missing[0]!r}; run 90_summary again (--figures-only).")
        rows = [_cells(row) for row in reader]
    return aligned([("id", "source", "quantity", "paper", "measured [interval]", "n", "verdict"), *rows], width)


def _cells(row: dict[str, str]) -> tuple[str, ...]:
    measured = _short(row["measured"])
    if row["low"] or row["high"]:
        measured += f" [{_short(row['low'])}, {_short(row['high'])}]"
    return row["id"], row["source"], row["quantity"], _short(row["paper"]), measured, row["n"], row["verdict"]


def _short(text: str) -> str:
    """A number with four figures; anything else as it is."""
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text


def aligned(rows: Sequence[Sequence[str]], width: int) -> str:
    """`rows`, the first being the heading, as columns two blanks apart; the widest columns wrap to fit `width`."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        wrapped = [textwrap.wrap(cell, size) or [""] for cell, size in zip(row, widths, strict=True)]
        for i in range(max(map(len, wrapped))):
            parts = [(lines_of[i] if i < len(lines_of) else "").ljust(size)
                     for lines_of, size in zip(wrapped, widths, strict=True)]  # fmt: skip
            lines.append("  ".join(parts).rstrip())
    lines.insert(1, "-" * min(width, sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)
