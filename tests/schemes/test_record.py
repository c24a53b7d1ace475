"""The record: on disk bit for bit, refused when changed, and its own side generated once."""

from dataclasses import replace

import pytest
import torch

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.schemes.enrolment import PAPER_TAU
from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.verification import respond, verify


def test_record_comes_back_bit_for_bit(record, tmp_path, encoder):
    record.save(tmp_path / "record.safetensors")
    loaded = Record.load(tmp_path / "record.safetensors")
    assert torch.equal(loaded.keys, record.keys) and torch.equal(loaded.features, record.features)
    assert (loaded.tau, loaded.encoder_sha256) == (PAPER_TAU, encoder.sha256())
    for objective, generator in record.generators.items():
        for name, value in generator.state_dict().items():
            assert torch.equal(value, loaded.generators[objective].state_dict()[name])
    response = respond(encoder, record.keys, decimals=2)
    assert verify(loaded, response).rows() == verify(record, response).rows()


@pytest.mark.parametrize("offset", [20, 5000, -3])
def test_tampered_record_is_refused(record, tmp_path, offset):
    path = tmp_path / "record.safetensors"
    record.save(path)
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="get or make it again"):
        Record.load(path)


def test_record_with_another_content_is_refused(record, tmp_path):
    path = tmp_path / "record.safetensors"
    record.save(path)
    content, meta = tensors.load(path)
    del meta["generators"]
    tensors.save(path, content, meta)
    with pytest.raises(UserError, match="not an SSL-Auth record"):
        Record.load(path)


def test_the_reference_side_is_generated_once(encoder, record, tmp_path):
    record.save(tmp_path / "record.safetensors")
    fresh = Record.load(tmp_path / "record.safetensors")
    calls = []
    fresh.generators["min"].register_forward_hook(lambda *_: calls.append(1))
    response = respond(encoder, fresh.keys, decimals=2)
    first, second = verify(fresh, response), verify(fresh, response)
    assert len(calls) == 3 and first.rows() == second.rows()


def test_generators_work_on_the_records_device_and_stay_on_the_cpu(encoder, record):
    elsewhere = replace(record, device=torch.device("meta"))  # has shapes but no numbers
    with pytest.raises(RuntimeError, match="meta"):
        verify(elsewhere, respond(encoder, record.challenge()))
    assert {p.device.type for g in elsewhere.generators.values() for p in g.parameters()} == {"cpu"}
    assert torch.device(record.device).type == "cpu"
    features = respond(encoder, record.challenge())
    assert torch.equal(record.images("min", features), record.images("min", 4 * features))
