"""Image sets in files of the user's: npz arrays of pixels or of JPEG bytes, a zip of images, image files.

Nothing is unpickled: npz files are opened with ``allow_pickle=False``.
"""

import csv
import io
import itertools
import zipfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from sslauth_utils.base.errors import UserError
from sslauth_utils.images.decode import open_image
from sslauth_utils.images.pixels import Pixels, square

FORMATS = "the two npz formats are described in docs/data.md"
_DECODING = "Decoding images"


def read_npz(path: Path, size: int) -> Pixels:
    """A set from one npz file, images resized to `size` (see `pixels.square`).

    Two formats, told apart by their keys: **pixels** has ``images`` uint8
    (N, H, W, 3) or (N, H, W, 1); **jpeg** has ``jpeg``, all files' bytes one after
    another as uint8, and ``offsets`` int64 (N + 1). Both have ``labels``,
    whole numbers (N,), and ``classes``, names that the labels index.

    Raises:
        UserError: truncated, pickled contents, missing key, wrong shape or type,
            labels that do not fit, or an image that cannot be decoded (its index is given).
    """
    content = _npz_content(path)
    is_jpeg = "jpeg" in content
    if is_jpeg and "images" in content:
        raise UserError(f"{path} holds both 'images' and 'jpeg'; keep the one that is meant.")
    for key in ("jpeg", "offsets", "labels", "classes") if is_jpeg else ("images", "labels", "classes"):
        if key not in content:
            raise UserError(f"{path} lacks the array {key!r} (it has {', '.join(content) or 'none'}); {FORMATS}.")
    labels, classes = _checked_labels(path, content["labels"], content["classes"])
    images = _from_jpeg(path, content, size) if is_jpeg else _from_pixels(path, content["images"], size)
    if len(images) != len(labels):
        raise UserError(f"{path} has {len(images)} images but {len(labels)} labels; there must be one label an image.")
    return Pixels(images, labels, classes)


def npz_classes(path: Path) -> list[str] | None:
    """The class names of an npz file, without reading its images; None if it has none.

    Raises:
        UserError: it cannot be read.
    """
    classes = _npz_content(path, ("classes",)).get("classes")
    return None if classes is None else [str(name) for name in classes.ravel()]


def _npz_content(path: Path, keys: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file, or those of `keys` that it has."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a complete npz file (truncated, or of another kind); get it again.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files if keys is None or key in keys}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"{path} holds pickled objects, which can run code when read and are refused; "
                "save plain arrays of numbers and of strings instead."
            ) from error
        raise UserError(f"{path} is damaged or truncated ({error}); get it again.") from error


def _checked_labels(path: Path, labels: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, list[str]]:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(f"{path}: 'labels' is {labels.dtype} {labels.shape}; it must be whole numbers of shape (N,).")
    if classes.ndim != 1 or classes.dtype.kind != "U":
        raise UserError(f"{path}: 'classes' is {classes.dtype} {classes.shape}; it must be a list of names.")
    if len(labels) and (labels.min() < 0 or labels.max() >= len(classes)):
        raise UserError(
            f"{path}: labels run from {labels.min()} to {labels.max()}, but there are {len(classes)} classes "
            f"(0 to {len(classes) - 1})."
        )
    return labels.astype(np.int64), [str(name) for name in classes]


def _from_pixels(path: Path, images: np.ndarray, size: int) -> np.ndarray:
    if images.dtype != np.uint8:
        raise UserError(f"{path}: 'images' is {images.dtype}; it must be uint8 (0 to 255).")
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise UserError(f"{path}: 'images' has shape {images.shape}; it must be (N, H, W, 3) or (N, H, W, 1).")
    return resized_arrays(images, size)


