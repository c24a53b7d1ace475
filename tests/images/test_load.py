"""Every way to a set of images, and every way in which it can be wrong."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import datasets

from sslauth_utils.base.errors import UserError
from sslauth_utils.images import cache, identity, load
from sslauth_utils.images.load import balanced, known_names, load_images

CLASSES = np.array(["cat", "dog", "ship"])
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """An empty $SSLAUTH_DATA, data folder and cache."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("SSLAUTH_DATA", str(folder))
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    for module in (load, identity):
        monkeypatch.setattr(module, "DATA", tmp_path / "data")
    return folder


def random_images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def jpeg_bytes(image):
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG")
    return out.getvalue()


def save_pixels(path, **changes):
    arrays = {"images": random_images(12, 32, 32, 3), "labels": LABELS, "classes": CLASSES} | changes
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})


def save_jpeg(path, files=None, **changes):
    files = files or [jpeg_bytes(image) for image in random_images(12, 32, 32, 3)]
    arrays = {
        "jpeg": np.frombuffer(b"".join(files), dtype=np.uint8),
        "offsets": np.cumsum([0] + [len(file) for file in files]),
        "labels": LABELS[: len(files)],
        "classes": CLASSES,
    } | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return files


# --- what comes back ----------------------------------------------------------------------------


def test_pixels_come_back_as_they_are(home):
    save_pixels(home / "mine_train.npz")
    images = load_images("mine")
    assert images.images.dtype == torch.uint8 and images.images.is_contiguous()
    assert torch.equal(images.images, torch.from_numpy(random_images(12, 32, 32, 3)).permute(0, 3, 1, 2))
    assert images.labels.dtype == torch.int64 and images.labels.tolist() == LABELS.tolist()
    assert (images.classes, images.name, images.source) == (["cat", "dog", "ship"], "mine", "file mine_train.npz")
    assert len(images) == 12


@pytest.mark.parametrize("name", ["mine_train", "mine_test", "mine_val"])
def test_one_split_is_no_set_by_itself(home, name):
    """Under that name a test set could be trained on, and its file would not count when it changes."""
    for part in ("train", "test", "val"):
        save_pixels(home / f"mine_{part}.npz")
    with pytest.raises(UserError, match=f"There is no data set '{name}' .*mine"):
        load_images(name)


def test_grey_pixels_become_three_equal_channels(home):
    save_pixels(home / "grey_train.npz", images=random_images(12, 32, 32, 1))
    images = load_images("grey").images
    assert torch.equal(images, torch.from_numpy(random_images(12, 32, 32, 1)).permute(0, 3, 1, 2).expand(-1, 3, -1, -1))


def test_jpeg_decodes_as_pillow_does(home):
    files = save_jpeg(home / "mine_train_jpeg.npz")
    expected = np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).transpose(2, 0, 1) for file in files])
    assert np.array_equal(load_images("mine").images.numpy(), expected)


def test_a_zip_is_read_by_its_index(home):
    files = [jpeg_bytes(image) for image in random_images(4, 40, 40, 3)]
    with zipfile.ZipFile(home / "mine.zip", "w") as archive:
        archive.writestr("index.csv", "file,label,class\n" + "".join(f"{i}.jpg,{i % 2},c{i % 2}\n" for i in range(4)))
        for index, file in enumerate(files):
            archive.writestr(f"{index}.jpg", file)
    images = load_images("mine", size=40)
    assert images.labels.tolist() == [0, 1, 0, 1] and images.classes == ["c0", "c1"]
    assert np.array_equal(images.images[3].permute(1, 2, 0), np.asarray(Image.open(io.BytesIO(files[3]))))


def test_a_folder_gives_its_sub_folders_as_classes(tmp_path):
    for index, name in enumerate(["b/one.png", "a/deep/two.PNG", "a/three.png"]):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (index, 0, 0)).save(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "a" / "notes.txt").write_text("not an image")
    images = load_images(f"folder:{tmp_path / 'pictures'}")
    assert images.classes == ["a", "b"] and images.labels.tolist() == [0, 0, 1]
    assert images.images[:, 0, 0, 0].tolist() == [1, 2, 0]
    single = load_images(f"folder:{tmp_path / 'pictures' / 'b'}")
    assert single.classes == ["b"] and len(single) == 1


