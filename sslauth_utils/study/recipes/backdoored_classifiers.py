"""Classifiers with a backdoor of a few stamped images (Table II)."""

from pathlib import Path
from typing import Any

from sslauth_utils.attacks.badnet import BadnetSettings, attack_success, badnet
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.device import pick_device
from sslauth_utils.base.tensors import describe
from sslauth_utils.models.classifiers import Classifier, accuracy, load_classifier, save_classifier
from sslauth_utils.study.profiles import CLASSIFIERS, TAMPERS, Settings, notebook_settings
from sslauth_utils.study.recipes.classifiers import classifier_address, classifier_images, trained_classifier
from sslauth_utils.study.store import Ingredients, find_or_make


def backdoored_classifier(
    profile: str, model: str, seed: int, rate: float, settings: Settings | None = None
) -> tuple[Classifier, dict[str, Any]]:
    """The profile's classifier with a backdoor, embedded at the learning rate `rate`.

    Args:
        settings: the parameters of notebook 21; None for the profile's.

    Returns:
        The tampered classifier in eval mode on the CPU, and its facts: steps, accuracy, accuracy before, success
        (share of stamped test images of other classes taken for the target), success before, tested (how many these
        are), test.

    Raises:
        NotTaken: the backdoor has not taken within the profile's steps.
    """
    settings = notebook_settings(profile, TAMPERS, model, seed, settings)
    upstream = notebook_settings(profile, CLASSIFIERS, model, seed)
    target = settings["target"]
    recipe = BadnetSettings(
        target, settings["stamped"], rate, settings["backdoor_optimiser"], batch_size=settings["batch_size"],
        most_steps=settings["backdoor_steps"], seed=seed,
    )  # fmt: skip

    def make(folder: Path) -> None:
        classifier, _ = trained_classifier(profile, model, seed)
        device, trigger = pick_device(settings["device"]), Trigger.for_size(upstream["size"])
        train, test = (classifier_images(upstream, split, seed) for split in ("train", "test"))
        tampered, facts = badnet(classifier, train.images, train.labels, trigger, recipe, device)
        tested = test.images, test.labels
        for suffix, one in (("", tampered), (" before", classifier.to(device))):
            facts[f"accuracy{suffix}"] = accuracy(one, *tested)
            facts[f"success{suffix}"] = attack_success(one, *tested, trigger, target)
        facts |= {"test": len(test), "tested": int((test.labels != target).sum())}
        save_classifier(tampered.cpu(), folder / "classifier.safetensors", **facts)

    names = ("target", "stamped", "backdoor_optimiser", "backdoor_steps", "batch_size", "device")
    ingredients = Ingredients(
        __name__, {TAMPERS: {name: settings[name] for name in names}, "": {"seed": seed, "rate": rate}},
        [upstream["train_data"]], [classifier_address(profile, model, seed)],
    )  # fmt: skip
    folder = find_or_make(profile, f"badnet-{rate:g}-{model}-s{seed}", ingredients, make)
    return load_classifier(folder / "classifier.safetensors"), describe(folder / "classifier.safetensors")
