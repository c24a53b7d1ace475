"""How alike two features or two images are: cosine and SSIM, one number a sample."""

import torch
from pytorch_msssim import ssim as msssim_ssim
from torch import Tensor
from torch.nn import functional

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import near_one


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of each pair of rows, eq. 1: a.b / (|a| |b|), in float64.

    "The value of cosine similarity serves as a metric that reflects the degree of
    correlation between vectors" (§4.2). In [-1, 1]; in [0, 1] for non-negative
    features. Two zero vectors count as equal (1), a zero and a non-zero one as 0.

    Args:
        a, b: (N, D), any float type; (N,) float64 comes back.
    """
    a, b = near_one(a.double()), near_one(b.double())
    norms = a.norm(dim=1) * b.norm(dim=1)
    similarity = (a * b).sum(dim=1) / norms.clamp_min(torch.finfo(torch.float64).tiny)
    # A row equal to itself scores exactly 1, not 1 minus a rounding error.
    similarity = torch.where((a == b).all(dim=1), torch.ones_like(similarity), similarity)
    return similarity.clamp(-1.0, 1.0)


def ssim(a: Tensor, b: Tensor, *, data_range: float) -> Tensor:
    """Structural similarity of each pair of images, eq. 3 (Wang et al. 2004).

    "Multiplying these three loss functions yields the expression for SSIM": 11 x 11
    Gaussian window of sigma 1.5, K = (0.01, 0.03), valid borders, mean over
    channels. In [-1, 1]. Computed in the inputs' type, at least float32.

    Args:
        a, b: (N, C, H, W), H and W at least 11.
        data_range: the width of the pixels' range, 1.0 for [0, 1]. It has no
            default: with 255 on [0, 1] images unrelated pictures score 0.98.

    Raises:
        UserError: shapes differ or are too small for the window.
    """
    if a.shape != b.shape or a.ndim != 4 or min(a.shape[-2:]) < 11:
        raise UserError(
            f"SSIM compares two batches of images of one shape (N, C, H, W) with sides of at least 11, "
            f"not {tuple(a.shape)} and {tuple(b.shape)}."
        )
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return msssim_ssim(a.to(dtype), b.to(dtype), data_range=data_range, size_average=False)


def correlations(images: Tensor, keys: Tensor) -> Tensor:
    """Pearson correlation of every image with every key, over all pixels and channels.

    Args:
        images, keys: float (N, C, H, W) and (M, C, H, W) of one size.

    Returns:
        float64 (N, M); the diagonal has each image with its own key, -1 for the exact negative.
        A flat image correlates with nothing: 0.
    """

    def standard(batch: Tensor) -> Tensor:
        flat = batch.double().flatten(1)
        return functional.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)

    return standard(images) @ standard(keys).T
