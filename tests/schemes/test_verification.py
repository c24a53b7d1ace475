"""The protocol: verdicts, blind spots, the record on disk, and bad responses."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from sslauth_utils.attacks.prune import prune
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.schemes.enrolment import PAPER_TAU, enrol
from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.report import Report, SchemeResult
from sslauth_utils.schemes.verification import respond, verify


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build_encoder("resnet18", 4).eval()


@pytest.fixture(scope="module")
def record(encoder):
    keys = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return enrol(encoder, keys, ("ini", "min"), depth=4, steps=3)


def test_intact_encoder_passes_with_every_score_exactly_one(encoder, record):
    report = verify(record, respond(encoder, record.challenge(), normalised=False), suspect_sha256=encoder.sha256())
    assert report.passed and report.weights_equal
    for result in report.results:
        assert (result.similarity == 1).all() and result.agreement == 100 and result.auth_success == 100
    assert [result.scheme for result in report.results] == ["DCmp", "Trans G_ini", "Trans"]


def test_pruned_encoder_fails_and_hash_differs(encoder, record):
    pruned = prune(encoder, 0.5)
    report = verify(record, respond(pruned, record.challenge()), suspect_sha256=pruned.sha256())
    assert not report.passed and report.weights_equal is False
    assert report["Trans"].agreement < report["DCmp"].agreement < 100


def test_scaled_encoder_is_invisible(encoder, record):
    report = verify(record, 5 * respond(encoder, record.challenge(), normalised=False))
    assert report.passed and report["DCmp"].agreement > 100 - 1e-6, "a stated blind spot"


def test_verdict_needs_every_key_strictly_above_tau():
    tau = 0.5
    assert SchemeResult("DCmp", torch.tensor([0.6, 0.51]), tau).passed
    on_the_line = SchemeResult("DCmp", torch.tensor([0.6, 0.5]), tau)
    assert not on_the_line.passed and on_the_line.auth_success == 50
    assert on_the_line.agreement == pytest.approx(55, abs=1e-5)


def test_another_tau_changes_the_verdict_only(encoder, record):
    response = respond(encoder, record.challenge(), decimals=2)
    loose, strict = verify(record, response, tau=0.01), verify(record, response, tau=0.9999999)
    assert loose.passed and not strict.passed
    assert torch.equal(loose["DCmp"].similarity, strict["DCmp"].similarity)


def test_rows_and_table_say_the_same(encoder, record):
    report = verify(record, respond(prune(encoder, 0.3), record.challenge()), suspect_sha256="0" * 64)
    rows = report.rows()
    assert len(rows) == 3 * 8 + 1 and rows[-1] == {"scheme": "SHA-256", "key": -1, "similarity": 0.0}
    mean = sum(row["similarity"] for row in rows if row["scheme"] == "Trans") / 8
    assert report.table().loc["Trans", "agreement %"] == f"{100 * mean:.3f}"
    assert "FAIL" in str(report)


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
    with pytest.raises(UserError, match="SHA-256"):
        Record.load(path)


def test_record_with_another_content_is_refused(record, tmp_path):
    path = tmp_path / "record.safetensors"
    record.save(path)
    meta = json.loads(path.with_suffix(".json").read_text())
    del meta["generators"]
    path.with_suffix(".json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match="not an SSL-Auth record"):
        Record.load(path)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (torch.rand(7, 32), "7 feature vectors for 8 key samples"),
        (torch.rand(8, 31), "width 31, but the record was enrolled with 32"),
        (torch.rand(8, 32).index_fill(0, torch.tensor([3]), float("nan")), "NaN or infinite features for 1 of 8"),
        (torch.rand(8, 32).index_fill(0, torch.tensor([0, 1]), float("inf")), "for 2 of 8"),
        (torch.rand(8, 32, 1), "one vector an image"),
    ],
    ids=["short", "narrow", "nan", "infinite", "rank"],
)
def test_bad_responses(record, response, message):
    with pytest.raises(UserError, match=message):
        verify(record, response)


class _Wrong(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: torch.full((len(x), 5), float("nan")), "NaN or infinite"),
        (lambda x: x, "one vector an image"),
        (lambda x: x.flatten(1)[:-1] if len(x) > 1 else x.flatten(1), "7 feature vectors for 8"),
    ],
    ids=["nan", "rank", "short"],
)
def test_enrolling_a_bad_encoder(make, message):
    keys = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(UserError, match=message):
        enrol(_Wrong(make), keys, ())


def test_suspect_of_another_width(record):
    other = build_encoder("resnet18", 5)
    with pytest.raises(UserError, match="width 40, but the record was enrolled with 32"):
        verify(record, respond(other, record.challenge()))


def test_enrolment_refuses_empty_keys_and_odd_tau(encoder):
    with pytest.raises(UserError, match="N at least 1"):
        enrol(encoder, torch.zeros(0, 3, 32, 32, dtype=torch.uint8), ())
    with pytest.raises(UserError, match=r"99.5 % is 0.995"):
        enrol(encoder, torch.zeros(2, 3, 32, 32, dtype=torch.uint8), (), tau=99.5)


def test_encoder_keeps_its_mode(encoder, record):
    encoder.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    respond(encoder, record.challenge())
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    encoder.eval()


def test_report_passes_only_if_every_scheme_does():
    good, bad = SchemeResult("DCmp", torch.ones(2), 0.9), SchemeResult("Trans", torch.zeros(2), 0.9)
    assert Report([good]).passed and not Report([good, bad]).passed


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
