"""Encoders: images in, feature vectors out.

Every encoder is an `Encoder`: it takes RGB pixels in [0, 1], shape (N, 3, H, W),
normalises them itself, and returns float features, shape (N, D). Ours are ResNets
with a width factor; `wrap` takes any module, `library_encoder` any torchvision or
timm model, `load_encoder` a file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.base import tensors
from sslauth_utils.base.checks import check_choice, check_whole
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.resnet import BLOCKS, STEMS, ResNet

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
#: (mean, std) by the name that the profiles use
PIXEL_STATS = {"cifar10": (CIFAR10_MEAN, CIFAR10_STD), "none": (NO_MEAN, NO_STD)}


class Encoder(nn.Module):
    """A backbone with its own pixel normalisation.

    Attributes:
        feature_dim: D, the length of a feature vector.
        config: what `build_encoder` or `library_encoder` was called with, for the file.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_dim: int,
        mean: Sequence[float] = NO_MEAN,
        std: Sequence[float] = NO_STD,
        config: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.feature_dim = feature_dim
        self.config = config or {}
        # Buffers, not constants: a changed normalisation changes the features, so the hash must see it.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, shape (N, D), of RGB pixels in [0, 1], shape (N, 3, H, W)."""
        return self.backbone((pixels - self.mean) / self.std)

    def sha256(self) -> str:
        """SHA-256 of all weights and buffers in canonical form (`tensors.sha256_tensors`)."""
        return tensors.sha256_tensors(self.state_dict())


def build_encoder(
    arch: str = "resnet18",
    width: int = 64,
    stem: str = "cifar",
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
) -> Encoder:
    """A ResNet encoder with random weights from PyTorch's global generator.

    Args:
        arch: resnet18, resnet34 or resnet50.
        width: channels of the first stage; 64 is He et al.'s. D is 8 x width (32 x for resnet50).
        stem: cifar (3x3 convolution, no pooling), strided (the same with stride 2) or imagenet (7x7 stride 2,
            max-pooling).
        mean, std: pixel normalisation per channel, in units of the [0, 1] range.

    Raises:
        UserError: unknown architecture or stem, or a width below 1.
    """
    if arch not in BLOCKS:
        raise UserError(f"Unknown architecture {arch!r}; use {', '.join(BLOCKS)}, or library_encoder for others.")
    check_choice("The stem", stem, STEMS)
    check_whole("The width", width, 1)
    backbone = ResNet(arch, width, stem)
    config = {"arch": arch, "width": width, "stem": stem, "mean": list(mean), "std": list(std)}
    return Encoder(backbone, backbone.feature_dim, mean, std, config)


def wrap(module: nn.Module, size: int = 32, mean: Sequence[float] = NO_MEAN, std: Sequence[float] = NO_STD) -> Encoder:
    """Any module that maps (N, 3, H, W) to (N, D), as an `Encoder`.

    Args:
        module: the reader's own network; it must return one vector an image.
        size: height and width of the probe image with which D is found.
        mean, std: pixel normalisation; the default leaves [0, 1] pixels as they are.

    Raises:
        UserError: the module does not return a (N, D) tensor.
    """
    training = module.training
    module.eval()
    with torch.no_grad():
        features = module(torch.zeros(2, 3, size, size))
    module.train(training)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(
            f"The encoder returned {shape} for 2 images; it must return a tensor of shape (2, D): "
            "pool its feature map and drop its classifier."
        )
    return Encoder(module, features.shape[1], mean, std)


def library_encoder(
    name: str, size: int = 224, mean: Sequence[float] = NO_MEAN, std: Sequence[float] = NO_STD
) -> Encoder:
    """A torchvision or timm model without its classifier, random weights.

    Args:
        name: ``torchvision:resnet50`` or ``timm:vit_tiny_patch16_224``, say. Weights
            come from a file afterwards (`load_weights`), never from a hub.
        size: side of the images that it takes.

    Raises:
        UserError: unknown library or model, or a model with no single vector an image.
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
                if isinstance(getattr(module, head, None), nn.Module):
                    setattr(module, head, nn.Identity())
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
    encoder = wrap(module, size, mean, std)
    encoder.config = {"library": name, "size": size, "mean": list(mean), "std": list(std)}
    return encoder


def load_weights(encoder: Encoder, weights: dict[str, Tensor], where: str) -> None:
    """Load named tensors into the backbone, or into the whole encoder, in place.

    A classifier that the encoder has dropped (``fc.*``) may be left over; anything
    else missing or left over is an error.

    Raises:
        UserError: names or shapes do not fit; `where` tells the user which file.
    """
    target = encoder if any(name.startswith("backbone.") for name in weights) else encoder.backbone
    weights = {name: value for name, value in weights.items() if not name.startswith(("fc.", "classifier."))}
    own = target.state_dict()
    absent = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    extra = [name for name in weights if name not in own]
    bad = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if absent or extra or bad:
        first = "; ".join(
            f"{what} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            for what, names in (("missing", absent), ("unknown", extra), ("wrong shape in", bad))
            if names
        )
        raise UserError(f"The weights in {where} do not fit this encoder ({first}); check architecture and width.")
    target.load_state_dict(weights, strict=False)


def save_encoder(encoder: Encoder, path: Path, **facts: Any) -> None:
    """Write weights to `path` (.safetensors), with config, facts and their hash in its header (`tensors.describe`).

    Raises:
        UserError: as `tensors.save`.
    """
    meta = {"config": encoder.config, "feature_dim": encoder.feature_dim, "weights_sha256": encoder.sha256(), **facts}
    tensors.save(path, encoder.state_dict(), meta)


def load_encoder(path: Path) -> Encoder:
    """Read an encoder that `save_encoder` wrote, in eval mode.

    Raises:
        UserError: missing, damaged or changed file, or a pickle.
    """
    weights, meta = tensors.load(path)
    config = dict(meta.get("config") or {})
    try:
        if "arch" in config:
            encoder = build_encoder(**config)
        elif "library" in config:
            encoder = library_encoder(config.pop("library"), **config)
        else:
            raise UserError(f"{path} does not say which architecture the weights are of.")
    except TypeError as error:
        raise UserError(f"{path} describes an encoder that this version does not know ({error}).") from error
    load_weights(encoder, weights, str(path))
    encoder.load_state_dict(weights)
    return encoder.eval()
