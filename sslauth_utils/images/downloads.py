"""torchvision's data sets, downloaded once into ``data/`` with their checksums.

torchvision is imported where it is needed: that takes seconds, which notebooks on other images do without.
"""

import http.client
import socket
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from sslauth_utils.base.errors import UserError
from sslauth_utils.images.arrays import decode_all, resized_arrays
from sslauth_utils.images.cache import cached
from sslauth_utils.images.pixels import Pixels

_SILENCE = 30  # seconds without a byte after which a download is given up
_DIGITS = [str(digit) for digit in range(10)]


def _cifar10(root: Path, split: str, size: int) -> Pixels:
    from torchvision import datasets

    data = datasets.CIFAR10(root, train=split == "train", download=True)
    return Pixels(resized_arrays(data.data, size), np.array(data.targets, dtype=np.int64), list(data.classes))


def _stl10(root: Path, split: str, size: int) -> Pixels:
    from torchvision import datasets

    data = datasets.STL10(root, split=split, download=True)
    return Pixels(
        resized_arrays(data.data.transpose(0, 2, 3, 1), size), data.labels.astype(np.int64), list(data.classes)
    )


def _svhn(root: Path, split: str, size: int) -> Pixels:
    from torchvision import datasets

    data = datasets.SVHN(root, split=split, download=True)
    return Pixels(resized_arrays(data.data.transpose(0, 2, 3, 1), size), data.labels.astype(np.int64), _DIGITS)


def _mnist(root: Path, split: str, size: int) -> Pixels:
    from torchvision import datasets

    data = datasets.MNIST(root, train=split == "train", download=True)
    return Pixels(resized_arrays(data.data.numpy()[..., None], size), data.targets.numpy().astype(np.int64), _DIGITS)


def _gtsrb(root: Path, split: str, size: int) -> Pixels:
    from torchvision import datasets

    data = datasets.GTSRB(root, split=split, download=True)
    labels: list[int] = []

    def images() -> Iterator[Image.Image]:
        for image, label in data:
            labels.append(label)
            yield image

    pixels = decode_all(images(), len(data), size)
    return Pixels(pixels, np.array(labels, dtype=np.int64), [str(number) for number in range(43)])


DOWNLOADS: dict[str, Callable[[Path, str, int], Pixels]] = {
    "cifar10": _cifar10,
    "stl10": _stl10,
    "gtsrb": _gtsrb,
    "svhn": _svhn,
    "mnist": _mnist,
}


def download(name: str, split: str, size: int, data: Path) -> Pixels:
    """A set of torchvision's by our name, from ``data``/torchvision, downloaded if it is not there.

    torchvision checks every file against the hash it knows, so name and split
    say which bytes these are. One process downloads, others wait for it.

    Raises:
        UserError: it is not there and cannot be downloaded, or what is there is damaged.
    """
    root = data / "torchvision"

    def decode() -> Pixels:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_SILENCE)
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f".{name}.lock"):
                return DOWNLOADS[name](root, split, size)
        except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
            raise _not_there(name, split, root, error) from error
        except (zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
            raise _not_there(name, split, root, error) from error
        finally:
            socket.setdefaulttimeout(before)

    return cached({"torchvision": name, "split": split}, size, decode)


def _not_there(name: str, split: str, root: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())  # torchvision lists its mirrors in several lines
    return UserError(
        f"The data set {name} ({split}) is not in {root} and could not be downloaded "
        f"({type(error).__name__}: {reason}); "
        "connect this machine to the network, or copy torchvision's files there from one that is, "
        f"or set SSLAUTH_DATA to a folder that holds {name}_{split}.npz (docs/data.md tells the format)."
    )
