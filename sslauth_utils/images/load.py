"""Any image set by its name, as one uint8 tensor that can live on the device.

Where a name is looked for, in this order: embedded sets; ``folder:PATH``;
array files in ``$SSLAUTH_DATA``; image folders (``imagenet``); torchvision's
downloads. ``docs/data.md`` lists the names and the file formats.
"""

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslauth_utils.base.checks import check_choice, check_whole, plain
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import sha256_file
from sslauth_utils.base.fingerprint import combined, meanings
from sslauth_utils.base.paths import DATA, is_file, is_folder, readable, user_data
from sslauth_utils.images.arrays import npz_classes, read_files, read_npz, read_zip
from sslauth_utils.images.cache import cached
from sslauth_utils.images.downloads import DOWNLOADS, download
from sslauth_utils.images.embedded import EMBEDDED, SHAPES_COUNT
from sslauth_utils.images.folders import class_folders, list_folder, states
from sslauth_utils.images.identity import array_files, files_of, folder_places, set_name
from sslauth_utils.images.pixels import Pixels

SPLITS = ("train", "test")
_FOLDER_SPLITS = {"train": "train", "test": "val"}
_FILE_SPLITS = {"train": ("train",), "test": ("test", "val")}  # a set's validation file serves as its test set


@dataclass(frozen=True)
class Images:
    """A set of images and what they are.

    Attributes:
        images: uint8 (N, 3, H, W), RGB.
        labels: int64 (N,), indices into `classes`.
        classes: the classes' names.
        name: the name it was asked for by.
        source: where the pixels come from, in a few words.
    """

    images: Tensor
    labels: Tensor
    classes: list[str]
    name: str
    source: str

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "Images":
        """The same set with both tensors on `device`."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def load_images(name: str, split: str = "train", size: int = 32, count: int | None = None, seed: int = 0) -> Images:
    """The set called `name`, resized to `size` x `size` (`pixels.square`), RGB.

    Args:
        name: see `known_names`, or ``folder:PATH``.
        split: "train" or "test"; a set without splits (one file, one folder) has "train" only, so
            that nobody tests on what was trained on.
        size: side of the images in pixels, 8 to 512.
        count: that many images instead of all (in stored order): drawn at random by `seed`, with the
            classes as equal in number as the set allows, in shuffled order.
        seed: chooses the subset; the same seed gives the same images on every run.

    Raises:
        UserError: unknown name or split, a size or count out of range, a set that is not there
            and cannot be had, damaged files, or a set whose other split has other classes.
    """
    size, count, seed = plain(size), plain(count), plain(seed)
    _check(name, split, size, count, seed)
    if name in EMBEDDED:
        pixels = _embedded(name, split, size, count)
        return _images(_subset(pixels, name, split, count, seed), name, "embedded")
    folder = _folder_of(name, split)
    if folder is not None:
        return _from_folder(folder, name, split, size, count, seed)
    file = _array_file(name, split)
    if file is not None:
        read = read_zip if file.suffix == ".zip" else read_npz
        pixels = cached({"sha256": sha256_file(file)}, size, lambda: read(file, size))
        _check_other_split(name, split, pixels.classes)
        return _images(_subset(pixels, name, split, count, seed), name, f"file {file.name}")
    if name in DOWNLOADS:
        pixels = download(name, split, size, DATA)
        _check_other_split(name, split, pixels.classes)
        return _images(_subset(pixels, name, split, count, seed), name, "torchvision")
    raise _unknown(name)


def known_names() -> list[str]:
    """Every name that `load_images` knows here, sorted; those of ``$SSLAUTH_DATA`` included."""
    return sorted({*EMBEDDED, *DOWNLOADS, "imagenet", *_array_names()})


def _check(name: str, split: str, size: int, count: int | None, seed: int) -> None:
    if not isinstance(name, str):
        raise UserError(f"A set of images has a name, as text, not {name!r}; a folder is folder:PATH.")
    check_choice("The split", split, SPLITS)
    check_whole("The image size, in pixels,", size, 8, 512)
    if count is not None:
        check_whole("The number of images (None: all)", count, 1)
    check_whole("The seed", seed, 0)


def _embedded(name: str, split: str, size: int, count: int | None) -> Pixels:
    """Drawn or cut out once: that takes a second, which an attack would pay six times."""
    drawn = SHAPES_COUNT[split]
    if name == "embedded_shapes" and count is not None:  # there are as many as asked for
        drawn = max(count, drawn)
    packages = {package: version(package) for package in ("matplotlib", "numpy", "scikit-image", "scikit-learn")}
    code = combined(meanings(["sslauth_utils.images.embedded"]))
    source = {"embedded": name, "split": split, "drawn": drawn, "code": code, **packages}
    more = (drawn,) if name == "embedded_shapes" else ()
    return cached(source, size, lambda: EMBEDDED[name](split, size, *more))


def _images(pixels: Pixels, name: str, source: str) -> Images:
    return Images(torch.from_numpy(pixels.images), torch.from_numpy(pixels.labels), pixels.classes, name, source)


# --- subsets ------------------------------------------------------------------------------------


def _subset(pixels: Pixels, name: str, split: str, count: int | None, seed: int) -> Pixels:
    if count is None:
        return pixels
    chosen = balanced(pixels.labels, count, seed, f"{name} ({split})")
    return Pixels(pixels.images[chosen], pixels.labels[chosen], pixels.classes)


def balanced(labels: np.ndarray, count: int, seed: int, what: str) -> np.ndarray:
    """Indices int64 (count,) of a random subset with equal classes, shuffled.

    Images are shuffled and dealt out in rounds, one of each class a round, in a
    random order of classes: classes differ by at most one image, unless one is used up.

    Raises:
        UserError: fewer than `count` labels; `what` names the set.
    """
    if count > len(labels):
        raise UserError(f"{what} has {len(labels)} images, {count} were asked for; ask for at most {len(labels)}.")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels)
    rounds = np.empty(len(labels), dtype=np.int64)
    rounds[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.lexsort((rng.permutation(len(sizes))[labels], rounds))[:count]
    return rng.permutation(chosen)


# --- folders ------------------------------------------------------------------------------------


def _folder_of(name: str, split: str) -> Path | None:
    """The folder that `name` stands for, or None if it is no name of a folder."""
    places = folder_places(name, _FOLDER_SPLITS[split])
    if name != "imagenet":
        if places:
            _refuse_test(name, split)
        return places[0] if places else None
    if place := next(filter(is_folder, places), None):
        return place
    raise UserError(
        f"The data set imagenet ({split}) is not there: looked for {' and '.join(map(str, places))}; "
        "put the ILSVRC-2012 images there, one sub-folder a class (image-net.org gives access), "
        "or set SSLAUTH_DATA to the folder that holds imagenet/."
    )


def _from_folder(folder: Path, name: str, split: str, size: int, count: int | None, seed: int) -> Images:
    """Only the chosen images are decoded: ImageNet has 1.3 million."""
    files, labels, classes = list_folder(folder)
    _check_other_split(name, split, classes)
    if count is not None:
        chosen = balanced(labels, count, seed, f"{name} ({split})")
        files, labels = [files[index] for index in chosen], labels[chosen]
    # Where it lies and which files these are, too: another folder's may have the same names, sizes and times.
    here = [[state.st_ino, state.st_ctime_ns] for state in (path.stat() for path in files)]
    source = {"folder": readable(folder.resolve()), "files": states(files, folder), "here": here, "classes": classes}
    pixels = cached(source, size, lambda: Pixels(read_files(files, size), labels, classes))
    return _images(pixels, name, f"folder {folder.name}")


def _refuse_test(name: str, split: str) -> None:
    if split != "train":
        raise UserError(
            f"{name} has no splits, so it has no {split} images; "
            'load it with split="train", or give the test images a name of their own.'
        )


# --- both splits ---------------------------------------------------------------------------------


def _check_other_split(name: str, split: str, classes: list[str]) -> None:
    """Refuse a set whose two splits number their classes differently: its labels would mean other things in each.

    Only files are looked at, not what could be downloaded.
    """
    other = "test" if split == "train" else "train"
    if name == "imagenet":
        place = next(filter(is_folder, folder_places(name, _FOLDER_SPLITS[other])), None)
        others = class_folders(place) or None if place else None
    else:
        home = user_data()
        file = _split_file(home, name, other) if home and Path(name).name == name else None
        others = npz_classes(file) if file else None
    if others is None or others == classes:
        return
    only = sorted(set(classes) ^ set(others))
    what = f"{only[0]} is in one of them only" if only else "they stand in another order"
    raise UserError(
        f"The classes of the {split} images of {name} are not those of its {other} images: {what}; "
        "give both the same classes in the same order, or a label means another thing in each."
    )


# --- array files --------------------------------------------------------------------------------


def _array_file(name: str, split: str) -> Path | None:
    """The file in ``$SSLAUTH_DATA`` that holds this split, or None.

    A file without split serves only a set that has none with: so nothing that
    is in one split can come back under the other.
    """
    home = user_data()
    if home is None or Path(name).name != name:
        return None
    files_of(name)  # refuses a link that leads nowhere
    if path := _split_file(home, name, split):
        return path
    if name in _array_names(split_only=True):
        if name in DOWNLOADS:
            return None
        raise UserError(
            f"SSLAUTH_DATA has no {split} file for {name}; looked in {home} for "
            + ", ".join(f"{name}_{part}{ending}.npz" for part in _FILE_SPLITS[split] for ending in ("", "_jpeg"))
            + "."
        )
    for ending in (".npz", "_jpeg.npz", ".zip"):
        path = home / f"{name}{ending}"
        if is_file(path) and set_name(path) == (name, ""):  # not "x_train", which is a split of x
            _refuse_test(name, split)
            return path
    return None


def _split_file(home: Path, name: str, split: str) -> Path | None:
    places = (home / f"{name}_{part}{ending}.npz" for part in _FILE_SPLITS[split] for ending in ("", "_jpeg"))
    return next(filter(is_file, places), None)


def _array_names(split_only: bool = False) -> set[str]:
    """Names that the files in ``$SSLAUTH_DATA`` give."""
    return {name for name, split in map(set_name, array_files()) if split or not split_only}


def _unknown(name: str) -> UserError:
    home = user_data()
    where = f"nor a file of that name in {home}" if home else "and SSLAUTH_DATA is not set"
    return UserError(f"There is no data set {name!r} {where}; known are {', '.join(known_names())} and folder:PATH.")
