"""Tensors on disk: one safetensors file with its description in the header, bound by a digest.

The header's metadata has one entry, ``sslauth``: the JSON object ``{"digest": ..., "description": ...}``. One file
and no second one beside it: so no name can lead to another file's description, and one renaming replaces both.
Files of an older form, safetensors with a JSON beside them that states their SHA-256, still load.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import atomic, read_json, sha256_file
from sslauth_utils.base.paths import at_home, is_file, readable

#: the entry of the header's metadata; one only, because safetensors writes several in any order
_ENTRY = "sslauth"
#: bytes; safetensors takes no longer header
_LONGEST_HEADER = 100_000_000
#: types of tensors that come back as they were
_KINDS = {
    torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32,
    torch.int64, torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.complex64,
}  # fmt: skip


def save(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write `tensors` and their description `meta` to the one file `path`, by convention ``*.safetensors``.

    The file is complete before it takes its name: whatever happens, `path` holds what it held before or all of the
    new. No other file is touched.

    Args:
        path: any name that does not end in .json.
        tensors: of any shapes; memory that they share is written out.
        meta: values that JSON can hold.

    Raises:
        UserError: `path` ends in .json or is no UTF-8; it holds something that `save` did not write, or of another
            kind (a record where an encoder is to be saved); what is to be saved could not be read back; or as
            `files.atomic`.
    """
    path = at_home(path)
    if path.suffix.lower() == ".json":
        raise UserError(f"{path} is to hold tensors, not JSON: give it a name that ends in .safetensors.")
    if readable(path) != str(path):
        raise UserError(f"{readable(path)} has bytes that are no UTF-8, so it could not be read again; rename it.")
    _refuse_to_replace(path, meta)
    text = _as_text(meta)
    _refuse_what_does_not_come_back(tensors, text)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    entry = _entry(_digest(plain, text), text)
    with atomic(path) as temporary:
        _write(plain, temporary, entry)


def _refuse_to_replace(path: Path, meta: Mapping[str, Any]) -> None:
    """What was named by mistake is not to be lost, a checkpoint or a record; an empty file loses nothing."""
    try:
        head = _head(path) if is_file(path) else b""
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}), so it is not replaced.") from error
    if head and not _is_safetensors(head):
        raise UserError(f"{path} is there already and is no safetensors file; move it away or choose another name.")
    if head and not _same_kind(_described(path), meta):
        raise UserError(f"{path} is there already and holds something else; move it away or choose another name.")


def _described(path: Path) -> Mapping[str, Any] | None:
    """What the file's own description says, None if it has none, {} if nobody can tell because it is damaged."""
    try:
        return describe(path)
    except UserError:
        try:
            return None if _read_entry(path) is None else {}
        except UserError:
            return {}


