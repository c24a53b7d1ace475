"""Every step against torchvision's on each image alone; every sampler against its distribution."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_2samp, kstest
from torchvision.transforms import ColorJitter, RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from sslauth_utils.images import augment


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


@pytest.fixture
def pictures(generator):
    """Unrelated pictures: smooth, noisy, grey, one-coloured, black, white."""
    noise = torch.randint(0, 256, (8, 3, 32, 32), generator=generator, dtype=torch.uint8)
    coarse = torch.rand(8, 3, 4, 4, generator=generator)
    smooth = (torch.nn.functional.interpolate(coarse, 32, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)
    grey = noise[:1, :1].expand(1, 3, 32, 32)
    flat = torch.tensor([[200, 30, 90], [0, 0, 0], [255, 255, 255]], dtype=torch.uint8)[:, :, None, None]
    return torch.cat([noise, smooth, grey, flat.expand(3, 3, 32, 32)])


@pytest.fixture
def floats(pictures):
    return pictures.float() / 255


def one_by_one(function, images, *parameters):
    return torch.stack([function(image, *(p[i] for p in parameters)) for i, image in enumerate(images)])


# --- deterministic functions ---------------------------------------------------------------------


@pytest.mark.parametrize("antialias", [True, False])
def test_crop_equals_torchvision_image_by_image(floats, generator, antialias):
    boxes = augment.sample_boxes(len(floats), 32, 32, 0.08, generator)
    expected = one_by_one(lambda x, b: tv.resized_crop(x, *b.tolist(), [32, 32], antialias=antialias), floats, boxes)
    assert torch.allclose(augment.crop(floats, boxes), expected, atol=2e-6)


def test_crop_of_stored_pixels_equals_crop_of_floats(pictures, floats, generator):
    boxes = augment.sample_boxes(len(floats), 32, 32, 0.08, generator)
    assert torch.allclose(augment.crop(pictures, boxes), augment.crop(floats, boxes), atol=2e-6)


def test_crop_keeps_pixels_outside_the_box_out():
    image = torch.zeros(1, 3, 32, 32)
    image[:, :, 8:16, 10:20] = 1
    assert torch.equal(augment.crop(image, torch.tensor([[8, 10, 8, 10]])), torch.ones(1, 3, 32, 32))


def test_crop_of_an_image_that_is_not_square(generator):
    images = torch.rand(6, 3, 24, 40, generator=generator)
    boxes = augment.sample_boxes(6, 24, 40, 0.2, generator)
    expected = one_by_one(lambda x, b: tv.resized_crop(x, *b.tolist(), [24, 40]), images, boxes)
    assert torch.allclose(augment.crop(images, boxes), expected, atol=2e-6)


def test_flip_mirrors_only_the_images_marked(floats, generator):
    boxes = augment.sample_boxes(len(floats), 32, 32, 0.08, generator)
    flips = torch.arange(len(floats)) % 2 == 0
    plain, flipped = augment.crop(floats, boxes), augment.crop(floats, boxes, flips)
    assert torch.allclose(flipped[0::2], plain[0::2].flip(-1), atol=1e-6)
    assert torch.equal(flipped[1::2], plain[1::2])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_blends_equal_torchvision_image_by_image(floats, generator, name):
    factors = torch.rand(len(floats), generator=generator) * 2
    expected = one_by_one(lambda x, f: getattr(tv, f"adjust_{name}")(x, f.item()), floats, factors)
    assert torch.allclose(getattr(augment, f"adjust_{name}")(floats, factors), expected, atol=1e-5)


def test_hue_equals_torchvision_image_by_image(floats, generator):
    shifts = torch.rand(len(floats), generator=generator) - 0.5
    expected = one_by_one(lambda x, s: tv.adjust_hue(x, s.item()), floats, shifts)
    assert torch.allclose(augment.adjust_hue(floats, shifts), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shift", "expected"), [(1 / 3, (0, 1, 0)), (-1 / 3, (0, 0, 1)), (0.5, (0, 1, 1)), (0, (1, 0, 0))]
)
def test_hue_of_pure_red_turns_to_the_colour_known(shift, expected):
    red = torch.tensor([1.0, 0, 0])[None, :, None, None]
    turned = augment.adjust_hue(red, torch.tensor([shift]))
    assert torch.allclose(turned.flatten(), torch.tensor(expected, dtype=torch.float32), atol=1e-6)


def test_grayscale_equals_torchvision(floats):
    assert torch.allclose(augment.grayscale(floats), tv.rgb_to_grayscale(floats, 3), atol=1e-6)


def jitter_one(image, factors, order):
    """ColorJitter.forward for one image with these parameters."""
    for operation in order.tolist():
        name = ("brightness", "contrast", "saturation", "hue")[operation]
        image = getattr(tv, f"adjust_{name}")(image, factors[operation].item())
    return image


def test_jitter_uses_each_images_own_factors_and_order(floats, generator):
    images = floats.repeat(4, 1, 1, 1)
    factors, order = augment.sample_jitter(len(images), 0.9, generator)
    expected = one_by_one(jitter_one, images, factors, order)
    before = images.clone()
    assert torch.allclose(augment.color_jitter(images, factors, order), expected, atol=2e-5)
    assert torch.equal(images, before)


def test_jitter_orders_can_be_told_apart(floats, generator):
    """The oracle above would be blind if the order made no difference."""
    factors, order = augment.sample_jitter(len(floats), 0.9, generator)
    right = augment.color_jitter(floats, factors, order)
    wrong = augment.color_jitter(floats, factors, order.flip(1))
    assert (right - wrong).abs().amax() > 0.05


def test_a_view_is_the_steps_one_after_another(pictures, floats, generator):
    """The whole against torchvision's functions, with the draws that switch steps on and off."""
    p = augment.sample(len(pictures), 32, 32, generator)

    def view(i):
        image = tv.resized_crop(floats[i], *p.boxes[i].tolist(), [32, 32])
        image = tv.horizontal_flip(image) if p.flips[i] else image
        image = jitter_one(image, p.factors[i], p.order[i]) if p.jittered[i] else image
        return tv.rgb_to_grayscale(image, 3) if p.greyed[i] else image

    expected = torch.stack([view(i) for i in range(len(pictures))])
    assert torch.allclose(augment.apply(pictures, p), expected, atol=2e-5)
    assert p.greyed.any() and not p.greyed.all() and not p.jittered.all()


