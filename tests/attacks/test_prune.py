"""Pruning zeroes what it says and leaves the given encoder untouched."""

import pytest
import torch
from torch import nn

from sslauth_utils.attacks.prune import prune
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.encoders import build_encoder


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
    assert all(
        (m.weight == 0).sum() == round(0.25 * m.weight.numel())
        for m in pruned.modules()
        if isinstance(m, nn.BatchNorm2d)
    )
    assert set(pruned.state_dict()) == set(encoder.state_dict())


@pytest.mark.parametrize("rate", [-0.1, 1.1, 10])
def test_pruning_refuses_rates(encoder, rate):
    with pytest.raises(UserError, match=r"10 % is 0.1"):
        prune(encoder, rate)
