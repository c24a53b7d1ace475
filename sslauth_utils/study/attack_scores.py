"""What an attack cost and what it brought, as lines of measures.csv."""

from collections.abc import Mapping
from typing import Any

from sslauth_utils.study.downstream_task import collapsed

_OF_OTHERS = ("attack success", "ASR-B")  # these two leave out images of the target class


def attack_scores(clean: Mapping[str, Any], attacked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """Utility and success of one attack, and whether it destroyed the encoder.

    Args:
        clean: facts of `recipes.tasks.clean_task`.
        attacked: facts of `recipes.backdoors.backdoored_encoder`.

    Returns:
        Lines with quantity, value (a share, 0 to 1) and n (test images), the last being "destroyed" (0 or 1), and
        whether the encoder is destroyed (`downstream_task.collapsed`).
    """
    before, after = clean["scores"], attacked["scores"]
    destroyed = collapsed(after["accuracy"], before["accuracy"], clean["chance"], before["n_test"])
    values = {
        "chance": clean["chance"],
        "clean accuracy": before["accuracy"],
        "backdoored accuracy": after["accuracy"],
        "attack success": after["attack_success_others"],
        "attack success, all classes": after["attack_success"],
        "ASR-B": before["attack_success_others"],
        "ASR-B, all classes": before["attack_success"],
    }
    lines = [
        {"quantity": name, "value": value, "n": before["n_others" if name in _OF_OTHERS else "n_test"]}
        for name, value in values.items()
    ]
    return [*lines, {"quantity": "destroyed", "value": float(destroyed), "n": 1}], destroyed
