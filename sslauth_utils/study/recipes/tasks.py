"""Downstream tasks of a profile, and the victim's classifiers on the untouched encoder."""

from pathlib import Path
from typing import Any

from torch import nn

from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base import tensors
from sslauth_utils.base.device import pick_device
from sslauth_utils.base.errors import UserError
from sslauth_utils.images.load import Images, load_images
from sslauth_utils.models.heads import ClassifierSettings, build_classifier
from sslauth_utils.study.downstream_task import DownstreamTask, split_off
from sslauth_utils.study.profiles import BACKDOOR, PRETRAIN, Settings, notebook_settings
from sslauth_utils.study.recipes.encoders import encoder_address, pretrained_encoder
from sslauth_utils.study.store import Ingredients, find_or_make


def downstream_task(
    profile: str, scenario: str, seed: int, target: str, settings: Settings | None = None
) -> DownstreamTask:
    """The `DownstreamTask` that the notebooks call `target`, with the profile's images and classifier.

    A tenth of the labelled images is the adversary's; the victim's classifier trains on the others.

    Args:
        target: one of the targets of 06_backdoor: stl10, gtsrb or svhn, the paper's names;
            the profile says which data set plays each.
        settings: the parameters of notebook 06, here and below; None for the profile's.

    Raises:
        UserError: unknown target, or a class that the set lacks.
    """
    settings = notebook_settings(profile, BACKDOOR, scenario, seed, settings)
    name, wanted = _target(settings, target)
    size = notebook_settings(profile, PRETRAIN, scenario, seed)["size"]

    def at_most(split: str, wanted: int) -> Images:
        everything = load_images(name, split, size)
        return load_images(name, split, size, wanted, seed) if 0 < wanted < len(everything) else everything

    train, adversary = split_off(at_most("train", settings["downstream_images"]), settings["references"], seed)
    test = at_most("test", settings["downstream_test_images"])
    recipe = ClassifierSettings(settings["classifier_epochs"], 64, settings["classifier_learning_rate"], seed)
    return DownstreamTask(train, test, adversary, wanted, Trigger.for_size(size), recipe)


def clean_task(
    profile: str, scenario: str, seed: int, target: str, settings: Settings | None = None
) -> tuple[nn.Sequential, dict[str, Any]]:
    """The downstream classifier of the untouched encoder, and its facts.

    Returns:
        The classifier, and: scores (`DownstreamTask.score`; its attack success is ASR-B), chance,
        train and train_classes (name and number of classes of the data set), wanted (name of the
        target class).
    """
    settings = notebook_settings(profile, BACKDOOR, scenario, seed, settings)

    def make(folder: Path) -> None:
        encoder, _ = pretrained_encoder(profile, scenario, seed)
        encoder.to(pick_device(settings["device"]))
        task = downstream_task(profile, scenario, seed, target, settings)
        classifier = task.fit(encoder)
        facts = {
            "scores": task.score(encoder, classifier), "chance": task.chance, "train": task.train.name,
            "train_classes": len(task.train.classes), "wanted": task.train.classes[task.target],
            "feature_dim": encoder.feature_dim,
        }  # fmt: skip
        tensors.save(folder / "classifier.safetensors", classifier.state_dict(), facts)

    ingredients = task_ingredients(profile, scenario, seed, target, settings)
    folder = find_or_make(profile, f"task-{target}-{scenario}-s{seed}", ingredients, make)
    weights, facts = tensors.load(folder / "classifier.safetensors")
    classifier = build_classifier(facts["feature_dim"], facts["train_classes"])
    classifier.load_state_dict(weights)
    return classifier.eval(), facts


def task_ingredients(
    profile: str, scenario: str, seed: int, target: str, settings: Settings | None = None
) -> Ingredients:
    """What `clean_task` depends on."""
    settings = notebook_settings(profile, BACKDOOR, scenario, seed, settings)
    name, wanted = _target(settings, target)
    values = {key: value for key, value in settings.items() if key.startswith(("downstream_", "classifier_"))}
    values["references"] = settings["references"]  # which the classifier does not see
    which = {"data": name, "wanted": wanted, "seed": seed}
    return Ingredients(__name__, {BACKDOOR: values, "": which}, [name], [encoder_address(profile, scenario, seed)])


def _target(settings: Settings, target: str) -> tuple[str, int]:
    names = settings["targets"]
    if target not in names:
        raise UserError(f"There is no target {target!r}; the profile's 06_backdoor has {', '.join(names)}.")
    place = names.index(target)
    return settings["target_data"][place], settings["target_classes"][place]