def test_of_a_folder_only_the_images_chosen_are_decoded(tmp_path):
    for name in "abc":
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "set" / name / "0.png")
    (tmp_path / "set" / "a" / "1.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"a/1\.png"):
        load_images(f"folder:{tmp_path / 'set'}")
    assert any(_loads(tmp_path / "set", seed) for seed in range(10))


def test_another_folder_with_the_same_names_sizes_and_times_is_another_set(tmp_path):
    for name, grey in (("v1", 10), ("v2", 200)):
        file = tmp_path / name / "cat" / "0.bmp"
        file.parent.mkdir(parents=True)
        Image.new("RGB", (32, 32), (grey,) * 3).save(file)
        os.utime(file, (0, 0))
    assert [load_images(f"folder:{tmp_path / name}").images.unique().tolist() for name in ("v1", "v2")] == [[10], [200]]
    (tmp_path / "v1").rename(tmp_path / "old")
    (tmp_path / "v2").rename(tmp_path / "v1")
    assert load_images(f"folder:{tmp_path / 'v1'}").images.unique().tolist() == [200]


@pytest.mark.parametrize("classes", [["dog", "cat", "ship"], ["cat", "dog", "plane"], ["cat", "dog", "ship", "sun"]])
@pytest.mark.parametrize("split", ["train", "test"])
def test_two_splits_with_other_classes_are_refused(home, classes, split):
    save_pixels(home / "pets_train.npz")
    save_pixels(home / "pets_test.npz", classes=np.array(classes))
    with pytest.raises(UserError, match=r"The classes of the .* images of pets are not those of its .* images"):
        load_images("pets", split)
    save_pixels(home / "pets_test.npz")
    assert load_images("pets", split).classes == CLASSES.tolist()


def test_imagenet_without_the_classes_of_its_other_part_is_refused(home):
    def put(*names):
        for name in names:
            path = home / "imagenet" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32)).save(path)

    put("train/n01/a.png", "train/n02/a.png", "val/n01/b.png")
    (home / "imagenet/val/n02").mkdir()  # as in an archive that was unpacked by half
    for split in ("train", "test"):
        with pytest.raises(UserError, match="n02 is in one of them only"):
            load_images("imagenet", split)
    put("val/n02/b.png")
    assert load_images("imagenet", "test").labels.tolist() == [0, 1]


def test_a_link_that_leads_nowhere_is_no_data_set(home):
    (home / "pets.npz").symlink_to("/annex/objects/pets")
    save_pixels(home / "others.npz")
    assert len(load_images("others")) == 12
    for look in (lambda: load_images("pets"), lambda: identity.data_files("pets")):
        with pytest.raises(UserError, match=r"pets.npz is a link to something that is not there"):
            look()


@pytest.mark.parametrize("name", ["folder:", "folder: ", "folder:~nobody_of_that_name/x", "folder:/" + 300 * "x"])
def test_a_folder_that_cannot_be_meant_is_told(name):
    with pytest.raises(UserError):
        load_images(name)


def test_names_that_are_no_utf8_are_read(tmp_path):
    folder = tmp_path / "images" / "cat"
    folder.mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(folder / "a.png")
    os.rename(folder / "a.png", os.fsencode(folder) + b"/caf\xe9.png")
    os.rename(folder, os.fsencode(folder) + b"\xe9")
    assert load_images(f"folder:{tmp_path / 'images'}").classes == ["cat\\xe9"]


def test_deleted_pictures_are_no_class(tmp_path):
    for name in ("cat", "dog", "$RECYCLE.BIN", "#recycle", "@Recycle", "#snapshot"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / name / "a.png")
    assert load_images(f"folder:{tmp_path}").classes == ["cat", "dog"]


def _loads(folder, seed):
    try:
        return len(load_images(f"folder:{folder}", count=3, seed=seed)) == 3
    except UserError:
        return False


@pytest.mark.parametrize(("split", "part"), [("train", "train"), ("test", "val")])
def test_imagenet_is_a_folder_with_train_and_val(home, split, part):
    for index, name in enumerate(["n01", "n02"]):
        (home / "imagenet" / part / name).mkdir(parents=True)
        Image.new("RGB", (50, 40), (index, 9, 9)).save(home / "imagenet" / part / name / "x.JPEG", quality=100)
    images = load_images("imagenet", split)
    assert images.classes == ["n01", "n02"] and images.images.shape == (2, 3, 32, 32)


