"""Fragile signatures of a classifier: the rivals' single images, and sample pairs in several forms."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslauth_utils.base import tensors
from sslauth_utils.base.device import pick_device
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_json, write_json
from sslauth_utils.models.classifiers import Classifier, logits
from sslauth_utils.schemes import pairs as sample_pairs
from sslauth_utils.schemes import sensitive
from sslauth_utils.schemes.honest_classifier import honest_changes, noise
from sslauth_utils.schemes.pairs import Pairs, PairSettings
from sslauth_utils.schemes.sensitive import Singles
from sslauth_utils.study.profiles import CLASSIFIERS, Settings, notebook_settings
from sslauth_utils.study.recipes.classifiers import classifier_address, classifier_images, trained_classifier
from sslauth_utils.study.store import Ingredients, find_or_make

_NAMES = (
    "n_samples", "iterations", "pair_rate", "weight", "steps", "noise_factor", "rival_iterations", "rival_rate",
    "sensitive_iterations", "device",
)  # fmt: skip
#: rivals whose label is that of the user's layer
_LAYERED = ("variance", "AID as released")
#: what a form of pairs is called, but for its step
PLAIN, NO_ACTIVITY, NO_STAGE_1, CALIBRATED = "pairs", "pairs, variance only", "pairs, no stage 1", "pairs, calibrated"


@dataclass(frozen=True)
class Signatures:
    """All that is enrolled of one classifier.

    Attributes:
        singles: by rival's name.
        pairs: by form: "pairs 1e-06" (the step), "pairs, variance only 1e-06", "pairs, no stage 1 1e-06",
            "pairs, calibrated".
        facts: noise (largest standard deviation of d's change when only run otherwise), margin (asked of calibrated
            pairs), dropped (by form and reason).
    """

    singles: dict[str, Singles]
    pairs: dict[str, Pairs]
    facts: dict[str, Any]

    def rows(self, answer) -> list[dict[str, Any]]:
        """One row a method and key: method, key, before, after (whether that image's label changed, 0 or 1; a
        single image has no second: "").

        Args:
            answer: images float32 (N, 3, H, W) to logits (N, C) of whatever is checked.
        """
        found = []
        for method, singles in self.singles.items():
            found += [{"method": method, "key": key, "before": int(changed), "after": ""}
                      for key, changed in enumerate(singles.changed(answer))]  # fmt: skip
        for method, pairs in self.pairs.items():
            changed = pairs.changed(pairs.margins_of(answer)).int().tolist()
            found += [{"method": method, "key": key, "before": before, "after": after}
                      for key, (before, after) in enumerate(changed)]  # fmt: skip
        return found


def user_of(model: str, seed: int) -> bytes:
    """The key of the user for whom the study's pairs are made."""
    return sample_pairs.user_key(f"user of {model} {seed}")


def signatures(profile: str, model: str, seed: int, settings: Settings | None = None) -> Signatures:
    """The signatures of the profile's classifier `model` of this seed.

    Args:
        settings: the parameters of notebook 20; None for the profile's.
    """
    settings = notebook_settings(profile, CLASSIFIERS, model, seed, settings)

    def make(folder: Path) -> None:
        classifier, _ = trained_classifier(profile, model, seed)
        classifier.to(pick_device(settings["device"])).requires_grad_(False)
        natural = classifier_images(settings, "test", seed).images[: settings["n_samples"]].float() / 255
        singles = _rivals(classifier, natural, model, seed, settings)
        pairs, facts = _pairs(classifier, model, seed, settings)
        facts["forms"] = list(pairs)
        for number, found in enumerate(pairs.values()):
            found.save(folder / f"pairs-{number}.safetensors")
        flat = {f"{name}/{part}": value for name, of in singles.items()
                for part, value in (("images", of.images), ("labels", of.labels))}  # fmt: skip
        tensors.save(folder / "singles.safetensors", flat, {"names": list(singles)})
        write_json(folder / "facts.json", facts)

    values = {name: settings[name] for name in _NAMES}
    ingredients = Ingredients(
        __name__, {CLASSIFIERS: values, "": {"seed": seed, "model": model}}, [settings["train_data"]],
        [classifier_address(profile, model, seed)],
    )  # fmt: skip
    folder = find_or_make(profile, f"signatures-{model}-s{seed}", ingredients, make)
    facts = read_json(folder / "facts.json")
    pairs = {form: Pairs.load(folder / f"pairs-{number}.safetensors") for number, form in enumerate(facts["forms"])}
    flat, about = tensors.load(folder / "singles.safetensors")
    layer = next(iter(pairs.values())).layer
    singles = {name: Singles(flat[f"{name}/images"], flat[f"{name}/labels"], layer if name in _LAYERED else None)
               for name in about["names"]}  # fmt: skip
    return Signatures(singles, pairs, facts)


