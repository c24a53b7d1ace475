"""Checkpoints become safetensors, and nothing in them is run."""

import argparse
import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import describe, read_safetensors, save
from sslauth_utils.models.convert import convert, main
from sslauth_utils.models.encoders import build_encoder, load_weights


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_converted_simclr_checkpoint_loads_into_a_resnet50(tmp_path):
    torch.manual_seed(0)
    original = build_encoder("resnet50", 2, "imagenet").eval()
    state = {f"module.{name}": value for name, value in original.backbone.state_dict().items()}
    state |= {"module.fc.weight": torch.zeros(10, 64), "module.fc.bias": torch.zeros(10)}
    torch.save({"state_dict": state}, tmp_path / "resnet50-1x.pth")
    convert(tmp_path / "resnet50-1x.pth", tmp_path / "out.safetensors")
    loaded = build_encoder("resnet50", 2, "imagenet").eval()
    load_weights(loaded, read_safetensors(tmp_path / "out.safetensors"), "out.safetensors")
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(loaded(images), original(images))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    bomb = {"state_dict": _Bomb(tmp_path / "fired")}
    torch.save(bomb, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(bomb))
    for name in ("zip.pth", "plain.pth"):
        with pytest.raises(UserError, match="cannot be read as plain weights"):
            convert(tmp_path / name, tmp_path / "out.safetensors")
    assert not (tmp_path / "fired").exists() and not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "holds a list"), ({"epoch": 3}, "holds no dictionary of weights, only epoch")],
    ids=["list", "no tensors"],
)
def test_other_contents(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "x.pth", tmp_path / "out.safetensors")


def _state(prefix="", seed=0):
    encoder = build_encoder("resnet18", 2)
    generator = torch.Generator().manual_seed(seed)
    return {
        prefix + name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in encoder.backbone.state_dict().items()
    }


_ADAM = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(4, 4)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    "content",
    [
        _state(),
        {"state_dict": _state()},
        {"model": _state(), "loss": torch.tensor(0.3)},
        {"net": _state(), "queue": torch.zeros(3, 5)},
        {"teacher": _state()},
        {"model": {"state_dict": _state()}, "epoch": 3},
        {"epoch": 3, "state_dict": _state("module."), "optimizer": _ADAM, "scaler": {"scale": torch.tensor(2.0)}},
        {"rng": {"cpu": torch.zeros(9, dtype=torch.uint8)}, "model": _state("_orig_mod.")},
        _state("_orig_mod.module."),
        _state("module._orig_mod."),
        _state("module.module."),
        _state() | {"epoch": 3},
        _state("backbone."),
        {"state_dict": _state("module.backbone.") | {"module.projector.0.weight": torch.ones(2, 2)}},
        _state("backbone._orig_mod.") | {"head.mlp.0.weight": torch.ones(2, 2)},
        {name.replace("layer1.", "layer1._orig_mod."): value for name, value in _state().items()},
    ],
)
def test_the_weights_and_nothing_else_come_out(tmp_path, content):
    torch.save(content, tmp_path / "c.pth")
    names = convert(tmp_path / "c.pth", tmp_path / "out.safetensors")
    out, expected = read_safetensors(tmp_path / "out.safetensors"), _state()
    assert set(names) == out.keys() == expected.keys()
    assert all(torch.equal(out[name], value) for name, value in expected.items())
    load_weights(build_encoder("resnet18", 2), out, "out.safetensors")


def test_what_was_left_out_is_told(tmp_path, monkeypatch, capsys):
    torch.save({"teacher": _state("backbone.") | {"head.last": torch.ones(2)}, "epoch": 3}, tmp_path / "c.pth")
    out = tmp_path / "out.safetensors"
    monkeypatch.setattr("sys.argv", ["convert", str(tmp_path / "c.pth"), str(out)])
    assert main() == 0
    assert "Left out, as no part of the encoder: head.last" in capsys.readouterr().out
    facts = describe(out)
    assert (facts["source"], facts["key"], facts["left_out"]) == ("c.pth", "teacher", ["head.last"])


