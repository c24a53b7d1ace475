"""Which files of a folder are images: neither more nor fewer than the user put there."""

import os
import warnings

import pytest
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from sslauth_utils.base.errors import UserError
from sslauth_utils.images.folders import LEFT_OUT, SUFFIXES, image_files, list_folder


@pytest.fixture
def put(tmp_path):
    """Makes image files of these names in a folder, and returns it."""

    def make(*names, folder="set"):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(path, "PNG")
        return tmp_path / folder

    return make


def listed(folder):
    """Names, labels and classes; every warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files, labels, classes = list_folder(folder)
    return [path.relative_to(folder).as_posix() for path in files], labels.tolist(), classes


def test_the_endings_are_those_of_torchvision():
    assert set(SUFFIXES) == set(IMG_EXTENSIONS)
    assert not set(SUFFIXES) & set(LEFT_OUT)


@pytest.mark.parametrize(
    "beside",
    [".ipynb_checkpoints/a-checkpoint.png", "cat/.ipynb_checkpoints/a.png", "cat/._a.png", ".DS_Store.png",
     "__MACOSX/cat/a.png", "cat/@eaDir/a.png/SYNOPHOTO_THUMB_M.png", ".git/a.png",
     "$Recycle.Bin/a.png", "RECYCLER/a.png", "#Recycle/a.png", "@Recently-Snapshot/a.png", "~snapshot/a.png"],
)  # fmt: skip
def test_what_programs_leave_beside_images_is_no_image(put, beside):
    folder = put("cat/a.png", "dog/b.png", beside)
    assert listed(folder) == (["cat/a.png", "dog/b.png"], [0, 1], ["cat", "dog"])


def test_a_checkpoint_folder_does_not_make_a_flat_folder_mixed(put):
    assert listed(put("a.png", ".ipynb_checkpoints/a-checkpoint.png")) == (["a.png"], [0], ["set"])


def test_a_hidden_folder_can_be_asked_for_by_name(put):
    assert listed(put("a.png", folder=".cache/set"))[0] == ["a.png"]


@pytest.mark.parametrize("own", [["c/x.png"], []], ids=["some are links", "all are links"])
def test_classes_that_are_links_are_followed(put, own):
    real, folder = put("a/1.png", "b/2.png", "b/deep/3.png", folder="real"), put(*own)
    folder.mkdir(exist_ok=True)
    for name in "ab":
        (folder / name).symlink_to(real / name)
    names, labels, classes = listed(folder)
    assert names == ["a/1.png", "b/2.png", "b/deep/3.png", *own]
    assert labels == [0, 1, 1, *[2] * len(own)] and classes == ["a", "b", *[name[0] for name in own]]


def test_files_that_are_links_and_two_links_to_one_folder_are_followed(put):
    real, folder = put("x.png", folder="real"), put("own/o.png")
    (folder / "own" / "l.png").symlink_to(real / "x.png")
    for name in ("first", "second"):
        (folder / name).symlink_to(real)
    assert listed(folder)[0] == ["first/x.png", "own/l.png", "own/o.png", "second/x.png"]


def test_links_in_a_circle_end(put):
    folder = put("a/1.png", "b/2.png")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "b" / "self").symlink_to(folder / "b")
    assert listed(folder)[0] == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize("name", ["cat/gone.png", "gone"], ids=["file", "class"])
def test_a_link_to_nothing_is_told(put, name):
    folder = put("cat/a.png")
    (folder / name).symlink_to("/no/such/place")
    with pytest.raises(UserError, match=rf"set/{name} is a link to something that is not there; mend or remove it"):
        list_folder(folder)


def test_a_link_to_itself_is_told(put):
    folder = put("cat/a.png")
    (folder / "dog").symlink_to("dog")
    with pytest.raises(UserError, match=r"Cannot read .*set/dog \(.*\); see to its permissions"):
        list_folder(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_read_is_told(put):
    folder = put("cat/a.png", "dog/b.png")
    (folder / "dog").chmod(0)
    with pytest.raises(UserError, match=r"Cannot read .*dog \(Permission denied\)"):
        image_files(folder)
    (folder / "dog").chmod(0o755)


def test_images_with_other_endings_are_counted_in_one_warning(put):
    folder = put("a.png", "b.gif", "c.pgm", "d.jfif", "e.GIF", "notes.txt")
    with pytest.warns(UserWarning, match=r"2 images are read and 3 are left out \(2 \.gif, 1 \.jfif\)") as told:
        files, _, _ = list_folder(folder)
    assert len(told) == 1
    assert [path.name for path in files] == ["a.png", "c.pgm"]


def test_a_folder_of_nothing_but_other_endings_says_so(put):
    with pytest.raises(
        UserError, match=r"no images in .*set \(looked for .*\); it has 2 \.heic, .*convert them to PNG"
    ):
        list_folder(put("a.heic", "b.heic"))
