"""Every kind of image becomes the 8-bit picture that a viewer shows, or is refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from sslauth_utils.base.errors import UserError
from sslauth_utils.images.decode import open_image

RAMP = np.tile(np.linspace(0, 1, 32), (32, 1))
SIXTEEN = np.round(RAMP * 65535).astype(np.uint16)
EIGHT = np.rint(SIXTEEN / 257).astype(np.uint8)


def saved(image, form, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(content := io.BytesIO(), form, **options)
    return content


def decoded(content):
    """All three channels, uint8 (H, W, 3)."""
    image = open_image(content, "it")
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(content):
    pixels = decoded(content)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def png16(pixels):
    """A PNG of 16 bits a channel, as Pillow cannot write it. uint16 (H, W, channels)."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize(
    "content",
    [
        lambda: saved(SIXTEEN, "PNG"),
        lambda: saved(SIXTEEN.astype("<u2"), "TIFF"),
        lambda: saved(SIXTEEN.astype(">u2"), "TIFF"),
        lambda: saved(SIXTEEN, "TIFF", compression="tiff_adobe_deflate"),
        lambda: saved(SIXTEEN, "PPM"),
        lambda: saved(65535 - SIXTEEN, "TIFF", tiffinfo={262: 0}),  # white is zero
    ],
    ids=["png", "tiff", "tiff, big-endian", "tiff, compressed", "pgm", "tiff, white is zero"],
)
def test_sixteen_bits_of_grey_are_scaled(content):
    assert np.array_equal(grey(content()), EIGHT)


@pytest.mark.parametrize("values", [np.arange(256) * 257, [0, 128, 129, 385, 386, 65535, 65406, 65407]])
def test_sixteen_bits_are_divided_by_257_and_rounded(values):
    values = np.array([values], dtype=np.uint16)
    assert np.array_equal(grey(saved(values, "PNG")), np.rint(values / 257))


def test_a_pgm_s_own_maximum_is_white():
    content = io.BytesIO(b"P5 2 1 4095\n" + np.array([0, 4095], ">u2").tobytes())
    assert grey(content).tolist() == [[0, 255]]


def test_a_tiff_of_twelve_bits_is_scaled_by_its_own_maximum():
    tags = [(256, 3, 1, 4), (257, 3, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 130),
            (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 6)]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x10])  # 0, 4095, 2048, 16: twelve bits each
    content = io.BytesIO(head.ljust(130, b"\0") + packed)
    assert grey(content).tolist() == [[0, 255, 128, 1]]


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bits_of_several_channels_keep_their_upper_eight(channels):
    pixels = np.dstack([SIXTEEN] * channels)
    if channels in (2, 4):
        pixels[..., -1] = 65535  # opaque
    assert np.array_equal(grey(png16(pixels)), SIXTEEN >> 8)


def test_fractions_from_0_to_1_are_scaled():
    assert np.array_equal(grey(saved(RAMP.astype(np.float32), "TIFF")), np.rint(RAMP.astype(np.float32) * 255))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (RAMP * 255, r"holds fractions from 0 to 255, of which only 0 to 1 is known.*save it with 8 or 16 bits"),
        (RAMP - 0.5, r"holds fractions from -0\.5 to 0\.5,"),
        (np.full((4, 4), np.nan), r"holds fractions from nan to nan,"),
        (np.full((4, 4), np.inf), r"holds fractions from inf to inf,"),
    ],
)
def test_fractions_whose_white_is_not_known_are_refused(pixels, message):
    with pytest.raises(UserError, match=rf"^it {message}"):
        open_image(saved(pixels.astype(np.float32), "TIFF"), "it")


@pytest.mark.parametrize("values", [[0, 70000], [-5, 5], [0, 65535]])
def test_whole_numbers_whose_white_is_not_known_are_refused(values):
    content = saved(np.array([values], dtype=np.int32), "TIFF")
    with pytest.raises(
        UserError, match=rf"^it holds signed or 32-bit whole numbers \(from {values[0]} to {values[1]}\)"
    ):
        open_image(content, "it")


TRANSPARENT = np.dstack([np.full((2, 4), 200), np.full((2, 4), 10), np.full((2, 4), 90), [[0, 255, 128, 0]] * 2])


def test_transparent_pixels_show_white_and_not_what_they_hide():
    row = decoded(saved(TRANSPARENT.astype(np.uint8), "PNG"))[0].tolist()
    assert row[0] == row[3] == [255, 255, 255]
    assert row[1] == [200, 10, 90]
    assert row[2] == pytest.approx([227, 132, 172], abs=1)


def test_transparent_grey_and_palette_and_colour_keys_show_white():
    assert grey(saved(np.array([[[7, 0], [7, 255]]], np.uint8), "PNG")).tolist() == [[255, 7]]  # LA
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.putdata([0, 1])
    assert decoded(saved(palette, "PNG", transparency=0)).tolist() == [[[255] * 3, [9, 8, 7]]]
    assert decoded(saved(palette, "GIF", transparency=0)).tolist() == [[[255] * 3, [9, 8, 7]]]
    assert decoded(saved(palette, "PNG")).tolist() == [[[0] * 3, [9, 8, 7]]]
    keyed = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert decoded(saved(keyed, "PNG", transparency=(1, 2, 3))).tolist() == [[[255] * 3, [4, 5, 6]]]


def test_one_bit_is_black_and_white():
    assert grey(saved(np.array([[True, False]]), "PNG")).tolist() == [[255, 0]]


def test_printers_colours_become_screen_colours():
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
    screen = [[255, 255, 255], [0, 255, 255], [255, 0, 0], [0, 0, 0]]
    assert decoded(saved(Image.fromarray(inks, "CMYK"), "TIFF"))[0].tolist() == screen
    jpeg = decoded(saved(Image.fromarray(np.repeat(inks, 16, axis=0).repeat(16, axis=1), "CMYK"), "JPEG", quality=100))
    assert np.abs(jpeg[8, 8::16].astype(int) - screen).max() <= 4


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_as_the_camera_noted(form, orientation):
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :16], pixels[:16, 32:], pixels[16:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
    content = saved(pixels, form, exif=exif, **options)
    shown = Image.fromarray(pixels)
    shown.getexif()[0x0112] = orientation
    shown = np.asarray(ImageOps.exif_transpose(shown)).astype(int)
    seen = decoded(content).astype(int)
    assert seen.shape == shown.shape and np.abs(seen - shown)[4:-4:8, 4:-4:8].max() <= 40
    if orientation == 6:  # the camera stood on its right side: the top left corner was at the top right
        assert seen[4, -5].tolist() == pytest.approx([255, 0, 0], abs=40)


def test_damaged_notes_of_a_camera_do_not_matter():
    content = saved(EIGHT, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\xff\xff")
    assert np.array_equal(grey(content), EIGHT)


def test_the_one_grey_that_a_16_bit_png_hides_lies_on_white():
    values, file = np.full((4, 4), 1000, dtype=np.uint16), io.BytesIO()
    values[0] = 65535 // 2
    Image.fromarray(values).save(file, "PNG", transparency=1000)
    shown = np.asarray(open_image(file, "x.png"))[..., 0]
    assert (shown[0] == 127).all() and (shown[1:] == 255).all()
