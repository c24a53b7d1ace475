"""Image sets that need no download: real photographs cut into patches, drawn shapes, digits.

All are deterministic. Train and test share no pixel: photographs are divided
into tiles of which some are test only, shapes are drawn from separate random
streams, digits are separate scans.
"""

import importlib.metadata
import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from sslauth_utils.base.errors import UserError
from sslauth_utils.images import shapes
from sslauth_utils.images.pixels import Pixels, square

# class: (package that ships the photograph, path inside it)
_PHOTOS = {
    "pagoda": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "admiral": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "galaxies": ("skimage", "data/hubble_deep_field.jpg"),
    "tissue": ("skimage", "data/ihc.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "bricks": ("skimage", "data/brick.png"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "coins": ("skimage", "data/coins.png"),
    "cameraman": ("skimage", "data/camera.png"),
}
_TILES = 4  # a photograph is 4 x 4 tiles
_TEST_TILES = [(0, 1), (1, 3), (2, 0), (3, 2)]  # (row, column): one in every row and column
_PER_CLASS = {"train": 300, "test": 60}
_SMALLEST = 32  # pixels of the photograph: shorter patches would only be blurred
_FLAT = 10.0  # grey levels: a patch with a smaller standard deviation shows an empty sky

SHAPES_COUNT = {"train": 4000, "test": 1000}
_DIGITS_TEST = 360  # the last fifth of the 1,797


def embedded_photos(split: str, size: int = 32) -> Pixels:
    """Patches of 16 real photographs; the class is the photograph. 300 train and 60 test patches a class.

    Patches are squares of 32 pixels up to a tile's side, at random places and
    of varied scale, resized to `size`. Test patches lie inside the four test
    tiles of their photograph; train patches touch none of these.
    Classes come in turn, so any prefix is balanced. Stands in for ImageNet.

    Raises:
        UserError: a photograph is missing from its package.
    """
    classes = list(_PHOTOS)
    per_class = _PER_CLASS[split]
    images = np.empty((per_class, len(classes), 3, size, size), dtype=np.uint8)
    for label, (package, inside) in enumerate(_PHOTOS.values()):
        rng = np.random.default_rng([label, len(split)])
        images[:, label] = _patches(_photo(package, inside), split, size, per_class, rng)
    labels = np.tile(np.arange(len(classes), dtype=np.int64), per_class)
    return Pixels(images.reshape(-1, 3, size, size), labels, classes)


def _photo(package: str, inside: str) -> Image.Image:
    path = Path(importlib.util.find_spec(package).origin).parent / inside  # found, not imported: that takes seconds
    if not path.is_file():
        [distribution] = importlib.metadata.packages_distributions()[package]
        version = importlib.metadata.version(distribution)
        raise UserError(
            f"The photograph {inside} is not in the installed package {package} {version}; "
            "install the version that requirements.lock names."
        )
    with Image.open(path) as image:
        return image.convert("RGB")


def _patches(photo: Image.Image, split: str, size: int, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    grey = np.asarray(photo.convert("L"), dtype=np.float32)
    test_only = _test_mask(*grey.shape)
    largest = min(grey.shape) // _TILES
    patches: dict[tuple[int, int, int], np.ndarray] = {}  # by place, so that no patch comes twice
    while len(patches) < count:
        side = round(_SMALLEST * (largest / _SMALLEST) ** rng.random())
        top = int(rng.integers(grey.shape[0] - side + 1))
        left = int(rng.integers(grey.shape[1] - side + 1))
        window = np.s_[top : top + side, left : left + side]
        belongs = test_only[window].all() if split == "test" else not test_only[window].any()
        if belongs and grey[window].std() >= _FLAT:
            patches[left, top, side] = square(photo.crop((left, top, left + side, top + side)), size)
    return list(patches.values())


def _test_mask(height: int, width: int) -> np.ndarray:
    """True where a photograph's pixels are for testing only, (height, width)."""
    mask = np.zeros((height, width), dtype=bool)
    rows = [height * i // _TILES for i in range(_TILES + 1)]
    columns = [width * i // _TILES for i in range(_TILES + 1)]
    for row, column in _TEST_TILES:
        mask[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = True
    return mask


def embedded_shapes(split: str, size: int = 32, count: int | None = None) -> Pixels:
    """Drawn shapes in ten classes (see `shapes.draw`); 4,000 train and 1,000 test unless `count` says otherwise.

    A longer set begins with the shorter one. Stands in for CIFAR-10.
    """
    images, labels = shapes.draw(split, size, SHAPES_COUNT[split] if count is None else count)
    return Pixels(images, labels, list(shapes.CLASSES))


def embedded_digits(split: str, size: int = 32) -> Pixels:
    """scikit-learn's 1,797 scanned digits (8 x 8), enlarged smoothly (bicubic); ten classes.

    Test is the last 360 in the file's order, train the 1,437 before them: real
    images for a downstream task.
    """
    from sklearn.datasets import load_digits  # here, because it takes seconds to import

    digits = load_digits()
    part = slice(-_DIGITS_TEST, None) if split == "test" else slice(None, -_DIGITS_TEST)
    scans = np.rint(digits.images[part] * (255 / 16)).astype(np.uint8)
    enlarge = partial(Image.Image.resize, size=(size, size), resample=Image.Resampling.BICUBIC)
    images = np.stack([square(enlarge(Image.fromarray(scan)), size) for scan in scans])
    return Pixels(images, digits.target[part].astype(np.int64), [str(digit) for digit in range(10)])


EMBEDDED = {
    "embedded_photos": embedded_photos,
    "embedded_shapes": embedded_shapes,
    "embedded_digits": embedded_digits,
}
