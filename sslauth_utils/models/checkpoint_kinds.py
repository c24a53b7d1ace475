"""What a file is that was given as a checkpoint: its first bytes tell, and nothing in it is run."""

import pickle
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch

from sslauth_utils.base.errors import UserError

#: what PyTorch's readers raise on a file that is damaged or holds what they refuse
UNREADABLE = (
    pickle.UnpicklingError, struct.error, RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    AssertionError,
)  # fmt: skip
#: bytes; a tar names itself in the first block
_HEAD = 512
#: first bytes by the program that unpacks the file
_COMPRESSED = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\x00", "zstd": b"\x28\xb5\x2f\xfd"}
_ZIP = b"PK\x03\x04"
_SAVE_ALONE = "torch.save(model.state_dict(), 'weights.pth') makes one that can be converted"


def refuse_other_kinds(source: Path) -> None:
    """Stop if the file is plainly something else than a checkpoint.

    Raises:
        UserError: it is empty, safetensors already, a Git LFS pointer, a web page, compressed, a tar, a zip that is
            cut off or holds other files, or TorchScript.
        OSError: it cannot be read.
    """
    with open(source, "rb") as file:
        head = file.read(_HEAD)
    told = _told_by_zip(source) if head.startswith(_ZIP) else _told_by_head(head, source.stat().st_size)
    if told:
        raise UserError(f"{source} is {told}.")


def refused_content(source: Path) -> str:
    """What to say of a checkpoint that the reader of plain tensors refused."""
    try:
        # This lists the names in the pickle and imports none of them.
        names = torch.serialization.get_unsafe_globals_in_checkpoint(source)
    except UNREADABLE:  # the form before PyTorch 1.6, or damaged
        names = []
    found = f"it also holds {listed(sorted(names))}"
    what = found if names else "it is no checkpoint, is damaged, or holds more than tensors"
    return f"{source} cannot be read as plain weights: {what}; nothing in it was run, and {_SAVE_ALONE}."


def listed(names: Iterable[object]) -> str:
    """The first names; one that would steer the terminal is written out."""
    names = [name if name.isprintable() else repr(name) for name in map(str, names)]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _told_by_head(head: bytes, size: int) -> str | None:
    if not head:
        return "empty; get or make it again"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors already; use it as it is, under a name that ends in .safetensors"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer and not the checkpoint itself; fetch that with: git lfs pull"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return "a web page (HTML or XML), as a server sends in place of a file; download the checkpoint again"
    for program, first in _COMPRESSED.items():
        if head.startswith(first):
            return f"compressed; unpack it, and convert what comes out: {program} -dc FILE > NEW.pth"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it with tar -xf, and convert the checkpoint in it"
    return None


def _told_by_zip(source: Path) -> str | None:
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, RuntimeError, ValueError, struct.error):
        return "a zip, as torch.save writes it, that is cut off or damaged; get it again, to its end"
    top = names[0].split("/")[0] if names else ""
    if f"{top}/constants.pkl" in names:
        return f"a TorchScript archive, a program and not weights alone; {_SAVE_ALONE}"
    if f"{top}/data.pkl" not in names:
        return f"a zip of other files ({listed(names) or 'none'}); unpack it, and convert the checkpoint in it"
    return None
