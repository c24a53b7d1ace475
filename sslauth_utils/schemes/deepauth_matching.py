"""Which keys make one signature: classes lead into each other without one that leads or is led to twice."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sslauth_utils.base.checks import check_whole
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError

_NONE = -1e6  # weight of an edge that is not there


def match_classes(truth: Tensor, adversarial: Tensor, classes: int, seed: int | None = None) -> dict[int, int]:
    """Algorithm 2, lines 1 to 7: the maximum matching of true classes with adversarial ones.

    "If a complete permutation over all the classes does not exist, the goal is to find a subset of classes with the
    maximum cardinality that a complete permutation can be found." An edge i -> j weighs 1 if some key leads from class
    i to class j, i -> i weighs 0; of the permutations the heaviest is taken.

    Args:
        truth, adversarial: of all keys, int64 (N,).
        classes: how many there are.
        seed: draws one of several heaviest permutations; None takes scipy's first.

    Returns:
        c* to c', of the classes that are not led to themselves.

    Raises:
        UserError: classes out of range, or not one cycle of classes.
    """
    pairs = torch.stack([truth, adversarial])
    if pairs.numel() and not 0 <= int(pairs.min()) <= int(pairs.max()) < classes:
        raise UserError(f"Keys of classes {int(pairs.min())} to {int(pairs.max())} do not fit {classes} classes.")
    weights = np.full((classes, classes), _NONE)
    np.fill_diagonal(weights, 0.0)
    leads = (truth != adversarial).numpy()
    weights[truth.numpy()[leads], adversarial.numpy()[leads]] = 1.0
    if seed is not None:  # together below 1: a permutation with an edge less stays lighter
        weights += np.random.default_rng(seed).random(weights.shape) * 0.5 / classes
    found = {int(i): int(j) for i, j in zip(*linear_sum_assignment(weights, maximize=True), strict=True) if i != j}
    if not found:
        raise UserError(
            f"The keys' classes cannot be matched: no cycle among the {len(set(truth.tolist()))} true classes that "
            f"keys lead from, of {classes}; make keys from more seeds, or by the rule 'upper half'."
        )
    return found


@plain_tensors()
def select_keys(
    truth: Tensor, adversarial: Tensor, classes: int, count: int, seed: int, least: int = 1, taken: Tensor | None = None
) -> Tensor:
    """One signature's keys: one for each matched pair of classes, drawn by `seed`; a subset if fewer are wanted.

    Where `count` is more than the matched pairs, they are gone through again with other keys.

    Args:
        truth, adversarial: of all keys, int64 (N,).
        count: keys of a signature; "we select 10 key samples for each signature embedding".
        least: pairs of classes that the matching must cover.
        taken: mask of keys that belong to another set already, bool (N,).

    Returns:
        Indices int64, at most `count`, of different keys.

    Raises:
        UserError: the matching covers fewer than `least` classes, or there are fewer keys than `count`.
    """
    check_whole("Keys of a signature", count, 1)
    free = torch.ones(len(truth), dtype=torch.bool) if taken is None else ~taken
    draw = torch.Generator().manual_seed(seed)
    chosen: list[int] = []
    matching = match_classes(truth[free], adversarial[free], classes, seed)
    if len(matching) < least:
        raise UserError(
            f"The keys' classes can be matched for {len(matching)} of {classes} classes only, {least} are needed; make "
            "keys from more seeds, or by the rule 'upper half'."
        )
    while len(chosen) < count:
        before = len(chosen)
        for start in _in_cycles(matching):
            of_pair = free & (truth == start) & (adversarial == matching[start])
            if len(chosen) < count and of_pair.any():
                places = of_pair.nonzero().flatten()
                one = int(places[torch.randint(len(places), (1,), generator=draw)])
                chosen.append(one)
                free[one] = False
        if len(chosen) == before:
            raise UserError(
                f"There are only {before} keys of matched classes for a signature of {count}; make keys from more "
                "seeds."
            )
    return torch.tensor(chosen)


def _in_cycles(matching: dict[int, int]) -> list[int]:
    """The matched classes, cycle by cycle."""
    order: list[int] = []
    for start in matching:
        here = start
        while here not in order:
            order.append(here)
            here = matching[here]
    return order
