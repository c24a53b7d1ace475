"""Files: whole or not at all, faithful, and a full or closed disk told in one sentence."""

import errno
import hashlib
import json
import os
import stat
import tempfile

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslauth_utils.base import files
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def old(tmp_path):
    """A file that is there already, in a folder of its own."""
    path = tmp_path / "folder" / "table.csv"
    files.write_text(path, "old")
    return path


def refuse(number):
    """A function that fails with this system error, whatever it is called with."""

    def fail(*_arguments, **_more):
        raise OSError(number, os.strerror(number))

    return fail


def assert_untouched(path):
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == [path.name], "a temporary file was left"


def test_a_new_file_comes_with_its_folders_and_can_be_shared(tmp_path):
    path = tmp_path / "a" / "b" / "text.txt"
    before = os.umask(0o027)
    try:
        files.write_text(path, "τ = 99.5 %\n")
    finally:
        os.umask(before)
    assert path.read_bytes() == "τ = 99.5 %\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == ["text.txt"]


def test_the_old_file_is_seen_until_the_new_one_is_complete(old):
    with files.atomic(old) as temporary:
        temporary.write_text("half of the")
        assert temporary.parent == old.parent and temporary.suffix == old.suffix
        assert old.read_text() == "old"
        temporary.write_text("new")
    assert old.read_text() == "new"
    assert os.listdir(old.parent) == [old.name]


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_writer_that_fails_leaves_the_old_file_and_its_own_error(old, error):
    with pytest.raises(type(error)) as caught, files.atomic(old) as temporary:
        temporary.write_text("half")
        raise error
    assert caught.value is error
    assert_untouched(old)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full: free some space and run again. Nothing was left half-written."),
        (errno.EROFS, "the folder cannot be written: give yourself write permission or copy the project elsewhere."),
        (errno.EACCES, "the folder cannot be written: give yourself write permission or copy the project elsewhere."),
        (errno.EIO, "the system says: Input/output error."),
    ],
)
class TestADiskThatRefuses:
    def test_while_the_content_is_written(self, old, number, sentence):
        with pytest.raises(UserError) as caught, files.atomic(old):
            refuse(number)()
        assert str(caught.value).startswith(f"Cannot write {old}; {sentence}")
        assert_untouched(old)

    def test_when_the_content_is_brought_to_the_disk(self, old, number, sentence, monkeypatch):
        monkeypatch.setattr(files.os, "fsync", refuse(number))
        with pytest.raises(UserError) as caught:
            files.write_rows(old, [{"a": 1}], ["a"])
        assert str(caught.value).startswith(f"Cannot write {old}; {sentence}")
        assert_untouched(old)

    def test_when_the_temporary_file_is_made(self, old, number, sentence, monkeypatch):
        monkeypatch.setattr(tempfile, "mkstemp", refuse(number))
        with pytest.raises(UserError) as caught:
            files.write_json(old, {"new": True})
        assert str(caught.value).startswith(f"Cannot write {old}; {sentence}")
        assert_untouched(old)

    def test_when_the_file_gets_its_name(self, old, number, sentence, monkeypatch):
        monkeypatch.setattr(files.Path, "replace", refuse(number))
        with pytest.raises(UserError) as caught:
            files.write_text(old, "new")
        assert str(caught.value).startswith(f"Cannot write {old}; {sentence}")
        assert_untouched(old)


def test_a_file_where_a_folder_should_be_is_told(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match=r"Cannot write .*rows\.csv; the system says: .+ Nothing was left"):
        files.write_rows(tmp_path / "results" / "rows.csv", [], ["a"])


@given(value=JSON_VALUES)
@settings(max_examples=40, deadline=None)
def test_json_comes_back_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    files.write_json(path, value)
    assert files.read_json(path) == value
    assert path.read_text(encoding="utf-8").endswith("\n")


@pytest.mark.parametrize("content", [b'{"half": ', b"", b"\x80\x04K\x01."], ids=["truncated", "empty", "pickle"])
def test_what_is_not_json_is_told(tmp_path, content):
    path = tmp_path / "facts.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"facts\.json is not readable as JSON \(.+\); remove it and run again\."):
        files.read_json(path)