def resized_arrays(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 (N, H, W, 3) or (N, H, W, 1) as uint8 (N, 3, size, size)."""
    if images.shape[1:] == (size, size, 3):
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    planes = images[..., 0] if images.shape[3] == 1 else images
    return decode_all((Image.fromarray(image) for image in planes), len(planes), size)


def _from_jpeg(path: Path, content: dict[str, np.ndarray], size: int) -> np.ndarray:
    data, offsets = content["jpeg"], content["offsets"]
    if data.dtype != np.uint8 or data.ndim != 1:
        raise UserError(f"{path}: 'jpeg' is {data.dtype} {data.shape}; it must be uint8 of shape (bytes,).")
    fits = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    if not fits or offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets.astype(np.int64)) <= 0).any():
        raise UserError(
            f"{path}: 'offsets' must be N + 1 rising whole numbers from 0 to {len(data)}, the length of 'jpeg'."
        )
    bounds = offsets.tolist()
    pieces = (
        open_image(io.BytesIO(data[start:end].tobytes()), f"Image {index} of {path}")
        for index, (start, end) in enumerate(itertools.pairwise(bounds))
    )
    return decode_all(pieces, len(bounds) - 1, size)


def read_zip(path: Path, size: int) -> Pixels:
    """A set from a zip of image files and an ``index.csv`` with the columns file, label, class; not extracted.

    Raises:
        UserError: not a complete zip, an index that does not fit, or an unreadable image (it is named).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = io.TextIOWrapper(archive.open("index.csv"), encoding="utf-8-sig", newline="")
            rows = list(csv.DictReader(text, strict=True, skipinitialspace=True))
            names = _names_of_labels(path, rows)
            classes = [names[label] for label in range(len(names))]
            opened = (open_image(io.BytesIO(archive.read(row["file"])), f"{row['file']} in {path}") for row in rows)
            images = decode_all(opened, len(rows), size)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path} is damaged or truncated ({error}); get it again.") from error
    except UserError:
        raise
    except RuntimeError as error:  # encrypted, or packed in a way that Python cannot unpack
        raise UserError(f"{path} cannot be unpacked ({error}); pack it again as a plain zip.") from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path} needs an index.csv with the columns file, label (0, 1, ...) and class, "
            f"naming files in the zip ({error})."
        ) from error
    return Pixels(images, np.array([int(row["label"]) for row in rows], dtype=np.int64), classes)


def _names_of_labels(path: Path, rows: list[dict[str, str]]) -> dict[int, str]:
    names: dict[int, str] = {}
    labels: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UserError(f"{path}: line {number} of index.csv has more or fewer cells than the first; correct it.")
        label, name = int(row["label"]), row["class"]
        if labels.setdefault(row["file"], label) != label:
            raise UserError(f"{path}: index.csv gives {row['file']} two labels; correct it.")
        if names.setdefault(label, name) != name:
            raise UserError(f"{path}: index.csv calls label {label} both {names[label]!r} and {name!r}; correct it.")
    if not names:
        raise UserError(f"{path}: index.csv names no images; it needs a line for each.")
    return names


def read_files(files: list[Path], size: int) -> np.ndarray:
    """Decode image files: uint8 (N, 3, size, size).

    Raises:
        UserError: a file cannot be read as an image (it is named).
    """

    def decode(path: Path) -> np.ndarray:
        return square(open_image(path, str(path)), size)

    out = np.empty((len(files), 3, size, size), dtype=np.uint8)
    few = len(files) < 2000
    with ThreadPoolExecutor() as pool, tqdm(total=len(files), desc=_DECODING, leave=False, disable=few) as progress:
        for start in range(0, len(files), 1000):  # a thousand tasks at a time: a million would fill the memory
            part = files[start : start + 1000]
            for index, image in enumerate(pool.map(decode, part), start):
                out[index] = image
            progress.update(len(part))
    return out


def decode_all(images: Iterable[Image.Image], count: int, size: int) -> np.ndarray:
    """Resize `count` images into one uint8 array (count, 3, size, size), with a progress bar."""
    out = np.empty((count, 3, size, size), dtype=np.uint8)
    for index, image in enumerate(tqdm(images, total=count, desc=_DECODING, leave=False, disable=count < 2000)):
        out[index] = square(image, size)
    return out
