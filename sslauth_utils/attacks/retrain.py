"""Further training of a whole classifier on labelled images: what pruning is followed by, and what a backdoor is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.layout import fast_layout, training_layout
from sslauth_utils.models import training
from sslauth_utils.models.classifiers import logits
from sslauth_utils.models.features import as_pixels, where_it_computes
from sslauth_utils.models.labels import as_labels

#: by name; plain SGD, as nothing else is said
OPTIMISERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


@dataclass(frozen=True)
class RetrainSettings:
    """Supervised training by cross entropy; batch norm is in train mode unless `freeze_batch_norm`.

    Raises:
        UserError: a value out of its range.
    """

    learning_rate: float = 1e-3
    epochs: int = 1
    batch_size: int = 64
    optimiser: str = "adam"
    freeze_batch_norm: bool = False
    seed: int = 0  # of the batches

    def __post_init__(self) -> None:
        check_number("Retraining's learning_rate", self.learning_rate, 0, above=True)
        check_whole("Retraining's epochs", self.epochs, 1)
        check_whole("Retraining's batch_size", self.batch_size, 1)
        check_choice("Retraining's optimiser", self.optimiser, OPTIMISERS)
        check_whole("Retraining's seed", self.seed, 0)


@plain_tensors()
def retrain(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: RetrainSettings,
    zeros: Mapping[str, Tensor] | None = None,
    after_epoch: Callable[[nn.Module, dict[str, Any]], dict[str, Any]] | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """A copy of `classifier`, every weight trained further.

    Args:
        classifier: left untouched; maps (N, 3, H, W) in [0, 1] to logits.
        images: uint8, or float in [0, 1], (N, 3, H, W).
        labels: whole numbers (N,), below the number of classes (`as_labels`).
        zeros: by a parameter's name, bool masks of entries that stay zero after every step.
        after_epoch: called with the copy and the epoch's row; what it returns joins the row.

    Returns:
        The copy in eval mode, and one row an epoch (`models.training.train`).

    Raises:
        UserError: fewer images than a batch, labels or masks that do not fit, weights that cannot be trained, or a loss
            that diverges.
    """
    images = as_pixels(images, "Images to train on")
    if len(images) < settings.batch_size:
        raise UserError(f"Retraining needs a batch of {settings.batch_size} images at least, not {len(images)}.")
    labels = as_labels(labels, len(images), logits(classifier, images[:1]).shape[1], "Labels to train on")
    model = training.copy_to_train(classifier)
    _check_masks(model, zeros or {})
    device, dtype = where_it_computes(model)
    model.train()
    if settings.freeze_batch_norm:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    optimiser = OPTIMISERS[settings.optimiser](model.parameters(), settings.learning_rate)
    masks = {name: ~mask for name, mask in (zeros or {}).items()}

    def step(indices: Tensor, number: int, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            for name, weight in model.named_parameters() if number and masks else ():
                if name in masks:
                    weight.mul_(masks[name].to(weight.device))
        batch = images[indices]
        batch = (batch.float() / 255 if batch.dtype == torch.uint8 else batch).to(device, dtype)
        loss = F.cross_entropy(model(batch.contiguous(memory_format=fast_layout(model))), labels[indices].to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        return {"loss": loss.detach()}

    with training_layout(model), training.reproducible(device):
        history = training.train(
            "retraining", model, optimiser, step, len(images), settings.batch_size, settings.epochs, settings.seed,
            after_epoch=(lambda row: after_epoch(model, row)) if after_epoch else None,
        )  # fmt: skip
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in masks:
                weight.mul_(masks[name].to(weight.device))
    return model.eval(), history


def _check_masks(model: nn.Module, zeros: Mapping[str, Tensor]) -> None:
    """A mask of another name would be left out without a word, and its zeros would not stay."""
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    for name, mask in zeros.items():
        if name not in shapes or mask.shape != shapes[name] or mask.dtype != torch.bool:
            raise UserError(f"A mask of zeros must be bool and of a weight's name and shape, which {name!r} is not.")
