"""8-bit weights: what is done to models to make them small, and a tamper to whoever was promised the original."""

import copy

import torch
from torch import nn

from sslauth_utils.base.checks import check_choice, check_whole


def quantise(model: nn.Module, bits: int = 8, per_channel: bool = False) -> nn.Module:
    """A copy of `model` whose convolutions' and linear maps' weights lie on an integer grid, computed with in float.

    The grid is symmetric, from −2^(bits−1) to 2^(bits−1) − 1 times the largest absolute weight over 2^(bits−1) − 1. The
    paper says "8-bit quantization" and no more.

    Args:
        model: left untouched; biases and batch norm keep their numbers.
        bits: 2 to 16.
        per_channel: one grid for each output channel instead of one a layer.

    Raises:
        UserError: a number of bits out of range.
    """
    check_whole("The number of bits", bits, 2, 16)
    check_choice("Per channel", per_channel, (True, False))
    quantised, most = copy.deepcopy(model), 2 ** (bits - 1) - 1
    with torch.no_grad():
        for module in quantised.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                weight = module.weight
                largest = weight.abs().flatten(1).amax(dim=1) if per_channel else weight.abs().max().expand(len(weight))
                scale = (largest / most).clamp_min(torch.finfo(weight.dtype).tiny)
                scale = scale.view(-1, *[1] * (weight.ndim - 1))
                weight.copy_((weight / scale).round().clamp(-most - 1, most) * scale)
    return quantised
