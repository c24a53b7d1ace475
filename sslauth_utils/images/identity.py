"""Which bytes the name of a data set or of a weights file stands for on this machine: another file, another result."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from sslauth_utils.base.files import sha256_file
from sslauth_utils.base.paths import DATA, ROOT, user_data
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
            if folder := next((place for place in folder_places(name, part) if place.is_dir()), None):
                found += [[Path(part, path).as_posix(), *state] for path, *state in states(image_files(folder), folder)]
        arrays = [path for path in array_files() if set_name(path)[0] == name]
        found += [[path.name, _sha256(path, path.stat().st_mtime_ns)] for path in arrays]
    return found


def array_files() -> list[Path]:
    """The array files in ``$SSLAUTH_DATA``, sorted, without hidden ones (macOS keeps notes in ``._name``)."""
    home = user_data()
    files = home.iterdir() if home else []
    return sorted(path for path in files if path.suffix in ARRAY_SUFFIXES and not path.name.startswith("."))


def folder_places(name: str, part: str) -> list[Path]:
    """Where the folder of images is looked for that `name` stands for; [] if it stands for none.

    Args:
        part: "train" or "val" of ``imagenet``; other folders have no parts.
    """
    if name.startswith("folder:"):
        path = Path(name.removeprefix("folder:")).expanduser()
        return [path if path.is_absolute() else ROOT / path]
    if name == "imagenet":
        return [place / name / part for place in (user_data(), DATA) if place is not None]
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
