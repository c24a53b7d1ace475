"""Noise on the weights: a tamper without any aim, as small as one likes."""

import torch
from torch import nn

from sslauth_utils.attacks.layers import copy_and_layers
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError


@plain_tensors()
def add_weight_noise(encoder: nn.Module, relative: float, seed: int = 0) -> nn.Module:
    """A copy of `encoder` with Gaussian noise on every convolution's and linear map's weights.

    Args:
        encoder: left untouched.
        relative: standard deviation of the noise over the root mean square of the layer's weights, in [0, 1].
        seed: of the noise; the same seed at another `relative` gives the same direction.

    Raises:
        UserError: `relative` outside [0, 1], or no weights that can be changed (`layers.layers_of`).
    """
    if not 0 <= relative <= 1:
        raise UserError(f"The noise's relative size must be a number from 0 on up to 1, not {relative}; 10 % is 0.1.")
    noisy, layers = copy_and_layers(encoder)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers.values():
            weight = layer.weight
            noise = torch.randn(weight.shape, generator=draw, dtype=torch.float32, device="cpu")
            weight.add_(relative * weight.square().mean().sqrt() * noise.to(weight.device, weight.dtype))
    return noisy
