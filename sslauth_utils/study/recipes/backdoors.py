"""Backdoored encoders, plain and disguised."""

from pathlib import Path
from typing import Any

from torch import nn

from sslauth_utils.attacks.backdoor import BackdoorSettings, backdoor
from sslauth_utils.base.device import pick_device
from sslauth_utils.base.tensors import describe
from sslauth_utils.models.encoders import Encoder, load_encoder, save_encoder
from sslauth_utils.models.features import encode
from sslauth_utils.models.heads import predict
from sslauth_utils.study.profiles import BACKDOOR, ENROL, Settings, notebook_settings
from sslauth_utils.study.recipes.encoders import encoder_address, pretrained_encoder
from sslauth_utils.study.recipes.keys import KeyFeatures, key_ingredients, key_samples, overlapping
from sslauth_utils.study.recipes.shadow import shadow_images
from sslauth_utils.study.recipes.tasks import clean_task, downstream_task, task_ingredients
from sslauth_utils.study.store import Ingredients, find_or_make


def backdoored_encoder(
    profile: str, scenario: str, seed: int, target: str, imitation: float = 0.0, settings: Settings | None = None
) -> tuple[Encoder, dict[str, Any]]:
    """The scenario's encoder with a backdoor for `target`, by the recipe of notebook 06.

    Args:
        imitation: lambda of eq. 6; above 0 the adversary knows the record's key samples.
        settings: the parameters of notebook 06; None for the profile's.

    Returns:
        The tampered encoder, and its facts: scores (`DownstreamTask.score` with a classifier
        trained on this encoder, as a user would), history (by epoch: losses, and scores of the classifier that was
        trained on the clean encoder, as nobody trains one an epoch), key_features (epoch to E'(K), (N, D)),
        n_references, references_as_target (share of them that the user's classifier takes for the target), overlap (key
        samples that are shadow images too).
    """
    settings = notebook_settings(profile, BACKDOOR, scenario, seed, settings)
    names = ("epochs", "batch_size", "learning_rate", "momentum", "weight_decay", "lambda1", "lambda2", "schedule",
             "shared_rate")  # fmt: skip
    recipe = BackdoorSettings(**{name: settings[name] for name in names}, imitation=float(imitation), seed=seed)

    def make(folder: Path) -> None:
        encoder, _ = pretrained_encoder(profile, scenario, seed)
        device = pick_device(settings["device"])
        encoder.to(device)
        keys = key_samples(profile, scenario, seed).images
        task = downstream_task(profile, scenario, seed, target, settings)
        shadow = shadow_images(profile, scenario, seed, settings)
        references = task.references(encoder, settings["references"])
        classifier, _ = clean_task(profile, scenario, seed, target, settings)
        features = KeyFeatures(folder)

        def watch(tampered: nn.Module, row: dict[str, Any]) -> dict[str, Any]:
            features.watch(tampered, keys, row["epoch"])
            return {"scores": task.score(tampered, classifier)}

        checkpoint = folder / "checkpoint.safetensors"
        tampered, history = backdoor(
            encoder, shadow, references, task.trigger, recipe, device, keys if imitation else None, checkpoint, watch
        )
        victims = task.fit(tampered)
        scores = task.score(tampered, victims)
        taken = predict(victims, encode(tampered, references)) == task.target
        save_encoder(
            tampered.cpu(), folder / "encoder.safetensors", settings=settings, target=target, imitation=imitation,
            seed=seed, scores=scores, history=history, n_references=len(references),
            references_as_target=taken.double().mean().item(), overlap=overlapping(keys, shadow),
        )  # fmt: skip
        checkpoint.unlink(missing_ok=True)

    values = {name: settings[name] for name in (*names, "shadow_images", "device")}
    of_keys, source = key_ingredients(profile, scenario, seed)
    made_from = [
        encoder_address(profile, scenario, seed),
        task_ingredients(profile, scenario, seed, target, settings).address,
    ]
    which = {"imitation": float(imitation), "seed": seed}
    ingredients = Ingredients(__name__, {BACKDOOR: values, ENROL: of_keys, "": which}, [source], made_from)
    folder = find_or_make(profile, f"backdoor-{target}-{imitation:g}-{scenario}-s{seed}", ingredients, make)
    facts = describe(folder / "encoder.safetensors") | {"key_features": KeyFeatures(folder).load()}
    return load_encoder(folder / "encoder.safetensors"), facts
