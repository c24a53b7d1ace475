"""Plain supervised training of a classifier."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import as_device, autocast, plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import sha256_json
from sslauth_utils.base.layout import fast_layout, training_layout
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.models import training
from sslauth_utils.models.classifiers import Classifier, classes_of
from sslauth_utils.models.features import where_it_computes
from sslauth_utils.models.labels import as_labels


@dataclass(frozen=True)
class SupervisedSettings:
    """Cross entropy by SGD with Nesterov momentum; the learning rate falls as a cosine. The paper gives no setting.

    Attributes:
        augment: shift each image by up to an eighth of its side, and mirror half of them.
        seed: of the batches.

    Raises:
        UserError: a value out of its range.
    """

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augment: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"epochs": 1, "batch_size": 2, "seed": 0}.items():
            check_whole(f"Training's {name}", getattr(self, name), least)
        check_number("Training's learning_rate", self.learning_rate, 0, above=True)
        check_number("Training's momentum", self.momentum, 0, 1)
        check_number("Training's weight_decay", self.weight_decay, 0)
        check_choice("Training's augment", self.augment, (True, False))


@plain_tensors()
def train_supervised(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    settings: SupervisedSettings,
    device: torch.device | str,
    checkpoint: Path | None = None,
) -> list[dict[str, Any]]:
    """Train `classifier` in place; it ends in eval mode on `device`, contiguous.

    Args:
        images: uint8 (N, 3, H, W).
        labels: whole numbers (N,), below the number of classes (`as_labels`).
        checkpoint: file to write and to continue from (`training.train`).

    Returns:
        One row an epoch: epoch, loss, accuracy (on the training batches), images_per_second.

    Raises:
        UserError: images or labels that do not fit, fewer than one batch, weights that cannot be trained, or a loss
            that diverges.
    """
    labels = check_labelled(images, labels, classes_of(classifier), settings.batch_size)
    training.check_trainable(classifier)
    training.check_not_frozen(classifier)
    device, (_, dtype) = as_device(device), where_it_computes(classifier)
    facts = [asdict(settings), sha256_tensors(classifier.state_dict())]
    run = sha256_json([*facts, sha256_tensors({"images": images, "labels": labels})])
    model = classifier.to(device).train()
    images, labels = images.to(device), labels.to(device)
    steps = settings.epochs * (len(images) // settings.batch_size)
    with training_layout(model), training.reproducible(device):
        sgd = torch.optim.SGD(
            model.parameters(), settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )  # fmt: skip

        def step(indices: Tensor, number: int, generator: torch.Generator) -> dict[str, Tensor]:
            sgd.param_groups[0]["lr"] = settings.learning_rate * (1 + math.cos(math.pi * number / steps)) / 2
            sgd.zero_grad(set_to_none=True)
            batch, truth = images[indices.to(device)], labels[indices.to(device)]
            pixels = ((shifted(batch, generator) if settings.augment else batch).float() / 255).to(dtype)
            with autocast(device):
                scores = model(pixels.contiguous(memory_format=fast_layout(model)))
            loss = F.cross_entropy(scores.float(), truth)
            loss.backward()
            return {"loss": loss.detach(), "accuracy": (scores.argmax(dim=1) == truth).float().mean()}

        try:
            return training.train(
                "classifier", model, sgd, step, len(images), settings.batch_size, settings.epochs, settings.seed, run,
                checkpoint,
            )  # fmt: skip
        finally:
            model.eval()


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by up to an eighth of its side (black comes in) and mirrored or not, at random."""
    count, _, height, width = images.shape
    reach = max(1, height // 8)
    top, left = (torch.randint(0, 2 * reach + 1, (count,), generator=generator) for _ in range(2))
    mirrored = torch.rand(count, generator=generator) < 0.5
    padded = F.pad(images, (reach,) * 4)
    rows = (top[:, None] + torch.arange(height)).to(images.device)
    columns = torch.arange(width).expand(count, width)
    columns = (left[:, None] + torch.where(mirrored[:, None], width - 1 - columns, columns)).to(images.device)
    which = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def check_labelled(images: Tensor, labels: Tensor, classes: int, batch_size: int) -> Tensor:
    """The labels as int64 (N,), seen to train a classifier of so many classes with these images.

    Raises:
        UserError: they cannot.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"Training needs stored pixels, uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}.")
    labels = as_labels(labels, len(images), classes, "Labels to train on")
    if len(images) < batch_size:
        raise UserError(f"There are {len(images)} images for batches of {batch_size}; take more, or a smaller batch.")
    return labels