_DINO = {
    "student": _state("module.backbone.", 1),
    "teacher": _state("backbone.", 2),
    "dino_loss": {"center": torch.zeros(1, 8)},
    "optimizer": _ADAM,
}


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (_DINO, "student, teacher, dino_loss"),
        ({"model": _state(), "ema": {"model": _state()}}, "model, ema.model"),
        (_state() | {"ema": _state()}, "., ema"),
    ],
    ids=["dino", "ema", "inside"],
)
def test_several_sets_of_weights_are_named_and_none_is_written(tmp_path, content, keys):
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(UserError) as caught:
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors")
    assert f"dictionaries of tensors ({keys})" in str(caught.value)
    assert str(caught.value).endswith(f"choose one by its key, on the command line: --key {keys.split(',')[0]}")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "key", "seed"),
    [
        (_DINO, "student", 1),
        (_DINO, "teacher", 2),
        ({"model": _state("", 1), "ema": {"model": _state("", 2)}}, "ema.model", 2),
        ({"model": _state("", 1), "ema.v1": {"a.b": _state("", 2)}}, "ema.v1.a.b", 2),
        (_state("", 1) | {"ema": _state("", 2)}, ".", 1),
    ],
)
def test_a_key_chooses(tmp_path, monkeypatch, content, key, seed):
    torch.save(content, tmp_path / "c.pth")
    monkeypatch.setattr("sys.argv", ["convert", str(tmp_path / "c.pth"), str(tmp_path / "out.pt"), "--key", key])
    assert main() == 0
    out, expected = read_safetensors(tmp_path / "out.pt"), _state("", seed)
    assert out.keys() == expected.keys() and all(torch.equal(out[name], value) for name, value in expected.items())


_MOCO = {
    "state_dict": _state("module.encoder_q.", 1)
    | {"module.encoder_q.fc.0.weight": torch.ones(2, 2), "module.queue": torch.ones(2, 2)}
    | _state("module.encoder_k.", 2),
    "epoch": 3,
}


@pytest.mark.parametrize(
    ("content", "key", "seed", "whole"),
    [
        (_MOCO, "encoder_k", 2, "state_dict.encoder_k"),
        (_MOCO, "module.encoder_k", 2, "state_dict.encoder_k"),
        (_MOCO, "state_dict.encoder_k", 2, "state_dict.encoder_k"),
        (_state("model.backbone.", 1) | _state("target.", 2), "model", 1, "model"),
        (_state("a.b.module.", 1) | _state("a.c.", 2), "a.b", 1, "a.b"),
        ({"student": _state("encoder.", 1), "teacher": _state("encoder.", 2)}, "teacher.encoder", 2, "teacher.encoder"),
        (_state("", 1) | {"ema": 3} | _state("ema.", 2), "ema", 2, "ema"),
    ],
)
def test_a_key_chooses_by_a_prefix_of_names(tmp_path, content, key, seed, whole):
    torch.save(content, tmp_path / "c.pth")
    names = convert(tmp_path / "c.pth", tmp_path / "out.safetensors", key)
    out, expected = read_safetensors(tmp_path / "out.safetensors"), _state("", seed)
    assert set(names) == out.keys() == expected.keys()
    assert all(torch.equal(out[name], value) for name, value in expected.items())
    assert describe(tmp_path / "out.safetensors")["key"] == whole


def test_what_lies_beside_a_prefix_is_told(tmp_path):
    torch.save(_MOCO, tmp_path / "c.pth")
    convert(tmp_path / "c.pth", tmp_path / "out.safetensors", "encoder_q")
    left_out = describe(tmp_path / "out.safetensors")["left_out"]
    assert left_out == ["queue", *_state("encoder_k.")]
    load_weights(build_encoder("resnet18", 2), read_safetensors(tmp_path / "out.safetensors"), "out.safetensors")