def test_a_missing_json_is_told(tmp_path):
    with pytest.raises(UserError, match=r"There is no file .*gone\.json\."):
        files.read_json(tmp_path / "gone.json")


@given(values=st.lists(FLOATS, min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_floats_in_rows_come_back_bit_for_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    files.write_rows(path, [{"key": key, "similarity": value} for key, value in enumerate(values)],
                     ["key", "similarity"])  # fmt: skip
    read = pd.read_csv(path)["similarity"]  # as `results.load_rows` does
    assert [float(value).hex() for value in read] == [value.hex() for value in values]


def test_rows_have_exactly_the_columns_asked_for(old):
    files.write_rows(old, [{"b": "x, y", "a": 1}, {"a": 2}], ["a", "b"])
    assert old.read_bytes() == b'a,b\n1,"x, y"\n2,\n'
    files.write_text(old, "old")
    with pytest.raises(ValueError, match="'c'"):
        files.write_rows(old, [{"a": 1, "c": 2}], ["a", "b"])
    assert_untouched(old)


def test_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 5000)
    assert files.sha256_file(path) == hashlib.sha256(bytes(range(256)) * 5000).hexdigest()


@given(value=st.dictionaries(st.text(), JSON_VALUES, min_size=2, max_size=5))
@settings(max_examples=40, deadline=None)
def test_hash_of_json_ignores_the_order_of_names_only(value):
    turned = dict(reversed(value.items()))
    assert files.sha256_json(turned) == files.sha256_json(value)
    assert files.sha256_json(json.loads(json.dumps(value))) == files.sha256_json(value)
    first = next(iter(value))
    assert files.sha256_json(value | {first: [value[first]]}) != files.sha256_json(value)


def test_hash_of_json_tells_kinds_of_one_apart():
    assert len({files.sha256_json(value) for value in (1, 1.0, "1", True, [1], None)}) == 6


# --- YAML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3 gives the key 'a' a second time"),
        ("top:\n  - {x: 1,\n     x: 1}\n", "line 3 gives the key 'x' a second time"),
        ("a: [1, 2\n", "line 2: "),
    ],
)
def test_a_key_given_twice_or_no_yaml_is_told_with_its_line(tmp_path, text, sentence):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"a\.yaml is not readable as YAML: {sentence}") as told:
        read_yaml(tmp_path / "a.yaml")
    assert len(str(told.value).splitlines()) == 1


def test_a_key_may_replace_a_merged_one_and_stand_in_several_mappings(tmp_path):
    text = "one: &one {a: 1, b: 2}\ntwo: &two {<<: *one, a: 3}\nthree: {<<: *two, b: 4}\n"
    (tmp_path / "a.yaml").write_text(text)
    one, two, three = {"a": 1, "b": 2}, {"a": 3, "b": 2}, {"a": 3, "b": 4}
    assert read_yaml(tmp_path / "a.yaml") == {"one": one, "two": two, "three": three}


def test_a_yaml_with_windows_line_ends_and_a_mark_at_its_beginning(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf# head\r\na: 1\r\nb: [2]\r\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": 1, "b": [2]}


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_file_that_is_replaced_keeps_its_permissions(old, mode):
    old.chmod(mode)
    files.write_text(old, "new")
    assert old.read_text() == "new" and stat.S_IMODE(old.stat().st_mode) == mode


def test_what_a_link_leads_to_is_replaced(old, tmp_path):
    link, loop = tmp_path / "link.csv", tmp_path / "loop"
    link.symlink_to(old)
    files.write_text(link, "new")
    assert link.is_symlink() and old.read_text() == "new"
    loop.symlink_to(loop)
    with pytest.raises(UserError, match="Cannot write"):
        files.write_text(loop, "new")


def test_what_is_protected_or_no_file_is_not_replaced(old, tmp_path):
    old.chmod(0o444)
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((old, "write-protected"), (tmp_path / "pipe", "no ordinary file"), (tmp_path, "no ordinary")):
        with pytest.raises(UserError, match=said):
            files.write_text(path, "new")
    assert old.read_text() == "old" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_the_longest_name_of_the_system_can_be_written(tmp_path):
    path = tmp_path / (250 * "x" + ".json")
    files.write_json(path, 1)
    assert files.read_json(path) == 1 and list(tmp_path.iterdir()) == [path]
