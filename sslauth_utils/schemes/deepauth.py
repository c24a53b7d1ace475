"""DeepAuth: a signature in a classifier's labels of key samples, embedded, enrolled and verified.

"After embedding, each model will respond distinctively to these key samples, which creates a model-unique signature."
`deepauth_keys` makes the keys, `deepauth_matching` chooses one signature's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.layout import fast_layout
from sslauth_utils.models.classifiers import as_answer, as_scores, logits, repeatable_logits
from sslauth_utils.models.classifiers import labels as labels_of
from sslauth_utils.models.features import as_floats, where_it_computes
from sslauth_utils.models.labels import as_labels
from sslauth_utils.models.penultimate import gradients, lead
from sslauth_utils.models.training import own_copy
from sslauth_utils.schemes.deepauth_keys import KeySet
from sslauth_utils.schemes.descent import check_differentiable

LOSSES, STOPS = ("cross entropy", "hinge"), ("changed", "success", "never")
TOLERANCES = (0.0, 0.1, 0.2, 0.3, 0.4)  # Table 2's


@dataclass(frozen=True)
class EmbeddingSettings:
    """How a signature is embedded: SGD on one batch. The optimiser is not named in the paper.

    Attributes:
        stop: "changed" is Algorithm 2: retrain while the share of validation images whose label changed is at most
            `eps_p`. With m images and eps_p below 1 / m that is until the first change. "success" stops as soon as
            every key answers as intended, with the hinge by its lead; "never" stops at neither.
        loss: the paper does not name it; "hinge" asks for a lead of `hinge` in the logits and no more.
        keep: share of the keys whose label is to stay, the adversarial one. 0 in the paper: all change to the true one.
        anchors: other keys that are held at the label that they have.

    Raises:
        UserError: a value out of its range.
    """

    learning_rate: float = 1e-3
    epochs: int = 300  # at most
    eps_p: float = 0.0005  # "We use 0.0005, 0.002, 0.02 for MNIST, CIFAR10, and ImageNet"
    stop: str = "changed"
    loss: str = "cross entropy"
    hinge: float = 0.01
    keep: float = 0.0
    anchors: int = 0

    def __post_init__(self) -> None:
        check_number("The embedding's learning_rate", self.learning_rate, 0, above=True)
        check_whole("The embedding's epochs", self.epochs, 1)
        check_number("eps_p", self.eps_p, 0, 1)
        check_choice("The embedding's stop", self.stop, STOPS)
        check_choice("The embedding's loss", self.loss, LOSSES)
        check_number("The hinge's lead", self.hinge, 0, above=True)
        check_number("The share of keys that keep their label", self.keep, 0, 1)
        check_whole("Anchor keys", self.anchors, 0)


@plain_tensors()
def intended_labels(keys: KeySet, keep: float, seed: int) -> Tensor:
    """What each key is to answer: its true class, or, of a share `keep` drawn by `seed`, its adversarial one.

    Raises:
        UserError: a share outside [0, 1], or a seed that is no whole number.
    """
    check_number("The share of keys that keep their label", keep, 0, 1)
    check_whole("The seed of those that keep their label", seed, 0)
    wanted = keys.truth.clone()
    stay = torch.randperm(len(keys), generator=torch.Generator().manual_seed(seed))[: round(keep * len(keys))]
    wanted[stay] = keys.adversarial[stay]
    return wanted


@plain_tensors()
def embed(
    classifier: nn.Module,
    keys: KeySet,
    wanted: Tensor,
    validation: Tensor,
    settings: EmbeddingSettings,
    held: tuple[Tensor, Tensor] | None = None,
    watch: Callable[[nn.Module, dict[str, Any]], None] | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Algorithm 2, lines 12 to 19: a copy of `classifier` that answers `wanted` at the keys.

    "We include all of these samples in the embedding batch, while only changing the class of x'_t from c' to c*":
    {x'_t, c*}, {x'_{t-1}, c*}, {x'_{t+1}, c'}. An epoch is one SGD step on the whole batch. Batch norm keeps its
    statistics.

    Args:
        classifier: left untouched.
        keys: of one signature.
        wanted: the label that each shall have, whole numbers (K,): see `intended_labels`.
        validation: m natural images, on which changes of labels are counted.
        held: (images (A, 3, H, W), uint8 or float in [0, 1], labels (A,)) that join the batch: anchor keys, and
            natural images of classes that the matching leaves out ("we can complement the result … by natural inputs").
        watch: called after each epoch with the copy and the epoch's row.

    Returns:
        The protected classifier in eval mode, and one row an epoch: epoch, loss, success (share of the keys that
        answer as wanted), and, unless the embedding stops by success alone, changed (share of the validation images
        whose label changed).

    Raises:
        UserError: no keys, labels that do not fit, a classifier that cannot be copied, or a loss that is not finite.
    """
    if len(keys) == 0:
        raise UserError("An embedding needs keys, and there are none.")
    classes = logits(classifier, keys.at[:1]).shape[1]
    wanted = as_labels(wanted, len(keys), classes, "Wanted labels")
    check_differentiable(classifier, keys.at)
    anchors, of_anchors = (keys.at[:0], wanted[:0]) if held is None else held
    if len(anchors):
        anchors = as_floats(anchors, "Images to be held")
    of_anchors = as_labels(of_anchors, len(anchors), classes, "Labels to be held")
    before = None if settings.stop == "success" else _natural_labels(classifier, validation)
    protected = own_copy(classifier).requires_grad_()
    device, dtype = where_it_computes(protected)
    images = torch.cat([keys.at, keys.before, keys.after, anchors]).to(device, dtype)
    labels = torch.cat([wanted, keys.truth, keys.adversarial, of_anchors]).to(device)
    weights = list(protected.parameters())
    history: list[dict[str, Any]] = []
    for epoch in range(1, settings.epochs + 1):
        with gradients(protected):
            scores = protected(images)
            loss = _loss(scores, labels, settings)
            if not torch.isfinite(loss):
                raise UserError(
                    f"The embedding diverged in epoch {epoch}; lower its learning rate ({settings.learning_rate:g})."
                )
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
            with torch.no_grad():
                for weight, slope in zip(weights, slopes, strict=True):
                    if slope is not None:
                        weight.sub_(slope, alpha=settings.learning_rate)
        success = (labels_of(protected, keys.at) == wanted).double().mean().item()
        history.append({"epoch": epoch, "loss": loss.item(), "success": success})
        if before is not None:
            moved = _natural_labels(protected, validation) != before
            history[-1]["changed"] = moved.double().mean().item()
        if watch:
            watch(protected, history[-1])
        leads = settings.loss != "hinge" or loss.item() == 0
        if settings.stop == "changed" and history[-1]["changed"] > settings.eps_p:
            break
        if settings.stop == "success" and success == 1 and leads:
            break
    return protected.eval(), history


