"""Labels as every public function takes them: one whole number an image."""

import torch
from torch import Tensor

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import as_tensor


def as_labels(given: object, count: int, classes: int | None = None, what: str = "Labels") -> Tensor:
    """Labels as int64 (count,) on the CPU.

    Args:
        given: whole numbers (count,), a tensor of any such type, a numpy array or a list.
        classes: how many there are; None if that is not known.
        what: begins the sentence of an error.

    Raises:
        UserError: another number or shape (a column, one-hot rows), numbers that are not whole, or out of range.
    """
    try:
        labels = as_tensor(given)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what} must be one label an image, whole numbers, not {type(given).__name__}.") from error
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or labels.is_meta)
    if not whole or labels.shape != (count,):
        kind = str(labels.dtype).removeprefix("torch.")
        raise UserError(
            f"{what} must be one label an image, whole numbers of shape ({count},), not {kind} {tuple(labels.shape)}."
        )
    labels = labels.long()
    low, high = (int(labels.min()), int(labels.max())) if count else (0, 0)
    if low < 0 or (classes is not None and high >= classes):
        fit = "must be 0 or more" if classes is None else f"do not fit {classes} classes"
        raise UserError(f"{what} from {low} to {high} {fit}.")
    return labels
