"""Tensors on disk: bit for bit, bound by their digest, no neighbour lost, and nothing is ever unpickled."""

import contextlib
import errno
import functools
import hashlib
import importlib.util
import json
import os
import pickle
import re
import resource
import signal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError

WEIGHTS = {
    "float": torch.tensor([[1.5, -0.0, float("nan")], [float("inf"), 1e-45, 3.0]]),
    "half": torch.arange(6, dtype=torch.bfloat16).view(2, 3),
    "bytes": torch.arange(256, dtype=torch.uint8),
    "count": torch.tensor(7),
    "none": torch.zeros(0, 3),
    "turned": torch.arange(6.0).view(2, 3).T,
    "flag": torch.tensor([True, False]),
}


@pytest.fixture
def pair(tmp_path):
    """The older form: the tensors, and a JSON beside them that states the SHA-256 of their file."""
    path = tmp_path / "older.safetensors"
    save_file({"a": torch.arange(3.0)}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"arch": "older", "sha256": sha256}))
    return path


@pytest.fixture
def saved(tmp_path):
    """A file as `save` leaves it."""
    path = tmp_path / "weights.safetensors"
    tensors.save(path, WEIGHTS, {"arch": "tiny"})
    return path


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist() if tensor.numel() else []


def test_tensors_and_facts_come_back_bit_for_bit(saved):
    loaded, meta = tensors.load(saved)
    assert loaded.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape)
        assert raw(loaded[name]) == raw(tensor), name
    assert meta == tensors.describe(saved) == {"arch": "tiny"}
    assert [path.name for path in saved.parent.iterdir()] == ["weights.safetensors"]


def test_tensors_that_share_memory_and_need_gradients_are_saved_too(tmp_path):
    whole = torch.arange(4.0, requires_grad=True)
    tensors.save(tmp_path / "x.safetensors", {"whole": whole, "part": whole[:2], "again": whole}, {})
    loaded, _ = tensors.load(tmp_path / "x.safetensors")
    assert loaded["part"].tolist() == [0, 1] and loaded["again"].tolist() == [0, 1, 2, 3]


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_flipped_bit_of_the_file_is_noticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("tampered") / "weights.safetensors"
    tensors.save(path, {"a": torch.arange(9.0)}, {"tau": 0.1 + 0.2, "names": ["é", {"b": None}]})
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"; get or make (it|the file) again\.$"):
        tensors.load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("tiny", "huge"),
        lambda text: text.replace('"description":', '"description": '),
        lambda text: text.replace('"description":{', '"description":{"more":1,'),
        lambda text: text.replace('"tau":0.30000000000000004', '"tau":0.30000000000000005'),
        lambda text: text.replace('"description"', '"description":3,"description"'),
        lambda text: "[1]",
        lambda text: '{"digest":"0","description":[]}',
        lambda text: '{"digest":' + "[" * 100_000,
        lambda text: '{"digest":' + "9" * 5000 + "}",
        lambda text: "",
    ],
    ids=["value", "blank", "more", "digit", "twice", "list", "no dictionary", "deep", "long", "empty"],
)
def test_any_other_text_of_the_description_is_noticed(tmp_path, change):
    path = tmp_path / "weights.safetensors"
    tensors.save(path, {"a": torch.ones(2)}, {"arch": "tiny", "tau": 0.1 + 0.2})
    with safe_open(path, "pt") as file:
        text = file.metadata()["sslauth"]
    save_file({"a": torch.ones(2)}, path, {"sslauth": text})
    assert tensors.load(path)[1]["arch"] == "tiny"
    save_file({"a": torch.ones(2)}, path, {"sslauth": change(text)})
    with pytest.raises(UserError, match=r"the file was changed or damaged; get or make it again\.$"):
        tensors.load(path)
    save_file({"a": torch.ones(2)}, path, {"sslauth": text, "more": "1"})
    with pytest.raises(UserError, match="Something was added to the header of"):
        tensors.load(path)
    save_file({"b": torch.ones(2)}, path, {"sslauth": text})
    with pytest.raises(UserError, match=r"The digest in the header does not fit the content of"):
        tensors.load(path)


