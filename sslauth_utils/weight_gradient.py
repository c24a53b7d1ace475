"""Weight gradients of bfloat16 convolutions by one matrix product, where oneDNN is slow at them.

On a CPU with AMX, oneDNN (PyTorch 2.11) computes the weight gradient of a convolution of
many channels and few pixels at a small part of the speed of its other passes: with 512
channels at 4 x 4 ten times slower than unfolding the input and multiplying. The
sums are the same, in another order; accumulated in float32, rounded to bfloat16.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

CHANNELS_PER_COLUMN = 16  # measured: from this ratio of channels to the output's width on, the product is faster


class UnfoldedWeightGradients(TorchFunctionMode):
    """Context in which the backward pass of such convolutions is ours; all else stays PyTorch's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict | None = None) -> Any:
        """Take `torch.conv2d`, which `nn.Conv2d` calls; pass everything on."""
        kwargs = kwargs or {}
        if func is torch.conv2d:
            ours = _convolve(*args, **kwargs)
            if ours is not None:
                return ours
        return func(*args, **kwargs)


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor | None:  # fmt: skip
    """`torch.conv2d` with the other weight gradient, or None where that does not pay or is not meant."""
    if not torch.is_grad_enabled() or not weight.requires_grad or isinstance(padding, str) or x.ndim != 4:
        return None
    if x.is_cuda or groups != 1 or _pair(dilation) != (1, 1):
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    width = (x.shape[3] + 2 * _pair(padding)[1] - weight.shape[3]) // _pair(stride)[1] + 1
    if dtype != torch.bfloat16 or x.shape[1] < CHANNELS_PER_COLUMN * width:
        return None
    bias = None if bias is None else bias.to(dtype)
    return _Convolution.apply(x.to(dtype), weight.to(dtype), bias, _pair(stride), _pair(padding))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.bias = stride, padding, None if bias is None else list(bias.shape)
        return torch.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[0], False, ctx.needs_input_grad[2]]
        of_x, _, of_bias = torch.ops.aten.convolution_backward(
            gradient, x, weight, ctx.bias, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, wanted
        )
        of_weight = _weight_gradient(x, gradient, weight.shape, ctx.stride, ctx.padding)
        return of_x, of_weight, of_bias, None, None


def _weight_gradient(
    x: Tensor, gradient: Tensor, shape: torch.Size, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Sum over images and output pixels p of gradient[o, p] x[c, stride p + k - padding], for all o, c and k."""
    channels_out, channels, kernel_height, kernel_width = shape
    count, _, height, width = x.shape
    (down, right), (top, left) = stride, padding
    padded = x.new_zeros(count, height + 2 * top, width + 2 * left, channels)
    padded[:, top : top + height, left : left + width] = x.permute(0, 2, 3, 1)
    image, line, pixel, _ = padded.stride()
    # A kernel's line covers neighbouring pixels, which lie behind each other: one run of numbers.
    windows = padded.as_strided(
        (count, *gradient.shape[2:], kernel_height, kernel_width * channels),
        (image, line * down, pixel * right, line, 1),
    )
    unfolded = windows.reshape(-1, kernel_height * kernel_width * channels)
    product = gradient.permute(1, 0, 2, 3).reshape(channels_out, -1) @ unfolded
    return product.view(channels_out, kernel_height, kernel_width, channels).permute(0, 3, 1, 2)
