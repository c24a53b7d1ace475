"""Which bytes a name stands for: every file of the set counts, and no other."""

import hashlib
import os
from pathlib import Path

import pytest

from sslauth_utils.images import identity
from sslauth_utils.images.folders import list_folder
from sslauth_utils.images.identity import array_files, data_files, set_name, weights_path, weights_sha256


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty $SSLAUTH_DATA; there is no data folder."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("SSLAUTH_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(identity, "DATA", tmp_path / "data")
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("file", "name", "split"),
    [
        ("cifar10.npz", "cifar10", ""),
        ("cifar10_train.npz", "cifar10", "train"),
        ("cifar10_test_jpeg.npz", "cifar10", "test"),
        ("cifar10_jpeg.npz", "cifar10", ""),
        ("tiny_imagenet_val.npz", "tiny_imagenet", "val"),
        ("imagenet_samples_224.zip", "imagenet_samples_224", ""),
        ("imagenet_test.zip", "imagenet_test", ""),
        ("pictures_other.npz", "pictures_other", ""),
        ("test.npz", "test", ""),
        ("_test.npz", "_test", ""),
    ],
)
def test_a_file_s_name_gives_its_set_and_split(file, name, split):
    assert set_name(Path(file)) == (name, split)


def test_array_files_count_by_name_and_content(home):
    for name in ("dots_train.npz", "dots_test_jpeg.npz", "dots.zip", "dots.txt", "dotted.npz", "lines.npz"):
        (home / name).write_bytes(name.encode())
    wanted = ["dots.zip", "dots_test_jpeg.npz", "dots_train.npz"]
    assert data_files("dots") == [[name, hashlib.sha256(name.encode()).hexdigest()] for name in wanted]
    assert data_files("lines", "dots") == data_files("lines") + data_files("dots")
    assert data_files() == data_files("circles") == []


def test_a_file_that_is_written_anew_is_read_anew(home):
    found = []
    for time, content in enumerate((b"12", b"21"), 1):
        (home / "dots.npz").write_bytes(content)
        os.utime(home / "dots.npz", (time, time))
        found.append(data_files("dots"))
    assert found[0] != found[1]


def test_folders_count_by_path_size_and_time_of_every_file(home, tmp_path):
    name = f"folder:{tmp_path / 'pictures'}"
    assert data_files(name) == []
    picture = tmp_path / "pictures" / "cats" / "one.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"123")
    os.utime(picture, (5, 5))
    assert data_files(name) == [["cats/one.png", 3, 5_000_000_000]]
    os.utime(picture, (6, 6))
    assert data_files(name) == [["cats/one.png", 3, 6_000_000_000]]


def test_of_imagenet_s_two_places_the_first_serves_both_parts(home, tmp_path):
    for place, part in ((home, "train"), (tmp_path / "data", "train"), (tmp_path / "data", "val")):
        (place / "imagenet" / part).mkdir(parents=True)
        (place / "imagenet" / part / f"{place.name}.jpg").touch()
    assert [path for path, _, _ in data_files("imagenet")] == ["train/home.jpg"], "no set is mixed of two"
    assert data_files("dots") == []


def test_of_a_folder_those_files_count_that_are_read_and_no_others(home, tmp_path):
    real, top = tmp_path / "elsewhere" / "cats", tmp_path / "pictures"
    for path in (real / "one.png", top / "dogs" / "two.PGM", top / ".hidden" / "a.png", top / "dogs" / "._two.png",
                 top / "dogs" / "notes.txt"):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    (top / "cats").symlink_to(real)
    before = data_files(f"folder:{top}")
    assert [path for path, _, _ in before] == ["cats/one.png", "dogs/two.PGM"]
    assert [path.relative_to(top).as_posix() for path in list_folder(top)[0]] == ["cats/one.png", "dogs/two.PGM"]
    (real / "one.png").write_bytes(b"12")  # the target of the link
    assert data_files(f"folder:{top}") != before


def test_what_macos_puts_beside_array_files_is_no_data_set(home):
    (home / "._dots_train.npz").write_bytes(b"")
    (home / "dots_train.npz").write_bytes(b"")
    assert [path.name for path in array_files()] == ["dots_train.npz"]


def test_without_files_of_the_user_s_there_is_nothing_to_count(monkeypatch):
    monkeypatch.delenv("SSLAUTH_DATA", raising=False)
    assert data_files("cifar10", "embedded_digits") == []


def test_weights_are_looked_for_in_the_user_s_folder_or_else_in_ours(home, monkeypatch, tmp_path):
    assert weights_path("a.safetensors") == home / "a.safetensors" and weights_sha256("a.safetensors") is None
    (home / "a.safetensors").write_bytes(b"1")
    assert weights_sha256("a.safetensors") == hashlib.sha256(b"1").hexdigest()
    monkeypatch.delenv("SSLAUTH_DATA")
    assert weights_path("a.safetensors") == tmp_path / "data" / "a.safetensors"
    assert weights_sha256("a.safetensors") is None
