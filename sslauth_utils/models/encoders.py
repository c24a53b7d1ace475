"""Encoders: images in, feature vectors out.

Every encoder is an `Encoder`: it takes RGB pixels in [0, 1], shape (N, 3, H, W),
normalises them itself, and returns float features, shape (N, D). Ours are ResNets
with a width factor; `wrap` takes any module, `library_encoder` any torchvision or
timm model, `load_encoder` a file.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.base import tensors
from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import plain_tensors, strict_arithmetic
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.seeds import seeded
from sslauth_utils.models.features import eval_mode, failures_told, put_back, where_it_computes
from sslauth_utils.models.resnet import BLOCKS, STEMS, ResNet
from sslauth_utils.models.weights import sha256_weights

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
#: (mean, std) by the name that the profiles use
PIXEL_STATS = {"cifar10": (CIFAR10_MEAN, CIFAR10_STD), "none": (NO_MEAN, NO_STD)}


class Encoder(nn.Module):
    """A backbone with its own pixel normalisation.

    Attributes:
        feature_dim: D, the length of a feature vector.
        config: what `build_encoder` or `library_encoder` was called with, for the file.

    Raises:
        UserError: mean or std that are not one number or three, or out of range.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        mean: float | Sequence[float] = NO_MEAN,
        std: float | Sequence[float] = NO_STD,
        config: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.feature_dim = feature_dim
        self.config = config or {}
        device, _ = where_it_computes(backbone)
        # Buffers, not constants: a changed normalisation changes the features, so the hash must see it.
        for name, value in zip(("mean", "std"), pixel_stats(mean, std), strict=True):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32, device=device).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, shape (N, D), of RGB pixels in [0, 1], shape (N, 3, H, W)."""
        return self.backbone((pixels - self.mean) / self.std)

    def sha256(self) -> str:
        """SHA-256 of all weights and buffers in canonical form, whatever wraps them (`sha256_weights`).

        Raises:
            UserError: there are no weights to hash, or some lie outside the state dict.
        """
        return sha256_weights(self)


def pixel_stats(
    mean: float | Sequence[float], std: float | Sequence[float]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and std as three numbers each, of the red, green and blue channel; one number stands for all three.

    Raises:
        UserError: not one or three numbers, a mean outside [0, 1] (0..255 units, say), or a std that is not above 0.
    """
    found = []
    for what, given in (("mean", mean), ("std", std)):
        try:
            numbers = torch.as_tensor(given, dtype=torch.float64, device="cpu").flatten().tolist()
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"The pixels' {what} must be one number or three, not {given!r}.") from error
        if len(numbers) not in (1, 3):
            raise UserError(f"The pixels' {what} must be one number or three, not {len(numbers)}.")
        for number in numbers:
            if what == "mean":
                check_number("The pixels' mean, in units of the [0, 1] range,", number, 0, 1)
            else:
                check_number("The pixels' std, in units of the [0, 1] range,", number, 0, above=True)
        found.append(tuple(3 * numbers if len(numbers) == 1 else numbers))
    return found[0], found[1]


def build_encoder(
    arch: str = "resnet18",
    width: int = 64,
    stem: str = "cifar",
    mean: float | Sequence[float] = CIFAR10_MEAN,
    std: float | Sequence[float] = CIFAR10_STD,
) -> Encoder:
    """A ResNet encoder with random weights from PyTorch's global generator.

    Args:
        arch: resnet18, resnet34 or resnet50.
        width: channels of the first stage; 64 is He et al.'s. D is 8 x width (32 x for resnet50).
        stem: cifar (3x3 convolution, no pooling), strided (the same with stride 2) or imagenet (7x7 stride 2,
            max-pooling).
        mean, std: pixel normalisation per channel, in units of the [0, 1] range; one number stands for all three.

    Raises:
        UserError: unknown architecture or stem, a width below 1, or a mean or std out of range.
    """
    if arch not in BLOCKS:
        raise UserError(f"Unknown architecture {arch!r}; use {', '.join(BLOCKS)}, or library_encoder for others.")
    check_choice("The stem", stem, STEMS)
    check_whole("The width", width, 1)
    mean, std = pixel_stats(mean, std)
    backbone = ResNet(arch, width, stem)
    config = {"arch": arch, "width": width, "stem": stem, "mean": list(mean), "std": list(std)}
    return Encoder(backbone, backbone.feature_dim, mean, std, config)


