"""What 09 keeps books with: shadow images among keys, and images that key sets share."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.schemes.enrolment import enrol
from sslauth_utils.study import key_sets
from sslauth_utils.study.rowlog import RowLog
from sslauth_utils.study.rows import MEASURE_COLUMNS

IMAGES = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build_encoder("resnet18", 4).eval()


@pytest.fixture(scope="module")
def records(encoder):
    keys = {"ood": IMAGES[:3], "id": IMAGES[3:6], "id:1": IMAGES[4:7]}
    return {name: enrol(encoder, images, objectives=(), steps=1) for name, images in keys.items()}


@pytest.fixture
def measures(tmp_path):
    return RowLog(tmp_path, MEASURE_COLUMNS, "code", {}, "measures")


def test_shadow_images_among_keys_are_counted_by_set(measures, encoder, records, capsys):
    key_sets.log_overlaps(measures, encoder, records, IMAGES[5:])
    table = pd.read_csv(measures.finish())
    assert table[["quantity", "value", "n"]].to_numpy().tolist() == [
        ["overlap ood", 0, 3], ["overlap id", 1, 3], ["overlap id:1", 2, 3]
    ]  # fmt: skip
    assert "id:1: 2 of 3 keys are shadow images" in capsys.readouterr().out


def test_ood_keys_that_are_shadow_images_stop_it(measures, encoder, records):
    with pytest.raises(AssertionError, match="OOD keys must not be shadow images"):
        key_sets.log_overlaps(measures, encoder, records, IMAGES[2:])


def test_a_record_of_another_encoder_stops_it(measures, records):
    torch.manual_seed(1)
    with pytest.raises(AssertionError, match="record ood is of another"):
        key_sets.log_overlaps(measures, build_encoder("resnet18", 4), records, IMAGES[7:])


def test_what_id_key_sets_share_is_told(records, capsys):
    key_sets.print_shared(records)
    assert capsys.readouterr().out == "id and id:1 share 2 keys\n"


def test_a_destroyed_encoder_is_no_suspect(encoder, monkeypatch, capsys):
    attack, tuning = {}, {"scores": {"clean": 0.5, "tuned": 0.6}, "method": "supervised", "learning_rate": 1e-4,
                          "settings": {"epochs": 2}}  # fmt: skip
    monkeypatch.setattr(key_sets, "fine_tuned_encoder", lambda *which: (encoder, tuning))
    monkeypatch.setattr(key_sets, "backdoored_encoder", lambda *which: (encoder, attack))
    monkeypatch.setattr(key_sets, "clean_task", lambda *which: (None, {}))
    run = SimpleNamespace(parameters={"profile": "smoke", "scenario": "cifar10", "seed": 0}, device="cpu")
    named = {}
    for destroyed in (False, True):
        monkeypatch.setattr(key_sets, "attack_scores", lambda *facts, gone=destroyed: ([], gone))
        named[destroyed] = list(key_sets.suspects_by_tamper(run, encoder, [0.1, 0.3]))
    kept = [("pruning", 0.1), ("pruning", 0.3), ("fine-tuning supervised 0.0001", 2)]
    assert named == {False: [*kept, ("backdoor stl10", 0)], True: kept}
    assert "The attack destroyed the encoder; it is not scored." in capsys.readouterr().out
