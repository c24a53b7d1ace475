"""Utility and success of an attack as lines of measures.csv."""

import pytest

from sslauth_utils.study.attack_scores import attack_scores


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
