"""Vector mappers: each against its written-out arithmetic, and the amplification that theory gives it."""

import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import normalise
from sslauth_utils.schemes import mappers
from sslauth_utils.schemes.generator import Generator
from sslauth_utils.schemes.similarity import cosine


@pytest.fixture(scope="module")
def features():
    """Non-negative features with much in common, as an encoder with a last ReLU gives them, and the same, tampered."""
    draw = torch.Generator().manual_seed(0)
    before = torch.rand(40, 64, generator=draw) + 0.5
    return before, before + 0.01 * torch.randn(40, 64, generator=draw)


def kappa(mapper, before, after):
    """(1 - similarity after the map) / (1 - cos), one a key."""
    return (1 - mappers.similarity_after(mapper, before, after)) / (1 - cosine(before, after))


def all_mappers(before):
    generator = Generator(64, 16, 4, seed=1).eval()
    targets = mappers.projected_keys(torch.rand(40, 3, 16, 16), 32)
    return {
        "linear": (mappers.linear(64, 48), 48),
        "format": (mappers.format_layer(64, 32), 32),
        "format of a generator": (mappers.FormatLayer(generator), 64),
        "mlp": (mappers.train_mlp(normalise(before), targets, 3)[0], 32),
        "centred": (mappers.centred(before), 64),
        "pixels": (mappers.images_of(generator, centre=False), 3 * 16 * 16),
        "correlation": (mappers.images_of(generator, centre=True), 3 * 16 * 16),
    }


@pytest.mark.parametrize("name", all_mappers(torch.rand(40, 64)))
def test_every_mapper_gives_its_width_passes_the_intact_and_ignores_scale(name, features):
    mapper, width = all_mappers(features[0])[name]
    assert mapper(normalise(features[0])).shape == (40, width)
    same = mappers.similarity_after(mapper, features[0], 3 * features[0])
    assert same.dtype == torch.float64 and same.shape == (40,)
    assert same.min() > 1 - 1e-9
    assert mappers.similarity_after(mapper, *features).max() < 1 - 1e-7, "a change must show"


@pytest.mark.parametrize("make", [mappers.linear, mappers.format_layer, lambda w, d, s: mappers.TwoLayers(w, 8, d, s)])
def test_a_seed_fixes_the_weights_and_leaves_the_global_generator_alone(make):
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = make(8, 16, 3), make(8, 16, 3), make(8, 16, 4)
    assert torch.rand(1) == wanted
    z = torch.rand(2, 8)
    assert torch.equal(one(z), same(z)) and not torch.equal(one(z), other(z))


def test_a_random_linear_map_keeps_cosines_on_average(features):
    # one change, many maps: mean (d - 1) / (d - 2), standard deviation about 2 / sqrt(d)
    before, after = (f[:1] for f in features)
    for dimension in (64, 256):
        drawn = torch.stack([kappa(mappers.linear(64, dimension, seed), before, after)[0] for seed in range(400)])
        spread = 2 / dimension**0.5
        assert drawn.mean() == pytest.approx((dimension - 1) / (dimension - 2), abs=4 * spread / 20)
        assert drawn.std() == pytest.approx(spread, rel=0.3)


def test_a_random_format_layer_keeps_them_too(features):
    drawn = torch.stack([kappa(mappers.format_layer(64, 2048, seed), *features).mean() for seed in range(10)])
    assert drawn.mean() == pytest.approx(1, abs=0.1)


def test_taking_the_mean_off_magnifies_by_what_is_lost_of_the_length(features):
    before, after = features
    v = normalise(before)
    lost = 1 / (v - v.mean(dim=0)).square().sum(dim=1)
    assert kappa(mappers.centred(before), before, after).mean() == pytest.approx(lost.double().mean().item(), rel=0.2)
    assert lost.mean() > 5, "these features were to have much in common"


def test_format_layer_written_out():
    generator = Generator(6, 16, 3, seed=2)
    v = torch.rand(2, 6)
    weight, scale = generator.format.module.weight, (2 / 6) ** 0.5

    def norm(x):
        return x / (x.pow(2).mean(1, keepdim=True) + 1e-8).sqrt()

    x = scale * norm(v) @ weight.T
    wanted = norm(torch.where(x > 0, x, 0.2 * x).view(2, 3, 4, 4)).flatten(1)
    assert torch.allclose(mappers.FormatLayer(generator)(v), wanted, atol=1e-5)


def test_format_layer_of_the_generator_s_width_has_its_weights_at_that_seed():
    v = torch.rand(3, 6)
    assert torch.equal(mappers.format_layer(6, 48, 7)(v), mappers.FormatLayer(Generator(6, 32, 3, seed=7))(v))


def test_targets_are_the_centred_pixels_projected():
    keys = torch.rand(4, 3, 8, 8)
    weight = mappers.linear(192, 20, 9).weight
    flat = keys.flatten(1)
    wanted = (flat - flat.mean(dim=1, keepdim=True)) @ weight.T
    assert torch.allclose(mappers.projected_keys(keys, 20, 9), wanted, atol=1e-5)
    assert torch.allclose(mappers.projected_keys(0.5 * keys + 0.2, 20, 9), 0.5 * wanted, atol=1e-5)


def test_training_turns_the_mapper_away_from_every_target(features):
    before = normalise(features[0])
    targets = mappers.projected_keys(torch.rand(40, 3, 8, 8), 24)
    mapper, history = mappers.train_mlp(before, targets, 60)
    assert len(history) == 60 and abs(history[0]) < 0.3
    reached = cosine(mapper(before).detach(), targets)
    assert reached.max() < -0.8 and history[-1] == pytest.approx(reached.mean().item(), abs=0.05)
    assert not mapper.training
    again, same = mappers.train_mlp(before, targets, 60)
    assert same == history and torch.equal(again(before), mapper(before))


def test_correlation_of_images_is_pearson_s(features):
    generator = Generator(64, 16, 4, seed=1).eval()
    before, after = (normalise(f) for f in features)
    found = mappers.similarity_after(mappers.images_of(generator, centre=True), before, after)
    pairs = zip(generator(before).detach(), generator(after).detach(), strict=True)
    wanted = [torch.corrcoef(torch.stack([a.double().flatten(), b.double().flatten()]))[0, 1] for a, b in pairs]
    assert torch.allclose(found, torch.stack(wanted), atol=1e-6)
    assert (found < mappers.similarity_after(mappers.images_of(generator, centre=False), before, after)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mappers.linear(0, 4), "widths of at least 1, not 0 and 4"),
        (lambda: mappers.linear(4, 0), "widths of at least 1, not 4 and 0"),
        (lambda: mappers.format_layer(0, 16), "widths of at least 1"),
        (lambda: mappers.format_layer(8, 100), "multiple of 16 numbers, not 100"),
        (lambda: mappers.train_mlp(torch.rand(3, 4), torch.rand(2, 4), 1), "one target a feature"),
        (lambda: mappers.train_mlp(torch.rand(3, 4), torch.rand(3, 4, 4), 1), "one target a feature"),
        (lambda: mappers.train_mlp(torch.rand(3, 4), torch.rand(3, 4), 0), "at least one step, not 0"),
        (lambda: mappers.train_mlp(torch.full((3, 4), torch.nan), torch.rand(3, 4), 1), "not finite at step 0"),
        (lambda: mappers.centred(torch.rand(1, 4)), "at least two key samples"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(UserError, match=message):
        make()