def test_the_digest_is_that_of_the_tensors_digest_and_of_the_description(saved):
    text = f'{tensors.sha256_tensors(WEIGHTS)}\n{{"arch":"tiny"}}'
    assert tensors.digest(WEIGHTS, {"arch": "tiny"}) == hashlib.sha256(text.encode()).hexdigest()
    assert tensors.digest(WEIGHTS, {"arch": "tiny"}).encode() in saved.read_bytes()


def test_the_same_content_gives_the_same_bytes(saved, tmp_path):
    for name in ("one", "two", "three"):
        tensors.save(tmp_path / name, WEIGHTS, {"arch": "tiny"})
        assert (tmp_path / name).read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_told(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    for read in (tensors.load, tensors.read_safetensors):
        with pytest.raises(UserError, match=r"is not a readable safetensors file \(.+\); get or make it again"):
            read(saved)


def test_a_missing_file_is_told(tmp_path):
    for read in (tensors.load, tensors.describe, tensors.read_safetensors, tensors.refuse_pickle):
        with pytest.raises(UserError, match=r"There is no file .*gone\.safetensors; check the name"):
            read(tmp_path / "gone.safetensors")


# --- the older form ---------------------------------------------------------------------------------------------------


def test_a_pair_of_the_older_form_still_loads(pair):
    loaded, meta = tensors.load(pair)
    assert loaded["a"].tolist() == [0, 1, 2] and meta == tensors.describe(pair) and meta["arch"] == "older"


def test_a_pair_that_does_not_fit_is_told(pair):
    pair.write_bytes(pair.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match=r"older\.json states [0-9a-f]{12}…: the file was changed or damaged"):
        tensors.load(pair)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"has no description in its header, and no older\.json lies beside it"),
        ('{"arch": "tiny"}', r"states None…: the file was changed"),
        ("[]", r"older\.json does not describe older\.safetensors"),
        ("{", r"older\.json is not readable as JSON"),
    ],
    ids=["none", "no hash", "a list", "no json"],
)
def test_a_json_that_vouches_for_nothing_is_told(pair, text, message):
    pair.with_suffix(".json").unlink() if text is None else pair.with_suffix(".json").write_text(text)
    with pytest.raises(UserError, match=message):
        tensors.load(pair)


def test_a_pair_saved_over_is_the_new_file_alone(pair):
    tensors.save(pair, WEIGHTS, {"arch": "new"})
    loaded, meta = tensors.load(pair)
    assert loaded.keys() == WEIGHTS.keys() and meta == tensors.describe(pair) == {"arch": "new"}


def test_what_was_read_stays_as_it_was_whatever_becomes_of_the_file(saved, tmp_path):
    other = tmp_path / "other.safetensors"
    tensors.save(other, {name: torch.zeros_like(value) for name, value in WEIGHTS.items()}, tensors.load(saved)[1])
    loaded, digest = tensors.load(saved)[0], tensors.sha256_tensors(tensors.load(saved)[0])
    with open(saved, "r+b") as file:  # in place, as cp writes
        file.write(other.read_bytes())
    assert tensors.sha256_tensors(loaded) == digest != tensors.sha256_tensors(tensors.load(saved)[0])
    os.truncate(saved, 0)
    assert tensors.sha256_tensors(loaded) == digest


