"""Where most notebooks start: the encoder and its record belong together."""

import pandas as pd
import pytest
import torch

from sslauth_utils.schemes.verification import respond, verify
from sslauth_utils.study import enrolled
from sslauth_utils.study.keys_by_epoch import log_keys_by_epoch
from sslauth_utils.study.notebook import Run
from sslauth_utils.study.rowlog import RowLog
from sslauth_utils.study.rows import COLUMNS

PARAMETERS = {"profile": "tiny", "scenario": "cifar10", "seed": 0, "device": "cpu"}


def test_a_notebook_starts_from_an_encoder_that_its_own_record_accepts(shared):
    encoder, record, keys = enrolled.enrolled_encoder(Run("05_pruning", PARAMETERS))
    assert torch.equal(keys, record.keys) and keys is not record.keys
    report = verify(record, respond(encoder, keys), suspect_sha256=encoder.sha256())
    assert report.passed and report.weights_equal


def test_a_record_of_another_encoder_is_no_start(shared, monkeypatch):
    run = Run("05_pruning", PARAMETERS)
    other, _ = enrolled.pretrained_encoder("tiny", "imagenet", 0)
    monkeypatch.setattr(enrolled, "pretrained_encoder", lambda *which: (other, {}))
    with pytest.raises(AssertionError, match="another encoder"):
        enrolled.enrolled_encoder(run)


def test_one_generator_leaves_the_papers_two_schemes_and_changes_no_score(shared):
    encoder, record, keys = enrolled.enrolled_encoder(Run("05_pruning", PARAMETERS))
    response = respond(encoder, keys, decimals=1)
    every, two = verify(record, response), verify(enrolled.one_generator(record), response)
    assert [result.scheme for result in two.results] == ["DCmp", "Trans"]
    assert all(torch.equal(result.similarity, every[result.scheme].similarity) for result in two.results)
    assert [result.scheme for result in verify(enrolled.one_generator(record, "ini"), response).results][1:] == [
        "Trans G_ini"
    ]


def test_keys_by_epoch_are_verified_by_the_papers_two_schemes(shared, tmp_path):
    encoder, record, keys = enrolled.enrolled_encoder(Run("05_pruning", PARAMETERS))
    rows = RowLog(tmp_path, COLUMNS, "code", {"keys": "ood"})
    features = {1: respond(encoder, keys, decimals=1), 2: respond(encoder, keys)}
    log_keys_by_epoch(rows, "fine-tuning", record, {"key_features": features})
    table = pd.read_csv(rows.finish())
    assert table.groupby(["strength", "scheme"]).size().to_dict() == {
        (epoch, scheme): len(keys) for epoch in (1, 2) for scheme in ("DCmp", "Trans")
    }  # fmt: skip
    wanted = verify(record, features[1])["Trans"].similarity.tolist()
    found = table[(table["strength"] == 1) & (table["scheme"] == "Trans")]["similarity"].tolist()
    assert found == pytest.approx(wanted, abs=1e-12) and set(table["tamper"]) == {"fine-tuning"}
