"""Fine-tuned encoders."""

from pathlib import Path
from typing import Any

from torch import nn

from sslauth_utils.attacks.fine_tune import FineTuneSettings, continue_simclr, fine_tune, refresh_batch_norm
from sslauth_utils.base.checks import check_choice
from sslauth_utils.base.device import pick_device
from sslauth_utils.base.tensors import describe
from sslauth_utils.images.load import Images, load_images
from sslauth_utils.models.encoders import Encoder, load_encoder, save_encoder
from sslauth_utils.models.features import encode
from sslauth_utils.models.probes import knn_accuracy
from sslauth_utils.models.simclr import SimCLRSettings
from sslauth_utils.study.profiles import ENROL, FINE_TUNE, PRETRAIN, Settings, notebook_settings
from sslauth_utils.study.recipes.encoders import encoder_address, pretrained_encoder
from sslauth_utils.study.recipes.keys import KeyFeatures, key_ingredients, key_samples
from sslauth_utils.study.recipes.shadow import pretraining_images
from sslauth_utils.study.store import Ingredients, find_or_make

METHODS = ("supervised", "simclr", "batch norm")


def fine_tuned_encoder(
    profile: str,
    scenario: str,
    seed: int,
    method: str = "supervised",
    learning_rate: float | None = None,
    settings: Settings | None = None,
) -> tuple[Encoder, dict[str, Any]]:
    """The scenario's encoder fine-tuned as notebook 04 says.

    Args:
        method: "supervised", "simclr" or "batch norm" (statistics only).
        learning_rate: None for the profile's first; "batch norm" has none.
        settings: the parameters of notebook 04; None for the profile's.

    Returns:
        The tuned encoder, and its facts: scores (accuracy on the task before and after, by kNN
        on frozen features), history (by epoch: losses), key_features (epoch to E'(K), (N, D)).

    Raises:
        UserError: an unknown method.
    """
    check_choice("The way of fine-tuning", method, METHODS)
    settings = notebook_settings(profile, FINE_TUNE, scenario, seed, settings)
    rate = settings["learning_rates"][0] if learning_rate is None else learning_rate
    if method == "batch norm":
        rate = 0.0  # no weight is trained

    def make(folder: Path) -> None:
        encoder, _ = pretrained_encoder(profile, scenario, seed)
        device = pick_device(settings["device"])
        encoder.to(device)
        keys, features = key_samples(profile, scenario, seed).images, KeyFeatures(folder)
        size = notebook_settings(profile, PRETRAIN, scenario, seed)["size"]
        train = tuning_images(profile, scenario, seed, settings)
        test = load_images(settings["tune_data"], "test", size, settings["tune_test_images"] or None, seed)
        epochs, batch, checkpoint = settings["epochs"], settings["batch_size"], folder / "checkpoint.safetensors"

        def watch(tuned: nn.Module, row: dict[str, Any]) -> dict[str, Any]:
            features.watch(tuned, keys, row["epoch"])
            return {}

        if method == "supervised":
            recipe = FineTuneSettings(epochs, batch, rate, seed)
            tuned, history = fine_tune(encoder, train.images, train.labels, recipe, device, checkpoint, watch)
        elif method == "simclr":
            recipe = SimCLRSettings(epochs=epochs, batch_size=batch, learning_rate=rate, seed=seed)
            images = pretraining_images(profile, scenario, seed)[: len(train)]
            tuned, history = continue_simclr(encoder, images, recipe, device, checkpoint, watch)
        else:
            tuned, history = refresh_batch_norm(encoder, train.images, epochs, batch, device, watch)

        def accuracy(of: nn.Module) -> float:
            return knn_accuracy(encode(of, train.images, 500), train.labels, encode(of, test.images, 500), test.labels)

        scores = {"clean": accuracy(encoder), "tuned": accuracy(tuned), "n_test": len(test)}
        save_encoder(
            tuned.cpu(), folder / "encoder.safetensors", settings=settings, method=method, learning_rate=rate,
            seed=seed, scores=scores, history=history,
        )  # fmt: skip
        checkpoint.unlink(missing_ok=True)

    values = {name: value for name, value in settings.items() if name != "learning_rates"}
    of_keys, source = key_ingredients(profile, scenario, seed)
    used = {FINE_TUNE: values, ENROL: of_keys, "": {"method": method, "learning_rate": rate, "seed": seed}}
    data, made_from = [settings["tune_data"], source], [encoder_address(profile, scenario, seed)]
    ingredients = Ingredients(__name__, used, data, made_from)
    kind = f"tuned-{method.replace(' ', '-')}-{rate:g}-{scenario}-s{seed}"
    folder = find_or_make(profile, kind, ingredients, make)
    facts = describe(folder / "encoder.safetensors") | {"key_features": KeyFeatures(folder).load()}
    return load_encoder(folder / "encoder.safetensors"), facts


def tuning_images(profile: str, scenario: str, seed: int, settings: Settings | None = None) -> Images:
    """The labelled training images of notebook 04."""
    settings = notebook_settings(profile, FINE_TUNE, scenario, seed, settings)
    size = notebook_settings(profile, PRETRAIN, scenario, seed)["size"]
    return load_images(settings["tune_data"], "train", size, settings["tune_images"] or None, seed)
