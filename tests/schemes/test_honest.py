"""Honest changes are small and leave the encoder alone."""

import math

import torch

from sslauth_utils.models.features import encode
from sslauth_utils.schemes.honest import honest_changes
from sslauth_utils.schemes.similarity import cosine


def test_honest_changes_are_small_and_leave_the_encoder_alone(encoder):
    keys = torch.randint(0, 256, (9, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    before, reference = encoder.sha256(), encode(encoder, keys)
    losses, hashes = {}, {}
    for change in honest_changes(encoder, [1, 4, 9], 2, [1, 3]):
        losses[change.kind, change.name, change.strength] = 1 - cosine(reference, change.respond(keys)).min().item()
        hashes[change.kind, change.name, change.strength] = change.weights_sha256
    assert encoder.sha256() == before
    assert {kind for kind, _, _ in losses} == {"run", "cast", "upload"}
    for (kind, _, _), loss in losses.items():
        assert math.isfinite(loss) and loss < {"run": 1e-9, "cast": 0.01, "upload": 0.5}[kind]
    assert losses["run", "repeated run", "1"] == 0
    assert losses["cast", "weights stored as", "bfloat16"] > losses["cast", "weights stored as", "float16"] > 0
    assert losses["upload", "rounded to decimals", "1"] > losses["upload", "rounded to decimals", "3"] > 0
    assert all((sha == before) == (kind != "cast") for (kind, _, _), sha in hashes.items())
