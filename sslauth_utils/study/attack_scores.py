"""What an attack cost and what it brought, as lines of measures.csv."""

from collections.abc import Mapping, Sequence
from typing import Any

from sslauth_utils.study.downstream_task import collapsed
from sslauth_utils.study.rowlog import RowLog

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


def log_attack(
    measures: RowLog,
    tamper: str,
    strength: float,
    clean: Mapping[str, Any],
    attacked: Mapping[str, Any],
    more: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Add the `attack_scores` of one attack to its notebook's measures, and say if it destroyed the encoder.

    Args:
        tamper, strength: what the lines are called.
        clean, attacked: as in `attack_scores`.
        more: further lines with quantity, value and n.

    Returns:
        Whether the encoder is destroyed, and so not to be scored.
    """
    lines, destroyed = attack_scores(clean, attacked)
    measures.add(f"{tamper} {strength}", [{**line, "tamper": tamper, "strength": strength} for line in [*lines, *more]])
    if destroyed:
        accuracy = attacked["scores"]["accuracy"]
        print(f"{tamper}, strength {strength:g}: the encoder is destroyed (accuracy {accuracy:.1%}).")
    return destroyed


def log_success_by_epoch(measures: RowLog, tamper: str, attacked: Mapping[str, Any]) -> None:
    """Add the attack's success after every epoch, by the classifier that was trained on the clean encoder.

    Args:
        attacked: facts of `recipes.backdoors.backdoored_encoder`.
    """
    same = {"tamper": tamper, "quantity": "attack success by epoch", "n": attacked["scores"]["n_others"]}
    lines = [
        {**same, "strength": entry["epoch"], "value": entry["scores"]["attack_success_others"]}
        for entry in attacked["history"]
    ]
    measures.add(tamper, lines)