def test_resizing_keeps_the_centred_square_and_averages_when_it_shrinks(home):
    wide = np.zeros((2, 64, 128, 3), dtype=np.uint8)
    wide[:, :, :32], wide[:, :, 96:] = 255, 255  # outside the centred square
    wide[0, ::2, 32:96] = 200  # fine stripes: nearest or plain bilinear would keep them
    save_pixels(home / "wide_train.npz", images=wide, labels=np.zeros(2, dtype=np.int64))
    images = load_images("wide").images
    assert images[1, :, :, 1:-1].max() == 0
    whole = Image.fromarray(wide[0]).resize((64, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(images[0].permute(1, 2, 0), np.asarray(whole)[:, 16:48])
    inner = images[0, :, 2:-2, 2:-2].float()
    assert inner.mean() == pytest.approx(100, abs=1) and inner.std() < 2


def test_exact_files_come_before_jpeg_and_test_before_val(home):
    save_jpeg(home / "both_train_jpeg.npz")
    save_pixels(home / "both_train.npz")
    save_pixels(home / "both_val.npz")
    assert load_images("both").source == "file both_train.npz"
    assert load_images("both", "test").source == "file both_val.npz"
    save_pixels(home / "both_test.npz")
    assert load_images("both", "test").source == "file both_test.npz"


def test_a_file_without_split_is_train_only_and_yields_to_files_with_one(home):
    save_pixels(home / "whole.npz")
    assert len(load_images("whole")) == 12
    with pytest.raises(UserError, match=r"whole has no splits, so it has no test images"):
        load_images("whole", "test")
    save_pixels(home / "whole_test.npz")
    with pytest.raises(UserError, match=r"no train file for whole.*whole_train\.npz"):
        load_images("whole")


def test_users_files_come_before_downloads(home):
    save_pixels(home / "cifar10_train.npz")
    assert load_images("cifar10").source == "file cifar10_train.npz"


@pytest.mark.parametrize("name", ["embedded_photos", "embedded_shapes", "embedded_digits"])
def test_embedded_sets_by_name(name):
    first, again = (load_images(name, "test", count=40, seed=3) for _ in range(2))
    assert first.images.shape == (40, 3, 32, 32) and torch.equal(first.images, again.images)
    assert not torch.equal(first.images, load_images(name, "test", count=40, seed=4).images)


def test_known_names_include_the_users(home):
    save_pixels(home / "mine_train.npz")
    save_jpeg(home / "other_val_jpeg.npz")
    save_pixels(home / "whole_32.npz")
    assert {"mine", "other", "whole_32", "cifar10", "embedded_shapes", "imagenet"} <= set(known_names())


def test_to_moves_both_tensors(home):
    save_pixels(home / "mine_train.npz")
    moved = load_images("mine").to("meta")
    assert moved.images.device.type == moved.labels.device.type == "meta" and moved.name == "mine"


# --- subsets ------------------------------------------------------------------------------------


@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=80),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_a_subset_is_as_balanced_as_the_set_allows(labels, share, seed):
    labels = np.array(labels)
    count = max(1, int(share * len(labels)))
    chosen = balanced(labels, count, seed, "x")
    assert len(set(chosen.tolist())) == len(chosen) == count
    assert np.array_equal(chosen, balanced(labels, count, seed, "x"))
    got, there = np.bincount(labels[chosen], minlength=7), np.bincount(labels, minlength=7)
    assert all(got[k] == there[k] or got[k] >= got.max() - 1 for k in range(7))


def test_a_subset_is_random_and_shuffled():
    labels = np.repeat(np.arange(5), 100)
    one, two = (balanced(labels, 50, seed, "x") for seed in (0, 1))
    assert len(set(one) & set(two)) < 25
    assert not np.array_equal(one, np.sort(one)) and len(set(labels[one][:10])) > 1


def test_count_of_an_array_file(home):
    save_pixels(home / "mine_train.npz")
    images = load_images("mine", count=6, seed=1)
    assert images.labels.bincount().tolist() == [2, 2, 2]
    whole = load_images("mine")
    positions = [(whole.images == image).flatten(1).all(dim=1).nonzero().item() for image in images.images]
    assert whole.labels[positions].tolist() == images.labels.tolist()


# --- the cache ----------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch):
    """How many times a file was really decoded."""
    calls = []
    original = load.read_npz
    monkeypatch.setattr(load, "read_npz", lambda *arguments: calls.append(arguments) or original(*arguments))
    return calls


def test_a_set_is_decoded_once_a_size(home, reads):
    save_jpeg(home / "mine_train_jpeg.npz")
    first, second = load_images("mine"), load_images("mine", count=5)
    assert len(reads) == 1 and len(second) == 5
    again = load_images("mine")
    assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels)
    assert first.classes == again.classes
    load_images("mine", size=16)
    assert len(reads) == 2