def test_a_prefix_in_several_dictionaries_is_told(tmp_path):
    torch.save({"student": _state("encoder."), "teacher": _state("encoder.")}, tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"several 'encoder'; choose one of student\.encoder, teacher\.encoder\."):
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors", "encoder")


@pytest.mark.parametrize("key", ["nonesuch", "optimizer", "student.nonesuch", "", "optimizer.state.0.step"])
def test_a_key_that_chooses_nothing_is_told(tmp_path, key):
    torch.save(_DINO, tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"under '.*'; choose one of student, teacher, dino_loss, or a prefix of names"):
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors", key)


@pytest.mark.parametrize(
    "content",
    [
        {"loss": torch.tensor(0.3)},
        {"queue": torch.zeros(3), "epoch": 1},
        {"optimizer": _ADAM},
        {"metrics": {"accuracy": torch.tensor(0.5)}},
        {"models": [torch.zeros(3), [_state()]]},
        {},
    ],
    ids=["loss", "queue", "optimizer", "metrics", "list", "empty"],
)
def test_what_is_no_weights_is_never_written(tmp_path, content):
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(UserError, match=f"holds no dictionary of weights, only {next(iter(content), 'nothing')}"):
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_weights_in_a_list_are_seen(tmp_path):
    """Several sets are told, wherever they lie: an average beside them must not be taken for the model."""
    torch.save({"model": [_state(), _state()], "ema": _state()}, tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"holds 3 dictionaries of tensors \(model\.0, model\.1, ema\)"):
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors")
    names = convert(tmp_path / "c.pth", tmp_path / "out.safetensors", "model.1")
    assert set(names) == set(_state())


def test_names_that_become_equal_are_told(tmp_path):
    torch.save({"a.weight": torch.ones(2), "module.a.weight": torch.zeros(2)}, tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"two tensors that both are a\.weight"):
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors")


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("value", [torch.eye(3).to_sparse(), torch.ones(2, dtype=torch.complex128)])
def test_kinds_of_tensors_that_do_not_fit_are_told(tmp_path, value):
    torch.save({"a.weight": torch.ones(2), "a.other": value}, tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"sparse, quantised or complex weights \(a\.other\)"):
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors")


def test_an_encoder_of_ours_keeps_its_names(tmp_path):
    encoder = build_encoder("resnet18", 2)
    torch.save({"model": encoder.state_dict()}, tmp_path / "c.pth")
    convert(tmp_path / "c.pth", tmp_path / "out.safetensors")
    loaded = build_encoder("resnet18", 2)
    load_weights(loaded, read_safetensors(tmp_path / "out.safetensors"), "out.safetensors")
    assert loaded.sha256() == encoder.sha256()


def test_neither_the_checkpoint_nor_a_neighbour_is_lost(tmp_path):
    path, own = tmp_path / "ViT-B-32.pt", tmp_path / "ViT-B-32.json"
    torch.save(_state(), path)
    own.write_text('{"embed_dim": 512}')
    content = path.read_bytes()
    with pytest.raises(UserError, match="is there already and is no safetensors file"):
        convert(path, path)
    convert(path, tmp_path / "ViT-B-32.safetensors")
    assert path.read_bytes() == content and own.read_text() == '{"embed_dim": 512}'


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match="There is no file"):
        convert(tmp_path / "absent.pth", tmp_path / "out.safetensors")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match=r"is a zip, .* that is cut off or damaged"):
        convert(tmp_path / "cut.pth", tmp_path / "out.safetensors")


# --- files of other kinds ---------------------------------------------------------------------------------------------


def _saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def _zip(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"1")
    return file.getvalue()


def _tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"))
    return file.getvalue()