@pytest.mark.parametrize(
    ("content", "meta", "message"),
    [
        (WEIGHTS, {1: "a", "1": "b"}, "two entries of one name"),
        (WEIGHTS, {"facts": {"x": [{True: 1, "true": 2}]}}, "two entries of one name"),
        ({"__metadata__": torch.ones(2)}, {}, "No tensor can be saved under the name '__metadata__'"),
        ({"a\udcff": torch.ones(2)}, {}, "No tensor can be saved under the name"),
        ({"a": torch.ones(2, dtype=torch.complex128)}, {}, "a is a tensor of the kind strided, complex128"),
        ({"a": torch.ones(2, 2).to_sparse()}, {}, "a is a tensor of the kind sparse_coo, float32"),
        ({"a": torch.ones(2, device="meta")}, {}, "a is a tensor of the kind meta"),
        (WEIGHTS, {"facts": functools.reduce(lambda inner, _: [inner], range(3000), [])}, "cannot be written as JSON"),
    ],
    ids=["keys", "keys within", "metadata", "surrogate", "complex128", "sparse", "meta", "deep"],
)
def test_what_would_not_come_back_is_not_written(tmp_path, content, meta, message):
    with pytest.raises(UserError, match=message):
        tensors.save(tmp_path / "new.safetensors", content, meta)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", sorted(tensors._KINDS, key=str))
def test_every_kind_that_is_taken_comes_back(tmp_path, kind):
    values = torch.tensor([[0, 1], [1, 0]]).to(kind)
    tensors.save(tmp_path / "new.safetensors", {"a": values}, {})
    [back] = tensors.load(tmp_path / "new.safetensors")[0].values()
    assert back.dtype == kind and bytes(back.view(torch.uint8).flatten()) == bytes(values.view(torch.uint8).flatten())


# --- neighbours, and what lay there before ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("resnet_v1.0", "resnet_v1.5"), ("a.record", "a.safetensors"), ("a", "a.b"), (".a", ".b"), ("ä 1", "ä 2")]
)
def test_every_name_keeps_its_own_content_and_touches_no_json(tmp_path, names):
    foreign = {tmp_path / f"{name.rpartition('.')[0] or name}.json": '{"embed_dim": 512}' for name in names}
    foreign |= {tmp_path / f"{name}.json": "[]" for name in names}
    for path, text in foreign.items():
        path.write_text(text)
    for index, name in enumerate(names):
        tensors.save(tmp_path / name, {"a": torch.full((3,), float(index))}, {"index": index})
    for index, name in enumerate(names):
        loaded, meta = tensors.load(tmp_path / name)
        assert meta == {"index": index} and loaded["a"].tolist() == [index] * 3
    assert {path: path.read_text() for path in foreign} == foreign
    assert set(tmp_path.iterdir()) == {*foreign, *(tmp_path / name for name in names)}


@pytest.mark.parametrize("name", ["record.json", "RECORD.JSON", "v1.0.json"])
def test_a_name_for_json_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"is to hold tensors, not JSON: give it a name that ends in \.safetensors"):
        tensors.save(tmp_path / name, WEIGHTS, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"my notes", b"x", pickle.dumps({}), b"PK\x03\x04 and so on", b'{"a": 1}'])
