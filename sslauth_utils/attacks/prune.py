"""Magnitude pruning, layer by layer (§5.2)."""

import copy

from torch import nn
from torch.nn.utils import prune as torch_prune

from sslauth_utils.base.errors import UserError


def prune(encoder: nn.Module, rate: float, batch_norm: bool = False) -> nn.Module:
    """A copy of `encoder` with the smallest weights of every layer set to zero.

    "We sort the parameters of each layer in the encoder based on their absolute
    values, and set the parameter with a certain proportion of the minimum value in
    each layer to zero." (§5.2) No retraining: the paper names it and gives no
    setting. Layers are convolutions and linear maps; biases stay.

    Args:
        encoder: left untouched.
        rate: share of each layer's weights, in [0, 1].
        batch_norm: prune the batch-norm scales (gamma) too; the paper does not say.

    Raises:
        UserError: a rate outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise UserError(f"A pruning rate is a share in [0, 1], not {rate}; 10 % is 0.1.")
    kinds = (nn.Conv2d, nn.Linear) + ((nn.BatchNorm2d,) if batch_norm else ())
    pruned = copy.deepcopy(encoder)
    for module in pruned.modules():
        if isinstance(module, kinds):
            # l1_unstructured fails on channels_last weights
            module.weight.data = module.weight.data.contiguous()
            torch_prune.l1_unstructured(module, "weight", amount=float(rate))
            torch_prune.remove(module, "weight")
    return pruned
