"""DeepAuth's key samples of a profile's classifiers, and the images that they rest on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sslauth_utils.base import tensors
from sslauth_utils.base.device import pick_device
from sslauth_utils.models.classifiers import Classifier
from sslauth_utils.schemes.deepauth_keys import KeySet, KeySettings, make_keys
from sslauth_utils.study.profiles import CLASSIFIERS, SIGNATURE_KEYS, Settings, notebook_settings
from sslauth_utils.study.recipes.classifiers import classifier_address, classifier_images, trained_classifier
from sslauth_utils.study.store import Ingredients, find_or_make

_NAMES = ("held_images", "key_seeds", "pgd_step", "pgd_steps", "leverage_share", "mu", "boundary", "device")


def classifier(profile: str, model: str, seed: int) -> tuple[Classifier, dict[str, Any]]:
    """The profile's classifier `model` of this seed, and its facts: the only place that says where it comes from."""
    return trained_classifier(profile, model, seed)


@dataclass(frozen=True)
class Held:
    """Labelled images that the classifier was not trained on, in two halves.

    Attributes:
        validation, validation_truth: D_v: seeds of keys, the matrix A and the early stop; uint8 and int64.
        test, test_truth: what changes of labels are counted on; nothing else sees them.
    """

    validation: Tensor
    validation_truth: Tensor
    test: Tensor
    test_truth: Tensor


def held_out(profile: str, model: str, seed: int, settings: Settings | None = None) -> Held:
    """The test images of the profile's classifier, or notebook 22's `held_images` of them, halved: every second one.

    Args:
        settings: the parameters of notebook 22; None for the profile's, here and below.
    """
    upstream = notebook_settings(profile, CLASSIFIERS, model, seed)
    wanted = notebook_settings(profile, SIGNATURE_KEYS, model, seed, settings)["held_images"]
    images = classifier_images(upstream | {"test_images": wanted or upstream["test_images"]}, "test", seed)
    pixels, truth = images.images, images.labels
    return Held(pixels[::2], truth[::2], pixels[1::2], truth[1::2])


def signature_keys(
    profile: str, model: str, seed: int, rule: str | None = None, settings: Settings | None = None
) -> KeySet:
    """DeepAuth's key samples for the profile's classifier `model`.

    Args:
        rule: by which they are collected; None for the profile's.
    """
    settings = notebook_settings(profile, SIGNATURE_KEYS, model, seed, settings)
    rule = rule or settings["rule"]

    def make(folder: Path) -> None:
        network, _ = classifier(profile, model, seed)
        network.to(pick_device(settings["device"]))
        images = held_out(profile, model, seed, settings)
        count = settings["key_seeds"] or None
        recipe = KeySettings(
            step=settings["pgd_step"], steps=settings["pgd_steps"], rule=rule,
            leverage_share=settings["leverage_share"], mu=settings["mu"], boundary=settings["boundary"],
        )  # fmt: skip
        keys = make_keys(network, images.validation[:count], images.validation_truth[:count], images.validation, recipe)
        tensors.save(folder / "keys.safetensors", keys.tensors(), {"counts": keys.counts, "rule": rule, "seed": seed})

    ingredients = signature_keys_ingredients(profile, model, seed, rule, settings)
    folder = find_or_make(profile, f"signature-keys-{rule.split()[0]}-{model}-s{seed}", ingredients, make)
    kept, facts = tensors.load(folder / "keys.safetensors")
    return KeySet(**kept, counts=facts["counts"])


def signature_keys_ingredients(
    profile: str, model: str, seed: int, rule: str | None = None, settings: Settings | None = None
) -> Ingredients:
    """What `signature_keys` depends on."""
    settings = notebook_settings(profile, SIGNATURE_KEYS, model, seed, settings)
    values = {name: settings[name] for name in _NAMES}
    which = {"seed": seed, "rule": rule or settings["rule"]}
    upstream = notebook_settings(profile, CLASSIFIERS, model, seed)
    which |= {"test_images": upstream["test_images"], "size": upstream["size"]}
    made_from = [classifier_address(profile, model, seed)]
    return Ingredients(__name__, {SIGNATURE_KEYS: values, "": which}, [upstream["train_data"]], made_from)
