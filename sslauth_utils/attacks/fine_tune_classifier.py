"""Fine-tuning of a classifier by small and smallest rates (§IV-A of the sample-pairing paper, Table III)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslauth_utils.attacks.retrain import OPTIMISERS
from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import as_device, plain_tensors
from sslauth_utils.base.layout import fast_layout, training_layout
from sslauth_utils.models import training
from sslauth_utils.models.classifiers import Classifier, classes_of
from sslauth_utils.models.features import where_it_computes
from sslauth_utils.models.supervised import check_labelled

#: frozen: eval mode, statistics and affine part stay; train: the statistics follow the batches
BATCH_NORM = ("frozen", "train")


@dataclass(frozen=True)
class TuneSettings:
    """The paper gives rates from 1e-10 to 1e-3, and neither optimiser, steps nor batch norm's mode.

    Attributes:
        learning_rate: from 0 on; at 0 only batch norm's statistics can change.
        batch_norm: frozen or train.

    Raises:
        UserError: a value out of its range.
    """

    learning_rate: float = 1e-5
    optimiser: str = "sgd"
    batch_norm: str = "frozen"
    epochs: int = 1
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("Fine-tuning's learning_rate", self.learning_rate, 0)
        check_choice("Fine-tuning's optimiser", self.optimiser, OPTIMISERS)
        check_choice("Fine-tuning's batch_norm", self.batch_norm, BATCH_NORM)
        for name, least in {"epochs": 1, "batch_size": 2, "seed": 0}.items():
            check_whole(f"Fine-tuning's {name}", getattr(self, name), least)


@plain_tensors()
def fine_tune_classifier(
    classifier: Classifier, images: Tensor, labels: Tensor, settings: TuneSettings, device: torch.device | str
) -> tuple[Classifier, list[dict[str, Any]]]:
    """A copy of `classifier` trained on by cross entropy, all layers, in no coarser type than float32:
    small steps would drown.

    Args:
        classifier: left untouched.
        images: uint8 (N, 3, H, W).
        labels: whole numbers (N,) (`as_labels`).

    Returns:
        The copy in eval mode on `device`, and one row an epoch: epoch, loss, accuracy, images_per_second.

    Raises:
        UserError: images or labels that do not fit, fewer than one batch, weights that cannot be trained, or a loss
            that diverges.
    """
    labels = check_labelled(images, labels, classes_of(classifier), settings.batch_size)
    device, (_, dtype) = as_device(device), where_it_computes(classifier)
    tuned = training.copy_to_train(classifier).to(device)
    tuned.train(settings.batch_norm == "train")
    optimiser = optimiser_of(tuned, settings.optimiser, settings.learning_rate, settings.batch_norm)
    images, labels = images.to(device), labels.to(device)

    def step(indices: Tensor, number: int, generator: torch.Generator) -> dict[str, Tensor]:
        optimiser.zero_grad(set_to_none=True)
        truth = labels[indices.to(device)]
        pixels = (images[indices.to(device)].float() / 255).to(dtype)
        scores = tuned(pixels.contiguous(memory_format=fast_layout(tuned)))
        loss = F.cross_entropy(scores, truth)
        loss.backward()
        return {"loss": loss.detach(), "accuracy": (scores.argmax(dim=1) == truth).float().mean()}

    with training_layout(tuned), training.reproducible(device):
        history = training.train(
            "fine-tuning", tuned, optimiser, step, len(images), settings.batch_size, settings.epochs, settings.seed
        )
    return tuned.eval().requires_grad_(), history


def optimiser_of(model: nn.Module, name: str, learning_rate: float, batch_norm: str) -> torch.optim.Optimizer:
    """An optimiser of all of `model`'s weights; of a frozen batch norm the scales and shifts need no gradient."""
    if batch_norm == "frozen":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
    return OPTIMISERS[name]([weight for weight in model.parameters() if weight.requires_grad], lr=learning_rate)


def changed_weights(before: nn.Module, after: nn.Module) -> float:
    """Share of weights (not buffers) whose float32 number is another one now; 0 to 1."""
    after = dict(after.named_parameters())  # by name: pruning puts a layer's weight behind its bias
    own = {name: value.detach().cpu() for name, value in before.named_parameters()}
    changed = sum(int((value != after[name].detach().cpu()).sum()) for name, value in own.items())
    return changed / sum(value.numel() for value in own.values())
