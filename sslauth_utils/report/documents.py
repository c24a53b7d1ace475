"""README.md and docs/results.md, their numbers taken from committed rows.

    python -m sslauth_utils.report.documents

writes both from ``docs/source``: there stands the text and, where a number belongs, what gives it. A test writes them
again and fails where one differs, or where a number was typed in.
"""

import sys
from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jinja2

from sslauth_utils.base.errors import UserError, command
from sslauth_utils.base.files import write_text
from sslauth_utils.base.paths import CONFIG, RESULTS, ROOT
from sslauth_utils.claims.reference import restore
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from sslauth_utils.report import told
from sslauth_utils.report.reference_run import Number, ReferenceRun
from sslauth_utils.report.sections import VERDICTS
from sslauth_utils.study.profiles import load_profile

SOURCE = ROOT / "docs" / "source"
#: each document and its source
DOCUMENTS = {"README.md": "README.md.j2", "docs/results.md": "results.md.j2"}
REFERENCES = ("lite", "gpu")
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def fixed(value: float | Number, digits: int = 0) -> str:
    """With so many decimals, none if it is 0 or 100; halves go away from 0, and a minus is as long as a plus."""
    value = round(float(value.measured if isinstance(value, Number) else value), 9)  # 1.55, not 1.5499999999999998
    last = Decimal(1).scaleb(-digits if value not in (0, 100) else 0)
    text = str(Decimal(repr(value)).quantize(last, ROUND_HALF_UP))
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def short(value: float | Number) -> str:
    """Without decimals that are 0."""
    return f"{value.measured if isinstance(value, Number) else value:.6g}"


def rough(value: float) -> str:
    """Two significant digits of a large factor: "3,300"."""
    return f"{float(f'{value:.2g}'):,.0f}"


def interval(number: Number, digits: int = 0) -> str:
    """Its 95 % interval, as "[1.5, 2.5]"."""
    return f"[{fixed(number.low, digits)}, {fixed(number.high, digits)}]"


def whole(number: Number, digits: int = 0, unit: str = "") -> str:
    """The number, its unit and its 95 % interval, as "2.0 % [1.5, 2.5]"."""
    return f"{fixed(number, digits)}{unit and ' ' + unit} {interval(number, digits)}"


def span(values: Iterable[float | Number], digits: int = 0, between: str = "–") -> str:
    """The smallest and the largest; one of them where they read alike."""
    numbers = [value.measured if isinstance(value, Number) else float(value) for value in values]
    return between.join(dict.fromkeys(fixed(end, digits) for end in (min(numbers), max(numbers))))


def printed(numbers: Number | Iterable[Number], digits: int = 0) -> str:
    """What the paper prints: of one claim as it stands there, of several the smallest and the largest."""
    if isinstance(numbers, Number):
        return str(numbers.paper)
    return span([float(number.paper) for number in numbers], digits)


def listed(values: Iterable[float | Number], digits: int = 0) -> str:
    """One after the other: "1, 2 and 3"."""
    *first, last = (fixed(value, digits) for value in values)
    return " and ".join([", ".join(first), last] if first else [last])


def largest(numbers: Iterable[Number]) -> Number:
    """The number that is largest, with its interval."""
    return max(numbers, key=lambda number: number.measured)


def word(count: int) -> str:
    """A small whole number in a word."""
    return WORDS[count] if count < len(WORDS) else str(count)


def verdict(numbers: Number | list[Number]) -> str:
    """The verdict on one claim or on several.

    Raises:
        UserError: the run gives none.
    """
    verdicts = [number.verdict for number in ([numbers] if isinstance(numbers, Number) else numbers)]
    if not set(verdicts) <= {REPRODUCED, NOT_REPRODUCED}:
        raise UserError("A text tells a verdict that the run does not give.")
    missed = verdicts.count(NOT_REPRODUCED)
    counted = f" in {word(missed)} of {word(len(verdicts))}" if 0 < missed < len(verdicts) else ""
    return f"**{VERDICTS[NOT_REPRODUCED]}**{counted}" if missed else VERDICTS[REPRODUCED]


def if_so(condition: bool, words: str) -> str:
    """Words that are true only if the rows meet a condition.

    Raises:
        UserError: they do not; the sentence must be written anew.
    """
    if not condition:
        raise UserError(f"The rows no longer say “{words}”; write that sentence in docs/source anew.")
    return words


FILTERS: tuple[Callable[..., Any], ...] = (
    fixed, short, rough, interval, whole, span, printed, listed, largest, word, verdict
)  # fmt: skip


def lay_out(home: Path) -> None:
    """Put the references into `home` as runs."""
    (home / "reference").symlink_to(RESULTS / "reference")
    for profile in REFERENCES:
        restore(profile, home)


def written(document: str, home: Path) -> str:
    """The text of one of `DOCUMENTS`.

    Args:
        home: a results folder as `lay_out` leaves it.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SOURCE), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {function.__name__: function for function in FILTERS}
    runs = {profile: ReferenceRun(profile, home) for profile in REFERENCES}
    profiles = {path.stem: load_profile(path.stem).notebooks for path in CONFIG.glob("*.yaml")}
    names = {"told": told, "profiles": profiles, "if_so": if_so, "NOT_TESTED": NOT_TESTED}
    return environment.get_template(DOCUMENTS[document]).render(**runs, **names)


@command
def main() -> None:
    with TemporaryDirectory() as folder:
        lay_out(Path(folder))
        for document in DOCUMENTS:
            write_text(ROOT / document, written(document, Path(folder)))
            print(f"Written: {document}")


if __name__ == "__main__":
    sys.exit(main())
