"""Fine-tuning of a classifier's last layer alone (DeepAuth's fragility test)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslauth_utils.attacks.retrain import OPTIMISERS
from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models import training
from sslauth_utils.models.labels import as_labels
from sslauth_utils.models.penultimate import last_layer, penultimate


@plain_tensors()
def tune_last_layer(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    learning_rate: float,
    epochs: int,
    optimiser: str = "sgd",
    batch_size: int = 64,
    seed: int = 0,
    watch: Callable[[nn.Module, int], None] | None = None,
) -> nn.Module:
    """A copy of `classifier` with its last linear layer trained further.

    "The model parameters of the feature layers are frozen and only the parameters on the last fully-connected layer
    are trainable." So the features are taken once. The optimiser is not named.

    Args:
        classifier: left untouched; maps (N, 3, H, W) in [0, 1] to logits.
        images: "the validation data", uint8 or float in [0, 1], (N, 3, H, W).
        labels: whole numbers (N,), below the number of classes (`as_labels`).
        optimiser: "sgd" or "adam".
        watch: called with the copy, in eval mode, and the epoch, from 1.

    Raises:
        UserError: a value out of its range, labels that do not fit, no linear layer, weights that cannot be trained, or
            a loss that is not finite.
    """
    check_number("Fine-tuning's learning_rate", learning_rate, 0, above=True)
    check_whole("Fine-tuning's epochs", epochs, 1)
    check_choice("Fine-tuning's optimiser", optimiser, OPTIMISERS)
    check_whole("Fine-tuning's batch_size", batch_size, 1)
    name = last_layer(classifier, images)
    tuned = training.own_copy(classifier).eval()
    layer = tuned.get_submodule(name)
    training.check_trainable(layer)
    labels = as_labels(labels, len(images), layer.out_features, "Labels to train on").to(layer.weight.device)
    features = penultimate(classifier, images).to(layer.weight)
    draw = torch.Generator().manual_seed(seed)
    layer.requires_grad_()
    steps = OPTIMISERS[optimiser](layer.parameters(), learning_rate)
    for epoch in range(1, epochs + 1):
        for chosen in torch.randperm(len(features), generator=draw).split(batch_size):
            loss = F.cross_entropy(layer(features[chosen]), labels[chosen])
            steps.zero_grad()
            loss.backward()
            steps.step()
        if not torch.isfinite(loss):
            raise UserError(f"Fine-tuning diverged in epoch {epoch}; lower its learning rate ({learning_rate:g}).")
        if watch:
            watch(tuned, epoch)
    return tuned