def test_a_large_batch_equals_its_chunks(generator):
    images = torch.randint(0, 256, (300, 3, 8, 8), generator=generator, dtype=torch.uint8)
    p = augment.sample(300, 8, 8, generator)
    alone = [augment.apply(images[i : i + 1], augment.Parameters(*(f[i : i + 1] for f in p))) for i in range(300)]
    assert torch.allclose(augment.apply(images, p), torch.cat(alone), atol=1e-6)


def test_views_stay_in_range_and_finite(pictures, generator):
    views = augment.two_views(pictures.repeat(20, 1, 1, 1), generator, jitter=1.0, jitter_probability=1.0)
    assert torch.isfinite(views).all() and views.min() >= 0 and views.max() <= 1


def test_no_two_images_share_parameters(pictures, generator):
    """The same picture 64 times gives 128 different views."""
    views = augment.two_views(pictures[:1].expand(64, 3, 32, 32), generator, grayscale_probability=0.0)
    assert len(torch.unique(views.flatten(1), dim=0)) == 128


def test_two_views_pair_up_image_by_image(generator):
    """With nothing random left, both halves are the images themselves, in order."""
    images = torch.randint(0, 256, (5, 3, 32, 32), generator=generator, dtype=torch.uint8)
    off = {"crop_scale_min": 1.0, "jitter_probability": 0.0, "grayscale_probability": 0.0}
    views = augment.two_views(images, generator, **off)
    for half in (views[:5], views[5:]):
        for image, view in zip(images.float() / 255, half, strict=True):
            # Only a full-size square box has the whole area; any other ratio falls back to it.
            assert torch.allclose(view, image, atol=1e-6) or torch.allclose(view, image.flip(-1), atol=1e-6)