def _rivals(classifier: Classifier, natural: Tensor, model: str, seed: int, settings: Settings) -> dict[str, Singles]:
    count, rate, user = settings["rival_iterations"], settings["rival_rate"], user_of(model, seed)
    layer = sample_pairs.keyed_layer(user, classifier.classes)
    random = sample_pairs.random_images(len(natural), settings["size"], seed)
    made = {
        "validation": natural,
        "DBI": sensitive.dbi(classifier, natural, count, rate),
        "AID": sensitive.aid(classifier, random, count, rate, "adam"),
        "variance": sensitive.pure_variance(classifier, layer, random, count, rate),
        "AID as released": sensitive.released_aid(classifier, layer, random, count, rate),
    }
    if settings["sensitive_iterations"]:
        made["sensitive samples"] = sensitive.sensitive_samples(classifier, natural, settings["sensitive_iterations"])
    return {name: Singles.enrol(classifier, images, layer if name in _LAYERED else None)
            for name, images in made.items()}  # fmt: skip


def _pairs(
    classifier: Classifier, model: str, seed: int, settings: Settings
) -> tuple[dict[str, Pairs], dict[str, Any]]:
    user, size, steps = user_of(model, seed), settings["size"], settings["steps"]
    recipe = PairSettings(
        settings["n_samples"], settings["iterations"], settings["pair_rate"], settings["weight"], True, steps, seed=seed
    )
    plain = sample_pairs.make_pairs(classifier, user, size, recipe)
    found = {f"{PLAIN} {step:g}": made for step, made in plain.items()}
    for form, other in ((NO_ACTIVITY, {"activity": False}), (NO_STAGE_1, {"iterations": 0, "tries": 2000})):
        try:
            made = sample_pairs.make_pairs(classifier, user, size, replace(recipe, **other))
        except UserError:  # random pixels may all lie out of reach: then there is no such form
            continue
        found |= {f"{form} {step:g}": of for step, of in made.items() if step == PAPERS_STEP or len(steps) == 1}
    measured = run_noise(classifier, plain[min(plain)])
    margin = settings["noise_factor"] * measured
    with suppress(UserError):  # no pair may be as wide as the noise asks for
        found[CALIBRATED] = sample_pairs.calibrate(classifier, plain[max(plain)], margin)
    return found, {"noise": measured, "margin": margin, "dropped": {form: of.dropped for form, of in found.items()}}


#: "1e-4 for the VGG16 model and 1e-6 for others" (§IV-A)
PAPERS_STEP = 1e-6


def run_noise(classifier: Classifier, pairs: Pairs) -> float:
    """The noise of d on these pairs where the intact classifier is run otherwise, or folded, or in float64."""
    images = torch.cat([pairs.before, pairs.after])
    layer, enrolled = pairs.layer, sample_pairs.margin_of(pairs.layer, logits(classifier, images))
    changes = [change for change in honest_changes(classifier, sent=())
               if change.kind == "run" or change.name in ("computed in", "batch norm folded")]  # fmt: skip
    found = {(change.name, change.strength): sample_pairs.margin_of(layer, change.answer(images)) for change in changes}
    return noise(found, enrolled)
