"""Utility and success of an attack as lines of measures.csv."""

import pandas as pd
import pytest

from sslauth_utils.study.attack_scores import attack_scores, log_attack, log_success_by_epoch
from sslauth_utils.study.rowlog import RowLog
from sslauth_utils.study.rows import MEASURE_COLUMNS


def scores(accuracy, success, success_others):
    return {"accuracy": accuracy, "attack_success": success, "attack_success_others": success_others,
            "n_test": 400, "n_others": 350}  # fmt: skip


CLEAN = {"scores": scores(0.8, 0.12, 0.02), "chance": 0.1}


def test_every_quantity_has_its_value_and_its_test_images():
    lines, _ = attack_scores(CLEAN, {"scores": scores(0.7, 0.95, 0.9)})
    found = {line["quantity"]: (line["value"], line["n"]) for line in lines}
    assert found == {
        "chance": (0.1, 400), "clean accuracy": (0.8, 400), "backdoored accuracy": (0.7, 400),
        "attack success": (0.9, 350), "attack success, all classes": (0.95, 400),
        "ASR-B": (0.02, 350), "ASR-B, all classes": (0.12, 400), "destroyed": (0.0, 1),
    }  # fmt: skip


@pytest.mark.parametrize(("accuracy", "gone"), [(0.5, False), (0.4, True)])  # half of what stands above chance: 0.45
def test_an_attack_that_costs_half_of_the_accuracy_above_chance_destroys(accuracy, gone):
    lines, destroyed = attack_scores(CLEAN, {"scores": scores(accuracy, 0.95, 0.9)})
    assert destroyed is gone
    assert lines[-1] == {"quantity": "destroyed", "value": float(gone), "n": 1}


def lines_of(path):
    return pd.read_csv(path)[["tamper", "strength", "quantity", "value", "n"]].to_numpy().tolist()


def test_an_attack_is_logged_with_its_name_and_told_if_it_destroyed(tmp_path, capsys):
    measures = RowLog(tmp_path, MEASURE_COLUMNS, "code", {}, "measures")
    more = [{"quantity": "references", "value": 0.5, "n": 2}]
    assert log_attack(measures, "backdoor svhn", 0, CLEAN, {"scores": scores(0.7, 0.95, 0.9)}, more) is False
    assert capsys.readouterr().out == ""
    assert log_attack(measures, "disguised svhn", 10, CLEAN, {"scores": scores(0.2, 0.95, 0.9)}) is True
    assert capsys.readouterr().out == "disguised svhn, strength 10: the encoder is destroyed (accuracy 20.0%).\n"
    found = lines_of(measures.finish())
    assert len(found) == 8 + 1 + 8
    assert found[8] == ["backdoor svhn", 0, "references", 0.5, 2]
    assert found[-1] == ["disguised svhn", 10, "destroyed", 1, 1]


def test_success_by_epoch_counts_images_of_other_classes(tmp_path):
    history = [{"epoch": epoch, "scores": scores(0.7, 0.9, epoch / 10)} for epoch in (1, 2)]
    measures = RowLog(tmp_path, MEASURE_COLUMNS, "code", {}, "measures")
    log_success_by_epoch(measures, "a by epoch", {"scores": scores(0.7, 0.9, 0.8), "history": history})
    name = "attack success by epoch"
    assert lines_of(measures.finish()) == [["a by epoch", 1, name, 0.1, 350], ["a by epoch", 2, name, 0.2, 350]]
