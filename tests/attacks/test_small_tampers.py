"""Tampers as small as one likes: noise, and part of the way to an attacked encoder."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

from sslauth_utils.attacks.noise import add_weight_noise
from sslauth_utils.attacks.part_way import part_way
from sslauth_utils.attacks.prune import prune
from sslauth_utils.attacks.prune_global import prune_globally
from sslauth_utils.attacks.quantise import quantise
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


@pytest.mark.parametrize("relative", [-0.1, 10, float("nan"), float("inf")])
def test_noise_refuses_sizes(encoder, relative):
    with pytest.raises(UserError, match=r"relative size is a share in \[0, 1\], not .*; 10 % is 0\.1"):
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
    with pytest.raises(UserError, match=r"The part of the way is a share in \[0, 1\], not 1\.5; 10 % is 0\.1"):
        part_way(encoder, encoder, 1.5)
    with pytest.raises(UserError, match="no way"):
        part_way(encoder, build_encoder("resnet18", 8), 0.5)


TAMPERS = {
    "prune": lambda model: prune(model, 0.5),
    "prune globally": lambda model: prune_globally(model, 0.5),
    "noise": lambda model: add_weight_noise(model, 0.5),
    "quantise": lambda model: quantise(model, 2),
    "quantise channels": lambda model: quantise(model, 2, per_channel=True),
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten())


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = list(network())

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def with_a_computed_tensor():
    model = network()
    model.cached = model[0].weight * 2
    return model


def with_every(change):
    model = network()
    for number in (0, 2):
        model[number] = change(model[number])
    return model


CANNOT = {
    "TorchScript": (lambda: torch.jit.script(network()), "shows no convolution and no linear layer"),
    "traced": (lambda: torch.jit.trace(network(), torch.rand(1, 3, 8, 8)), "shows no convolution and no linear layer"),
    "layers in a list": (InAList, "shows no convolution and no linear layer"),
    "no layers": (nn.Flatten, "shows no convolution and no linear layer"),
    "weight_norm": (lambda: with_every(parametrizations.weight_norm), "layer '0' are computed anew at each pass"),
    "spectral_norm": (lambda: with_every(parametrizations.spectral_norm), "layer '0' are computed anew"),
    "old weight_norm": (lambda: with_every(nn.utils.weight_norm), "layer '0' are computed anew"),
    "pruned by torch": (
        lambda: with_every(lambda layer: torch_prune.l1_unstructured(layer, "weight", 0.2)), "layer '0' are computed"
    ),
    "the layer itself": (lambda: nn.utils.weight_norm(nn.Linear(2, 2)), "weights of the layer are computed"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten()), "layer '0' are not there yet"),
    "a computed tensor": (with_a_computed_tensor, "cannot be copied"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("tamper", TAMPERS)
@pytest.mark.parametrize("kind", CANNOT)
def test_what_cannot_be_tampered_with_is_told(kind, tamper):
    make, message = CANNOT[kind]
    with pytest.raises(UserError, match=message):
        TAMPERS[tamper](make())


@pytest.mark.parametrize("tamper", TAMPERS)
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def test_convolutions_of_every_kind_are_tampered_with(kind, tamper):
    torch.manual_seed(0)
    layer = kind(3, 5, 2)
    changed = TAMPERS[tamper](layer)
    assert not torch.equal(changed.weight, layer.weight) and torch.equal(changed.bias, layer.bias)


def test_a_transposed_convolutions_channels_have_a_grid_each():
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, 5, 2)
    after = quantise(layer, 8, per_channel=True).weight
    for channel in range(5):
        step = layer.weight[:, channel].abs().max() / 127
        units = after[:, channel] / step
        assert torch.allclose(units, units.round(), atol=1e-3) and units.abs().max() > 126.9


@pytest.mark.parametrize("tamper", TAMPERS)
def test_a_tampered_copy_is_the_same_whatever_the_caller_has_switched_on(tamper):
    model = network()
    wanted = TAMPERS[tamper](model).state_dict()
    with torch.inference_mode(), torch.device("meta"):
        found = TAMPERS[tamper](model)
    assert not any(weight.is_inference() for weight in found.parameters())
    assert all(torch.equal(value, wanted[name]) for name, value in found.state_dict().items())


def test_weights_that_layers_share_get_the_noise_once():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 40))
    model[2].weight = model[0].weight
    noisy = add_weight_noise(model, 0.1)
    assert noisy[0].weight is noisy[2].weight
    moved, weight = (noisy[0].weight - model[0].weight).detach(), model[0].weight.detach()
    assert (moved.std() / weight.square().mean().sqrt()).item() == pytest.approx(0.1, rel=0.05)


SHARES = {
    "prune": lambda model, share: prune(model, share), "globally": lambda model, share: prune_globally(model, share),
    "noise": lambda model, share: add_weight_noise(model, share),
    "way": lambda model, share: part_way(model, model, share),
}  # fmt: skip


@pytest.mark.parametrize("share", ["0.1", None, True, 10, -0.1, math.nan, [0.1]], ids=str)
@pytest.mark.parametrize("tamper", SHARES.values(), ids=SHARES.keys())
def test_what_is_no_share_is_told(encoder, tamper, share):
    with pytest.raises(UserError, match=r"is a share in \[0, 1\], not .*; 10 % is 0\.1\."):
        tamper(encoder, share)


@pytest.mark.parametrize("tamper", SHARES.values(), ids=SHARES.keys())
def test_numpys_numbers_are_shares(encoder, tamper):
    def state(model):
        return [value.detach() for value in model.state_dict().values()]

    given = zip(state(tamper(encoder, np.float64(0.25))), state(tamper(encoder, 0.25)), strict=True)
    assert all(torch.equal(one, other) for one, other in given)


@pytest.mark.parametrize("seed", ["1", 1.5, None, True])
def test_the_noises_seed_is_a_whole_number(encoder, seed):
    with pytest.raises(UserError, match="The noise's seed must be a whole number"):
        add_weight_noise(encoder, 0.1, seed)
