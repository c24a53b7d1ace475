"""Pre-trained encoders."""

from pathlib import Path
from typing import Any

from sslauth_utils.base.device import pick_device
from sslauth_utils.base.files import sha256_json
from sslauth_utils.base.seeds import seeded
from sslauth_utils.base.tensors import describe, read_safetensors
from sslauth_utils.images.identity import weights_path, weights_sha256
from sslauth_utils.images.load import load_images
from sslauth_utils.models import simclr
from sslauth_utils.models.encoders import (
    PIXEL_STATS,
    Encoder,
    build_encoder,
    library_encoder,
    load_encoder,
    load_weights,
    save_encoder,
)
from sslauth_utils.study.profiles import PRETRAIN, Settings, notebook_settings
from sslauth_utils.study.store import Ingredients, find_or_make


def pretrained_encoder(
    profile: str, scenario: str, seed: int, settings: Settings | None = None
) -> tuple[Encoder, dict[str, Any]]:
    """The scenario's encoder, pre-trained by SimCLR or taken from a file, and what is known of it.

    Args:
        profile, scenario, seed: which one.
        settings: the parameters of notebook 01; None for the profile's.

    Returns:
        The encoder in eval mode on the CPU, and its facts: settings, data, history (loss by epoch), weights_sha256.
        How good it is says `recipes.accuracies`.
    """
    settings = notebook_settings(profile, PRETRAIN, scenario, seed, settings)

    def make(folder: Path) -> None:
        device = pick_device(settings["device"])
        train = load_images(
            settings["pretrain_data"], "train", settings["size"], settings["pretrain_images"] or None, seed
        )
        encoder = untrained_encoder(settings, scenario, seed).to(device)
        history = []
        if settings["weights_file"]:
            path = weights_path(settings["weights_file"])
            load_weights(encoder, read_safetensors(path), str(path))
        else:
            checkpoint = folder / "checkpoint.safetensors"
            history = simclr.pretrain(encoder, train.images, _recipe(settings, seed), device, checkpoint)
            checkpoint.unlink(missing_ok=True)
        save_encoder(
            encoder.cpu().eval(), folder / "encoder.safetensors", settings=settings, seed=seed, history=history,
            data={"name": train.name, "source": train.source, "train": len(train.images)},
        )  # fmt: skip

    folder = find_or_make(profile, f"encoder-{scenario}-s{seed}", encoder_ingredients(scenario, seed, settings), make)
    return load_encoder(folder / "encoder.safetensors"), describe(folder / "encoder.safetensors")


def untrained_encoder(settings: Settings, scenario: str, seed: int) -> Encoder:
    """The network of notebook 01's `settings` with its random initial weights.

    Each scenario draws its own: encoders that start from the same weights keep features in common (centred cosine .4
    where strangers have .0), and could not serve as strangers to each other.
    """
    stats = PIXEL_STATS[settings["pixel_stats"]]
    with seeded(int(sha256_json([scenario, seed])[:8], 16)):
        if ":" in settings["arch"]:
            return library_encoder(settings["arch"], settings["size"], *stats)
        return build_encoder(settings["arch"], settings["width"], settings["stem"], *stats)


def encoder_ingredients(scenario: str, seed: int, settings: Settings) -> Ingredients:
    """What `pretrained_encoder` depends on; which images it is tested on is no part of it."""
    values = {name: value for name, value in settings.items() if name != "test_images"}
    which = {"scenario": scenario, "seed": seed}
    if settings["weights_file"]:
        which["weights_sha256"] = weights_sha256(settings["weights_file"])
    return Ingredients(__name__, {PRETRAIN: values, "": which}, [settings["pretrain_data"]])


def encoder_address(profile: str, scenario: str, seed: int) -> str:
    """The address of the profile's own encoder, for what is made from it."""
    return encoder_ingredients(scenario, seed, notebook_settings(profile, PRETRAIN, scenario, seed)).address


def _recipe(settings: Settings, seed: int) -> simclr.SimCLRSettings:
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "temperature", "schedule")
    return simclr.SimCLRSettings(**{name: settings[name] for name in names}, seed=seed)
