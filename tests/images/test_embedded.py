"""Embedded sets: deterministic, balanced, splits apart, and not to be solved by colour alone."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from sslauth_utils.base.errors import UserError
from sslauth_utils.images import embedded, shapes
from sslauth_utils.images.embedded import EMBEDDED, embedded_digits, embedded_photos, embedded_shapes

# SHAPES_HASH: the first test images; see the test that uses it.
SHAPES_HASH = "a112b6b516df92b5"
SIZES = {
    "embedded_photos": (16, 4800, 960),
    "embedded_shapes": (10, 4000, 1000),
    "embedded_digits": (10, 1437, 360),
}


@pytest.fixture(scope="module")
def sets():
    return {(name, split): make(split) for name, make in EMBEDDED.items() for split in ("train", "test")}


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize("name", SIZES)
def test_counts_types_and_labels(sets, name):
    classes, train, test = SIZES[name]
    for split, count in (("train", train), ("test", test)):
        pixels = sets[name, split]
        assert pixels.images.shape == (count, 3, 32, 32) and pixels.images.dtype == np.uint8
        assert pixels.labels.shape == (count,) and pixels.labels.dtype == np.int64
        assert len(pixels.classes) == len(set(pixels.classes)) == classes
        counts = np.bincount(pixels.labels, minlength=classes)
        assert counts.min() > 0.85 * count / classes


@pytest.mark.parametrize("name", SIZES)
def test_a_second_call_gives_the_same_bytes(sets, name):
    again = EMBEDDED[name]("test")
    assert digest(again.images) == digest(sets[name, "test"].images)
    assert np.array_equal(again.labels, sets[name, "test"].labels)


@pytest.mark.parametrize("name", SIZES)
def test_no_test_image_is_a_train_image(sets, name):
    train = {image.tobytes() for image in sets[name, "train"].images}
    assert not any(image.tobytes() in train for image in sets[name, "test"].images)


@pytest.mark.parametrize("name", ["embedded_photos", "embedded_shapes"])
def test_images_differ_from_each_other(sets, name):
    images = sets[name, "train"].images
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("name", SIZES)
def test_another_size(name):
    assert EMBEDDED[name]("test", 24).images.shape[1:] == (3, 24, 24)


def test_photo_patches_of_the_splits_share_no_pixel(monkeypatch, tmp_path):
    """On a photograph that is red exactly in its test tiles, test patches are all red, train patches not at all."""
    height, width = 300, 451
    grey = np.random.default_rng(0).integers(0, 100, (height, width), dtype=np.uint8)
    painted = np.stack([grey] * 3, axis=2)
    painted[embedded._test_mask(height, width), 0] = 255
    Image.fromarray(painted).save(tmp_path / "painted.png")
    monkeypatch.setattr(embedded, "_PHOTOS", {"painted": ("album", "painted.png")})
    (tmp_path / "album.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert (embedded_photos("test").images[:, 0] == 255).all()
    assert (embedded_photos("train").images[:, 0] < 100).all()


def test_test_tiles_are_a_quarter_of_a_photograph():
    assert embedded._test_mask(400, 600).mean() == 0.25


def test_photo_patches_are_not_empty(sets):
    spread = sets["embedded_photos", "train"].images.astype(np.float32).std(axis=(1, 2, 3))
    assert np.median(spread) > 25 and (spread > 3).mean() > 0.99


def test_a_missing_photograph_is_named(monkeypatch):
    monkeypatch.setattr(embedded, "_PHOTOS", {"nothing": ("skimage", "data/nothing.png")})
    with pytest.raises(
        UserError, match=r"data/nothing\.png is not in the installed package skimage.*requirements\.lock"
    ):
        embedded_photos("test")


def test_shapes_are_the_same_bytes_on_every_machine(sets):
    """Fails when the drawing changes: then the demo's results change too, and this hash is to be renewed."""
    assert digest(sets["embedded_shapes", "test"].images)[:16] == SHAPES_HASH


@pytest.mark.parametrize("count", [1, 37, 501])
def test_a_longer_set_of_shapes_begins_with_the_shorter(sets, count):
    shorter = embedded_shapes("train", count=count)
    assert np.array_equal(shorter.images, sets["embedded_shapes", "train"].images[:count])
    assert np.array_equal(shorter.labels, np.arange(count) % 10)


def test_more_shapes_than_the_usual_number():
    assert len(embedded_shapes("test", count=1200).images) == 1200


def test_colour_tells_less_of_a_shape_than_its_pixels_and_neither_tells_all(sets):
    train, test = sets["embedded_shapes", "train"], sets["embedded_shapes", "test"]

    def colours(images):
        centre = images[:, :, 8:24, 8:24]
        return np.concatenate([f((2, 3)) for part in (images, centre) for f in (part.mean, part.std)], axis=1)

    accuracy = KNeighborsClassifier(50).fit(colours(train.images), train.labels)
    assert accuracy.score(colours(test.images), test.labels) < 0.45


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("disc", [(0, 0), (0.9, 0)], [(0.95, 0), (0.7, 0.7)]),
        ("ring", [(0.74, 0), (0, -0.6)], [(0, 0), (1, 0)]),
        ("square", [(0.79, 0.79)], [(0.81, 0), (0, 0.9)]),
        ("triangle", [(0, 0), (0, -0.9), (0.8, 0.7)], [(0.5, -0.8), (0, 0.8)]),
        ("star", [(0, 0), (0, -1), (0.6, 0.8)], [(0, 0.6), (0.5, -0.6)]),
        ("cross", [(0.9, 0), (0, 0.9), (0, 0)], [(0.5, 0.5), (-0.5, 0.5)]),
        ("crescent", [(-0.7, 0)], [(0.5, 0), (0, 0)]),
        ("heart", [(0, 0), (0, 1), (0.5, -0.5), (-0.5, -0.5)], [(0, -0.8), (0.8, 0.8)]),
        ("arrow", [(1, 0), (-1, 0), (0.2, 0.7)], [(-0.5, 0.6), (0.9, 0.6)]),
        ("hourglass", [(0, 0.9), (0, -0.9), (0, 0)], [(0.6, 0), (-0.6, 0)]),
    ],
)
def test_outlines(name, inside, outside):
    for points, sign in ((inside, -1), (outside, 1)):
        u, v = (np.array(values, dtype=np.float32) for values in zip(*points, strict=True))
        assert (np.sign(shapes._outline(name, u, v)) == sign).all(), f"{name}: {points}"


def test_polygon_distance_is_euclidean():
    corners = shapes._POLYGONS["square"]
    u, v = np.float32([1.8, 0, 1.1]), np.float32([0, 0, 1.2])
    assert shapes._polygon(u, v, corners) == pytest.approx([1.0, -0.8, 0.5], abs=1e-6)


def test_digits_are_scikit_learns_and_grey(sets):
    for split in ("train", "test"):
        images = sets["embedded_digits", split].images
        assert (images == images[:, :1]).all()
    assert embedded_digits("train").labels[:10].tolist() == list(range(10))


def test_digits_are_smooth_enlargements_of_the_scans(sets):
    """Averaged back to 8 x 8, an image resembles its own scan most (of 200)."""
    from sklearn.datasets import load_digits

    images = sets["embedded_digits", "train"].images[:200, 0].astype(float)
    small = images.reshape(200, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(200, -1)
    scans = load_digits().data[:200] * 255 / 16
    nearest = ((small[:, None] - scans[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(200)).all()
