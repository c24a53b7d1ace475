"""Generators of other seeds for the same encoder and keys."""

from collections.abc import Iterable
from pathlib import Path

from sslauth_utils.base import tensors
from sslauth_utils.base.device import pick_device
from sslauth_utils.models.features import normalise
from sslauth_utils.schemes.generator import OBJECTIVES, Generator, key_targets, train_generator
from sslauth_utils.study.profiles import ENROL, notebook_settings
from sslauth_utils.study.recipes.records import enrolled_record, record_ingredients
from sslauth_utils.study.store import Ingredients, find_or_make


def generators_of_seed(
    profile: str, scenario: str, seed: int, generator_seed: int, objectives: Iterable[str] = OBJECTIVES
) -> dict[str, Generator]:
    """Generators as the record's, with other initial weights and nothing else changed.

    Size, depth, steps and learning rate are those of notebook 02 in the profile; the features
    and keys are the record's, out of distribution.

    Args:
        profile, scenario, seed: which record.
        generator_seed: of the initial weights; the record's own seed gives the record's own generators.
        objectives: which of ini, max, min.

    Returns:
        Objective to generator, in eval mode on the CPU.
    """
    record, _ = enrolled_record(profile, scenario, seed)
    settings = notebook_settings(profile, ENROL, scenario, seed)
    size, depth = settings["generator_size"], settings["generator_depth"]
    made = {}
    for objective in objectives:
        if generator_seed == seed and objective in record.generators:
            made[objective] = record.generators[objective]
            continue
        if objective == "ini":  # nothing to train, so nothing to keep
            made[objective] = Generator(record.features.shape[1], size, depth, generator_seed).eval()
            continue

        def make(folder: Path, objective: str = objective) -> None:
            generator, history = train_generator(
                normalise(record.features), key_targets(record.keys, size), objective, settings["generator_steps"],
                size, depth, settings["generator_learning_rate"], generator_seed, pick_device(settings["device"]),
            )  # fmt: skip
            facts = {"config": generator.config, "objective": objective, "history": history}
            tensors.save(folder / "generator.safetensors", generator.state_dict(), facts)

        values = {"": {"objective": objective, "generator_seed": generator_seed}}
        ingredients = Ingredients(__name__, values, made_from=[record_ingredients(profile, scenario, seed).address])
        kind = f"generator-{objective}-g{generator_seed}-{scenario}-s{seed}"
        folder = find_or_make(profile, kind, ingredients, make)
        weights, facts = tensors.load(folder / "generator.safetensors")
        made[objective] = Generator(**facts["config"]).eval()
        made[objective].load_state_dict(weights)
    return made
