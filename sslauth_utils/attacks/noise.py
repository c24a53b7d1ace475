"""Noise on the weights: a tamper without any aim, as small as one likes."""

import torch
from torch import nn

from sslauth_utils.attacks.layers import copy_and_layers
from sslauth_utils.base.checks import check_share, check_whole, plain
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.seeds import SEEDS


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
    relative = check_share("The noise's relative size", relative)
    noisy, layers = copy_and_layers(encoder)
    seed = plain(seed)
    check_whole("The noise's seed", seed, *SEEDS)
    draw = torch.Generator("cpu").manual_seed(seed)
    weights = {id(layer.weight): layer.weight for layer in layers.values()}  # those that layers share: once
    with torch.no_grad():
        for weight in weights.values():
            noise = torch.randn(weight.shape, generator=draw, dtype=torch.float32, device="cpu")
            weight.add_(relative * weight.square().mean().sqrt() * noise.to(weight.device, weight.dtype))
    return noisy