@torch.inference_mode(False)
def wrap(
    module: nn.Module, size: int = 32, mean: float | Sequence[float] = NO_MEAN, std: float | Sequence[float] = NO_STD
) -> Encoder:
    """Any module that maps (N, 3, H, W) to (N, D), as an `Encoder`.

    Args:
        module: the reader's own network, on its device, in its type, every part in its mode; it must return one
            vector an image.
        size: height and width of the probe image with which D is found.
        mean, std: pixel normalisation, one number or three; the default leaves [0, 1] pixels as they are.

    Raises:
        UserError: it is no module or is an `Encoder` already, fails on images of this size, or does not return a
            (N, D) tensor.
    """
    check_whole("The size", size, 1)
    device, dtype = where_it_computes(module)
    if isinstance(module, Encoder):
        raise UserError("That is an Encoder already, with its own pixel normalisation: use it as it is.")
    with put_back(module), eval_mode(module), strict_arithmetic():
        probe = torch.zeros(2, 3, size, size, dtype=dtype, device=device)
        with failures_told(tuple(probe.shape)):
            features = module(probe)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(
            f"The encoder returned {shape} for 2 images; it must return a tensor of shape (2, D): "
            "pool its feature map and drop its classifier."
        )
    encoder = Encoder(module, features.shape[1], mean, std)
    encoder.mean, encoder.std = encoder.mean.to(device, dtype), encoder.std.to(device, dtype)
    return encoder