def test_a_file_of_another_kind_is_not_replaced(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is there already and is no safetensors file; move it away or choose another"):
        tensors.save(path, WEIGHTS, {})
    assert path.read_bytes() == content


@pytest.mark.parametrize("other", ["record", "encoder", "foreign"])
def test_safetensors_of_another_kind_are_not_replaced(tmp_path, other):
    path = tmp_path / "weights.safetensors"
    metas = {
        "record": {"format": 2, "scheme": "SSL-Auth", "tau": 0.995, "encoder_sha256": None, "generators": {}},
        "encoder": {"config": {}, "feature_dim": 8, "weights_sha256": "0", "epochs": 3},
        "pairs": {"format": "pairs 1", "key": "00", "classes": 10, "dropped": 0},
    }
    save_file({"b": torch.ones(3)}, path) if other == "foreign" else tensors.save(path, WEIGHTS, metas[other])
    was = path.read_bytes()
    for kind, meta in metas.items():
        if kind != other:
            with pytest.raises(UserError, match="is there already and holds something else; move it away or choose an"):
                tensors.save(path, WEIGHTS, meta)
            assert path.read_bytes() == was
    if other != "foreign":
        tensors.save(path, {"a": torch.ones(2)}, metas[other] | {"epochs": 7})
        assert tensors.load(path)[0].keys() == {"a"}


@pytest.mark.parametrize("before", ["nothing", "saved", "pair"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize(
    "point", ["tempfile.mkstemp", "write half", "os.fsync", "pathlib.Path.chmod", "pathlib.Path.replace"]
)
def test_wherever_a_save_is_cut_short_the_earlier_one_stays(request, tmp_path, monkeypatch, before, error, point):
    path = tmp_path / "new.safetensors" if before == "nothing" else request.getfixturevalue(before)
    was = {file: file.read_bytes() for file in tmp_path.iterdir()}
    reached = []

    def stop(*_arguments, **_named):
        reached.append(True)
        raise error

    def half(_tensors, target, _metadata):
        target.write_bytes(b"half")
        stop()

    monkeypatch.setattr(*((tensors, "save_file", half) if point == "write half" else (point, stop)))
    with pytest.raises((UserError, KeyboardInterrupt)):
        tensors.save(path, {"other": torch.ones(3)}, {"arch": "other"})
    monkeypatch.undo()
    assert reached and {file: file.read_bytes() for file in tmp_path.iterdir()} == was
    if was:
        assert tensors.load(path)[1]["arch"] in ("tiny", "older")
    tensors.save(path, {"other": torch.ones(3)}, {"arch": "other"})
    assert tensors.load(path)[1] == {"arch": "other"}


@contextlib.contextmanager
def small_disk():
    """A disk with room for 10,000 bytes a file: the system refuses the rest, as a full one does.

    No fixture, because the file into which the tests' own lines go is limited too.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_without_room_is_told_and_nothing_half_written_is_left(tmp_path):
    path = tmp_path / "weights.safetensors"
    message = r"Cannot write .*\.safetensors; the system says: File too large\. Nothing"
    with pytest.raises(UserError, match=message), small_disk():
        tensors.save(path, {"a": torch.zeros(10_000)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_called_so(tmp_path, monkeypatch):
    def full(*_arguments):
        raise SafetensorError(f"Error while serializing: I/O error: No space left on device (os error {errno.ENOSPC})")

    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(UserError, match="the disk is full: free some space and run again"):
        tensors.save(tmp_path / "weights.safetensors", WEIGHTS, {})
    assert list(tmp_path.iterdir()) == []


def test_another_fault_of_the_writer_is_not_taken_for_the_disks(tmp_path, monkeypatch):
    def faulty(*_arguments):
        raise SafetensorError("Error while serializing: invalid shape")

    monkeypatch.setattr(tensors, "save_file", faulty)
    with pytest.raises(SafetensorError, match="invalid shape"):
        tensors.save(tmp_path / "weights.safetensors", WEIGHTS, {})
    assert list(tmp_path.iterdir()) == []


class _Trap:
    """Unpickling this makes a file: the proof that code ran."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def _plain(protocol):
    return lambda value, path: path.write_bytes(pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    "write",
    [
        *(_plain(protocol) for protocol in range(6)),
        lambda value, path: torch.save(value, path),
        lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    ],
    ids=[*(f"protocol-{protocol}" for protocol in range(6)), "torch-zip", "torch-legacy"],
)
@pytest.mark.parametrize("read", [tensors.load, tensors.read_safetensors])
def test_a_pickle_is_refused_and_never_run(tmp_path, write, read):
    path, mark = tmp_path / "weights.safetensors", tmp_path / "mark"
    write({"weight": _Trap(mark)}, path)
    path.with_suffix(".json").write_text(json.dumps({"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    with pytest.raises(UserError, match=r"is a pickle \(torch\.save format\)|is not a readable safetensors file"):
        read(path)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, "torch"])
def test_the_sentence_about_a_pickle_says_how_to_convert_it(tmp_path, protocol):
    path = tmp_path / "weights.pt"
    torch.save({}, path) if protocol == "torch" else path.write_bytes(pickle.dumps({}, protocol))
    with pytest.raises(UserError) as caught:
        tensors.refuse_pickle(path)
    [module] = re.findall(r"turn it into safetensors first: python -m (\S+) FILE", str(caught.value))
    assert importlib.util.find_spec(module) is not None, "and the command is there"
    assert module == "sslauth_utils.models.convert"


def _padded(length):
    """A safetensors file of one number whose header is `length` bytes long, filled with blanks."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return length.to_bytes(8, "little") + header.ljust(length) + bytes(4)


_LIKE_A_PICKLE = [0x80 + 256 * protocol + 65536 * high for protocol in (2, 3, 4, 5) for high in (0, 1)]


@given(length=st.one_of(st.integers(54, 200_000), st.sampled_from(_LIKE_A_PICKLE)))
@settings(max_examples=60, deadline=None)
def test_a_header_of_any_length_is_read(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("header") / "weights.safetensors"
    path.write_bytes(_padded(length))
    assert tensors.read_safetensors(path)["a"].tolist() == [0]


@given(length=st.one_of(st.integers(2, 100_000_000), st.just(int.from_bytes(b"PK\x03\x04", "little"))))
@settings(max_examples=60, deadline=None)
def test_no_header_length_is_taken_for_a_pickle(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("header") / "weights.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b'{"a":')
    tensors.refuse_pickle(path)


@pytest.mark.parametrize("value", ["a{}", "ab{", "{", "{" * 300, {"{": "{"}, b"{" * 9])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_with_a_brace_is_still_refused(tmp_path, value, protocol):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(UserError, match="is a pickle"):
        tensors.refuse_pickle(path)


def test_canonical_hash_is_that_of_names_kinds_shapes_and_bytes():
    weights = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor(3, dtype=torch.int64)}
    text = b"a\0torch.int64\0[]\0" + (3).to_bytes(8, "little")
    text += b"b\0torch.float32\0[1, 2]\0" + b"\x00\x00\x80\x3f" + b"\x00\x00\x00\x40"
    assert tensors.sha256_tensors(weights) == hashlib.sha256(text).hexdigest()


def test_canonical_hash_does_not_see_order_layout_or_container(saved):
    picture = {"a": torch.rand(2, 3, 4, 5), **WEIGHTS}
    same = dict(reversed(picture.items()))
    same["a"] = picture["a"].to(memory_format=torch.channels_last)
    same["turned"] = WEIGHTS["turned"].contiguous()
    assert not same["a"].is_contiguous()
    assert tensors.sha256_tensors(same) == tensors.sha256_tensors(picture)
    assert tensors.sha256_tensors(tensors.load(saved)[0]) == tensors.sha256_tensors(WEIGHTS)


@given(name=st.sampled_from([name for name, tensor in WEIGHTS.items() if tensor.numel()]), data=st.data())
@settings(max_examples=60, deadline=None)
def test_canonical_hash_sees_every_bit(name, data):
    changed = {other: tensor.contiguous().clone() for other, tensor in WEIGHTS.items()}
    content = changed[name].reshape(-1).view(torch.uint8)
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << (0 if name == "flag" else data.draw(st.integers(0, 7)))
    assert tensors.sha256_tensors(changed) != tensors.sha256_tensors(WEIGHTS)


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.zeros(4, 2)},
        {"a": torch.zeros(8)},
        {"b": torch.zeros(2, 4)},
        {"a": torch.zeros(2, 4, dtype=torch.int32)},
        {"a": -torch.zeros(2, 4)},
        {"a": torch.zeros(2, 4), "b": torch.zeros(0)},
        {},
    ],
    ids=["shape", "rank", "name", "kind", "sign-of-zero", "one-more", "none"],
)
def test_canonical_hash_tells_apart(other):
    assert tensors.sha256_tensors(other) != tensors.sha256_tensors({"a": torch.zeros(2, 4)})
