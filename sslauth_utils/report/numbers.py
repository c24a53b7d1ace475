"""Numbers with the digits that their interval supports."""

import math
import re

import pandas as pd

MOST = 7  # decimals
_UNIT = re.compile(r"^(.*), (%|points|nats)$", re.DOTALL)


def number(value: float) -> str:
    """A number as a table shows it: four digits, six between 99 and 100 where agreements differ; empty if missing."""
    return "" if pd.isna(value) else f"{value:.6g}" if 99 <= value < 100 else f"{value:.4g}"


def decimals(low: float, high: float) -> int:
    """So many that the last one is about a tenth to a quarter of the interval, and more where a bound would else read
    as a round 0, 1 or 100 that it is not.

    Args:
        low, high: of an interval that is wider than nothing.
    """
    digits = max(0, math.ceil(-math.log10((high - low) / 4)))
    for bound in (low, high):
        while digits < MOST and any(bound != mark and round(bound, digits) == mark for mark in (0, 1, 100)):
            digits += 1
    return min(digits, MOST)


def with_digits(measured: float, low: float, high: float) -> tuple[str, str]:
    """(number, interval as "low to high") in words; empty where they are missing, no interval where it has no width."""
    if pd.isna(measured):
        return "", ""
    if pd.isna(low) or pd.isna(high) or not high > low:
        return _signed(number(measured)), ""
    digits = decimals(low, high)
    first, lower, upper = (_rounded(value, digits) for value in (measured, low, high))
    return first, f"{lower} to {upper}"


def _rounded(value: float, digits: int) -> str:
    """What is 0 or 100 to a billionth has no decimals, nor has what rounds to 0."""
    whole = abs(value) < 0.5 * 10**-digits or abs(value - 100) < 1e-9
    return _signed(f"{abs(value):.0f}" if whole else f"{value:.{digits}f}")


def _signed(text: str) -> str:
    """With a minus that is as long as a plus."""
    return text.replace("-", "−") if not re.search(r"e-", text) else text


def quantity_and_unit(quantity: str) -> tuple[str, str]:
    """What is measured, and its unit: "agreement, %" is ("agreement", "%")."""
    found = _UNIT.match(quantity)
    return (found[1], found[2]) if found else (quantity, "")