def test_a_changed_file_is_decoded_anew(home, reads):
    save_pixels(home / "mine_train.npz")
    before = load_images("mine")
    save_pixels(home / "mine_train.npz", images=255 - random_images(12, 32, 32, 3))
    assert torch.equal(load_images("mine").images, 255 - before.images)
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "cut to nothing", "not safetensors"])
def test_a_damaged_cache_entry_is_decoded_again(home, reads, tmp_path, damage):
    save_pixels(home / "mine_train.npz")
    before = load_images("mine")
    (entry,) = (tmp_path / "cache").glob("*.safetensors")
    content = bytearray(entry.read_bytes())
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    damaged = {"truncated": content[:-100], "flipped": flipped, "cut to nothing": b"", "not safetensors": b"x" * 99}
    entry.write_bytes(damaged[damage])
    with pytest.warns(UserWarning, match="decoded again"):
        after = load_images("mine")
    assert torch.equal(before.images, after.images) and len(reads) == 2
    load_images("mine")
    assert len(reads) == 2


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "nonesuch"}, r"no data set 'nonesuch'.*known are cifar10.*embedded_shapes.*folder:PATH"),
        ({"name": "../mine"}, r"no data set '\.\./mine'"),
        ({"split": "valid"}, r"The split must be one of train, test, not 'valid'"),
        ({"count": 0}, r"number of images.*must be a whole number from 1 on, not 0"),
        ({"count": -3}, r"not -3"),
        ({"count": 2.5}, r"not 2\.5"),
        ({"count": 13}, r"mine \(train\) has 12 images, 13 were asked for; ask for at most 12"),
        ({"name": "embedded_digits", "split": "test", "count": 361}, r"has 360 images, 361 were asked for"),
        ({"size": 4}, r"The image size, in pixels, must be a whole number from 8 to 512, not 4"),
        ({"size": "32"}, r"not '32'"),
        ({"seed": -1}, r"seed must be.*not -1"),
        ({"split": "test"}, r"no test file for mine.*mine_test\.npz"),
        ({"name": "folder:/no/such/place"}, r"no folder /no/such/place"),
        ({"name": "folder:/tmp", "split": "test"}, r"has no splits"),
        ({"name": "imagenet"}, r"imagenet \(train\) is not there: looked for .*imagenet/train and .*SSLAUTH_DATA"),
    ],
)
def test_bad_arguments(home, arguments, message):
    save_pixels(home / "mine_train.npz")
    with pytest.raises(UserError, match=message):
        load_images(**({"name": "mine"} | arguments))


PIXEL_FAULTS = {
    "missing images": ({"images": None}, r"lacks the array 'images' \(it has labels, classes\)"),
    "missing labels": ({"labels": None}, r"lacks the array 'labels'"),
    "missing classes": ({"classes": None}, r"lacks the array 'classes'"),
    "float pixels": ({"images": np.zeros((12, 32, 32, 3), np.float32)}, r"'images' is float32; it must be uint8"),
    "channels first": (
        {"images": np.zeros((12, 3, 32, 32), np.uint8)},
        r"shape \(12, 3, 32, 32\); it must be \(N, H, W",
    ),
    "one image": ({"images": np.zeros((32, 32, 3), np.uint8)}, r"shape \(32, 32, 3\)"),
    "no images": ({"images": np.zeros((0, 32, 32, 3), np.uint8)}, r"shape \(0, 32, 32, 3\)"),
    "labels too short": ({"labels": LABELS[:-1]}, r"12 images but 11 labels"),
    "label out of range": ({"labels": LABELS + 1}, r"labels run from 1 to 3, but there are 3 classes"),
    "negative label": ({"labels": LABELS - 1}, r"labels run from -1"),
    "float labels": ({"labels": LABELS * 1.0}, r"'labels' is float64 \(12,\)"),
    "labels in two dimensions": ({"labels": LABELS[None]}, r"'labels' is int64 \(1, 12\)"),
    "numbers for classes": ({"classes": np.arange(3)}, r"'classes' is int64 \(3,\)"),
    "pickled classes": ({"classes": CLASSES.astype(object)}, r"holds pickled objects.*refused"),
    "pickled images": ({"images": np.array([print] * 12, dtype=object)}, r"holds pickled objects.*refused"),
}


