"""Checks of plain values, each with the one sentence that a reader of settings needs."""

import math
import re
from collections.abc import Iterable
from typing import Any

from sslauth_utils.base.errors import UserError


def plain(value: Any) -> Any:
    """A single number of numpy as a plain one; anything else as it is."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


def is_whole(value: object) -> bool:
    """Whether `value` is a whole number, numpy's too; True and False are none."""
    value = plain(value)
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether `value` is a finite number, numpy's too; True and False are none."""
    value = plain(value)
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_whole(what: str, value: object, least: int, most: int | None = None) -> None:
    """See that `value` is a whole number from `least` on (up to `most`).

    Raises:
        UserError: it is not; `what` begins the sentence.
    """
    if not is_whole(value) or value < least or (most is not None and value > most):
        bounds = f"from {least} on" if most is None else f"from {least} to {most}"
        raise UserError(f"{what} must be a whole number {bounds}, not {value!r}.")


def check_number(what: str, value: object, low: float, high: float = math.inf, above: bool = False) -> None:
    """See that `value` is a finite number from `low` to `high`; with `above`, not `low` itself.

    Raises:
        UserError: it is not; `what` begins the sentence.
    """
    if not is_number(value) or not low <= value <= high or (above and value == low):
        bounds = f"above {low:g}" if above else f"from {low:g} on"
        bounds += "" if high == math.inf else f" up to {high:g}"
        raise UserError(f"{what} must be a number {bounds}, not {value!r}.")


def check_share(what: str, value: object, above: bool = False) -> float:
    """`value` as a plain number, seen to be a share in [0, 1]; with `above`, above 0.

    Raises:
        UserError: it is not, or per cent; `what` begins the sentence.
    """
    value = plain(value)
    if not is_number(value) or not 0 <= value <= 1 or (above and value == 0):
        raise UserError(f"{what} is a share in {'(' if above else '['}0, 1], not {value!r}; 10 % is 0.1.")
    return float(value)


def check_choice(what: str, value: object, choices: Iterable[object]) -> None:
    """See that `value` is one of `choices`, of the same type.

    Raises:
        UserError: it is not; `what` begins the sentence.
    """
    choices = list(choices)
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise UserError(f"{what} must be one of {', '.join(map(str, choices))}, not {value!r}.")


def check_name(what: str, value: object) -> None:
    """See that `value` can name a folder, and stand in a command line, as it is.

    Raises:
        UserError: it has other characters than letters, digits, ".", "_" and "-", or begins with another than the
            first two and "_"; `what` begins the sentence.
    """
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]*", value):
        raise UserError(
            f"{what} is {value!r}, but must be of letters, digits, '.', '_' and '-' only, because folders are named "
            "after it; rename it."
        )
