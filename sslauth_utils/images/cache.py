"""Decoded sets kept on disk, so that every image is decoded once.

An entry is a safetensors file with images, labels and their digest
(`tensors.save`): written under a temporary name and renamed, and checked
whenever it is read. The key is a hash of the source, of the size and
of the code that decodes, so a changed source never meets an old entry. Entries may be deleted at any time.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import PIL
import torch

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import sha256_json
from sslauth_utils.base.fingerprint import combined, meanings
from sslauth_utils.base.paths import CACHE
from sslauth_utils.images.pixels import Pixels


def cached(source: Mapping[str, Any], size: int, make: Callable[[], Pixels]) -> Pixels:
    """The set that `make` decodes from `source`, from the cache if it is there and whole.

    Args:
        source: whatever identifies the bytes decoded (hashes, names and sizes of files), as JSON.
        size: side of the images, pixels.
        make: decodes the set.

    A damaged entry is decoded anew, with a warning.
    """
    decoding = combined(meanings(["sslauth_utils.images.arrays"]))
    key = sha256_json({"source": source, "size": size, "pillow": PIL.__version__, "code": decoding})[:32]
    entry = CACHE / f"{key}.safetensors"
    if entry.is_file():
        try:
            content, meta = tensors.load(entry)
            return Pixels(content["images"].numpy(), content["labels"].numpy(), meta["classes"])
        except UserError as error:
            warnings.warn(f"The cached images are decoded again, because: {error}", stacklevel=2)
            entry.unlink(missing_ok=True)
    pixels = make()
    content = {"images": torch.from_numpy(pixels.images), "labels": torch.from_numpy(pixels.labels)}
    tensors.save(entry, content, {"classes": pixels.classes, "size": size})
    return pixels
