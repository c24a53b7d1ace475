"""A tiny profile, images drawn for it, and a folder of its own for what is made of them."""

import torch

from sslauth_utils.images.load import Images
from sslauth_utils.study import profiles, store
from sslauth_utils.study.profiles import BACKDOOR, ENROL, FINE_TUNE, PRETRAIN, Profile
from sslauth_utils.study.recipes import (  # fmt: skip
    accuracies,
    backdoors,
    encoders,
    fine_tuned,
    generators,
    keys,
    records,
    shadow,
    tasks,
)

RECIPES = (accuracies, backdoors, encoders, fine_tuned, generators, keys, records, shadow, tasks)
PRETRAINING = {
    "pretrain_data": "scenario", "pretrain_images": 48, "test_images": 24, "size": 16, "arch": "resnet18", "width": 2,
    "stem": "cifar", "pixel_stats": "cifar10", "epochs": 2, "batch_size": 16, "learning_rate": 0.001,
    "weight_decay": 1e-6, "temperature": 0.5, "weights_file": "", "schedule": "cosine", "device": "cpu",
}  # fmt: skip
ENROLMENT = {
    "key_data": "scenario", "n_keys": 6, "objectives": ["ini", "min"], "tau": 0.995, "generator_size": 16,
    "generator_depth": 2, "generator_steps": 2, "generator_learning_rate": 0.001, "device": "cpu",
}  # fmt: skip
TUNING = {
    "tune_data": "digits", "tune_images": 32, "tune_test_images": 12, "learning_rates": [0.001, 0.01], "epochs": 2,
    "batch_size": 16, "device": "cpu",
}  # fmt: skip
ATTACK = {
    "targets": ["stl10", "svhn"], "target_data": ["objects", "digits"], "target_classes": [2, 1],
    "downstream_images": 30, "downstream_test_images": 0, "classifier_epochs": 2, "classifier_learning_rate": 0.001,
    "shadow_images": 40, "references": 2, "epochs": 2, "batch_size": 16, "learning_rate": 0.05, "momentum": 0.9,
    "weight_decay": 0.0005, "schedule": "constant", "shared_rate": False, "lambda1": 1.0, "lambda2": 1.0,
    "device": "cpu",
}  # fmt: skip


def profile(pretraining=None, enrolment=None, tuning=None, attack=None):
    """The tiny profile, with these values changed."""
    return Profile(
        name="tiny",
        seeds=[0],
        scenarios={
            "cifar10": {"pretrain_data": "dots", "key_data": "lines"},
            "imagenet": {"pretrain_data": "lines", "key_data": "dots"},
        },
        notebooks={
            PRETRAIN: PRETRAINING | (pretraining or {}),
            ENROL: ENROLMENT | (enrolment or {}),
            FINE_TUNE: TUNING | (tuning or {}),
            BACKDOOR: ATTACK | (attack or {}),
        },
    )


def pretraining(**changes):
    """Notebook 01's parameters for the scenario cifar10."""
    return PRETRAINING | {"pretrain_data": "dots"} | changes


def enrolment(**changes):
    """Notebook 02's parameters for the scenario cifar10."""
    return ENROLMENT | {"key_data": "lines"} | changes


def drawn(name, split="train", size=32, count=None, seed=0):
    """60 images, or 20 to test on, of three classes: noise, and a bright channel that is the class."""
    draw = torch.Generator().manual_seed(len(name) + (split == "test"))
    count = count or {"train": 60, "test": 20}[split]
    labels = torch.arange(count) % 3
    images = torch.randint(0, 120, (count, 3, size, size), generator=draw)
    images[torch.arange(count), labels] += 100
    return Images(images.to(torch.uint8), labels, ["a", "b", "c"], name, f"drawn {name}")


def settle(patch, results, load_images=drawn):
    """Let all recipes read `load_images` and the tiny profile, and keep what they make in `results`."""
    for recipe in RECIPES:
        if hasattr(recipe, "load_images"):
            patch.setattr(recipe, "load_images", load_images)
    patch.setattr(store, "RESULTS", results)
    use(patch, profile())
    patch.delenv("SSLAUTH_DATA", raising=False)


def use(patch, other):
    """Let the recipes read this profile."""
    patch.setattr(profiles, "load_profile", lambda name: other)


def artifacts(results, end=""):
    """Names of the artifacts of the tiny profile, locks left out."""
    found = (results / "tiny" / "artifacts").glob(f"*{end}")
    return sorted(path.name for path in found if path.is_dir())


def kinds(results):
    """The same without their addresses."""
    return [name.rsplit("-", 1)[0] for name in artifacts(results)]
