"""Enrolment (§4, Fig. 3): the trusted party makes its record of an encoder, once."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslauth_utils.base.checks import check_choice, plain
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import as_pixels, encode, normalise, put_back, where_it_computes
from sslauth_utils.models.weights import known_sha256
from sslauth_utils.schemes.generator import OBJECTIVES, check_settings, key_targets, train_generator
from sslauth_utils.schemes.record import Record, check_tau
from sslauth_utils.schemes.similarity import cosine

#: "we have established a stringent similarity threshold of 99.5%" (§5.1)
PAPER_TAU = 0.995
#: how far the cosine of one key's features may lie from 1 between two honest runs
REPEATABLE = 1e-4
#: key samples in a batch when enrolment looks whether batches matter
OTHER_BATCH = 7


@torch.inference_mode(False)
def enrol(
    encoder: nn.Module,
    keys: Tensor | np.ndarray,
    objectives: Iterable[str] | str = ("min",),
    tau: float = PAPER_TAU,
    size: int = 32,
    depth: int = 64,
    steps: int = 300,
    learning_rate: float = 1e-3,
    seed: int = 0,
    history: list[dict[str, Any]] | None = None,
) -> Record:
    """Make the trusted party's record: "the selection of key samples", E(K), G and tau.

    Args:
        encoder: the original, trusted encoder.
        keys: uint8 (N, 3, H, W), other whole numbers from 0 to 255, or float in [0, 1] that is then stored as uint8.
        objectives: which generators to train, or the name of one; () for DCmp alone, which takes no training.
        tau: similarity in (0, 1) that every key must exceed.
        size, depth, steps, learning_rate, seed: of the generators (`train_generator`).
        history: if given, the generators' training rows are appended.

    Returns:
        The record. Its `encoder_sha256` is None if the encoder has no weights to hash (`sha256_weights`).

    Raises:
        UserError: no keys, keys of another shape, type or range or all the same, tau or a setting of the generators
            out of range, or an encoder that fails on the keys, gives NaN or no (N, D) tensor, gives nearly the same
            features for all keys, changes itself, is not deterministic, or gives features that depend on the other
            images in the batch.

    Warns:
        UserWarning: some keys are the same image; one vector sent for all keys would pass, in all or by Trans with one
            of the generators.
    """
    if history is not None and not isinstance(history, list):
        raise UserError(f"The history must be a list, to which rows are appended, not {type(history).__name__}.")
    keys = as_pixels(keys, "Key samples").clone()
    tau = check_tau(tau)
    try:
        objectives = (objectives,) if isinstance(objectives, str) else tuple(objectives)
    except TypeError as error:
        raise UserError(f"The objectives must be names of generators, not {objectives!r}; () takes none.") from error
    for objective in objectives:
        check_choice("A generator's objective", objective, OBJECTIVES)
    size, depth, steps, seed, learning_rate = map(plain, (size, depth, steps, seed, learning_rate))
    check_settings(size, depth, seed, steps, learning_rate)
    if keys.dtype != torch.uint8:
        keys = (keys.float() * 255).round().to(torch.uint8)
    with put_back(encoder) as changed:
        features = encode(encoder, keys)
        _check_keys_differ(keys)
        _check_tells_keys_apart(features)
        others = _answers_again(encoder, keys, features, tau)
    if changed:
        raise UserError(
            f"The encoder changes its own {changed[0]} when it runs, even in eval mode, so it cannot be verified; it "
            "was put back. If the first images set it, run the encoder once on yours; if all do, switch that off."
        )
    targets = key_targets(keys, size)
    device, _ = where_it_computes(encoder)
    generators = {}
    for objective in objectives:
        generators[objective], rows = train_generator(
            normalise(features), targets, objective, steps, size, depth, learning_rate, seed, device
        )
        if history is not None:
            history += rows
    record = Record(keys.cpu(), features, generators, tau, known_sha256(encoder), device)
    with plain_tensors():
        _check_accepts_intact(record, others)
        if warning := _warning_of_one_answer(record):
            warnings.warn(warning, stacklevel=3)  # at the caller of `enrol`, past its decorator
    return record


def _check_keys_differ(keys: Tensor) -> None:
    different = len(keys.unique(dim=0))
    if different == 1 < len(keys):
        raise UserError(f"All {len(keys)} key samples are the same image; choose different ones.")
    if different < len(keys):
        said = f"Only {different} of the {len(keys)} key samples are different images; choose others for the repeats."
        warnings.warn(said, stacklevel=4)  # at the caller of `enrol`, past its decorator


def _check_tells_keys_apart(features: Tensor) -> None:
    """Refuse features (N, D) that are zero, or of one direction, for all keys: any such encoder would pass."""
    if not features.any():
        raise UserError("The encoder gives zero features for all key samples; such a record tells no encoders apart.")
    directions = normalise(features.double())
    if len(features) > 1 and (directions - directions[0]).abs().max() <= 1e-6:
        raise UserError(
            f"The encoder gives the same features, up to scale, for all {len(features)} key samples; "
            "such a record tells no encoders apart."
        )


def _warning_of_one_answer(record: Record) -> str:
    """What to say if the features' mean direction, sent for all keys, passes: so would nearly any encoder; else ""."""
    one = normalise(normalise(record.features.double()).mean(dim=0, keepdim=True))
    count, tau = len(record.features), record.tau
    scores = record.similarities(one.expand_as(record.features))
    passing = [objective for objective, score in scores.items() if score.min() > tau]
    if count == 1 or not passing:
        return ""
    if len(passing) == len(scores):
        return (
            f"The encoder's features of the {count} key samples are so alike that one vector sent for all of them "
            f"passes at tau {tau:g}; such a record hardly tells encoders apart. Take a tau nearer to 1, subtract the "
            "features' mean, or choose more different keys."
        )
    blind = [objective for objective in passing if objective is not None]
    if not blind:
        return ""
    return (
        f"Trans with G_{blind[0]} accepts one vector sent for all {count} key samples at tau {tau:g}: the generator "
        "makes nearly one image of all features and hardly sees a tamper. Train it with a smaller learning rate, or "
        "for longer."
    )


