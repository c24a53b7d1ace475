"""How good a pre-trained encoder is: kNN and linear accuracy, before and after training, beside chance."""

from pathlib import Path
from typing import Any

from sslauth_utils.base.device import pick_device
from sslauth_utils.base.files import read_json, write_json
from sslauth_utils.images.load import load_images
from sslauth_utils.models.features import encode
from sslauth_utils.models.heads import chance
from sslauth_utils.models.probes import knn_accuracy, linear_accuracy
from sslauth_utils.study.profiles import PRETRAIN, Settings, notebook_settings
from sslauth_utils.study.recipes.encoders import encoder_ingredients, pretrained_encoder, untrained_encoder
from sslauth_utils.study.store import Ingredients, find_or_make


def encoder_accuracies(profile: str, scenario: str, seed: int, settings: Settings | None = None) -> dict[str, Any]:
    """Accuracies, 0 to 1, of probes on the frozen features of `pretrained_encoder`.

    Args:
        settings: the parameters of notebook 01; None for the profile's.

    Returns:
        knn_accuracy, linear_accuracy, random_knn_accuracy (the same network before training), chance, classes, test
        (number of test images).
    """
    settings = notebook_settings(profile, PRETRAIN, scenario, seed, settings)

    def make(folder: Path) -> None:
        device, data, size = pick_device(settings["device"]), settings["pretrain_data"], settings["size"]
        train = load_images(data, "train", size, settings["pretrain_images"] or None, seed)
        test = load_images(data, "test", size, settings["test_images"] or None, seed)
        encoder, _ = pretrained_encoder(profile, scenario, seed, settings)
        known, unknown = (encode(encoder.to(device), images, 500) for images in (train.images, test.images))
        untrained = untrained_encoder(settings, scenario, seed).to(device)
        before = (encode(untrained, images, 500) for images in (train.images, test.images))
        facts = {
            "knn_accuracy": knn_accuracy(known, train.labels, unknown, test.labels),
            "linear_accuracy": linear_accuracy(known, train.labels, unknown, test.labels),
            "random_knn_accuracy": knn_accuracy(next(before), train.labels, next(before), test.labels),
            "chance": chance(test.labels), "classes": len(train.classes), "test": len(test),
        }  # fmt: skip
        write_json(folder / "accuracies.json", facts)

    ingredients = Ingredients(
        __name__, {PRETRAIN: {"test_images": settings["test_images"]}}, [settings["pretrain_data"]],
        [encoder_ingredients(scenario, seed, settings).address],
    )  # fmt: skip
    folder = find_or_make(profile, f"accuracies-{scenario}-s{seed}", ingredients, make)
    return read_json(folder / "accuracies.json")