def library_encoder(
    name: str, size: int = 224, mean: float | Sequence[float] = NO_MEAN, std: float | Sequence[float] = NO_STD
) -> Encoder:
    """A torchvision or timm model without its classifier, random weights.

    Args:
        name: ``torchvision:resnet50`` or ``timm:vit_tiny_patch16_224``, say. Weights
            come from a file afterwards (`load_weights`), never from a hub.
        size: side of the images that it takes.

    Raises:
        UserError: unknown library or model, a model that takes no images of this size, or one with no single vector
            an image.
    """
    library, _, model = name.partition(":")
    try:
        if library == "torchvision":
            from torchvision import models  # here, because it takes three seconds and few notebooks need it

            # Classification models only: the others fetch a backbone's weights.
            if model not in models.list_models(module=models):
                raise UserError(f"torchvision has no model {model!r} for classification.")
            module = models.get_model(model, weights=None)
            for head in ("fc", "classifier", "head", "heads"):
                old = getattr(module, head, None)
                if isinstance(old, nn.Module):
                    # A head that itself makes vectors of a feature map keeps all but its last layer.
                    pools = isinstance(old, nn.Sequential) and any(isinstance(layer, nn.Flatten) for layer in old)
                    setattr(module, head, old[:-1] if pools else nn.Identity())
                    break
        elif library == "timm":
            import timm  # here, because it takes a second and few notebooks need it

            module = timm.create_model(model, pretrained=False, num_classes=0)
        else:
            raise UserError(f"Unknown library in {name!r}; write torchvision:MODEL or timm:MODEL.")
    except (ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{library} has no model {model!r} ({error}).") from error
    mean, std = pixel_stats(mean, std)
    encoder = wrap(module, size, mean, std)
    encoder.config = {"library": name, "size": size, "mean": list(mean), "std": list(std)}
    return encoder


#: first names of what classification and pre-training put on top of a backbone, or keep beside it
HEADS = {
    "fc", "head", "heads", "head_dist", "classifier",
    "projector", "projection", "projection_head", "contrastive_head", "predictor", "prototypes",
    "momentum_backbone", "momentum_projector", "momentum_predictor", "momentum_prototypes", "momentum_classifier",
}  # fmt: skip
#: before a backbone's names in an encoder
_BACKBONE = "backbone."
#: how a batch norm's count of batches ends, which older checkpoints lack
_COUNTER = "num_batches_tracked"


def load_weights(encoder: Encoder, weights: dict[str, Tensor], where: str) -> None:
    """Load named tensors into the backbone, or into the whole encoder, in place.

    Names may be those of the whole encoder, of its backbone, or of its backbone behind ``backbone.`` (with a
    projector beside it). Heads that the encoder does not have (``fc.*``, ``head.*``, ``projector.*``, ...) may be
    left over; anything else missing or left over is an error. Failing that, all names may stand behind one prefix
    of any kind (``encoder.``, ``model.backbone.``), with anything beside it.

    Raises:
        UserError: names or shapes do not fit, or fit behind several prefixes; `where` tells the user which file.
    """
    target, named, misfits = _best(_as_named(encoder, weights))
    if any(misfits.values()) and (prefix := _only_prefix(encoder.backbone, weights, where)):
        target, named, misfits = _best(_behind_prefix(encoder, weights, prefix))
        where = f"{where} behind {prefix}"
    if any(misfits.values()):
        first = "; ".join(
            f"{what} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            for what, names in misfits.items()
            if names
        )
        raise UserError(f"The weights in {where} do not fit this encoder ({first}); check architecture and width.")
    own = target.state_dict()
    target.load_state_dict({name: value for name, value in named.items() if name in own}, strict=False)


def _as_named(encoder: Encoder, weights: dict[str, Tensor]) -> list[tuple[nn.Module, dict[str, Tensor]]]:
    """What the names as they stand may be of, and what it is to be given."""
    choices: list[tuple[nn.Module, dict[str, Tensor]]] = [(encoder.backbone, weights)]
    if inner := _behind(_BACKBONE, weights):
        # Others' names first: what fits both is the whole encoder.
        rest = {name: value for name, value in weights.items() if not name.startswith(_BACKBONE)}
        choices = [(encoder, weights), (encoder.backbone, {**rest, **inner}), *choices]
    if not weights.keys() & {"mean", "std"}:
        choices = choices[1:] + choices[:1]
    return choices


def _behind_prefix(
    encoder: Encoder, weights: dict[str, Tensor], prefix: str
) -> list[tuple[nn.Module, dict[str, Tensor]]]:
    """As `_as_named`, of the names behind the backbone's `prefix`: a whole encoder in another module has one, too."""
    whole = _behind(prefix.removesuffix(_BACKBONE), weights)
    own = {name: value for name, value in whole.items() if name.startswith(_BACKBONE) or name in ("mean", "std")}
    choices: list[tuple[nn.Module, dict[str, Tensor]]] = [(encoder.backbone, _behind(prefix, weights))]
    return [(encoder, own), *choices] if {"mean", "std"} <= own.keys() else choices


def _only_prefix(backbone: nn.Module, weights: dict[str, Tensor], where: str) -> str:
    """The prefix behind which all of the backbone stands; empty if there is none but those of `_as_named`."""
    own = backbone.state_dict()
    anchor = next((name for name in own if not name.endswith(_COUNTER)), None)
    found = []
    for prefix in sorted(name.removesuffix(anchor) for name in weights if anchor and f".{name}".endswith(f".{anchor}")):
        misfits = _misfits(own, _behind(prefix, weights))
        if not misfits["missing"] and not misfits["wrong shape in"]:
            found.append(prefix)
    if "" in found or found in ([], [_BACKBONE]):
        return ""
    if len(found) > 1:
        names = [prefix.removesuffix(".") for prefix in found]
        raise UserError(
            f"The weights in {where} hold {', '.join(names)}, and each fits this encoder; choose one as you convert "
            f"them: python -m sslauth_utils.models.convert FILE.pth FILE.safetensors --key {names[-1]}"
        )
    return found[0]


def _behind(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _best(
    choices: list[tuple[nn.Module, dict[str, Tensor]]],
) -> tuple[nn.Module, dict[str, Tensor], dict[str, list[str]]]:
    """The first of the choices with the fewest misfits, and these."""
    fits = [(target, named, _misfits(target.state_dict(), named)) for target, named in choices]
    return min(fits, key=lambda fit: sum(map(len, fit[2].values())))


def _misfits(own: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, list[str]]:
    """What keeps `weights` from being loaded where `own` is: names by what is wrong with them."""
    given = {name: value for name, value in weights.items() if name in own or name.split(".")[0] not in HEADS}
    both = [name for name in own if name in given and isinstance(own[name], Tensor)]
    return {
        "missing": [name for name in own if name not in given and not name.endswith(_COUNTER)],
        "unknown": [name for name in given if name not in own],
        "wrong shape in": [name for name in both if own[name].shape != given[name].shape],
        "another kind of number in": [name for name in both if not _fits(own[name], given[name])],
    }


def _fits(own: Tensor, given: Tensor) -> bool:
    """Whether floats are to come where floats are, and none of them is too large for the type."""
    if not own.is_floating_point():
        return not given.is_complex()
    if not given.is_floating_point():
        return False
    return own.dtype == given.dtype or bool((given.to(own.dtype).isfinite() | ~given.isfinite()).all())


def take_types(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give the floats of `model` the types that `weights`, of the same names, have."""
    for name, own in model.state_dict(keep_vars=True).items():
        stored = weights.get(name)
        if stored is not None and isinstance(own, Tensor) and own.is_floating_point() and stored.is_floating_point():
            own.data = own.data.to(stored.dtype)


def save_encoder(encoder: Encoder, path: Path, **facts: Any) -> None:
    """Write weights to `path` (.safetensors), with config, facts and their hash in its header (`tensors.describe`).

    Raises:
        UserError: it could not be read back: it is wrapped, folded, or a network of the reader's own; facts by a name
            that the file has itself; or as `tensors.save`.
    """
    check_comes_back(encoder, Encoder, _configured, facts)
    meta = {"config": encoder.config, "feature_dim": encoder.feature_dim, "weights_sha256": encoder.sha256(), **facts}
    tensors.save(path, encoder.state_dict(), meta)


def check_comes_back(
    model: nn.Module, kind: type[Encoder], build: Callable[[dict[str, Any], str], Encoder], facts: Mapping[str, Any]
) -> None:
    """See that what is to be saved can be loaded.

    Args:
        build: makes a model of a config; the second argument begins the sentence of an error.

    Raises:
        UserError: it cannot.
    """
    if taken := sorted({"config", "feature_dim", "weights_sha256"} & facts.keys()):
        raise UserError(f"The file has its own {', '.join(taken)}; give that fact another name.")
    what = f"This {kind.__name__.lower()} could not be read back from its file, so it is not saved: it"
    if not isinstance(model, kind):
        raise UserError(f"{what} is a {type(model).__name__}; save what it wraps.")
    fresh = build(model.config, what)
    for kind, found in (("weights", _shapes), ("layers", _layers)):
        new, own = found(fresh), found(model)
        if other := sorted(name for name in new.keys() | own.keys() if new.get(name) != own.get(name)):
            raise UserError(
                f"{what} has other {kind} than a new one ({other[0]}); save it as it was before torch.compile, folding "
                "and weight_norm, or a network of your own by safetensors.torch.save_file."
            )


def _layers(model: nn.Module) -> dict[str, tuple[type, str]]:
    """Type and settings of every module, by name: a pooling taken out or another stride is no matter of weights."""
    return {name or "itself": (type(one), one.extra_repr()) for name, one in model.named_modules()}


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def load_encoder(path: Path) -> Encoder:
    """Read an encoder that `save_encoder` wrote, in eval mode, its weights in the types of the file.

    Raises:
        UserError: missing, damaged or changed file, or a pickle.
    """
    weights, meta = tensors.load(path)
    encoder = _configured(meta.get("config"), str(path))
    take_types(encoder, weights)
    load_weights(encoder, weights, str(path))
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path} does not hold a whole encoder ({' '.join(str(error).split())}).") from error
    return encoder.eval()


@plain_tensors()
def _configured(config: dict[str, Any] | None, where: str) -> Encoder:
    """A new encoder of this config; the caller's random numbers go on as before."""
    config = dict(config or {})
    try:
        with seeded(0):
            if "arch" in config:
                return build_encoder(**config)
            if "library" in config:
                return library_encoder(config.pop("library"), **config)
    except TypeError as error:
        raise UserError(f"{where} describes an encoder that this version does not know ({error}).") from error
    raise UserError(f"{where} does not say which architecture the weights are of.")
