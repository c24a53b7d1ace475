"""Tensors on disk: bit for bit, bound by their hash, and nothing is ever unpickled."""

import contextlib
import errno
import hashlib
import importlib.util
import json
import pickle
import re
import resource
import signal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

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
def saved(tmp_path):
    """A pair of files as `save` leaves it."""
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
    assert meta == {"arch": "tiny", "sha256": hashlib.sha256(saved.read_bytes()).hexdigest()}
    assert {path.name for path in saved.parent.iterdir()} == {"weights.safetensors", "weights.json"}


def test_tensors_that_share_memory_and_need_gradients_are_saved_too(tmp_path):
    whole = torch.arange(4.0, requires_grad=True)
    tensors.save(tmp_path / "x.safetensors", {"whole": whole, "part": whole[:2], "again": whole}, {})
    loaded, _ = tensors.load(tmp_path / "x.safetensors")
    assert loaded["part"].tolist() == [0, 1] and loaded["again"].tolist() == [0, 1, 2, 3]


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_flipped_bit_of_the_file_is_noticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("tampered") / "weights.safetensors"
    tensors.save(path, WEIGHTS, {})
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        tensors.load(path)
    # the very first bytes may turn it into the beginning of a pickle; that is refused as well
    told = str(caught.value)
    assert "the file was changed or damaged; get or make it again." in told or "pickle" in told


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_told_with_and_without_its_hash(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"weights\.json states [0-9a-f]{12}…: the file was changed or damaged"):
        tensors.load(saved)
    with pytest.raises(UserError, match=r"is not a readable safetensors file \(.+\); get or make it again"):
        tensors.read_safetensors(saved)


def test_a_missing_file_is_told(tmp_path):
    for read in (tensors.load, tensors.read_safetensors, tensors.refuse_pickle):
        with pytest.raises(UserError, match=r"There is no file .*gone\.safetensors; check the name"):
            read(tmp_path / "gone.safetensors")


def test_a_file_without_its_json_is_not_complete(saved):
    saved.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"There is no file .*weights\.json"):
        tensors.load(saved)


def test_a_json_without_a_hash_vouches_for_nothing(saved):
    saved.with_suffix(".json").write_text(json.dumps({"arch": "tiny"}))
    with pytest.raises(UserError, match=r"states None…: the file was changed"):
        tensors.load(saved)


def test_a_save_that_is_cut_short_is_never_taken_for_complete(saved, monkeypatch):
    def killed(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(tensors, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        tensors.save(saved, {"other": torch.ones(3)}, {})
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"There is no file .*weights\.json"):
        tensors.load(saved)


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