@pytest.mark.parametrize("fault", PIXEL_FAULTS)
def test_a_faulty_pixel_file(home, fault):
    changes, message = PIXEL_FAULTS[fault]
    save_pixels(home / "mine_train.npz", **changes)
    with pytest.raises(UserError, match=rf"mine_train\.npz.*{message}|{message}"):
        load_images("mine")


JPEG_FAULTS = {
    "pixels as well": ({"images": np.zeros((2, 8, 8, 3), np.uint8)}, r"holds both 'images' and 'jpeg'"),
    "missing offsets": ({"offsets": None}, r"lacks the array 'offsets'"),
    "signed bytes": ({"jpeg": np.zeros(9, np.int8)}, r"'jpeg' is int8 \(9,\)"),
    "falling offsets": ({"offsets": np.array([0, 5, 3])}, r"'offsets' must be N \+ 1 rising"),
    "offsets past the end": ({"offsets": np.array([0, 10**9])}, r"'offsets' must be N \+ 1 rising"),
    "labels too short": ({"labels": LABELS[:5]}, r"12 images but 5 labels"),
}


@pytest.mark.parametrize("fault", JPEG_FAULTS)
def test_a_faulty_jpeg_file(home, fault):
    changes, message = JPEG_FAULTS[fault]
    save_jpeg(home / "mine_train_jpeg.npz", **changes)
    with pytest.raises(UserError, match=message):
        load_images("mine")


@pytest.mark.parametrize("broken", [b"not an image", jpeg_bytes(random_images(32, 32, 3))[:300]], ids=["text", "cut"])
def test_an_unreadable_image_is_told_by_its_index(home, broken):
    files = [jpeg_bytes(image) for image in random_images(3, 32, 32, 3)]
    save_jpeg(home / "mine_train_jpeg.npz", files=[*files[:2], broken])
    with pytest.raises(UserError, match=r"Image 2 of .*mine_train_jpeg\.npz cannot be read"):
        load_images("mine")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_truncated_npz(home, keep):
    save_pixels(home / "mine_train.npz")
    content = (home / "mine_train.npz").read_bytes()
    (home / "mine_train.npz").write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(UserError, match=r"mine_train\.npz is not a complete npz file"):
        load_images("mine")


