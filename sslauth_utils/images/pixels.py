"""Decoded image sets in memory, and the one way in which images are resized."""

from typing import NamedTuple

import numpy as np
from PIL import Image


class Pixels(NamedTuple):
    """A decoded set: images uint8 (N, 3, H, W) RGB, labels int64 (N,) indexing classes."""

    images: np.ndarray
    labels: np.ndarray
    classes: list[str]


def square(image: Image.Image, size: int) -> np.ndarray:
    """The image as uint8 (3, size, size) RGB.

    The shorter side is resized to `size` and the centre is cropped, in one step:
    the centred square is resampled with Pillow's bilinear filter, which averages
    over all covered pixels when it shrinks (antialiased) and works in integers,
    so the result is the same on every machine. An image that already is
    size x size is left as it is.
    """
    image = image.convert("RGB")
    if image.size != (size, size):
        side = min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.asarray(image).transpose(2, 0, 1)
