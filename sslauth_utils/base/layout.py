"""The order in which convolutions keep images and weights in memory while a network is trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def fast_layout(model: nn.Module) -> torch.memory_format:
    """Channels last, in which training is fastest, for `model`'s weights and its input alike; contiguous where that is
    unsafe.

    On CPUs oneDNN (seen in PyTorch 2.11) writes past its buffers when it computes, channels last, the gradients of a
    strided 1x1 convolution over fewer channels than a vector holds: below 8 with AVX2, below 16 with AVX-512 and two
    threads or more. The process dies, or does not. ResNets of width 16 and more have none.
    """
    unsafe = any(
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels // layer.groups < 16
        and not layer.weight.is_cuda
        for layer in model.modules()
    )  # fmt: skip
    return torch.contiguous_format if unsafe else torch.channels_last


@contextmanager
def training_layout(model: nn.Module) -> Iterator[None]:
    """`fast_layout` weights while training, contiguous ones afterwards, as pruning needs them; no gradients left."""
    model.to(memory_format=fast_layout(model))
    try:
        yield
    finally:
        model.zero_grad(set_to_none=True)
        model.to(memory_format=torch.contiguous_format)
