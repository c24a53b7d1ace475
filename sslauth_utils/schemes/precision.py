"""Loss of precision in the features that a user uploads (§5.4)."""

import numpy as np
import torch
from torch import Tensor

from sslauth_utils.base.errors import UserError

#: more than any float type of a response holds; from 39 on, ten to that power is too large for 32 bits
_MOST = 20


def _checked(decimals: int) -> int:
    if not isinstance(decimals, int | np.integer) or isinstance(decimals, bool) or not 0 <= decimals <= _MOST:
        raise UserError(f"Decimal places are a whole number from 0 on, at most {_MOST}, not {decimals!r}.")
    return int(decimals)


def round_features(features: Tensor, decimals: int) -> Tensor:
    """Each number rounded to `decimals` places: "retaining only two decimal places" (§5.4)."""
    return torch.round(features, decimals=_checked(decimals))


def truncate_features(features: Tensor, decimals: int) -> Tensor:
    """Each number cut off after `decimals` places, towards zero: the other reading of "retaining"."""
    decimals = _checked(decimals)
    return torch.trunc(features.double() * 10**decimals).div(10**decimals).to(features.dtype)
