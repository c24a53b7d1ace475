"""Loss of precision in the features that a user uploads (§5.4)."""

import torch
from torch import Tensor

from sslauth_utils.base.errors import UserError


def _check(decimals: int) -> None:
    if not isinstance(decimals, int) or decimals < 0:
        raise UserError(f"Decimal places are a whole number from 0 on, not {decimals!r}.")


def round_features(features: Tensor, decimals: int) -> Tensor:
    """Each number rounded to `decimals` places: "retaining only two decimal places" (§5.4)."""
    _check(decimals)
    return torch.round(features, decimals=decimals)


def truncate_features(features: Tensor, decimals: int) -> Tensor:
    """Each number cut off after `decimals` places, towards zero: the other reading of "retaining"."""
    _check(decimals)
    return torch.trunc(features.double() * 10**decimals).div(10**decimals).to(features.dtype)
