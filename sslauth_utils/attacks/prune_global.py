"""Magnitude pruning over the whole network at once, with retraining (DeepAuth's Fig. 6)."""

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from sslauth_utils.attacks.layers import copy_and_layers, layers_of
from sslauth_utils.attacks.retrain import RetrainSettings, retrain
from sslauth_utils.base.checks import check_share
from sslauth_utils.base.device import plain_tensors


@plain_tensors()
def prune_globally(classifier: nn.Module, rate: float) -> nn.Module:
    """A copy of `classifier` with the smallest of all its weights set to zero.

    "Given a pruning factor, we sort all the parameters in the model according to their absolute values and set those
    parameters with the least alpha magnitudes to zero." Weights of convolutions and linear maps; biases stay.

    Args:
        classifier: left untouched.
        rate: share of all weights together, in [0, 1].

    Raises:
        UserError: a rate outside [0, 1], or no weights that can be pruned (`layers.layers_of`).
    """
    rate = check_share("A pruning rate", rate)
    pruned, named = copy_and_layers(classifier)
    layers = list(named.values())
    for layer in layers:
        layer.weight.data = layer.weight.data.contiguous()
    weights = [(layer, "weight") for layer in layers]
    torch_prune.global_unstructured(weights, torch_prune.L1Unstructured, amount=rate)
    for layer in layers:
        torch_prune.remove(layer, "weight")
    return pruned


def prune_and_retrain(
    classifier: nn.Module, rate: float, images: Tensor, labels: Tensor, settings: RetrainSettings
) -> nn.Module:
    """`prune_globally`, then trained further "on the original training data" with the zeros kept (`retrain`)."""
    pruned = prune_globally(classifier, rate)
    zeros = {f"{name}.weight".lstrip("."): layer.weight == 0 for name, layer in layers_of(pruned).items()}
    return retrain(pruned, images, labels, settings, zeros)[0] if rate < 1 else pruned


def share_of_zeros(classifier: nn.Module) -> float:
    """Share of the convolutions' and linear maps' weights that are zero; errors as `layers.layers_of`."""
    weights = [layer.weight for layer in layers_of(classifier).values()]
    return torch.cat([(weight == 0).flatten() for weight in weights]).double().mean().item()
