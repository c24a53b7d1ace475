"""Generators of other seeds for the same encoder and keys: trained once, then found (see `artifacts`)."""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from sslauth_utils import tensors
from sslauth_utils.artifacts import ENROL, enrolled_record, find_or_make, notebook_settings, record_address
from sslauth_utils.device import pick_device
from sslauth_utils.files import sha256_json
from sslauth_utils.fingerprint import module_fingerprint
from sslauth_utils.generator import OBJECTIVES, Generator, train_generator
from sslauth_utils.similarity import normalise


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
    settings = notebook_settings(profile, ENROL, scenario, seed, None)
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

        code = module_fingerprint("sslauth_utils.generator_seeds")
        address = sha256_json([record_address(profile, scenario, seed), objective, generator_seed, code])
        kind = f"generator-{objective}-g{generator_seed}-{scenario}-s{seed}"
        folder = find_or_make(profile, kind, address, make)
        weights, facts = tensors.load(folder / "generator.safetensors")
        made[objective] = Generator(**facts["config"]).eval()
        made[objective].load_state_dict(weights)
    return made


def key_targets(keys: Tensor, size: int) -> Tensor:
    """The keys as a generator sees them in training: float in [0, 1], (N, 3, size, size).

    Args:
        keys: uint8 (N, 3, H, W); resized as `verification.enrol` does.
    """
    images = keys.float() / 255
    if images.shape[-2:] != (size, size):
        images = functional.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return images


def correlations(images: Tensor, keys: Tensor) -> Tensor:
    """Pearson correlation of every image with every key, over all pixels and channels.

    Args:
        images, keys: float (N, C, H, W) and (M, C, H, W) of one size.

    Returns:
        float64 (N, M); the diagonal has each image with its own key, -1 for the exact negative.
        A flat image correlates with nothing: 0.
    """

    def standard(batch: Tensor) -> Tensor:
        flat = batch.double().flatten(1)
        return functional.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)

    return standard(images) @ standard(keys).T
