"""Every attack does what it claims and leaves the given encoder untouched; honest changes are honest."""

import math

import pytest
import torch
from torch import nn

from sslauth_utils.attacks.prune import prune
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.features import encode
from sslauth_utils.schemes.honest import honest_changes
from sslauth_utils.schemes.precision import round_features, truncate_features
from sslauth_utils.schemes.similarity import cosine, normalise


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build_encoder("resnet18", 4).eval()


@pytest.mark.parametrize("rate", [0, 0.01, 0.1, 0.5, 0.9, 1])
def test_pruning_zeroes_the_smallest_share_of_every_layer(encoder, rate):
    pruned = prune(encoder, rate)
    layers = 0
    for before, after in zip(encoder.modules(), pruned.modules(), strict=True):
        if isinstance(before, nn.Conv2d):
            layers += 1
            gone = (after.weight == 0) & (before.weight != 0)
            assert int(gone.sum()) == round(rate * before.weight.numel())
            assert torch.equal(after.weight[~gone], before.weight[~gone])
            if gone.any() and not gone.all():
                assert before.weight[gone].abs().max() <= before.weight[~gone].abs().min()
        elif isinstance(before, nn.BatchNorm2d):
            assert torch.equal(before.weight, after.weight)
    assert layers == 20


def test_pruning_leaves_the_given_encoder_untouched_and_can_take_batch_norm(encoder):
    before = encoder.sha256()
    pruned = prune(encoder.to(memory_format=torch.channels_last), 0.25, batch_norm=True)
    assert encoder.sha256() == before != pruned.sha256()
    assert all((m.weight == 0).sum() == round(0.25 * m.weight.numel()) for m in pruned.modules()
               if isinstance(m, nn.BatchNorm2d))
    assert set(pruned.state_dict()) == set(encoder.state_dict())


@pytest.mark.parametrize("rate", [-0.1, 1.1, 10])
def test_pruning_refuses_rates(encoder, rate):
    with pytest.raises(UserError, match=r"10 % is 0.1"):
        prune(encoder, rate)


def test_rounding_follows_its_closed_form():
    """Uniform errors of variance 10^(-2d)/12 on D dense numbers of a unit vector: 1 - cos = D 10^(-2d)/24."""
    vectors = normalise(torch.rand(200, 2048, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5)
    for decimals in (2, 3, 4):
        measured = (1 - cosine(vectors, round_features(vectors, decimals))).mean().item()
        assert measured == pytest.approx(2048 * 10 ** (-2 * decimals) / 24, rel=0.1)
        # cutting off shifts every number down: four times the mean square, most of it along the vector
        assert (1 - cosine(vectors, truncate_features(vectors, decimals))).mean().item() >= measured * 0.9


def test_rounding_and_truncating_by_example():
    features = torch.tensor([[0.126, -0.126, 0.004, 1.995]])
    assert round_features(features, 2).tolist()[0] == pytest.approx([0.13, -0.13, 0.0, 2.0], abs=0.006)
    assert truncate_features(features, 2).tolist()[0] == pytest.approx([0.12, -0.12, 0.0, 1.99])


@pytest.mark.parametrize("decimals", [-1, 1.5])
def test_precision_refuses_decimals(decimals):
    for function in (round_features, truncate_features):
        with pytest.raises(UserError, match="whole number from 0 on"):
            function(torch.zeros(1, 2), decimals)


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
