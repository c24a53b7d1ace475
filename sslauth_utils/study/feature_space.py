"""Where keys lie among the encoder's features: principal components (Fig. 10) and a density (§4.1)."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from sslauth_utils.images.load import load_images
from sslauth_utils.models.features import encode, normalise
from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.verification import respond
from sslauth_utils.study.notebook import Run
from sslauth_utils.study.profiles import ENROL, PRETRAIN, notebook_settings
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


def log_shift(measures: RowLog, pruned: nn.Module, records: Mapping[str, Record], rate: float, seed: int) -> None:
    """`log_components` of the clean features in the records "id" and "ood" and of the pruned encoder's answers."""
    both = {keys: records[keys] for keys in ("id", "ood")}
    clean = {keys: normalise(record.features) for keys, record in both.items()}
    moved = {keys: respond(pruned, record.challenge()) for keys, record in both.items()}
    held = log_components(measures, clean, moved, rate, seed)
    print(f"the two axes hold {held:.0%} of the clean features' variance")


def densities_by_set(run: Run, encoder: nn.Module, shadow: Tensor) -> dict[str, np.ndarray]:
    """`density_scores` of the shadow images and of images of the set that the OOD keys come from."""
    which = [run.parameters[name] for name in ("profile", "scenario", "seed")]
    size = notebook_settings(which[0], PRETRAIN, *which[1:])["size"]
    other = load_images(notebook_settings(which[0], ENROL, *which[1:])["key_data"], "train", size)
    return density_scores(encoder, shadow, other.images, which[2])


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
    likelier = (scores["id"][:, None] > scores["ood"][None]).mean()
    print(f"a held-out pre-training image is the likelier of a random pair in {likelier:.0%} of pairs")
