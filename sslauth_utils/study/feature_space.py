"""Where keys lie among the encoder's features: principal components (Fig. 10) and a density (§4.1)."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from sslauth_utils.models.features import encode, normalise
from sslauth_utils.study.rowlog import RowLog


def log_components(
    measures: RowLog, clean: Mapping[str, Tensor], moved: Mapping[str, Tensor], rate: float, seed: int
) -> float:
    """Add every key's place on the two axes that the clean features span, before and after pruning by `rate`.

    Args:
        clean, moved: normalised features (N, D) of the keys "id" and "ood".

    Returns:
        The share of the clean features' variance that the two axes hold.
    """
    from sklearn.decomposition import PCA

    clean, moved = ({keys: part[keys].cpu().numpy() for keys in ("id", "ood")} for part in (clean, moved))
    axes = PCA(2, random_state=seed).fit([*clean["id"], *clean["ood"]])
    for tamper, strength, features in (("clean", 0, clean), ("pruning", rate, moved)):
        lines = [
            {"tamper": tamper, "strength": strength, "quantity": f"pc{axis} {keys}", "value": value, "n": key}
            for keys in ("id", "ood")
            for key, point in enumerate(axes.transform(features[keys]))
            for axis, value in enumerate(point, start=1)
        ]
        measures.add(f"components {tamper}", lines)
    return float(axes.explained_variance_ratio_.sum())


def density_scores(
    encoder: nn.Module, known: Tensor, other: Tensor, seed: int, most: int = 4000
) -> dict[str, np.ndarray]:
    """Log-densities of held-out pre-training images and of as many others, under a density of the former's features.

    The density is a mixture of five Gaussians with diagonal covariances, fitted on the normalised features of every
    second image of `known`, `most` at most.

    Args:
        known: pre-training images, uint8 (N, 3, H, W).
        other: images of the other distribution.

    Returns:
        "id" and "ood", one number an image.
    """
    from sklearn.mixture import GaussianMixture

    def some(images: Tensor, count: int) -> np.ndarray:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        return normalise(encode(encoder, images[order[:count]])).cpu().double().numpy()

    features = some(known, most)
    density = GaussianMixture(5, covariance_type="diag", max_iter=500, random_state=seed).fit(features[::2])
    held_out = features[1::2]
    return {"id": density.score_samples(held_out), "ood": density.score_samples(some(other, len(held_out)))}


def log_densities(measures: RowLog, scores: Mapping[str, np.ndarray]) -> None:
    """Add mean log-density and its standard error of each kind of images, as `density_scores` found them."""
    for keys, values in scores.items():
        error = values.std(ddof=1) / len(values) ** 0.5
        same = {"tamper": "clean", "strength": 0, "n": len(values)}
        lines = [
            {**same, "quantity": f"log density {keys}", "value": values.mean()},
            {**same, "quantity": f"log density error {keys}", "value": error},
        ]
        measures.add(f"density {keys}", lines)
        print(f"log-density, {keys}: mean {values.mean():.1f} ± {error:.1f} (standard error, {len(values)} images)")
