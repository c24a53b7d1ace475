"""Features of stored images, in strict arithmetic, and what every answer of an encoder must be."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslauth_utils.base.device import strict_arithmetic
from sslauth_utils.base.errors import UserError


def encode(encoder: nn.Module, images: Tensor, batch_size: int = 100) -> Tensor:
    """Features of stored images in strict float32 (no TF32, no autocast, eval mode).

    Args:
        encoder: maps (N, 3, H, W) in [0, 1] to (N, D); it stays on its device, every module in its mode.
        images: uint8 (N, 3, H, W), or float in [0, 1].
        batch_size: images at once. Fixed by default, because kernels chosen by batch
            size differ in the last bits.

    Returns:
        float32 (N, D) on the CPU.

    Raises:
        UserError: no images, or features that are not a finite (N, D) tensor.
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise UserError(f"Images to encode must have shape (N, 3, H, W) with N at least 1, not {tuple(images.shape)}.")
    first = next(encoder.parameters(), None)
    device = first.device if first is not None else torch.device("cpu")
    dtype = first.dtype if first is not None else torch.float32
    modes = [(module, module.training) for module in encoder.modules()]  # a reader may have frozen some of them
    encoder.eval()
    try:
        with strict_arithmetic():
            parts = []
            for batch in images.split(batch_size):
                pixels = batch.to(device)
                pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
                parts.append(encoder(pixels.to(dtype)))
            features = check_features(torch.cat(parts), len(images)).float().cpu()
    finally:
        for module, training in modes:
            module.training = training
    return features


def check_features(features: Tensor, count: int, width: int | None = None, whose: str = "The encoder") -> Tensor:
    """Return `features` if they are a finite float tensor (count, width).

    Raises:
        UserError: wrong rank, number, width, or values that are not finite.
    """
    if not isinstance(features, Tensor) or features.ndim != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(f"{whose} gave {shape}; expected one vector an image, shape ({count}, D).")
    if len(features) != count:
        raise UserError(f"{whose} gave {len(features)} feature vectors for {count} key samples; send one for each.")
    if width is not None and features.shape[1] != width:
        found = features.shape[1]
        raise UserError(f"{whose} gave features of width {found}, but the record was enrolled with {width}.")
    finite = torch.isfinite(features).all(dim=1)
    if not finite.all():
        bad = int((~finite).sum())
        raise UserError(f"{whose} gave NaN or infinite features for {bad} of {count} images; it cannot be verified.")
    return features


def normalise(features: Tensor) -> Tensor:
    """Features divided by their L2 norm (row-wise), a zero row left zero."""
    return functional.normalize(features, dim=1)
