"""Trained classifiers."""

from pathlib import Path
from typing import Any

from sslauth_utils.base.device import pick_device
from sslauth_utils.base.seeds import seeded
from sslauth_utils.base.tensors import describe, read_safetensors
from sslauth_utils.images.identity import weights_path, weights_sha256
from sslauth_utils.images.load import Images, load_images
from sslauth_utils.models.classifiers import (
    PIXEL_STATS,
    Classifier,
    accuracy,
    build_network,
    library_classifier,
    load_classifier,
    save_classifier,
)
from sslauth_utils.models.encoders import load_weights
from sslauth_utils.models.networks import count_parameters
from sslauth_utils.models.supervised import SupervisedSettings, train_supervised
from sslauth_utils.study.profiles import CLASSIFIERS, Settings, notebook_settings
from sslauth_utils.study.store import Ingredients, find_or_make

_NAMES = (
    "train_data", "train_images", "test_images", "size", "arch", "width", "pixel_stats", "weights_file", "epochs",
    "batch_size", "learning_rate", "weight_decay", "augment", "device",
)  # fmt: skip


def trained_classifier(
    profile: str, model: str, seed: int, settings: Settings | None = None
) -> tuple[Classifier, dict[str, Any]]:
    """The profile's classifier `model` of this seed, trained with labels or taken from a file.

    Args:
        settings: the parameters of notebook 20; None for the profile's.

    Returns:
        The classifier in eval mode on the CPU, and its facts: accuracy (on test images, 0 to 1), test (their number),
        classes (names), parameters (number of weights), history (by epoch).
    """
    settings = notebook_settings(profile, CLASSIFIERS, model, seed, settings)

    def make(folder: Path) -> None:
        device, train = pick_device(settings["device"]), classifier_images(settings, "train", seed)
        classifier, history = _untrained(settings, len(train.classes), seed), []
        if settings["weights_file"]:
            path = weights_path(settings["weights_file"])
            load_weights(classifier, read_safetensors(path), str(path))
        else:
            names = ("epochs", "batch_size", "learning_rate", "weight_decay", "augment")
            recipe = SupervisedSettings(**{name: settings[name] for name in names}, seed=seed)
            checkpoint = folder / "checkpoint.safetensors"
            history = train_supervised(classifier, train.images, train.labels, recipe, device, checkpoint)
            checkpoint.unlink(missing_ok=True)
        test = classifier_images(settings, "test", seed)
        save_classifier(
            classifier.cpu().eval(), folder / "classifier.safetensors", settings=dict(settings), seed=seed,
            history=history, accuracy=accuracy(classifier, test.images, test.labels), test=len(test),
            classes=train.classes, parameters=count_parameters(classifier),
        )  # fmt: skip

    folder = find_or_make(profile, f"classifier-{model}-s{seed}", classifier_ingredients(settings, seed), make)
    return load_classifier(folder / "classifier.safetensors"), describe(folder / "classifier.safetensors")


def classifier_images(settings: Settings, split: str, seed: int) -> Images:
    """The images of notebook 20's `settings` for training or testing."""
    wanted = settings["train_images" if split == "train" else "test_images"]
    everything = load_images(settings["train_data"], split, settings["size"])
    if not 0 < wanted < len(everything):
        return everything
    return load_images(settings["train_data"], split, settings["size"], wanted, seed)


def classifier_ingredients(settings: Settings, seed: int) -> Ingredients:
    """What `trained_classifier` depends on."""
    which = {"seed": seed}
    if settings["weights_file"]:
        which["weights_sha256"] = weights_sha256(settings["weights_file"])
    values = {name: settings[name] for name in _NAMES}
    return Ingredients(__name__, {CLASSIFIERS: values, "": which}, [settings["train_data"]])


def classifier_address(profile: str, model: str, seed: int) -> str:
    """The address of the profile's own classifier, for what is made from it."""
    return classifier_ingredients(notebook_settings(profile, CLASSIFIERS, model, seed), seed).address


def _untrained(settings: Settings, classes: int, seed: int) -> Classifier:
    stats = PIXEL_STATS[settings["pixel_stats"]]
    with seeded(seed):
        if ":" in settings["arch"]:
            return library_classifier(settings["arch"], classes, settings["size"], *stats)
        stem = "cifar" if settings["size"] <= 64 else "imagenet"
        return build_network(settings["arch"], classes, settings["width"] or None, settings["size"], stem, *stats)
