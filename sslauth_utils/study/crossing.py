"""What every fragile check of a classifier says of one and the same change: one number a check.

A check's number is 0 where nothing changed: the share of its samples whose label changed, or of its features the
largest 1 - cos. What counts as a detection is decided later, from the numbers of honest changes (`claims.crossing`).
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sslauth_utils.attacks.badnet import BadnetSettings, NotTaken, badnet
from sslauth_utils.attacks.fine_tune_classifier import TuneSettings, fine_tune_classifier
from sslauth_utils.attacks.noise import add_weight_noise
from sslauth_utils.attacks.prune import prune
from sslauth_utils.attacks.quantise import quantise
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.device import pick_device
from sslauth_utils.models.classifiers import Classifier, logits
from sslauth_utils.models.penultimate import penultimate
from sslauth_utils.schemes.deepauth import Signature, authenticate
from sslauth_utils.schemes.honest_classifier import honest_changes
from sslauth_utils.study.profiles import Settings
from sslauth_utils.study.recipes.signatures import CALIBRATED, PAPERS_STEP, PLAIN, Signatures

Answer = Callable[[Tensor], Tensor]
#: honest changes that write another file; the others run the same one
_REWRITTEN = ("batch norm folded", "weights stored as", "normalisation, too, stored as")
#: checks beside samples, pairs and signatures; the second is the first with SSL-Auth's verdict, 1 if it rejects
FEATURES, VERDICT, HASH = "DCmp on features", "DCmp on features at tau", "SHA-256"


class Change(NamedTuple):
    """Something that was done to a classifier, or nothing.

    Attributes:
        kind: run, cast or sent, as of `honest_classifier.HonestChange`, or tamper.
        tamper, strength: what, and how much.
        answer: images to logits, float64 (N, C).
        features: images to what enters the last layer, float32 (N, D).
        rewritten: whether its file is another one.
    """

    kind: str
    tamper: str
    strength: Any
    answer: Answer
    features: Answer
    rewritten: bool


def honest(classifier: nn.Module) -> Iterator[Change]:
    """Every honest change of `classifier`: other batches, kernels, types, images sent in fewer bits."""
    for of_labels, of_features in zip(
        honest_changes(classifier), honest_changes(classifier, ask=penultimate), strict=True
    ):
        yield Change(
            of_labels.kind, of_labels.name, of_labels.strength, of_labels.answer, of_features.answer,
            of_labels.name in _REWRITTEN,
        )  # fmt: skip


def tampered(
    classifier: Classifier, train: tuple[Tensor, Tensor], number: int, settings: Settings
) -> Iterator[tuple[Change, Classifier]]:
    """Tampers from the smallest to the plain, each with the tampered copy.

    Args:
        classifier: left untouched.
        train: the adversary's images, uint8 (N, 3, H, W), and classes, int64 (N,).
        number: draws noise and batches.
        settings: the parameters of notebook 24.
    """
    untouched = classifier.sha256()
    for tamper, strength, copied in _copies(classifier, train, number, settings):
        rewritten = copied.sha256() != untouched  # at the smallest rates not one float32 number may change
        answer, features = partial(logits, copied), partial(penultimate, copied)
        yield Change("tamper", tamper, strength, answer, features, rewritten), copied


def count(settings: Settings) -> int:
    """How many tampers `tampered` makes, for a progress bar; one fewer for each backdoor that does not take."""
    several = ("noise", "tune_rates", "pruning_rates", "backdoor_rates")
    return sum(len(settings[name]) for name in several) + 1  # 8-bit weights come once


def _copies(
    classifier: Classifier, train: tuple[Tensor, Tensor], number: int, settings: Settings
) -> Iterator[tuple[str, float, Classifier]]:
    device, few = pick_device(settings["device"]), settings["tune_images"] or None
    for relative in settings["noise"]:
        yield "weight noise", relative, add_weight_noise(classifier, relative, number)
    for rate in settings["tune_rates"]:
        recipe = TuneSettings(rate, "sgd", "frozen", 1, settings["batch_size"], number)
        tuned, _ = fine_tune_classifier(classifier, train[0][:few], train[1][:few], recipe, device)
        yield "fine-tuning", rate, tuned
    for rate in settings["pruning_rates"]:
        yield "pruning", rate, prune(classifier, rate)
    yield "8-bit weights", 1, quantise(classifier)
    for rate in settings["backdoor_rates"]:
        recipe = BadnetSettings(
            settings["target"], settings["stamped"], rate, batch_size=settings["batch_size"],
            most_steps=settings["backdoor_steps"], seed=number,
        )  # fmt: skip
        with suppress(NotTaken):  # then there is no such tamper of this model
            poisoned, _ = badnet(classifier, *train, Trigger.for_size(train[0].shape[-1]), recipe, device)
            yield "backdoor", rate, poisoned


def said_by_samples(
    change: Change, made: Signatures, keys: Tensor, enrolled: Tensor, tau: float
) -> list[dict[str, Any]]:
    """What the checks that leave the classifier as it is say of a change: method, value, n (samples or keys).

    Args:
        made: sensitive samples and pairs.
        keys: of the features, float32 (K, 3, H, W) in [0, 1].
        enrolled: features of the intact classifier on `keys`, float32 (K, D).
        tau: SSL-Auth's tolerance.
    """
    found = [_row(name, singles.changed(change.answer)) for name, singles in made.singles.items()]
    for form in (f"{PLAIN} {PAPERS_STEP:g}", CALIBRATED):
        if form in made.pairs:
            pairs = made.pairs[form]
            found.append(_row(form, pairs.changed(pairs.margins_of(change.answer)).any(dim=1)))
    moved = 1 - torch.nn.functional.cosine_similarity(change.features(keys).double(), enrolled.double())
    farthest = max(moved.max().item(), 0.0)
    numbers = {FEATURES: farthest, VERDICT: float(1 - farthest <= tau), HASH: float(change.rewritten)}
    return found + [{"method": name, "value": value, "n": 1 if name == HASH else len(keys)}
                    for name, value in numbers.items()]  # fmt: skip


def said_by_signature(change: Change, scheme: str, signature: Signature) -> list[dict[str, Any]]:
    """What an embedded signature says of a change of its protected model: method, value, n (keys)."""
    return [_row(scheme, authenticate(signature, change.answer(signature.keys).argmax(dim=1)).wrong)]


def _row(method: str, changed: Tensor) -> dict[str, Any]:
    return {"method": method, "value": changed.double().mean().item(), "n": len(changed)}
