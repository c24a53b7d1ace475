"""Batch norm taken into the convolution before it: for deployment, and for training with batch norm frozen."""

import copy
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sslauth_utils.models.networks import ResNetClassifier
from sslauth_utils.models.resnet import ResNet, ResNetBlock
from sslauth_utils.models.training import own_copy

_IN_ORDER = (nn.Sequential, ResNet, ResNetBlock, ResNetClassifier)
#: by name, because importing torchvision takes seconds
_TORCHVISION, _IN_ORDER_THERE = "torchvision.models.resnet", ("ResNet", "BasicBlock", "Bottleneck")


def fold_batch_norm(encoder: nn.Module) -> nn.Module:
    """A copy whose convolutions have taken in the batch norms behind them, as deployment tools do, where that is safe.

    Raises:
        UserError: it cannot be copied.
    """
    folded = own_copy(encoder).eval()
    for parent, name, after in _foldable(folded):
        setattr(parent, name, fuse_conv_bn_eval(getattr(parent, name), getattr(parent, after)))
        setattr(parent, after, nn.Identity())
    return folded


def can_be_folded(encoder: nn.Module) -> bool:
    """Whether `fold_batch_norm` finds anything to fold."""
    return any(True for _ in _foldable(encoder))


class _FoldedConvolution(nn.Module):
    """A convolution and the frozen batch norm behind it as one convolution; it shares the weights, so training
    this trains the original: with y = g (W x - m)/s + b, the kernel is (g/s) W and the bias b - m g/s."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d):
        super().__init__()
        self.convolution = convolution
        scale = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
        own = 0 if convolution.bias is None else convolution.bias.detach()
        self.register_buffer("scale", scale.view(-1, 1, 1, 1).clone())
        self.register_buffer("bias", (norm.bias.detach() + (own - norm.running_mean) * scale).clone())

    def forward(self, x: Tensor) -> Tensor:
        layer = self.convolution
        return layer._conv_forward(x, layer.weight * self.scale, self.bias)  # with its stride and kind of padding


def fold_frozen_batch_norm(encoder: nn.Module) -> nn.Module:
    """Freeze `encoder`'s batch norms, and return a cheaper module of the same function and the same weights.

    Weights are shared: training the returned module trains `encoder`. Batch norms right
    behind a convolution (as registered in ResNets) are folded into it; others stay, in eval mode.
    A folded convolution's own bias is frozen too.
    """
    encoder.eval()
    for module in encoder.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.requires_grad_(False)
    shared = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    folded = copy.deepcopy(encoder, memo=dict(shared))
    for parent, name, after in _foldable(folded):
        layer, norm = getattr(parent, name), getattr(parent, after)
        if layer.bias is not None:
            layer.bias.requires_grad_(False)
        setattr(parent, name, _FoldedConvolution(layer, norm))
        setattr(parent, after, nn.Identity())
    return folded.eval()


def _foldable(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Where a batch norm surely runs right behind a convolution: (the module that holds both, the names of the two).

    Exact types only: subclasses (timm's, say) standardise their weights or hide an activation. Each of the two has one
    place in the model, because elsewhere the other may not be beside it, and no hook, which would be lost.
    """
    places = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    for parent in list(model.modules()):
        if not _runs_in_order_of_registration(parent):
            continue
        for (name, layer), (after, norm) in pairwise(list(parent._modules.items())):  # a repeated one at each place
            plain = type(layer) is nn.Conv2d and type(norm) is nn.BatchNorm2d
            if not plain or not norm.affine or not norm.track_running_stats:
                continue
            if places[id(layer)] == places[id(norm)] == 1 and not _has_hooks(layer) and not _has_hooks(norm):
                yield parent, name, after


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_pre_hooks or module._forward_hooks)


def _runs_in_order_of_registration(module: nn.Module) -> bool:
    """Only there is the module registered after a convolution surely the one that runs after it."""
    kind = type(module)
    return kind in _IN_ORDER or (kind.__module__ == _TORCHVISION and kind.__qualname__ in _IN_ORDER_THERE)