def _natural_labels(classifier: nn.Module, images: Tensor) -> Tensor:
    """Labels of images that do not sit on a boundary, in the fastest layout: one count an epoch is most of its time."""
    quick = own_copy(classifier)
    return labels_of(quick.to(memory_format=fast_layout(quick)), images, 500)


def _loss(scores: Tensor, labels: Tensor, settings: EmbeddingSettings) -> Tensor:
    if settings.loss == "hinge":
        return F.relu(settings.hinge - lead(scores, labels)).mean()
    return F.cross_entropy(scores, labels)


def label_changes(before: Tensor, after: Tensor, truth: Tensor) -> dict[str, float]:
    """Table 1's shares of natural images, in [0, 1]: unchanged, C2W, W2C, W2W; they sum to 1.

    Args:
        before, after: labels of the model before and after, whole numbers (N,).
        truth: whole numbers (N,).

    Raises:
        UserError: labels that are not of one number of images (`as_labels`).
    """
    count = len(truth)
    before, after, truth = (as_labels(labels, count) for labels in (before, after, truth))
    was, now, same = before == truth, after == truth, before == after
    shares = {"unchanged": same, "C2W": was & ~now, "W2C": ~was & now, "W2W": ~was & ~now & ~same}
    return {name: share.double().mean().item() for name, share in shares.items()}


