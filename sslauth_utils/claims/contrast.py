"""What a measure gives: a number with its interval, of one side or of one side against another.

Nearly every claim contrasts two sides: schemes, strengths, key sets, forms of a feature, generators. Here is what
they have in common. Which rows make a side, ``measures_*`` say; how values are drawn again, `statistics.resamples`.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

#: (measured, low, high, n): a number, its 95 % interval, and how many values it rests on
Measured = tuple[float, float, float, int]


class Incomplete(LookupError):
    """The rows lack one side of a comparison: a rate or a generator, say, that the profile leaves out."""


def level(values: np.ndarray, picks: np.ndarray) -> Measured:
    """Mean of `values`, (n,), in per cent, with a 95 % percentile-bootstrap interval.

    Args:
        picks: index sets of the bootstrap, (draws, n).
    """
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return 100 * values.mean(), 100 * low, 100 * high, len(values)


def contrast(
    first: np.ndarray, second: np.ndarray, picks: np.ndarray, others: np.ndarray | None = None, ratio: bool = False
) -> Measured:
    """Mean of `first`, (n,), minus mean of `second`, in points, or over it; n counts the values of the first side.

    Args:
        picks: index sets of the bootstrap for the first side, (draws, n).
        others: those for the second side, whose values are drawn apart from the first's; None for pairs, two values
            of the same key, which are drawn together.
        ratio: over, not minus.

    Raises:
        Incomplete: a ratio to nothing (a mean below 1e-9).
    """
    if others is None and not ratio:
        return level(first - second, picks)
    ours, theirs = first[picks].mean(axis=1), second[picks if others is None else others].mean(axis=1)
    if not ratio:
        measured, draws = 100 * (first.mean() - second.mean()), 100 * (ours - theirs)
    elif second.mean() < 1e-9:
        raise Incomplete
    else:
        measured, draws = first.mean() / second.mean(), ours / theirs
    low, high = np.quantile(draws, [0.025, 0.975])
    return measured, low, high, len(first)


def worst(found: list[Measured], claim: dict) -> Measured:
    """Of several encoders' numbers the one that is farthest from meeting the claim's rule."""
    [(kind, bound)] = claim["rule"].items()
    lack = {
        "above": lambda one: -one[1],
        "at_least": lambda one: -one[0],
        "below": lambda one: one[2],
        "at_most": lambda one: one[0],
        "between": lambda one: max(bound[0] - one[1], one[2] - bound[1]),
    }.get(kind, lambda one: abs(one[0] - claim["paper"]))  # within, factor
    return max(found, key=lack)


def of_worst_encoder(rows: pd.DataFrame, claim: dict, measure: Callable[[pd.DataFrame], Measured]) -> Measured:
    """`measure` of every encoder's rows: that of the `worst`."""
    return worst([measure(encoder) for _, encoder in rows.groupby(["scenario", "seed"])], claim)
