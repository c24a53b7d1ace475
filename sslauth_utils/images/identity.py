"""Which bytes the name of a data set or of a weights file stands for on this machine: another file, another result."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import sha256_file
from sslauth_utils.base.paths import DATA, ROOT, at_home, is_file, is_folder, user_data
from sslauth_utils.images.folders import image_files, states

ARRAY_SUFFIXES = (".npz", ".zip")


def set_name(path: Path) -> tuple[str, str]:
    """The data set that an array file serves, and its split ("" if it has none), by the file's name.

    ``cifar10_test_jpeg.npz`` is ("cifar10", "test"), ``imagenet_samples_224.zip`` ("imagenet_samples_224", "").
    """
    stem = path.stem.removesuffix("_jpeg") if path.suffix == ".npz" else path.stem
    base, _, part = stem.rpartition("_")
    return (base, part) if path.suffix == ".npz" and base and part in ("train", "test", "val") else (stem, "")


def data_files(*names: str) -> list[list[Any]]:
    """What the user's own files for these data sets are; [] for sets of a package or that are downloaded by hash.

    Array files by name and SHA-256; of folders the path, size and time of every image that `load_images` reads.

    Raises:
        UserError: a folder cannot be read, or a link in it leads nowhere.
    """
    found: list[list[Any]] = []
    for name in names:
        for part in ("train", "val") if name == "imagenet" else ("",):
            if folder := next(filter(is_folder, folder_places(name, part)), None):
                found += [[Path(part, path).as_posix(), *state] for path, *state in states(image_files(folder), folder)]
        found += [[path.name, _sha256(path, path.stat().st_mtime_ns)] for path in files_of(name)]
    return found


def array_files() -> list[Path]:
    """The array files in ``$SSLAUTH_DATA``, sorted, without hidden ones (macOS keeps notes in ``._name``).

    Raises:
        UserError: the folder cannot be read.
    """
    home = user_data()
    try:
        files = sorted(home.iterdir()) if home else []
    except OSError as error:
        raise UserError(f"Cannot read {home} ({error.strerror}); see to its permissions.") from error
    named = [path for path in files if path.suffix in ARRAY_SUFFIXES and not path.name.startswith(".")]
    return [path for path in named if not is_folder(path)]


def files_of(name: str) -> list[Path]:
    """The array files in ``$SSLAUTH_DATA`` of the set called `name`, sorted.

    Raises:
        UserError: the folder cannot be read, or one is a link that leads nowhere (DVC and git-annex leave such):
            nothing else may stand in for it unasked.
    """
    found = [path for path in array_files() if set_name(path)[0] == name]
    if lost := [path for path in found if not is_file(path)]:
        raise UserError(f"{lost[0]} is a link to something that is not there; fetch that file, or remove the link.")
    return found


def folder_places(name: str, part: str) -> list[Path]:
    """Where the folder of images is looked for that `name` stands for; [] if it stands for none.

    Args:
        part: "train" or "val" of ``imagenet``; other folders have no parts.

    Raises:
        UserError: ``folder:`` without a path, or in the home of a user who is not known.
    """
    if name.startswith("folder:"):
        given = name.removeprefix("folder:")
        if not given.strip():
            raise UserError("'folder:' names no folder; write folder:PATH, with the path to your images.")
        path = at_home(given)
        return [path if path.is_absolute() else ROOT / path]
    if name == "imagenet":
        places = [place / name for place in (user_data(), DATA) if place is not None]
        first = next(filter(is_folder, places), None)  # for both parts, so that no one mixes two sets
        return [place / part for place in ([first] if first else places)]
    return []


def weights_path(name: str) -> Path:
    """Where the weights file called `name` is looked for."""
    return (user_data() or DATA) / name


def weights_sha256(name: str) -> str | None:
    """SHA-256 of the weights file called `name`; None if it is not there."""
    path = weights_path(name)
    return _sha256(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=256)
def _sha256(path: Path, _written: int) -> str:
    return sha256_file(path)
