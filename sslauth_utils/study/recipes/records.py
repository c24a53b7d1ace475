"""Records: the trusted party's keys, features and generators of a pre-trained encoder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sslauth_utils.base.device import pick_device
from sslauth_utils.base.files import read_json, write_json
from sslauth_utils.schemes.enrolment import enrol
from sslauth_utils.schemes.record import Record
from sslauth_utils.study.profiles import ENROL, Settings, notebook_settings
from sslauth_utils.study.recipes.encoders import encoder_address, pretrained_encoder
from sslauth_utils.study.recipes.keys import key_ingredients, key_samples
from sslauth_utils.study.store import Ingredients, find_or_make

#: parameters of notebook 02 that decide the generators and the verdict; the others decide the keys
_OURS = (
    "objectives", "tau", "generator_size", "generator_depth", "generator_steps", "generator_learning_rate", "device",
)  # fmt: skip


def enrolled_record(
    profile: str, scenario: str, seed: int, keys: str = "ood", settings: Settings | None = None
) -> tuple[Record, dict[str, Any]]:
    """The trusted party's record of the scenario's encoder.

    Args:
        profile, scenario, seed: which encoder.
        keys: which key samples (`recipes.keys.key_samples`).
        settings: the parameters of notebook 02; None for the profile's.

    Returns:
        The record and its facts: history (generator training), data and source (of the keys), labels, classes.

    Raises:
        UserError: `keys` names no key set.
    """
    settings = notebook_settings(profile, ENROL, scenario, seed, settings)

    def make(folder: Path) -> None:
        encoder, _ = pretrained_encoder(profile, scenario, seed)
        samples = key_samples(profile, scenario, seed, keys, settings)
        history: list[dict[str, Any]] = []
        record = enrol(
            encoder.to(pick_device(settings["device"])), samples.images, _objectives(keys, settings), settings["tau"],
            settings["generator_size"], settings["generator_depth"], settings["generator_steps"],
            settings["generator_learning_rate"], seed, history,
        )  # fmt: skip
        record.save(folder / "record.safetensors")
        facts = {
            "settings": settings, "keys": keys, "data": samples.name, "source": samples.source, "history": history,
            "labels": samples.labels.tolist(), "classes": samples.classes,
        }  # fmt: skip
        write_json(folder / "facts.json", facts)

    kind = f"record-{keys.replace(':', '')}-{scenario}-s{seed}"
    folder = find_or_make(profile, kind, record_ingredients(profile, scenario, seed, keys, settings), make)
    record = replace(Record.load(folder / "record.safetensors"), device=pick_device(settings["device"]))
    return record, read_json(folder / "facts.json")


def record_ingredients(
    profile: str, scenario: str, seed: int, keys: str = "ood", settings: Settings | None = None
) -> Ingredients:
    """What `enrolled_record` depends on."""
    settings = notebook_settings(profile, ENROL, scenario, seed, settings)
    values = {name: settings[name] for name in _OURS} | {"objectives": _objectives(keys, settings)}
    of_keys, source = key_ingredients(profile, scenario, seed, keys, settings)
    made_from = [encoder_address(profile, scenario, seed)]
    return Ingredients(__name__, {ENROL: values | of_keys, "": {"seed": seed}}, [source], made_from)


def _objectives(keys: str, settings: Settings) -> list[str]:
    """All generators for the keys of the paper's default; the others are verified by G_min alone."""
    return settings["objectives"] if keys == "ood" else ["min"]
