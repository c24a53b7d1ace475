"""Tampers as small as one likes: noise, and part of the way to an attacked encoder."""

import pytest
import torch
from torch import nn

from sslauth_utils.attacks.noise import add_weight_noise
from sslauth_utils.attacks.part_way import part_way
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.encoders import build_encoder


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build_encoder("resnet18", 4).eval()


def test_noise_has_the_size_asked_for_in_every_layer_and_no_other_place(encoder):
    before = encoder.sha256()
    noisy = add_weight_noise(encoder, 0.1, seed=3)
    assert encoder.sha256() == before
    for was, now in zip(encoder.modules(), noisy.modules(), strict=True):
        if isinstance(was, nn.Conv2d):
            size = (now.weight - was.weight).square().mean().sqrt() / was.weight.square().mean().sqrt()
            assert size.item() == pytest.approx(0.1, rel=0.4), "few weights in the smallest layer"
        elif isinstance(was, nn.BatchNorm2d):
            assert torch.equal(was.weight, now.weight) and torch.equal(was.running_var, now.running_var)


def test_the_same_seed_is_the_same_direction_and_another_is_another(encoder):
    def change(relative, seed):
        return add_weight_noise(encoder, relative, seed).state_dict()["backbone.conv1.weight"] - start

    start = encoder.state_dict()["backbone.conv1.weight"]
    assert torch.allclose(change(0.2, 0), 2 * change(0.1, 0), atol=1e-6)
    assert not torch.allclose(change(0.1, 0), change(0.1, 1), atol=1e-3)
    assert torch.equal(change(0, 0), torch.zeros_like(start))


@pytest.mark.parametrize("relative", [-0.1, float("nan"), float("inf")])
def test_noise_refuses_sizes(encoder, relative):
    with pytest.raises(UserError, match="from 0 on"):
        add_weight_noise(encoder, relative)


def test_the_way_begins_at_the_encoder_and_ends_at_the_tampered_one(encoder):
    torch.manual_seed(1)
    tampered = build_encoder("resnet18", 4).eval()
    before, after = encoder.sha256(), tampered.sha256()
    assert part_way(encoder, tampered, 0).sha256() == before
    assert part_way(encoder, tampered, 1).sha256() == after
    quarter = part_way(encoder, tampered, 0.25).state_dict()
    for name, weight in encoder.state_dict().items():
        if weight.is_floating_point():
            assert torch.allclose(quarter[name], 0.75 * weight + 0.25 * tampered.state_dict()[name], atol=1e-6)
    assert (encoder.sha256(), tampered.sha256()) == (before, after)


def test_the_way_refuses_other_shares_and_other_architectures(encoder):
    with pytest.raises(UserError, match="number in \\[0, 1\\]"):
        part_way(encoder, encoder, 1.5)
    with pytest.raises(UserError, match="no way"):
        part_way(encoder, build_encoder("resnet18", 8), 0.5)
