"""Enrolment (§4, Fig. 3): the trusted party makes its record of an encoder, once."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import encode, normalise
from sslauth_utils.schemes.generator import key_targets, train_generator
from sslauth_utils.schemes.record import Record, check_tau

#: "we have established a stringent similarity threshold of 99.5%" (§5.1)
PAPER_TAU = 0.995


def enrol(
    encoder: nn.Module,
    keys: Tensor,
    objectives: Iterable[str] = ("min",),
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
        keys: uint8 (N, 3, H, W), or float in [0, 1] that is then stored as uint8.
        objectives: which generators to train; () for DCmp alone, which takes no training.
        tau: similarity in (0, 1) that every key must exceed.
        size, depth, steps, learning_rate, seed: of the generators (`train_generator`).
        history: if given, the generators' training rows are appended.

    Raises:
        UserError: no keys, keys of another shape, tau out of range, or an encoder
            that gives NaN or no (N, D) tensor.
    """
    if keys.ndim != 4 or keys.shape[1] != 3 or len(keys) == 0:
        raise UserError(f"Key samples must have shape (N, 3, H, W) with N at least 1, not {tuple(keys.shape)}.")
    tau = check_tau(tau)
    if keys.dtype != torch.uint8:
        keys = (keys.clamp(0, 1) * 255).round().to(torch.uint8)
    features = encode(encoder, keys)
    targets = key_targets(keys, size)
    device = next(encoder.parameters(), features).device
    generators = {}
    for objective in objectives:
        generators[objective], rows = train_generator(
            normalise(features), targets, objective, steps, size, depth, learning_rate, seed, device
        )
        if history is not None:
            history += rows
    return Record(keys.cpu(), features, generators, tau, tensors.sha256_tensors(encoder.state_dict()), device)