def test_an_npz_with_flipped_bytes(home):
    save_pixels(home / "mine_train.npz")
    content = bytearray((home / "mine_train.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (home / "mine_train.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged or truncated"):
        load_images("mine")


def test_a_pickle_under_the_name_of_an_npz_is_not_run(home, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    (home / "mine_train.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match=r"not a complete npz file"):
        load_images("mine")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, r"mine\.zip needs an index\.csv"),
        ("file,label,class\nabsent.jpg,0,c\n", r"needs an index\.csv.*absent\.jpg"),
        ("file,label,class\n0.jpg,one,c\n", r"needs an index\.csv"),
        ("file,label,class\n0.jpg,3,c\n", r"needs an index\.csv"),
        ("file,label,class\nbad.jpg,0,c\n", r"bad\.jpg in .*mine\.zip cannot be read"),
        ("file,label,class\n0.jpg,0,c\n0.jpg,0,d\n", r"calls label 0 both 'c' and 'd'"),
        ("file,label,class\n", r"names no images"),
        ("file,label,class\n0.jpg,0\n", r"line 2 of index\.csv has more or fewer cells"),
        ("file,label,class\n0.jpg,0,dog, small\n", r"line 2 of index\.csv has more or fewer cells"),
        ('file,label,class\n0.jpg,0,"dog\n0.jpg,0,dog\n', r"needs an index\.csv"),
        ("file,label,class\n0.jpg,0,c\n0.jpg,1,d\n", r"gives 0\.jpg two labels"),
    ],
)
def test_a_faulty_zip(home, index, message):
    with zipfile.ZipFile(home / "mine.zip", "w") as archive:
        archive.writestr("0.jpg", jpeg_bytes(random_images(32, 32, 3)))
        archive.writestr("bad.jpg", b"no")
        if index:
            archive.writestr("index.csv", index)
    with pytest.raises(UserError, match=message):
        load_images("mine")


def test_blanks_behind_commas_are_no_part_of_a_class(home):
    with zipfile.ZipFile(home / "mine.zip", "w") as archive:
        archive.writestr("0.jpg", jpeg_bytes(random_images(32, 32, 3)))
        archive.writestr("index.csv", "file, label, class\n0.jpg, 0, a cat\n")
    assert load_images("mine").classes == ["a cat"]


def test_numpys_numbers_will_do_and_a_name_is_a_text(home):
    few = load_images("embedded_digits", size=np.int64(8), count=np.int64(5), seed=np.int32(3))
    assert torch.equal(few.images, load_images("embedded_digits", size=8, count=5, seed=3).images)
    for name in (home, None, 3):
        with pytest.raises(UserError, match="A set of images has a name, as text"):
            load_images(name)


def test_a_zip_as_spreadsheets_and_other_packers_leave_it(home):
    def write():
        with zipfile.ZipFile(home / "mine.zip", "w") as archive:
            archive.writestr("0.jpg", jpeg_bytes(random_images(32, 32, 3)))
            archive.writestr("index.csv", "file,label,class\n0.jpg,0,c\n".encode("utf-8-sig"))  # Excel's first bytes

    write()
    assert load_images("mine").classes == ["c"]
    content = (home / "mine.zip").read_bytes()
    for offset, value in ((6, 1), (8, 9)):  # encrypted; Deflate64
        data = bytearray(content)
        for sign, place in ((b"PK\x03\x04", offset), (b"PK\x01\x02", offset + 2)):
            at = data.find(sign)
            while at >= 0:
                data[at + place] = value
                at = data.find(sign, at + 1)
        (home / "mine.zip").write_bytes(bytes(data))
        with pytest.raises(UserError, match="cannot be unpacked"):
            load_images("mine")


def test_a_truncated_zip(home):
    (home / "mine.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match=r"mine\.zip is damaged or truncated"):
        load_images("mine")


def test_an_unreadable_file_in_a_folder_is_named(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "broken.jpg").write_bytes(jpeg_bytes(random_images(32, 32, 3))[:200])
    with pytest.raises(UserError, match=r"set/broken\.jpg cannot be read as an image"):
        load_images(f"folder:{tmp_path / 'set'}")


def test_folders_without_images_or_with_mixed_levels(tmp_path):
    (tmp_path / "set" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="no images in"):
        load_images(f"folder:{tmp_path / 'set'}")
    for place in ("x.png", "a/y.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / "set" / place)
    with pytest.raises(UserError, match="both directly and in sub-folders"):
        load_images(f"folder:{tmp_path / 'set'}")


def test_sslauth_data_must_be_a_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLAUTH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"SSLAUTH_DATA names .*nowhere, which is not a folder"):
        load_images("mine")


# --- torchvision --------------------------------------------------------------------------------


def idx(array):
    """An array in MNIST's file format, compressed."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes())


@pytest.fixture
def server(tmp_path):
    """A folder and the address at which its files are served."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


@pytest.fixture
def mnist(monkeypatch, server):
    """The folder of a little MNIST that is downloaded from a local server, with its checksums."""
    server, address = server
    pictures, labels = random_images(7, 28, 28), np.arange(7, dtype=np.uint8)
    resources = []
    for name, _ in datasets.MNIST.resources:
        content = idx(pictures if "images" in name else labels)
        (server / name).write_bytes(content)
        resources.append((name, hashlib.md5(content, usedforsecurity=False).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
    return server


def test_a_download_is_converted_and_kept(mnist):
    images = load_images("mnist", size=28)
    assert torch.equal(images.images[:, 0], torch.from_numpy(random_images(7, 28, 28)))
    assert torch.equal(images.images[:, 0], images.images[:, 2]) and images.labels.tolist() == list(range(7))
    assert images.source == "torchvision" and images.classes == [str(digit) for digit in range(10)]
    for file in mnist.iterdir():
        file.unlink()
    assert load_images("mnist").images.shape == (7, 3, 32, 32)  # decoded again from what was downloaded


def test_a_truncated_download_is_refused(mnist):
    file = mnist / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"mnist \(train\) is not in .*torchvision and could not be downloaded"):
        load_images("mnist")


@pytest.mark.parametrize("name", ["cifar10", "stl10", "gtsrb", "svhn", "mnist"])
def test_no_network(monkeypatch, name):
    def refuse(*arguments, **options):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(
        UserError, match=rf"{name} \(test\).*not be downloaded.*network.*SSLAUTH_DATA.*{name}_test\.npz"
    ):
        load_images(name, "test")


def test_cifar10_from_its_archive(monkeypatch, server):
    server, address = server
    pictures = random_images(6, 3, 32, 32)
    contents = {
        "test_batch": {"data": pictures.reshape(6, -1), "labels": [0, 1, 2, 3, 4, 5]},
        "batches.meta": {"label_names": [f"c{i}" for i in range(10)]},
    }
    files = {name: pickle.dumps(content) for name, content in contents.items()}
    with tarfile.open(server / "c.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    md5 = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in files.items()}
    for attribute, value in {
        "url": address + "c.tar.gz",
        "filename": "c.tar.gz",
        "tgz_md5": hashlib.md5((server / "c.tar.gz").read_bytes(), usedforsecurity=False).hexdigest(),
        "train_list": [],
        "test_list": [["test_batch", md5["test_batch"]]],
        "meta": {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]},
    }.items():
        monkeypatch.setattr(datasets.CIFAR10, attribute, value)
    images = load_images("cifar10", "test")
    assert np.array_equal(images.images.numpy(), pictures) and images.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert images.classes[0] == "c0"


class Fake:
    """What torchvision's STL10 and SVHN hold, and what its GTSRB yields."""

    data = random_images(4, 3, 96, 96)
    labels = np.array([3, 1, 0, 2], dtype=np.uint8)
    classes = ("airplane", "bird", "car", "cat")

    def __init__(self, root, split, download):
        assert split == "test" and download

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index >= 4:
            raise IndexError
        return Image.fromarray(self.data[index].transpose(1, 2, 0)), int(self.labels[index])


@pytest.mark.parametrize("name", ["stl10", "svhn", "gtsrb"])
def test_torchvisions_layouts(monkeypatch, name):
    monkeypatch.setattr(datasets, name.upper(), Fake)
    images = load_images(name, "test", size=96)
    assert np.array_equal(images.images.numpy(), Fake.data)
    assert images.labels.tolist() == [3, 1, 0, 2] and isinstance(images.classes, list) and len(images.classes) >= 4


# --- the real files, where there are any --------------------------------------------------------

REAL = os.environ.get("SSLAUTH_DATA")


@pytest.mark.skipif(not REAL, reason="SSLAUTH_DATA is not set")
@pytest.mark.parametrize(
    ("name", "split", "count", "classes"),
    [
        ("cifar10", "test", 10000, 10),
        ("cifar10_lossless", "test", 1017, 10),
        ("imagenet_samples_32", "train", 1000, 1000),
        ("imagenet_samples_224", "train", 1000, 1000),
        ("tiny_imagenet", "test", 4000, 200),
        ("gtsrb", "test", 12630, 43),
        ("svhn", "train", 812, 10),
        ("mnist", "test", 10000, 10),
    ],
)
def test_real_files(monkeypatch, name, split, count, classes):
    monkeypatch.setenv("SSLAUTH_DATA", REAL)
    if name not in known_names():
        pytest.skip(f"{name} is not in SSLAUTH_DATA")
    images = load_images(name, split)
    assert images.images.shape == (count, 3, 32, 32)
    assert len(images.classes) == classes and int(images.labels.max()) == classes - 1
    assert images.images.float().std() > 30
