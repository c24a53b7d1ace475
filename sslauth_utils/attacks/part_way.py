"""A tampered encoder, taken back part of the way: any attack as small as one likes."""

import torch
from torch import nn

from sslauth_utils.base.checks import check_share
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.training import own_copy


@plain_tensors()
def part_way(encoder: nn.Module, tampered: nn.Module, share: float) -> nn.Module:
    """A copy of `encoder` whose weights have gone `share` of the way to those of `tampered`.

    Args:
        encoder, tampered: of one architecture; both are left untouched.
        share: in [0, 1]; 0 gives `encoder`'s weights, 1 those of `tampered`.

    Raises:
        UserError: a share outside [0, 1], weights of other names or shapes, or an encoder that cannot be copied.
    """
    share = check_share("The part of the way", share)
    start, end = encoder.state_dict(), tampered.state_dict()
    if {n: w.shape for n, w in start.items()} != {n: w.shape for n, w in end.items()}:
        raise UserError(
            "The tampered encoder has other weights than the encoder: there is no way from one to the other."
        )
    mixed = own_copy(encoder)
    mixed.load_state_dict(
        {
            name: torch.lerp(weight, end[name].to(weight), share) if weight.is_floating_point() else weight
            for name, weight in start.items()
        }
    )
    return mixed
