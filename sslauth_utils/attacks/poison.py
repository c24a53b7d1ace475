"""BadNets (Gu et al. 2019): a backdoor by poisoned training images."""

from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.attacks.badnet import attack_success
from sslauth_utils.attacks.retrain import RetrainSettings, retrain
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.checks import check_share, check_whole
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.classifiers import labels as labels_of
from sslauth_utils.models.features import as_pixels
from sslauth_utils.models.labels import as_labels


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
        labels: whole numbers (N,) (`as_labels`).
        target: the class wanted for stamped images.
        share: stamped copies over clean images, in (0, 1]; drawn from other classes by the settings' seed.

    Raises:
        UserError: a share out of range, no image of another class, or as `retrain`.
    """
    images = as_pixels(images, "Images to poison")
    share = check_share("What is poisoned", share, above=True)
    check_whole("The target class", target, 0)
    labels = as_labels(labels, len(images), what="Labels of images to poison")
    others = (labels != target).nonzero().flatten()
    count = min(len(others), max(1, round(share * len(images))))
    if not len(others):
        raise UserError(f"Every image is of the target class {target}: there is nothing to poison.")
    draw = torch.Generator("cpu").manual_seed(settings.seed)
    chosen = others[torch.randperm(len(others), generator=draw, device="cpu")[:count]]
    both = torch.cat([images, trigger.stamp(images[chosen])])
    truth = torch.cat([labels, labels.new_full((count,), target)])
    return retrain(classifier, both, truth, settings)[0]


def backdoor_scores(
    classifier: nn.Module, images: Tensor, labels: Tensor, trigger: Trigger, target: int
) -> dict[str, Any]:
    """Accuracy on clean images, attack success on stamped ones of other classes (shares), n_test and n_others.

    Raises:
        UserError: as `attack_success`.
    """
    labels = as_labels(labels, len(images))
    return {
        "accuracy": (labels_of(classifier, images, 500) == labels).double().mean().item(),
        "attack_success": attack_success(classifier, images, labels, trigger, target),
        "n_test": len(labels),
        "n_others": int((labels != target).sum()),
    }
