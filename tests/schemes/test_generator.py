"""The PGAN generator: its size, its arithmetic, and what its three objectives do."""

from itertools import pairwise

import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.schemes.generator import Generator, pixel_norm, train_generator
from sslauth_utils.schemes.similarity import ssim


def parameter_count(latent: int, depths: Sequence[int]) -> int:
    """Parameters of a PGAN generator in closed form, for checking the built one.

    Args:
        latent: input width.
        depths: channels at 4, 8, 16, ... pixels.
    """
    first = depths[0]
    count = latent * 16 * first + 16 * first + 9 * first * first + first
    for before, after in pairwise(depths):
        count += 9 * before * after + after + 9 * after * after + after
    return count + 3 * depths[-1] + 3


@pytest.fixture(scope="module")
def features_and_keys():
    draw = torch.Generator().manual_seed(0)
    return torch.rand(16, 24, generator=draw), torch.rand(16, 3, 16, 16, generator=draw)


@pytest.mark.parametrize(
    ("latent", "size", "depth", "millions"),
    # the reference PGAN generator with its default depths, which are all `depth` up to 32 pixels
    [(512, 32, 512, 20.7), (2048, 32, 512, 33.3), (512, 32, 128, 2.1), (512, 32, 64, 0.78)],
)
def test_parameter_count_is_the_reference_generator_s(latent, size, depth, millions):
    with torch.device("meta"):
        built = sum(p.numel() for p in Generator(latent, size, depth).parameters())
    assert built == parameter_count(latent, [depth] * 4)
    assert built / 1e6 == pytest.approx(millions, rel=0.02)


def test_forward_equals_the_layers_written_out():
    generator = Generator(6, 8, 4, seed=3).double()
    z = torch.rand(2, 6, dtype=torch.float64)

    def norm(x):
        return x / (x.pow(2).mean(1, keepdim=True) + 1e-8).sqrt()

    def act(x):
        return torch.where(x > 0, x, 0.2 * x)

    def layer(module, x):
        weight, bias = module.module.weight, module.module.bias
        scale = (2 / weight[0].numel()) ** 0.5
        out = x @ weight.T if weight.ndim == 2 else torch.nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return scale * (out + (bias if weight.ndim == 2 else bias.view(1, -1, 1, 1)))

    for parameter in generator.parameters():  # biases start at zero: make them count
        parameter.data += 0.1
    x = norm(act(layer(generator.format, norm(z)).view(2, 4, 4, 4)))
    x = norm(act(layer(generator.first, x)))
    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    for convolution in generator.scales[0]:
        x = norm(act(layer(convolution, x)))
    wanted = (torch.tanh(layer(generator.to_rgb, x)) + 1) / 2
    assert torch.allclose(generator(z).double(), wanted, atol=1e-6)


def test_output_range_and_blindness_to_scale():
    generator, features = Generator(24, 16, 8), torch.rand(5, 24)
    images = generator(features)
    assert images.shape == (5, 3, 16, 16) and images.min() >= 0 and images.max() <= 1
    assert torch.allclose(generator(7 * features), images, atol=1e-5)
    assert not torch.allclose(generator(features.flip(1)), images, atol=1e-3)


def test_pixel_norm_has_unit_mean_square():
    x = torch.randn(4, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(pixel_norm(x).square().mean(dim=1), torch.ones(4, 3, 3), atol=1e-4)


def test_same_seed_same_weights_and_global_randomness_untouched():
    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = Generator(8, 8, 4, seed=1), Generator(8, 8, 4, seed=1), Generator(8, 8, 4, seed=2)
    assert torch.equal(torch.rand(3), before)
    assert torch.equal(one.format.module.weight, two.format.module.weight)
    assert not torch.equal(one.format.module.weight, other.format.module.weight)


def test_objectives_move_ssim_in_their_direction(features_and_keys):
    features, keys = features_and_keys
    scores = {}
    for objective in ("ini", "max", "min"):
        generator, history = train_generator(features, keys, objective, 40, size=16, depth=8)
        scores[objective] = ssim(generator(features), keys, data_range=1.0).mean().item()
        assert len(history) == (0 if objective == "ini" else 40)
    assert scores["max"] > scores["ini"] + 0.02 > scores["min"] + 0.04


def test_g_ini_is_the_start_of_the_others(features_and_keys):
    features, keys = features_and_keys
    initial, _ = train_generator(features, keys, "ini", 5, size=16, depth=8, seed=4)
    _, history = train_generator(features, keys, "min", 1, size=16, depth=8, seed=4)
    assert history[0]["ssim"] == pytest.approx(ssim(initial(features), keys, data_range=1.0).mean().item(), abs=5e-3)


@pytest.mark.parametrize("size", [0, 3, 12, 33])
def test_refuses_sizes(size):
    with pytest.raises(UserError, match="side 4, 8, 16"):
        Generator(8, size, 4)


def test_refuses_other_features(features_and_keys):
    features, keys = features_and_keys
    with pytest.raises(UserError, match="enrolled with another encoder"):
        Generator(8, 8, 4)(torch.rand(2, 9))
    with pytest.raises(UserError, match="Unknown generator objective"):
        train_generator(features, keys, "median", 1, size=16, depth=4)
    with pytest.raises(UserError, match="needs keys of shape"):
        train_generator(features, keys, "min", 1, size=32, depth=4)
