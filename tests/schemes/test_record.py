"""The record: on disk bit for bit, refused when changed, and its own side generated once."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.encoders import save_encoder
from sslauth_utils.schemes import record as record_module
from sslauth_utils.schemes.enrolment import PAPER_TAU, enrol
from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.verification import respond, verify

FORMAT_1 = Path(__file__).parent / "fixtures" / "record_format_1.safetensors"
DIGEST_1 = "816e547038caca2fe962ce77c6d3c6cf5db437446c35d62069c9feb564808884"


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


def test_a_record_is_one_file_under_any_name(record, tmp_path):
    for name in ("resnet_v1.0", "resnet_v1.5", "trusted.record"):
        record.save(tmp_path / name)
        assert torch.equal(Record.load(tmp_path / name).keys, record.keys)
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(UserError, match="not JSON"):
        record.save(tmp_path / "record.json")


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_record_changed_anywhere_is_refused(record, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("changed") / "record.safetensors"
    record.save(path)
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    first, last = data.draw(st.sampled_from([(0, header - 1), (header, len(content) - 1)]), "part")
    content[data.draw(st.integers(first, last), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"; get or make (it|the file) again\.$"):
        Record.load(path)


def test_another_tau_in_the_header_is_refused(record, tmp_path):
    path = tmp_path / "record.safetensors"
    record.save(path)
    path.write_bytes(path.read_bytes().replace(b'\\"tau\\":0.995', b'\\"tau\\":0.500'))
    with pytest.raises(UserError, match="The digest in the header does not fit the content"):
        Record.load(path)


# --- what is whole but no record: each change with a digest that fits it ----------------------------------------------


def rewritten(record, path, change):
    """The record written after `change` of its tensors and meaning, with the digest of what it then holds."""
    record.save(path)
    content, meaning = tensors.load(path)
    change(content, meaning)
    tensors.save(path, content, meaning)
    return path


def test_a_record_written_anew_is_the_same(record, tmp_path):
    path = rewritten(record, tmp_path / "record.safetensors", lambda content, meaning: None)
    assert Record.load(path).digest() == record.digest()


@pytest.mark.parametrize("tau", [99.5, "0.995", 0, 1, 0.0, 1.0, -0.5, True, None, [0.995], float("nan"), float("inf")])
def test_tau_out_of_range_is_refused_everywhere(record, encoder, tmp_path, tau):
    message = r"tau is a similarity strictly between 0 and 1, not .*; the paper's 99\.5 % is 0\.995\.$"
    path = rewritten(record, tmp_path / "record.safetensors", lambda content, meaning: meaning.update(tau=tau))
    with pytest.raises(UserError, match=message):
        Record.load(path)
    with pytest.raises(UserError, match=message):
        enrol(encoder, record.keys, (), tau=tau)
    with pytest.raises(UserError, match=message):
        verify(replace(record, tau=tau), record.features)
    if tau is not None:  # which means the record's own
        with pytest.raises(UserError, match=message):
            verify(record, record.features, tau=tau)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "its format is 3 and this version reads up to 2; update the suite"),
        ({"format": "2"}, "its format is '2'"),
        ({"format": 0}, "its format is 0"),
        ({"format": 1}, "lacks or should not have format, scheme, sha256"),
        ({"scheme": "other"}, "it is of the scheme 'other', not SSL-Auth"),
        ({"note": 1}, "its description lacks or should not have note"),
        ({"encoder_sha256": 5}, "encoder_sha256 must be 64 hexadecimal digits, or none, not 5"),
        ({"encoder_sha256": "0" * 63 + "G"}, "encoder_sha256 must be 64"),
        ({"generators": []}, r"generators must map objectives to settings, not be \[\]"),
        ({"generators": {}}, "it holds G_ini.*, which belongs to no record"),
    ],
)
def test_a_meaning_that_is_none_is_told(record, tmp_path, change, message):
    path = rewritten(record, tmp_path / "record.safetensors", lambda content, meaning: meaning.update(change))
    with pytest.raises(UserError, match="record.safetensors is not an SSL-Auth record that can be used: .*" + message):
        Record.load(path)


@pytest.mark.parametrize("name", ["tau", "scheme", "generators", "encoder_sha256"])
def test_a_meaning_that_lacks_something_is_told(record, tmp_path, name):
    path = rewritten(record, tmp_path / "record.safetensors", lambda content, meaning: meaning.pop(name))
    with pytest.raises(UserError, match=f"its description lacks or should not have .*{name}"):
        Record.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 32.0}, "G_min's size must be a whole number from 4 to 4096, not 32.0"),
        ({"size": 2**40}, "G_min's size must be"),
        ({"size": 33}, "images of side 4, 8, 16, 32, ..., not 33"),
        ({"size": 16}, "G_min's weights are not those of its settings"),
        ({"depth": "4"}, "G_min's depth must be a whole number from 1 to 65536, not '4'"),
        ({"depth": 60000}, "G_min's weights are not those of its settings"),
        ({"depth": True}, "G_min's depth must be"),
        ({"latent": 31}, "G_min's latent must be a whole number from 32 to 32, not 31"),
        ({"seed": 0.5}, "G_min's seed must be"),
        ({"more": 1}, "G_min's settings must be latent, size, depth and seed, not"),
    ],
)
def test_settings_of_a_generator_are_checked(record, tmp_path, change, message):
    path = tmp_path / "record.safetensors"
    rewritten(record, path, lambda content, meaning: meaning["generators"]["min"].update(change))
    with pytest.raises(UserError, match=message):
        Record.load(path)


def _gone(content, meaning):
    del content["G_min.first.module.bias"]


def _nan(content, meaning):
    content["G_min.first.module.bias"][0] = float("nan")


def _objective(content, meaning):
    meaning["generators"]["other"] = meaning["generators"].pop("min")


def test_a_small_file_asks_for_no_large_generator(record, tmp_path, monkeypatch):
    """Its settings alone would: depth 2000 and one matching tensor are 140 kB, and the generator has 1.6 GB."""

    def pretend(content, meaning):
        for objective, config in meaning["generators"].items():
            config["depth"] = 2000
            content[f"G_{objective}.format.module.weight"] = torch.zeros(32_000, record.features.shape[1])

    path = rewritten(record, tmp_path / "record.safetensors", pretend)
    monkeypatch.setattr(record_module, "Generator", lambda **_: pytest.fail("it was built"))
    with pytest.raises(UserError, match="weights are not those of its settings"):
        Record.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, m: c.update(keys=c["keys"].float()), r"keys must be uint8 of shape \(N, 3, H, W\), not float32"),
        (lambda c, m: c.update(keys=c["keys"][:, :1]), r"not uint8 \(8, 1, 32, 32\)"),
        (lambda c, m: c.update(keys=c["keys"][0]), r"not uint8 \(3, 32, 32\)"),
        (lambda c, m: c.update(keys=c["keys"][:0]), r"not uint8 \(0, 3, 32, 32\)"),
        (lambda c, m: c.pop("keys"), "keys must be uint8"),
        (lambda c, m: c.pop("features"), r"features must be float32 of shape \(8, D\)"),
        (lambda c, m: c.update(features=c["features"].double()), r"not float64 \(8, 32\)"),
        (lambda c, m: c.update(features=c["features"][:7]), r"not float32 \(7, 32\)"),
        (lambda c, m: c.update(features=c["features"] * float("nan")), "NaN or infinite features for 8 of 8"),
        (lambda c, m: c.update(more=torch.ones(1)), "it holds more, which belongs to no record"),
        (_gone, "G_min's weights are not those of its settings"),
        (_nan, "G_min's weights are NaN or infinite"),
        (_objective, "A generator's objective must be one of ini, max, min, not 'other'"),
    ],
)
def test_tensors_that_are_no_record_are_told(record, tmp_path, change, message):
    path = rewritten(record, tmp_path / "record.safetensors", change)
    with pytest.raises(UserError, match="is not an SSL-Auth record that can be used: .*" + message):
        Record.load(path)


def test_an_encoder_is_no_record(encoder, tmp_path):
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    with pytest.raises(UserError, match=r"encoder\.safetensors is not an SSL-Auth record that can be used"):
        Record.load(tmp_path / "encoder.safetensors")


# --- the digest -------------------------------------------------------------------------------------------------------


def test_the_digest_is_that_in_the_file_and_sees_every_part(record, tmp_path):
    path = tmp_path / "record.safetensors"
    record.save(path)
    digest = record.digest()
    assert len(digest) == 64 and digest.encode() in path.read_bytes() and Record.load(path).digest() == digest
    others = [
        replace(record, tau=0.994),
        replace(record, encoder_sha256="0" * 64),
        replace(record, keys=record.keys ^ 1),
        replace(record, features=-record.features),
        replace(record, generators={"min": record.generators["min"]}),
        replace(record, generators={"ini": record.generators["min"], "min": record.generators["ini"]}),
    ]
    assert len({digest, *(other.digest() for other in others)}) == len(others) + 1
    assert replace(record, device="meta").digest() == digest, "where it works is no part of it"


# --- format 1: made by this suite when a record still was two files ---------------------------------------------------


def test_a_record_of_format_1_still_loads_and_verifies(tmp_path):
    record = Record.load(FORMAT_1)
    assert record.keys.shape == (2, 3, 8, 8) and record.features.shape == (2, 32) and record.tau == 0.995
    assert record.encoder_sha256.startswith("2d02d08671d9349e") and list(record.generators) == ["min"]
    assert record.generators["min"].config == {"latent": 32, "size": 16, "depth": 2, "seed": 0}
    assert verify(record, record.features).passed and not verify(record, record.features.flip(0)).passed
    record.save(tmp_path / "new.safetensors")
    assert Record.load(tmp_path / "new.safetensors").digest() == record.digest() == DIGEST_1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau": 99.5}, "the paper's 99.5 % is 0.995"),
        ({"tau": "0.995"}, "not '0.995'"),
        ({"generators": None}, "generators must map"),
        ({"sha256": "0" * 64}, "the file was changed or damaged"),
        ({"format": 2, "scheme": "SSL-Auth"}, "should not have sha256"),
    ],
)
def test_a_changed_record_of_format_1_is_refused_where_it_can_be_seen(tmp_path, change, message):
    path = tmp_path / FORMAT_1.name
    shutil.copyfile(FORMAT_1, path)
    meaning = json.loads(FORMAT_1.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(meaning | change))
    with pytest.raises(UserError, match=message):
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


@pytest.mark.parametrize(
    "change",
    [{"tau": 99.5}, {"features": torch.ones(8, 32, dtype=torch.float64)}, {"encoder_sha256": "abc"}],
    ids=["tau", "features", "hash"],
)
def test_what_could_not_be_loaded_is_not_saved(record, tmp_path, change):
    path = tmp_path / "record.safetensors"
    record.save(path)
    with pytest.raises(UserError, match="cannot be saved, because it could not be read back"):
        replace(record, **change).save(path)
    assert Record.load(path).digest() == record.digest()


def test_a_name_that_is_no_utf8_is_refused_before_it_is_written(record, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.safetensors"))
    with pytest.raises(UserError, match="no UTF-8"):
        record.save(path)
    assert not any(tmp_path.iterdir())


def test_home_is_where_a_wave_stands(record, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    record.save(Path("~/record.safetensors"))
    assert Record.load(Path("~/record.safetensors")).digest() == record.digest()
    assert [path.name for path in tmp_path.iterdir()] == ["record.safetensors"]
