"""Noise on the weights: a tamper without any aim, as small as one likes."""

import copy

import torch
from torch import nn

from sslauth_utils.base.errors import UserError


def add_weight_noise(encoder: nn.Module, relative: float, seed: int = 0) -> nn.Module:
    """A copy of `encoder` with Gaussian noise on every convolution's and linear map's weights.

    Args:
        encoder: left untouched.
        relative: standard deviation of the noise over the root mean square of the layer's weights, at least 0.
        seed: of the noise; the same seed at another `relative` gives the same direction.

    Raises:
        UserError: `relative` is negative or not finite.
    """
    if not 0 <= relative < float("inf"):
        raise UserError(f"The noise's relative size must be a number from 0 on, not {relative}.")
    noisy, draw = copy.deepcopy(encoder), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in noisy.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                weight = module.weight
                noise = torch.randn(weight.shape, generator=draw, dtype=torch.float32, device="cpu")
                weight.add_(relative * weight.square().mean().sqrt() * noise.to(weight.device, weight.dtype))
    return noisy