@dataclass(frozen=True, eq=False)
class Signature:
    """What the server keeps of one protected model: the authentication vector and the labels on it.

    Attributes:
        keys: float32 (K, 3, H, W) in [0, 1]. Next to a boundary each bit counts: store and send them as float32.
        labels: int64 (K,).
        classes: how many classes the model has.
    """

    keys: Tensor
    labels: Tensor
    classes: int


def enrol(protected: nn.Module, keys: Tensor) -> Signature:
    """The signature of a protected model, which is asked again and in another batch.

    "the enrollment process collects the signature s_i".

    Args:
        protected: maps (N, 3, H, W) in [0, 1] to logits.
        keys: (K, 3, H, W), float32 in [0, 1], or uint8.

    Raises:
        UserError: as `classifiers.repeatable_logits`.
    """
    keys = as_floats(keys, "Keys of a signature")
    scores = repeatable_logits(protected, keys)
    return Signature(keys, scores.argmax(dim=1), scores.shape[1])


@dataclass(frozen=True, eq=False)
class Authentication:
    """The outcome of one verification.

    Attributes:
        wrong: which keys have another label than enrolled, bool (K,).
        tolerance: eps_a.
        chance: the probability that labels right with `p_match` each would pass as well (`chance_match`).
    """

    wrong: Tensor
    tolerance: float
    chance: float

    @property
    def errors(self) -> float:
        """Share of keys with another label."""
        return self.wrong.double().mean().item()

    @property
    def accepted(self) -> bool:
        """Whether the errors are at most the tolerance. (Of "less than eps_a", at 0 nothing could pass.)"""
        return accepts(self.errors, self.tolerance)


def accepts(errors: float, tolerance: float) -> bool:
    """Whether a share of errors is at most the tolerance, up to the last bits of the division."""
    return errors <= tolerance + 1e-9


def authenticate(
    signature: Signature, answer: Tensor | np.ndarray | Sequence[Any], tolerance: float = 0.0, p_match: float = 0.5
) -> Authentication:
    """Compare an unknown model's answer with the signature.

    "Authentication is successful if the percentage of error in the evaluated signature compared to the enrolled one
    is less than eps_a", which is read as at most.

    Args:
        answer: whole-number labels (K,), or logits (K, C), of the signature's keys: a tensor, an array or lists.
        tolerance: eps_a, in [0, 1].
        p_match: probability that a model that knows nothing of the signature answers a key as enrolled; 0.5 if it
            answers c* or c', which are level there, one as likely as the other.

    Raises:
        UserError: a tolerance outside [0, 1], or an answer of another length, with other classes or logits that are
            not finite.
    """
    check_number("The error tolerance eps_a", tolerance, 0, 1)
    answer = as_answer(answer)
    count = len(signature.labels)
    if answer.ndim not in (1, 2) or len(answer) != count:
        raise UserError(
            f"The signature has {count} keys, but the answer has shape {tuple(answer.shape)}; send one label for each "
            "of its own keys."
        )
    if answer.ndim == 2:
        if answer.shape[1] != signature.classes:
            raise UserError(f"The answer has logits of {answer.shape[1]} classes, the signature {signature.classes}.")
        said = as_scores(answer, count).argmax(dim=1)
    else:
        said, whole = answer.long(), not answer.is_floating_point() and answer.dtype != torch.bool
        if not whole or not 0 <= int(said.min()) <= int(said.max()) < signature.classes:
            raise UserError(f"Labels must be whole numbers from 0 to {signature.classes - 1}.")
    wrong = said != signature.labels
    return Authentication(wrong, tolerance, chance_match(count, tolerance, p_match))


def chance_match(count: int, tolerance: float, p_match: float = 0.5) -> float:
    """Probability that `count` labels, each right with `p_match` by itself, have at most `tolerance` errors.

    0.001 for 10 keys without an error, 0.38 with 40 % of them, at p_match = 0.5.
    """
    check_whole("Keys of a signature", count, 1)
    check_number("The error tolerance eps_a", tolerance, 0, 1)
    check_number("The probability of a match", p_match, 0, 1)
    most = int(count * tolerance + 1e-9)
    return sum(comb(count, k) * (1 - p_match) ** k * p_match ** (count - k) for k in range(most + 1))