def test_equal_seeds_give_equal_views_and_the_state_moves_on(pictures):
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    a, b = augment.two_views(pictures, first), augment.two_views(pictures, second)
    assert torch.equal(a, b)
    assert not torch.equal(augment.two_views(pictures, first), b)


# --- samplers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "scale_min"), [(32, 32, 0.08), (32, 32, 0.6), (20, 60, 0.3)])
def test_boxes_are_distributed_as_torchvisions(height, width, scale_min):
    ours = augment.sample_boxes(4000, height, width, scale_min, torch.Generator().manual_seed(3)).numpy()
    torch.manual_seed(4)
    image = torch.empty(3, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, [scale_min, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)])
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    assert ks_2samp(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]).pvalue > 1e-3
    assert ks_2samp(ours[:, 2] / ours[:, 3], theirs[:, 2] / theirs[:, 3]).pvalue > 1e-3


def test_boxes_lie_inside_the_image(generator):
    top, left, height, width = augment.sample_boxes(20000, 32, 48, 0.08, generator).unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (height > 0).all() and (width > 0).all()
    assert (top + height <= 32).all() and (left + width <= 48).all()
    assert (top + height == 32).any() and (left + width == 48).any()


@pytest.mark.parametrize(("height", "width"), [(10, 100), (100, 10), (32, 32)])
def test_the_fallback_box_is_torchvisions(height, width):
    """An area of the whole image fits no allowed ratio of a long image, so all tries fail."""
    torch.manual_seed(0)
    if height != width:
        expected = RandomResizedCrop.get_params(torch.empty(3, height, width), [1.0, 1.0], [3 / 4, 4 / 3])
    else:
        expected = (0, 0, 32, 32)
    assert augment._centre_box(height, width) == tuple(expected)


def test_factors_are_uniform_in_the_recipes_ranges():
    factors, _ = augment.sample_jitter(20000, 0.4, torch.Generator().manual_seed(11))
    for column, (low, high) in enumerate([(0.6, 1.4)] * 3 + [(-0.1, 0.1)]):
        assert kstest(factors[:, column].numpy(), "uniform", (low, high - low)).pvalue > 1e-3
    correlation = np.corrcoef(factors.numpy().T) - np.eye(4)
    assert np.abs(correlation).max() < 4 / math.sqrt(20000)


def test_factors_never_fall_below_zero(generator):
    factors, _ = augment.sample_jitter(1000, 1.8, generator)
    assert (factors[:, :3] >= 0).all()


def test_jitter_ranges_are_those_of_torchvisions_class():
    theirs = ColorJitter(0.4, 0.4, 0.4, 0.1)
    assert theirs.brightness == theirs.contrast == theirs.saturation == pytest.approx((0.6, 1.4))
    assert theirs.hue == pytest.approx((-0.1, 0.1))


def test_all_24_orders_are_equally_likely():
    _, order = augment.sample_jitter(24000, 0.4, torch.Generator().manual_seed(5))
    assert torch.equal(order.sort(dim=1).values, torch.arange(4).expand(24000, 4))
    code = (order * torch.tensor([64, 16, 4, 1])).sum(1)
    _, counts = torch.unique(code, return_counts=True)
    assert len(counts) == 24 and chisquare(counts.numpy()).pvalue > 1e-3


def test_each_switch_has_its_probability():
    p = augment.sample(40000, 32, 32, torch.Generator().manual_seed(2))
    for switch, probability in ((p.flips, 0.5), (p.jittered, 0.8), (p.greyed, 0.2)):
        sd = math.sqrt(probability * (1 - probability) / 40000)
        assert abs(switch.float().mean().item() - probability) < 4 * sd
    joint = (p.jittered & p.greyed).float().mean().item()
    assert joint == pytest.approx(0.16, abs=0.01)  # independent of each other


def test_defaults_are_the_recipes():
    defaults = SimpleNamespace(**augment.sample.__kwdefaults__)
    assert (defaults.crop_scale_min, defaults.jitter) == (0.08, 0.4)
    assert (defaults.jitter_probability, defaults.grayscale_probability) == (0.8, 0.2)
