"""One image, whatever a file holds, as 8-bit RGB: the picture that a viewer shows.

Pillow's ``convert("RGB")`` alone cuts 16-bit values off at 255, brings out what transparency hides, and leaves
photographs lying on their side.
"""

import contextlib
import io
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from sslauth_utils.base.errors import UserError

_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF's tags, and a value of the second
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def open_image(source: Path | io.BytesIO, what: str) -> Image.Image:
    """Open and fully decode one image as 8-bit RGB.

    16-bit values are scaled (v / 257, rounded), as are fractions from 0 to 1; transparent images lie on white; the
    orientation that a camera noted is applied.

    Args:
        source: a file, or its bytes.
        what: names it in the error.

    Raises:
        UserError: it cannot be read as an image, or its values have no known black and white.
    """
    try:
        with Image.open(source) as image:
            image.load()
            return _upright(image, _on_white(_eight_bits(image, what)))
    except UserError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{what} cannot be read as an image ({error}); replace or remove it.") from error


def _eight_bits(image: Image.Image, what: str) -> Image.Image:
    """Images of one channel with more than 8 bits as grey ("L"); of several, Pillow itself takes the upper 8 bits."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if image.mode == "F":
        low, high = float(values.min()), float(values.max())  # NaN, if there is one
        if not 0 <= low <= high <= 1:
            raise UserError(
                f"{what} holds fractions from {low:g} to {high:g}, of which only 0 to 1 is known to be black to "
                "white; save it with 8 or 16 bits a channel."
            )
        grey = np.rint(values * 255).astype(np.uint8)
    elif image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):  # PPM: Pillow scales any maximum to 65535
        full = 2 ** tags.get(_BITS, (16,))[0] - 1  # a TIFF may have 12 bits
        grey = ((values.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)
        if isinstance(image.info.get("transparency"), int):  # a PNG's one grey that is not to be seen
            grey[values == image.info["transparency"]] = 255
    else:
        raise UserError(
            f"{what} holds signed or 32-bit whole numbers (from {values.min()} to {values.max()}), whose black and "
            "white are not known; save it with 8 or 16 bits a channel."
        )
    return Image.fromarray(255 - grey if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey)


def _on_white(image: Image.Image) -> Image.Image:
    """As RGB; the colours of transparent pixels are whatever a program left there, and nobody ever saw them."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def _upright(source: Image.Image, image: Image.Image) -> Image.Image:
    """`image` turned as the metadata of `source` say; Pillow has turned TIFFs already."""
    turn = None
    with contextlib.suppress(Exception):  # damaged metadata are no fault of the pixels
        turn = _TURNS.get(source.getexif().get(ExifTags.Base.Orientation))
    return image if turn is None else image.transpose(turn)
