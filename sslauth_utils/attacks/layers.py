"""What the tampers of weights share: a copy of the model, and the layers whose weights they change."""

from torch import nn
from torch.nn.parameter import is_lazy

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.training import own_copy

#: convolutions of every kind, and linear maps
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def layers_of(model: nn.Module, kinds: tuple[type[nn.Module], ...] = LAYERS) -> dict[str, nn.Module]:
    """Layers of `model` that are of `kinds` and have weights, by name, in the order of registration.

    Raises:
        UserError: there are none, or the weights of one cannot be changed: they are computed at each pass, or not
            there yet.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    for name, layer in layers.items():
        which = f"layer {name!r}" if name else "the layer"
        if "weight" not in layer._parameters:
            raise UserError(
                f"The weights of {which} are computed anew at each pass (weight_norm, spectral_norm or torch's "
                "pruning), so no change to them would last; make them plain first, by remove_parametrizations, "
                "remove_weight_norm or prune.remove of torch.nn.utils."
            )
        if is_lazy(layer.weight):
            raise UserError(f"The weights of {which} are not there yet; run the model on an image first.")
    layers = {name: layer for name, layer in layers.items() if layer.weight is not None}
    if not layers:
        raise UserError(
            "The model shows no convolution and no linear layer, so there is nothing to prune or to change: "
            "TorchScript, torch.export, quantisation and Python lists hide them; give the network as it was before, "
            "its layers in nn.ModuleList."
        )
    return layers


def copy_and_layers(
    model: nn.Module, kinds: tuple[type[nn.Module], ...] = LAYERS
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """A copy of `model`, and of this copy `layers_of`.

    Raises:
        UserError: as `layers_of`, or a model that cannot be copied.
    """
    layers_of(model, kinds)  # before the copy, which fails on some of these, and says less
    copied = own_copy(model)
    return copied, layers_of(copied, kinds)
