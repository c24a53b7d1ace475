"""Which bytes the name of a data set or of a weights file stands for on this machine: another file, another result."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from sslauth_utils.base.files import sha256_file
from sslauth_utils.base.paths import DATA, ROOT, user_data

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

    Array files by name and SHA-256; folders of images by the path, size and time of every file.
    """
    found: list[list[Any]] = []
    home = user_data()
    for name in names:
        for folder in _image_folders(name):
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            found += [[p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
        arrays = sorted(path for path in home.iterdir() if path.suffix in ARRAY_SUFFIXES) if home else []
        found += [[path.name, _sha256(path, path.stat().st_mtime_ns)] for path in arrays if set_name(path)[0] == name]
    return found


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


def _image_folders(name: str) -> list[Path]:
    """The folders that the data set `name` is read from, those that are there."""
    if name.startswith("folder:"):
        path = Path(name.removeprefix("folder:")).expanduser()
        places = [path if path.is_absolute() else ROOT / path]
    else:
        places = [home / "imagenet" for home in (user_data(), DATA) if home is not None and name == "imagenet"]
    return [place for place in places if place.is_dir()]