_PLAIN = _saved({"a.weight": torch.ones(9, 9)})
_KINDS = {
    "empty": (b"", "is empty; get or make it again."),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "is a Git LFS pointer .* git lfs pull"),
    "HTML": (b"\n<!DOCTYPE html><html>404</html>", r"is a web page .* download the checkpoint again"),
    "XML": (b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", r"is a web page \(HTML or XML\)"),
    "gzip": (gzip.compress(_PLAIN), "is compressed; .*: gzip -dc FILE > NEW.pth"),
    "bzip2": (bz2.compress(_PLAIN), "is compressed; .*: bzip2 -dc"),
    "xz": (lzma.compress(_PLAIN), "is compressed; .*: xz -dc"),
    "zstd": (b"\x28\xb5\x2f\xfd\x00", "is compressed; .*: zstd -dc"),
    "tar": (_tar(), "is a tar archive; unpack it"),
    "half": (_PLAIN[: len(_PLAIN) // 2], "is a zip, .* cut off or damaged; get it again"),
    "zip": (_zip("model.pth"), r"is a zip of other files \(model\.pth\); unpack it"),
    "steering": (_zip("\x1b[1mx"), r"other files \('\\x1b\[1mx'\)"),
    "half, old": (_saved({"a": torch.ones(9)}, _use_new_zipfile_serialization=False)[:-9], "is damaged, or holds"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "it is no checkpoint, is damaged, or holds more than tensors"),
}


@pytest.mark.parametrize(("content", "told"), _KINDS.values(), ids=_KINDS)
def test_a_file_of_another_kind_is_told(tmp_path, content, told):
    (tmp_path / "c.pth").write_bytes(content)
    with pytest.raises(UserError, match=rf"^\S*c\.pth .*{told}") as caught:
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors")
    assert str(caught.value).isprintable() and not (tmp_path / "out.safetensors").exists()


def test_safetensors_are_told(tmp_path):
    save(tmp_path / "c.pth", {"a.weight": torch.ones(3)}, {})
    with pytest.raises(UserError, match="is safetensors already; use it as it is"):
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_told(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "c.pt"))
    with pytest.raises(UserError, match=r"is a TorchScript archive, .*torch\.save\(model\.state_dict\(\)"):
        convert(tmp_path / "c.pt", tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"model": _state(), "out": PurePosixPath("x")}, "pathlib.PurePosixPath"),
        ({"model": _state(), "args": argparse.Namespace(out=PurePosixPath("x"))}, "pathlib.PurePosixPath"),
    ],
    ids=["module", "path", "path in options"],
)
def test_types_that_are_refused_are_named(tmp_path, content, named):
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(UserError) as caught:
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors")
    assert str(caught.value) == (
        f"{tmp_path / 'c.pth'} cannot be read as plain weights: it also holds {named}; nothing in it was run, "
        "and torch.save(model.state_dict(), 'weights.pth') makes one that can be converted."
    )
    assert caught.value.__suppress_context__, "PyTorch's advice to unpickle would be shown"


def test_options_in_a_namespace_are_left_out(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save({"model": _state(), "args": argparse.Namespace(lr=0.1)}, tmp_path / "c.pth")
    assert set(convert(tmp_path / "c.pth", tmp_path / "out.safetensors")) == _state().keys()
    assert set(torch.serialization.get_safe_globals()) == before


def test_weights_without_values_are_told(tmp_path):
    torch.save({"a.weight": torch.empty(3, device="meta")}, tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"names and shapes without values \(a\.weight, on PyTorch's meta device\)"):
        convert(tmp_path / "c.pth", tmp_path / "out.safetensors")


def test_paths_at_home_and_paths_that_cannot_be_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(_state(), tmp_path / "c.pth")
    monkeypatch.setattr("sys.argv", ["convert", "~/c.pth", "~/out.safetensors"])
    assert main() == 0
    assert read_safetensors(tmp_path / "out.safetensors").keys() == _state().keys()
    with pytest.raises(UserError, match="Cannot look at"):
        convert(tmp_path / ("x" * 300), tmp_path / "other.safetensors")