def _check_accepts_intact(record: Record, others: dict[str, Tensor]) -> None:
    """Refuse an encoder that would fail itself: a generator magnifies what the cosine hardly shows."""
    for when, features in others.items():
        if (least := _least(record, features)) <= record.tau:
            raise UserError(
                f"The encoder answers the same key samples {when} so differently that it fails its own record "
                f"({least:.6f}, tau {record.tau:g}); switch off its dropout, masking or noise, and whatever looks "
                "across images."
            )


def _least(record: Record, features: Tensor) -> float:
    """The smallest similarity of a key in any scheme."""
    return min(score.min().item() for score in record.similarities(features).values())


def _answers_again(encoder: nn.Module, keys: Tensor, features: Tensor, tau: float) -> dict[str, Tensor]:
    """The features of the same keys a second time and among other images, by when; refused if they are others.

    Batch sizes alone move the cosine by some 1e-13 (ResNets in float32 on a CPU); `REPEATABLE` leaves room for 16 bits
    and other kernels. What moves it by more than tau allows would make the intact encoder fail.
    """
    allowed = min(REPEATABLE, 1 - tau)

    def moved(again: Tensor) -> float:
        return 1 - cosine(features, again).min().item()

    second = encode(encoder, keys)
    if (distance := moved(second)) > allowed:
        raise UserError(
            f"The encoder is not deterministic: the same key samples give features of cosine {1 - distance:.6f} the "
            "second time, so the intact encoder would fail; switch off its dropout, masking or noise."
        )
    others = torch.cat([255 - keys[:1], keys])  # one image more, so that every key has other neighbours
    among_others = encode(encoder, others, OTHER_BATCH)[1:]
    if (distance := moved(among_others)) > allowed:
        raise UserError(
            f"The encoder's features depend on the batch: in other batches they have cosine {1 - distance:.6f}, so the "
            "intact encoder could fail; give its batch norm running statistics, or whatever looks across images."
        )
    return {"a second time": second, "in other batches": among_others}
