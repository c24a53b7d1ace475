"""Magnitude pruning, layer by layer (§5.2)."""

from torch import nn
from torch.nn.utils import prune as torch_prune

from sslauth_utils.attacks.layers import LAYERS, copy_and_layers
from sslauth_utils.base.checks import check_share
from sslauth_utils.base.device import plain_tensors


@plain_tensors()
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
        UserError: a rate outside [0, 1], or no weights that can be pruned (`layers.layers_of`).
    """
    rate = check_share("A pruning rate", rate)
    pruned, layers = copy_and_layers(encoder, LAYERS + ((nn.BatchNorm2d,) if batch_norm else ()))
    for layer in layers.values():
        # l1_unstructured fails on channels_last weights
        layer.weight.data = layer.weight.data.contiguous()
        torch_prune.l1_unstructured(layer, "weight", amount=rate)
        torch_prune.remove(layer, "weight")
    return pruned
