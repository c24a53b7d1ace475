"""A downstream task as a victim would build it: frozen encoder, classifier, test set, and what a trigger does to it."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.images.load import Images
from sslauth_utils.models.features import encode, normalise
from sslauth_utils.models.heads import ClassifierSettings, chance, predict, train_classifier

BATCH = 500
ADVERSARY_SHARE = 0.1  # of a task's labelled images: the adversary's own, which the victim never sees


def split_off(images: Images, least: int, seed: int) -> tuple[Images, Images]:
    """The victim's images and the adversary's: of each class a tenth, drawn by `seed`, goes to the adversary.

    Args:
        least: images of each class that the adversary has at least, if that leaves the victim one.
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(len(images), dtype=torch.bool)
    for label in images.labels.unique():
        mine = order[images.labels[order] == label]
        held[mine[: min(len(mine) - 1, max(least, int(ADVERSARY_SHARE * len(mine))))]] = True
    victim, adversary = (
        replace(images, images=images.images[part], labels=images.labels[part]) for part in (~held, held)
    )
    return victim, adversary


class DownstreamTask:
    """Train and test images of a task, and the classifier's settings.

    Attributes:
        train, test: the victim's images.
        adversary: the adversary's own labelled images of the task, from which references are taken.
        target: the class that the adversary wants, an index into the set's classes.
        trigger: stamped on the test images.
    """

    def __init__(
        self,
        train: Images,
        test: Images,
        adversary: Images,
        target: int,
        trigger: Trigger,
        settings: ClassifierSettings,
    ):
        if not 0 <= target < len(train.classes):
            raise UserError(
                f"Target class {target} is outside {train.name}, which has classes 0 to {len(train.classes) - 1}."
            )
        self.train, self.test, self.adversary = train, test, adversary
        self.target, self.trigger, self.settings = target, trigger, settings

    @property
    def chance(self) -> float:
        """Share of the commonest class among the test images."""
        return chance(self.test.labels)

    def references(self, encoder: nn.Module, count: int) -> Tensor:
        """The adversary's reference images: `count` typical ones of the target class among its own.

        BadEncoder takes a picture that the clean encoder's features place firmly in the
        class; here those with the largest margin between the cosine to their own class's
        mean feature and to the nearest other class's.

        Returns:
            uint8 (count, 3, H, W).

        Raises:
            UserError: the class has fewer images.
        """
        own = self.adversary
        labels = own.labels
        mine = (labels == self.target).nonzero().flatten()
        if not 1 <= count <= len(mine):
            raise UserError(
                f"{count} references asked for, but the adversary has {len(mine)} images of class {self.target} "
                f"of {own.name}."
            )
        features = normalise(encode(encoder, own.images, BATCH))
        means = torch.stack([features[labels == label].mean(dim=0) for label in labels.unique()])
        column = labels.unique().tolist().index(self.target)
        likeness = features[mine] @ normalise(means).T
        margin = likeness[:, column] - likeness.index_fill(1, torch.tensor([column]), -2).amax(dim=1)
        return own.images[mine[margin.topk(count).indices]]

    def fit(self, encoder: nn.Module) -> nn.Sequential:
        """The classifier that a user trains on frozen features of the training images."""
        features = encode(encoder, self.train.images, BATCH)
        return train_classifier(features, self.train.labels, len(self.train.classes), self.settings)

    def score(self, encoder: nn.Module, classifier: nn.Module) -> dict[str, Any]:
        """How `classifier` does on `encoder`'s features of the test images, clean and triggered.

        Returns:
            accuracy (clean), attack_success (triggered images predicted as the target, all
            classes, as BadEncoder counts), attack_success_others (only images of other classes),
            n_test, n_others. On the clean encoder the attack success is BadEncoder's ASR-B.
        """
        before = sha256_tensors(encoder.state_dict())
        clean = predict(classifier, encode(encoder, self.test.images, BATCH))
        hits = predict(classifier, encode(encoder, self.trigger.stamp(self.test.images), BATCH)) == self.target
        if sha256_tensors(encoder.state_dict()) != before:  # buffers too: training mode would move batch norm's
            raise AssertionError("the encoder changed while its features were taken")
        others = self.test.labels != self.target
        return {
            "accuracy": (clean == self.test.labels).double().mean().item(),
            "attack_success": hits.double().mean().item(),
            "attack_success_others": hits[others].double().mean().item(),
            "n_test": len(self.test),
            "n_others": int(others.sum()),
        }


def collapsed(attacked: float, clean: float, chance_level: float, n: int) -> bool:
    """Whether an attack destroyed the encoder: more than half of what the clean one has above chance is gone.

    Such an encoder is reported as destroyed, not scored: any check would see it. Where
    the clean encoder is itself not above chance by two standard errors there is
    nothing to destroy, and the answer is no.

    Args:
        attacked, clean, chance_level: accuracies, 0 to 1.
        n: test images.
    """
    error = (chance_level * (1 - chance_level) / n) ** 0.5
    return clean > chance_level + 2 * error and attacked < chance_level + (clean - chance_level) / 2