def _same_kind(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Whether two descriptions are of one kind of thing: those of one kind share most of their entries."""
    if old is None:
        return False
    return not old or not new or 2 * len(old.keys() & new.keys()) > min(len(old), len(new))


def _write(tensors: dict[str, Tensor], path: Path, entry: str) -> None:
    try:
        save_file(tensors, path, {_ENTRY: entry})
    except SafetensorError as error:  # it hides what the system said, a full disk for example, in its text
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def digest(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> str:
    """SHA-256 of tensors and description together, 64 hexadecimal digits: what `save` writes into the header.

    It is the hash of the line `sha256_tensors` and of the description as compact JSON, in the order that it has.
    Whoever changes a file can write a new digest into it, too: against that helps a digest that was kept elsewhere.
    """
    return _digest(tensors, _as_text(meta))


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    return hashlib.sha256(f"{sha256_tensors(tensors)}\n{text}".encode()).hexdigest()


def _as_text(meta: Mapping[str, Any]) -> str:
    try:
        return json.dumps(meta, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"The description cannot be written as JSON ({error}); give plain values.") from error


def _refuse_what_does_not_come_back(tensors: Mapping[str, Tensor], text: str) -> None:
    """See that the file can be read again: keys of JSON are text, and safetensors has its types."""
    if _as_text(json.loads(text)) != text:
        raise UserError("The description has two entries of one name, a number and the same as text; rename one.")
    for name, tensor in tensors.items():
        if name == "__metadata__" or name.encode("utf-8", "replace").decode() != name:
            raise UserError(f"No tensor can be saved under the name {name!a}; rename it.")
        if tensor.dtype not in _KINDS or tensor.layout != torch.strided or tensor.is_meta:
            kind = "meta" if tensor.is_meta else f"{tensor.layout}, {tensor.dtype}".replace("torch.", "")
            raise UserError(f"{name} is a tensor of the kind {kind}, which safetensors cannot hold.")


def _plain(value: Any) -> Any:
    """Numbers of numpy and PyTorch as plain ones."""
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1):
        return value.item()
    raise TypeError(f"a {type(value).__name__} is among it")


def _entry(digest: str, text: str) -> str:
    return f'{{"digest":"{digest}","description":{text}}}'


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what `save` wrote: (tensors on the CPU, meta).

    A file of the older form is read with the JSON beside it, which then is `meta`.

    Raises:
        UserError: a file is missing, is not safetensors (a pickle, say), has no description, or its content is not
            that of its digest.
    """
    path = at_home(path)
    entry = _read_entry(path)
    if entry is None:
        return _load_pair(path)
    tensors, changed = read_safetensors(path), f"{path}: the file was changed or damaged; get or make it again."
    try:
        content = json.loads(entry)
        stated, meta = content["digest"], content["description"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"The description in {changed}") from error
    text = _as_text(meta)
    if not isinstance(meta, dict) or entry != _entry(stated, text) or stated != _digest(tensors, text):
        raise UserError(f"The digest in the header does not fit the content of {changed}")
    return tensors, meta


def describe(path: Path) -> dict[str, Any]:
    """The description alone, without reading or checking the tensors.

    Raises:
        UserError: as `load`, except that the digest is not checked.
    """
    path = at_home(path)
    entry = _read_entry(path)
    if entry is None:
        return _read_pair_json(path)
    try:
        return dict(json.loads(entry)["description"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"The description in {path} was changed or damaged; get or make the file again.") from error


def _read_entry(path: Path) -> str | None:
    """Our entry in the header; None if there is none, as in the older form."""
    refuse_pickle(path)
    try:
        with safe_open(path, "pt") as file:
            found = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if _ENTRY in found and len(found) > 1:
        raise UserError(f"Something was added to the header of {path}; get or make the file again.")
    return found.get(_ENTRY)


def _load_pair(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The older form: ``name.safetensors`` and ``name.json``, which states the first one's SHA-256."""
    meta, tensors, found = _read_pair_json(path), read_safetensors(path), sha256_file(path)
    if found != meta.get("sha256"):
        raise UserError(
            f"{path} has SHA-256 {found[:12]}…, but {path.with_suffix('.json').name} states "
            f"{str(meta.get('sha256'))[:12]}…: the file was changed or damaged; get or make it again."
        )
    return tensors, meta


def _read_pair_json(path: Path) -> dict[str, Any]:
    described = path.with_suffix(".json")
    if not described.is_file():
        raise UserError(
            f"{path} has no description in its header, and no {described.name} lies beside it; get or make it again."
        )
    meta = read_json(described)
    if not isinstance(meta, dict):
        raise UserError(f"{described} does not describe {path.name}: it holds no JSON object; get or make both again.")
    return meta


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, whoever wrote it, on the CPU; copies, so that nothing written later changes them.

    Raises:
        UserError: the file is missing or is not safetensors.
    """
    path = at_home(path)
    refuse_pickle(path)
    try:
        return {name: tensor.clone() for name, tensor in load_file(path).items()}  # the file is mapped into memory
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is not a readable safetensors file ({error}); get or make it again.")


def refuse_pickle(path: Path) -> None:
    """Stop if `path` is missing or holds a pickle (plain, or in a zip as ``torch.save`` writes).

    Unpickling runs whatever code the file's author put there, so the suite
    takes weights as safetensors only. A safetensors file may begin with the bytes of a pickle or of a zip, for it
    begins with its header's length; what tells it is the JSON after these eight bytes.

    Raises:
        UserError: the file is missing or cannot be read, is a pickle, or its name is no UTF-8.
    """
    path = at_home(path)
    if readable(path) != str(path):
        raise UserError(f"The name {readable(path)} has bytes that are no UTF-8; rename the file.")
    if not is_file(path):
        raise UserError(f"There is no file {path}; check the name, or make it by running the notebook that writes it.")
    try:
        head = _head(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give yourself permission to read it.") from error
    if _is_safetensors(head):
        return
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or head[:4] == b"PK\x03\x04":
        raise UserError(
            f"{path} is a pickle (torch.save format), which can run code when it is read; "
            "turn it into safetensors first: python -m sslauth_utils.models.convert FILE.pth FILE.safetensors"
        )


def _head(path: Path) -> bytes:
    with open(path, "rb") as handle:
        return handle.read(9)


def _is_safetensors(head: bytes) -> bool:
    """Whether a file's first nine bytes are a possible header length (little-endian) and the brace of its JSON."""
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER


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
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b"")
    return digest.hexdigest()
