"""BadNets (Gu et al. 2019): a backdoor by poisoned training images."""

from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.attacks.badnet import attack_success
from sslauth_utils.attacks.retrain import RetrainSettings, retrain
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.classifiers import labels as labels_of
from sslauth_utils.models.features import as_pixels


def poison(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    trigger: Trigger,
    target: int,
    share: float,
    settings: RetrainSettings,
) -> nn.Module:
    """A copy of `classifier`, trained further on clean images and on stamped copies of some, labelled as the target.

    "We follow the backdoor injection attack methodology proposed in BadNets." The settings are not printed, but that
    the attack success exceeds 95 %.

    Args:
        classifier: left untouched.
        images: uint8, or float in [0, 1], (N, 3, H, W).
        labels: int64 (N,).
        target: the class wanted for stamped images.
        share: stamped copies over clean images, in (0, 1]; drawn from other classes by the settings' seed.

    Raises:
        UserError: a share out of range, no image of another class, or as `retrain`.
    """
    images = as_pixels(images, "Images to poison")
    if not 0 < share <= 1:
        raise UserError(f"The share of poisoned images is in (0, 1], not {share}.")
    others = (labels != target).nonzero().flatten()
    count = min(len(others), max(1, round(share * len(images))))
    if not len(others):
        raise UserError(f"Every image is of the target class {target}: there is nothing to poison.")
    draw = torch.Generator().manual_seed(settings.seed)
    chosen = others[torch.randperm(len(others), generator=draw)[:count]]
    both = torch.cat([images, trigger.stamp(images[chosen])])
    truth = torch.cat([labels, torch.full((count,), target, dtype=labels.dtype)])
    return retrain(classifier, both, truth, settings)[0]


def backdoor_scores(
    classifier: nn.Module, images: Tensor, labels: Tensor, trigger: Trigger, target: int
) -> dict[str, Any]:
    """Accuracy on clean images, attack success on stamped ones of other classes (shares), n_test and n_others."""
    return {
        "accuracy": (labels_of(classifier, images, 500) == labels).double().mean().item(),
        "attack_success": attack_success(classifier, images, labels, trigger, target),
        "n_test": len(labels),
        "n_others": int((labels != target).sum()),
    }
