"""The table of claims as the terminal shows it at the end of a run."""

import csv
import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path

from sslauth_utils.base.errors import UserError
from sslauth_utils.claims.cut_texts import parted

COLUMNS = ("id", "source", "quantity", "paper", "measured", "low", "high", "n", "verdict", "cuts")
HEADING = ("claim", "paper", "measured [95 % interval]", "n", "verdict", "cut")
TEXT = (0, 1, 4)  # the columns of the printed table that may wrap: claim, paper, verdict


def claims_table(path: Path, width: int = 100) -> str:
    """The rows of a ``summary.csv``, a line a claim, aligned, long texts wrapped, within `width` characters.

    Claims go by their id, so that the whole table can be seen at a glance; the report has the words. Beside each
    verdict stands how many of the stated settings on which it hangs the profile cuts.

    Raises:
        UserError: the file lacks a column.
    """
    with open(path, newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise UserError(f"{path} lacks the column {missing[0]!r}; run 90_summary again (--figures-only).")
        rows = [_cells(row) for row in reader]
    return aligned([HEADING, *rows], width)


def _cells(row: dict[str, str]) -> tuple[str, ...]:
    measured = _short(row["measured"])
    if row["low"] or row["high"]:
        measured += f" [{_short(row['low'])}, {_short(row['high'])}]"
    return row["id"], row["paper"], measured, _short(row["n"]), row["verdict"], str(len(parted(row["cuts"])) or "")


def _short(text: str) -> str:
    """A number with four figures, six between 99 and 100, where agreements differ; anything else as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    return f"{value:.6g}" if 99 <= value < 100 or value >= 1e4 else f"{value:.4g}"


def aligned(rows: Sequence[Sequence[str]], width: int, wrapped: Sequence[int] = TEXT) -> str:
    """`rows`, the first being the heading, as columns two blanks apart within `width` characters.

    Only the columns numbered in `wrapped` give way, all in the same proportion: so none gets much taller than others.
    """
    columns = list(zip(*rows, strict=True))
    natural = [max(map(len, column)) for column in columns]
    longest_word = [max(len(word) for cell in column for word in [*cell.split(), ""]) for column in columns]
    widths = list(natural)
    while sum(widths) + 2 * (len(widths) - 1) > width:
        wide = [i for i in wrapped if widths[i] > longest_word[i]]
        if not wide:
            break
        widths[min(wide, key=lambda i: natural[i] / (widths[i] - 1))] -= 1
    texts = [_row(row, widths) for row in rows]
    rule = "-" * max(len(line) for text in texts for line in text)
    return "\n".join([*texts[0], rule, *(line for text in texts[1:] for line in text)])


def _row(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    columns = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in itertools.zip_longest(*columns, fillvalue="")
    ]
