"""Which files of a folder are images, and what classes they are of: one answer for reading and for telling changes."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import is_folder, readable

#: those that torchvision's ImageFolder reads
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
#: other endings of images: left out, but not without saying so
LEFT_OUT = (
    ".apng", ".avif", ".dng", ".exr", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jxl", ".pbm", ".pnm",
    ".svg", ".tga",
)  # fmt: skip
#: what macOS's archives and file servers put beside images, besides hidden files: images of their own, or deleted ones
_NOT_THE_USERS = {
    "__macosx", "@eadir", "$recycle.bin", "recycler", "recycled", "system volume information", "#recycle", "@recycle",
    "#snapshot", "@recently-snapshot", "~snapshot", "lost+found",
}  # fmt: skip


def image_files(folder: Path) -> list[Path]:
    """The image files below `folder`, at any depth, sorted.

    Links are followed; hidden files and folders are not looked at.

    Raises:
        UserError: a folder cannot be read, or a link leads nowhere.
    """
    return sorted(path for path in _files(folder) if path.suffix.lower() in SUFFIXES)


def list_folder(folder: Path) -> tuple[list[Path], np.ndarray, list[str]]:
    """Image files below `folder` (see `image_files`), with labels int64 and class names.

    Each sub-folder that holds images (at any depth) is a class, sorted by name;
    a folder without such sub-folders is one class of its own name. Images with endings
    that are not read are counted in a warning.

    Raises:
        UserError: no such folder, no images in it, images both beside and in sub-folders, or see `image_files`.
    """
    if not is_folder(folder):
        raise UserError(f"There is no folder {folder}; give the folder that holds the images.")
    visible = sorted(_files(folder))
    found = [path for path in visible if path.suffix.lower() in SUFFIXES]
    others = Counter(ending for path in visible if (ending := path.suffix.lower()) in LEFT_OUT)
    left_out = ", ".join(f"{count} {ending}" for ending, count in sorted(others.items()))
    if not found:
        more = f"; it has {left_out}, which are not read: convert them to PNG" if left_out else ""
        raise UserError(f"There are no images in {folder} (looked for {', '.join(SUFFIXES)}){more}.")
    if left_out:
        warnings.warn(
            f"Of {folder}, {len(found)} images are read and {others.total()} are left out ({left_out}); "
            "convert these to PNG to have them read.",
            stacklevel=4,  # where `load_images` was called
        )
    tops = [path.relative_to(folder).parts[:-1][:1] for path in found]
    if () in tops and any(tops):
        raise UserError(f"{folder} holds images both directly and in sub-folders; give every class a sub-folder.")
    names = [readable(Path(top[0] if top else folder.resolve().name)) for top in tops]
    classes = sorted(set(names))
    number = {name: label for label, name in enumerate(classes)}
    return found, np.array([number[name] for name in names], dtype=np.int64), classes


def states(files: list[Path], folder: Path) -> list[list]:
    """What tells a changed file: its path in `folder`, size and time of change, of each; of a link, its target's.

    The same wherever `folder` lies: a copy of it makes nothing run again.
    """
    found = ((path, path.stat()) for path in files)
    return [[readable(path.relative_to(folder)), state.st_size, state.st_mtime_ns] for path, state in found]


def class_folders(folder: Path) -> list[str]:
    """The sub-folders of `folder` that hold images, sorted: its classes, found without looking at every image.

    Raises:
        UserError: see `image_files`.
    """
    try:
        tops = [folder / entry.name for entry in _entries(folder) if entry.is_dir()]
    except OSError as error:
        raise _unreadable(folder, error) from error
    return sorted(
        readable(Path(top.name)) for top in tops if any(path.suffix.lower() in SUFFIXES for path in _files(top))
    )


def _files(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
    """All files below `folder` that the user put there; `above` are the folders on the way, by device and inode."""
    try:
        state = os.stat(folder)
        here = (state.st_dev, state.st_ino)
        if here in above:  # a link to a folder that it lies in: for ever the same files
            return
        for entry in _entries(folder):
            if entry.is_dir():
                yield from _files(folder / entry.name, (*above, here))
            elif entry.is_file():
                yield folder / entry.name
            elif entry.is_symlink():
                raise UserError(f"{entry.path} is a link to something that is not there; mend or remove it.")
    except OSError as error:
        raise _unreadable(folder, error) from error


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What the user put into `folder`."""
    with os.scandir(folder) as found:
        return [entry for entry in found if not entry.name.startswith(".") and entry.name.lower() not in _NOT_THE_USERS]


def _unreadable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"Cannot read {error.filename or folder} ({error.strerror}); see to its permissions, or remove it."
    )
