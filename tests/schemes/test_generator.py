"""The PGAN generator: its size, its arithmetic, and what its three objectives do."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.schemes import generator
from sslauth_utils.schemes.generator import Generator, key_targets, pixel_norm, train_generator
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


def test_images_and_gradients_equal_those_of_the_layers_written_out():
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
    found, weights = generator(z).double(), list(generator.parameters())
    assert torch.allclose(found, wanted, atol=1e-6)
    along = torch.rand(wanted.shape, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((images * along).sum(), weights) for images in (found, wanted))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5 * other.abs().max().item())


def test_output_range_and_blindness_to_scale():
    generator, features = Generator(24, 16, 8), torch.rand(5, 24)
    images = generator(features)
    assert images.shape == (5, 3, 16, 16) and images.min() >= 0 and images.max() <= 1
    assert torch.allclose(generator(7 * features), images, atol=1e-5)
    assert not torch.allclose(generator(features.flip(1)), images, atol=1e-3)


def test_pixel_norm_has_unit_mean_square():
    x = torch.randn(4, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(pixel_norm(x).square().mean(dim=1), torch.ones(4, 3, 3), atol=1e-4)


def activated(x):
    """Leaky ReLU and pixel norm, for autograd to go through."""
    y = torch.where(x > 0, x, 0.2 * x)
    return y / (y.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("dtype", "tolerance", "shape"),
    [
        (torch.float32, 1e-5, (3, 6, 4, 4)),
        (torch.float32, 1e-5, (2, 1, 3, 5)),
        (torch.float32, 1e-5, (1, 40, 1, 1)),
        (torch.bfloat16, 0.02, (3, 6, 4, 4)),
        (torch.bfloat16, 0.02, (1, 40, 1, 1)),
    ],
)
def test_the_activation_and_its_gradient_are_those_of_autograd(shape, dtype, tolerance, layout):
    draw = torch.Generator().manual_seed(1)
    x, gradient = (torch.randn(shape, generator=draw).to(dtype).contiguous(memory_format=layout) for _ in range(2))
    x[0, :, 0, 0] = -x[0, :, 0, 0].abs()  # a place where all channels are below 0
    ours, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    found, wanted = generator._Activation.apply(ours), activated(theirs)
    found.backward(gradient)
    wanted.backward(gradient.double())
    for one, other in ((found, wanted), (ours.grad, theirs.grad)):
        assert one.dtype == dtype
        assert torch.allclose(one.double(), other, atol=tolerance * max(1, other.abs().max().item()))
    assert torch.equal(ours.detach(), x), "the input is left alone"


def test_the_activation_of_nothing_has_no_gradient():
    x = torch.zeros(2, 4, 3, 3, requires_grad=True)
    generator._Activation.apply(x).sum().backward()
    plain = torch.zeros(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    activated(plain).sum().backward()
    assert torch.allclose(x.grad.double(), plain.grad) and torch.isfinite(x.grad).all()


def test_gradients_of_a_whole_generator_are_those_of_the_layers_written_out(features_and_keys):
    """In float32 as trained, by differences: a step along the gradient changes the loss as much as it says."""
    features, keys = features_and_keys
    model = Generator(24, 16, 8, seed=2)

    def loss():
        return ssim(model(features), keys, data_range=1.0).mean()

    loss().backward()
    for name in ("format.module.weight", "first.module.weight", "scales.1.0.module.bias", "to_rgb.module.weight"):
        parameter = model.get_parameter(name)
        step = 1e-2 * parameter.grad / parameter.grad.norm()
        with torch.no_grad():
            parameter += step
            above = loss()
            parameter -= 2 * step
            below = loss()
            parameter += step
        assert (above - below).item() == pytest.approx(2e-2 * parameter.grad.norm().item(), rel=0.02), name


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


def test_targets_of_the_right_size_are_the_pixels():
    keys = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(key_targets(keys, 16), keys.float() / 255)
    assert key_targets(keys, 8).shape == (2, 3, 8, 8)


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


def test_who_watches_a_training_sees_the_generator_of_every_step(features_and_keys):
    seen = {}
    watch = lambda step, trained: seen.update({step: {n: w.clone() for n, w in trained.state_dict().items()}})  # noqa: E731
    long, _ = train_generator(*features_and_keys, "min", 3, 16, 4, watch=watch)
    short, _ = train_generator(*features_and_keys, "min", 2, 16, 4)
    assert list(seen) == [1, 2, 3]
    for step, made in ((2, short), (3, long)):
        assert all(torch.equal(weights, seen[step][name]) for name, weights in made.state_dict().items())
