"""Checkpoints become safetensors, and nothing in them is run."""

import pickle

import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import read_safetensors
from sslauth_utils.models.convert import convert
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
    ("content", "message"), [([1, 2], "holds a list"), ({"epoch": 3}, "holds no tensors")], ids=["list", "no tensors"]
)
def test_other_contents(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "x.pth", tmp_path / "out.safetensors")


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match="There is no file"):
        convert(tmp_path / "absent.pth", tmp_path / "out.safetensors")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match="cannot be read as plain weights"):
        convert(tmp_path / "cut.pth", tmp_path / "out.safetensors")
