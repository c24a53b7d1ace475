"""G_min at several lengths of its training, of any depth and learning rate: what the generator's training is worth."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from sslauth_utils.base import tensors
from sslauth_utils.base.device import pick_device
from sslauth_utils.models.features import normalise
from sslauth_utils.schemes.generator import Generator, key_targets, train_generator
from sslauth_utils.study.profiles import ENROL, notebook_settings
from sslauth_utils.study.recipes.records import enrolled_record, record_ingredients
from sslauth_utils.study.store import Ingredients, find_or_make


def generators_by_steps(
    profile: str, scenario: str, seed: int, depth: int, steps: Sequence[int], learning_rate: float
) -> dict[int, Generator]:
    """One training of G_min on the record's keys, stopped at each of `steps`; the record's seed, its image size.

    Args:
        profile, scenario, seed: which record.
        depth: channels of every scale.
        steps: full-batch steps at which to keep the generator; 0 is the untrained one. The largest is the length.
        learning_rate: Adam's.

    Returns:
        Number of steps to generator, in eval mode on the CPU.
    """
    record, _ = enrolled_record(profile, scenario, seed)
    settings = notebook_settings(profile, ENROL, scenario, seed)
    size, wanted = settings["generator_size"], sorted(set(steps) - {0})

    def make(folder: Path) -> None:
        kept: dict[str, Tensor] = {}

        def watch(step: int, generator: Generator) -> None:
            if step in wanted:
                kept.update({f"{step}.{name}": weight.clone() for name, weight in generator.state_dict().items()})

        _, history = train_generator(
            normalise(record.features), key_targets(record.keys, size), "min", wanted[-1], size, depth, learning_rate,
            seed, pick_device(settings["device"]), watch,
        )  # fmt: skip
        tensors.save(folder / "generators.safetensors", kept, {"history": history})

    made = {0: Generator(record.features.shape[1], size, depth, seed).eval()} if 0 in steps else {}
    if not wanted:
        return made
    values = {"": {"depth": depth, "steps": wanted, "learning_rate": learning_rate}}
    ingredients = Ingredients(__name__, values, made_from=[record_ingredients(profile, scenario, seed).address])
    folder = find_or_make(profile, f"training-d{depth}-lr{learning_rate:g}-{scenario}-s{seed}", ingredients, make)
    weights, _ = tensors.load(folder / "generators.safetensors")
    for step in wanted:
        made[step] = Generator(record.features.shape[1], size, depth, seed).eval()
        start = f"{step}."
        made[step].load_state_dict({n.removeprefix(start): w for n, w in weights.items() if n.startswith(start)})
    return made
