"""Tensors on disk: safetensors with a JSON beside them, bound by a SHA-256."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import atomic, read_json, sha256_file, write_json


def save(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write `tensors` to `path` (.safetensors) and `meta` to the same name with .json.

    The JSON gains ``sha256``, the hash of the tensor file, and is written last:
    a pair without a JSON, or with one that does not match, is not complete.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    described = path.with_suffix(".json")
    described.unlink(missing_ok=True)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        _write(plain, temporary)
    write_json(described, {**meta, "sha256": sha256_file(path)})


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # it hides what the system said, a full disk for example, in its text
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what `save` wrote: (tensors on the CPU, meta).

    Raises:
        UserError: a file is missing, is not safetensors (a pickle, say), or
            does not have the SHA-256 that its JSON states.
    """
    path = Path(path)
    refuse_pickle(path)
    meta = read_json(path.with_suffix(".json"))
    found = sha256_file(path)
    if found != meta.get("sha256"):
        raise UserError(
            f"{path} has SHA-256 {found[:12]}…, but {path.with_suffix('.json').name} states "
            f"{str(meta.get('sha256'))[:12]}…: the file was changed or damaged; get or make it again."
        )
    return read_safetensors(path), meta


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, on the CPU.

    Raises:
        UserError: the file is missing or is not safetensors.
    """
    refuse_pickle(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}); get or make it again.") from error


def refuse_pickle(path: Path) -> None:
    """Stop if `path` is missing or holds a pickle (plain, or in a zip as ``torch.save`` writes).

    Unpickling runs whatever code the file's author put there, so the suite
    takes weights as safetensors only.

    Raises:
        UserError: the file is missing, or is a pickle.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}; check the name, or make it by running the notebook that writes it.")
    with open(path, "rb") as handle:
        head = handle.read(4)
    if head[:2] == b"\x80\x02" or head[:2] in (b"\x80\x03", b"\x80\x04", b"\x80\x05") or head == b"PK\x03\x04":
        raise UserError(
            f"{path} is a pickle (torch.save format), which can run code when it is read; "
            "turn it into safetensors first: python -m sslauth_utils.models.convert FILE.pth FILE.safetensors"
        )


def sha256_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors in canonical form: the baseline that sees every bit.

    Names are sorted; each tensor contributes its name, dtype, shape and raw
    little-endian bytes in row-major order. Memory format, file container and
    order of saving therefore do not matter, while every bit of every weight and
    buffer does. The white-box baseline: no keys, no tolerance.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
