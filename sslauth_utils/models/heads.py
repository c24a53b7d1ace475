"""BadEncoder's downstream classifier: a small network on frozen, L2-normalised features."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from sslauth_utils.base.checks import check_number, check_whole
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.seeds import seeded
from sslauth_utils.models.features import eval_mode
from sslauth_utils.models.labels import as_labels


@dataclass(frozen=True)
class ClassifierSettings:
    """The released code's training: Adam 1e-4, batches of 64, 500 epochs, the last epoch counts.

    Raises:
        UserError: a value out of its range.
    """

    epochs: int = 500
    batch_size: int = 64
    learning_rate: float = 1e-4
    seed: int = 0  # of the weights, the dropout and the one shuffle

    def __post_init__(self) -> None:
        check_whole("A classifier's epochs", self.epochs, 1)
        check_whole("A classifier's batch_size", self.batch_size, 1)
        check_number("A classifier's learning_rate", self.learning_rate, 0, above=True)


def build_classifier(feature_dim: int, classes: int) -> nn.Sequential:
    """D-512-ReLU-Dropout(0.5)-256-ReLU-classes: the released code's layers."""
    return nn.Sequential(
        nn.Linear(feature_dim, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, classes)
    )


@plain_tensors()
def train_classifier(features: Tensor, labels: Tensor, classes: int, settings: ClassifierSettings) -> nn.Sequential:
    """Train on all `features` at once in memory; the same seed gives the same weights.

    The released code goes over the set in one fixed order; here that order is one
    seeded permutation, because some sets are stored class by class.

    Args:
        features: float (N, D), on the device to train on; they are L2-normalised here.
        labels: whole numbers (N,), below `classes` (`as_labels`).

    Returns:
        The classifier in eval mode.

    Raises:
        UserError: shapes that do not fit, labels out of range, or a loss that is not finite.
    """
    if features.ndim != 2 or len(features) == 0:
        raise UserError(f"A classifier needs features (N, D), N at least 1, not {tuple(features.shape)}.")
    labels = as_labels(labels, len(features), classes)
    features = features.detach()
    with seeded(settings.seed, [features.device]):
        model = build_classifier(features.shape[1], classes).to(features.device).train()
        order = torch.randperm(len(features)).to(features.device)
        features, labels = F.normalize(features.float(), dim=1)[order], labels.to(features.device)[order]
        adam = torch.optim.Adam(model.parameters(), settings.learning_rate, fused=True)
        for _ in tqdm(range(settings.epochs), desc="classifier", unit="epoch", leave=False, mininterval=1):
            for batch, truth in zip(
                features.split(settings.batch_size), labels.split(settings.batch_size), strict=True
            ):
                loss = F.cross_entropy(model(batch), truth)
                adam.zero_grad(set_to_none=True)
                loss.backward()
                adam.step()
            if not math.isfinite(loss.item()):
                raise UserError(f"The classifier's loss is not finite; lower its rate ({settings.learning_rate}).")
    return model.eval()


def chance(labels: Tensor) -> float:
    """Accuracy of always naming the commonest class: the share of that class in `labels`, whole numbers (N,)."""
    if len(labels) == 0:
        raise UserError("There are no labels to take the chance level from.")
    labels = as_labels(labels, len(labels))
    return int(torch.bincount(labels).max()) / len(labels)


@torch.inference_mode()
def predict(classifier: nn.Module, features: Tensor) -> Tensor:
    """Predicted classes, int64 (N,), on the CPU, of float features (N, D); in eval mode, dropout off."""
    where = next(classifier.parameters()).device
    with eval_mode(classifier):
        return classifier(F.normalize(features.float(), dim=1).to(where)).argmax(dim=1).cpu()
