"""Classifiers protected by DeepAuth: many signatures embedded in copies of one classifier."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sslauth_utils.base import tensors
from sslauth_utils.base.device import pick_device
from sslauth_utils.models.classifiers import labels
from sslauth_utils.schemes.deepauth import (
    EmbeddingSettings,
    Signature,
    embed,
    enrol,
    intended_labels,
    label_changes,
)
from sslauth_utils.schemes.deepauth_keys import KeySet
from sslauth_utils.schemes.deepauth_matching import select_keys
from sslauth_utils.study.profiles import SIGNATURES, Settings, notebook_settings
from sslauth_utils.study.recipes.signature_keys import (
    Held,
    classifier,
    held_out,
    signature_keys,
    signature_keys_ingredients,
)
from sslauth_utils.study.store import Ingredients, find_or_make

#: the paper's embedding; the same until every key answers as intended; and the remedies: a hinge, keys that keep their
#: label among those that change it, anchor keys
SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "DeepAuth": {},
    "to-success": {"stop": "success"},
    "hinge": {"loss": "hinge", "stop": "success"},
    "mixed": {"loss": "hinge", "stop": "success", "keep": 0.5},
    "anchored": {"loss": "hinge", "stop": "success", "keep": 0.5, "anchors": 20},
}
_NAMES = ("n_keys", "eps_p", "early_stop_images", "most_epochs", "hinge", "device")


@dataclass(frozen=True)
class Protected:
    """Protected models of one scheme and learning rate.

    Attributes:
        facts: one a model: epochs, success, unchanged, C2W, W2C, W2W (shares of held-out images), others changed
            (share of a second set of keys, not embedded, whose label changed), n (held-out images).
        models: the first of them, with their signatures.
    """

    facts: list[dict[str, float]]
    models: list[tuple[nn.Module, Signature]]


def choose(keys: KeySet, classes: int, count: int, number: int) -> tuple[KeySet, KeySet]:
    """The keys of signature `number`, and a second set of as many others, or all that are left."""
    first = select_keys(keys.truth, keys.adversarial, classes, min(count, len(keys)), number)
    rest = torch.ones(len(keys), dtype=torch.bool).index_fill(0, first, False).nonzero().flatten()
    order = torch.randperm(len(rest), generator=torch.Generator().manual_seed(number))
    return keys.take(first), keys.take(rest[order])


def embedding(settings: Settings, scheme: str, rate: float) -> EmbeddingSettings:
    """The embedding of `scheme` at the learning rate `rate`, with the values of notebook 23's `settings`."""
    values = {"learning_rate": rate, "epochs": settings["most_epochs"], "eps_p": settings["eps_p"],
              "hinge": settings["hinge"]}  # fmt: skip
    return EmbeddingSettings(**values | dict(SCHEMES[scheme]))


def protect(
    network: nn.Module, keys: KeySet, held: Held, classes: int, number: int, settings: Settings,
    recipe: EmbeddingSettings, watch: Any = None,
) -> tuple[nn.Module, Signature, dict[str, float]]:  # fmt: skip
    """One protected model of `network`, its signature and its facts; see `Protected`.

    Args:
        number: of the signature: it draws the keys, and which keep their label.
        settings: the parameters of notebook 23.
        watch: as in `deepauth.embed`.
    """
    mine, others = choose(keys, classes, settings["n_keys"], number)
    wanted = intended_labels(mine, recipe.keep, number)
    second, anchors = others.take(torch.arange(len(others))[: settings["n_keys"]]), None
    if recipe.anchors:
        held_keys = others.take(torch.arange(len(others))[settings["n_keys"] :][: recipe.anchors])
        anchors = (held_keys.at, held_keys.adversarial)
    elif missing := sorted(set(range(classes)) - set(mine.truth.tolist())):  # "by natural inputs"
        places = [int((held.validation_truth == label).nonzero()[0]) for label in missing
                  if (held.validation_truth == label).any()]  # fmt: skip
        anchors = (held.validation[places].float() / 255, held.validation_truth[places]) if places else None
    stop = held.validation[: settings["early_stop_images"]]
    protected, history = embed(network, mine, wanted, stop, recipe, anchors, watch)
    changes = label_changes(labels(network, held.test), labels(protected, held.test), held.test_truth)
    moved = (labels(protected, second.at) != second.adversarial).double().mean().item() if len(second) else 0.0
    facts = {"epochs": len(history), "success": history[-1]["success"], "others changed": moved, "n": len(held.test)}
    return protected, enrol(protected, mine.at), facts | changes


def protected_models(
    profile: str, model: str, seed: int, scheme: str, rate: float, count: int, kept: int,
    settings: Settings | None = None,
) -> Protected:  # fmt: skip
    """`count` protected models of the profile's classifier, the first `kept` of them with their weights.

    Args:
        scheme: of `SCHEMES`.
        rate: the embedding's learning rate.
        settings: the parameters of notebook 23; None for the profile's.
    """
    settings = notebook_settings(profile, SIGNATURES, model, seed, settings)
    recipe = embedding(settings, scheme, rate)

    def make(folder: Path) -> None:
        network, _ = classifier(profile, model, seed)
        network.to(pick_device(settings["device"]))
        keys, held = signature_keys(profile, model, seed), held_out(profile, model, seed)
        facts, weights = [], {}
        for number in range(count):
            protected, signature, of = protect(network, keys, held, network.classes, number, settings, recipe)
            facts.append(of)
            if number < kept:
                weights |= {f"{number}.model.{name}": value for name, value in protected.state_dict().items()}
                weights |= {f"{number}.keys": signature.keys, f"{number}.labels": signature.labels}
        tensors.save(folder / "protected.safetensors", weights, {"facts": facts, "classes": network.classes})

    values = {name: settings[name] for name in _NAMES}
    which = {"scheme": dict(SCHEMES[scheme]), "rate": rate, "count": count, "kept": kept, "seed": seed}
    made_from = signature_keys_ingredients(profile, model, seed)
    ingredients = Ingredients(__name__, {SIGNATURES: values, "": which}, made_from.data, [made_from.address])
    folder = find_or_make(profile, f"protected-{scheme}-{rate:g}-{model}-s{seed}", ingredients, make)
    stored, about = tensors.load(folder / "protected.safetensors")
    network, _ = classifier(profile, model, seed)
    return Protected(about["facts"], [_one(network, stored, n, about["classes"]) for n in range(min(kept, count))])


def _one(network: nn.Module, stored: dict[str, Any], number: int, classes: int) -> tuple[nn.Module, Signature]:
    start = f"{number}.model."
    protected = copy.deepcopy(network)
    protected.load_state_dict({k.removeprefix(start): v for k, v in stored.items() if k.startswith(start)})
    return protected.eval(), Signature(stored[f"{number}.keys"], stored[f"{number}.labels"], classes)
