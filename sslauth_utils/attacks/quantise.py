"""8-bit weights: what is done to models to make them small, and a tamper to whoever was promised the original."""

import torch
from torch import nn

from sslauth_utils.attacks.layers import copy_and_layers
from sslauth_utils.base.checks import check_choice, check_whole
from sslauth_utils.base.device import plain_tensors


@plain_tensors()
def quantise(model: nn.Module, bits: int = 8, per_channel: bool = False) -> nn.Module:
    """A copy of `model` whose convolutions' and linear maps' weights lie on an integer grid, computed with in float.

    The grid is symmetric, from −2^(bits−1) to 2^(bits−1) − 1 times the largest absolute weight over 2^(bits−1) − 1. The
    paper says "8-bit quantization" and no more.

    Args:
        model: left untouched; biases and batch norm keep their numbers.
        bits: 2 to 16.
        per_channel: one grid for each output channel instead of one a layer.

    Raises:
        UserError: a number of bits out of range, or no weights that can be changed (`layers.layers_of`).
    """
    check_whole("The number of bits", bits, 2, 16)
    check_choice("Per channel", per_channel, (True, False))
    (quantised, layers), most = copy_and_layers(model), 2 ** (bits - 1) - 1
    with torch.no_grad():
        for layer in layers.values():
            weight, channels = layer.weight, 1 if getattr(layer, "transposed", False) else 0
            inside = [axis for axis in range(weight.ndim) if axis != channels]
            largest = weight.abs().amax(dim=inside, keepdim=True) if per_channel else weight.abs().max()
            scale = (largest / most).clamp_min(torch.finfo(weight.dtype).tiny)
            weight.copy_((weight / scale).round().clamp(-most - 1, most) * scale)
    return quantised
