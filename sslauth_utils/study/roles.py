"""A role is not a data set: which images play what the paper names."""

from collections.abc import Mapping
from typing import Any

ROLES = {"cifar10": "CIFAR-10", "imagenet": "ImageNet", "stl10": "STL-10", "gtsrb": "GTSRB", "svhn": "SVHN"}
KEYS_OF = {"cifar10": "imagenet", "imagenet": "cifar10"}  # §5.1 swaps the sets: whose role the keys play


def played(data: str, role: str) -> str:
    """The data set, and the role that it plays: "shapes (as STL-10)"; the role's name alone if it plays itself."""
    name = data.removeprefix("embedded_")
    return ROLES.get(role, role) if name == role else f"{name} (as {ROLES.get(role, role)})"


def target_names(settings: Mapping[str, Any]) -> dict[str, str]:
    """What to call each downstream target.

    Args:
        settings: the parameters of notebook 06: targets, and target_data that play them.
    """
    pairs = zip(settings["targets"], settings["target_data"], strict=True)
    return {target: played(data, target) for target, data in pairs}
