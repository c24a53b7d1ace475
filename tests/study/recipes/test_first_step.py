"""The attack's first step, drawn again, is the one that the attack made."""

import copy

import pytest
import torch
from tiny_world import ATTACK
from torch.nn import functional

from sslauth_utils.attacks.backdoor import BackdoorSettings
from sslauth_utils.study.first_step import first_step
from sslauth_utils.study.recipes.backdoors import backdoored_encoder
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.recipes.shadow import shadow_images
from sslauth_utils.study.recipes.tasks import downstream_task

ONE_STEP = ATTACK | {"epochs": 1, "shadow_images": 20, "batch_size": 20}


@pytest.fixture
def step(shared):
    """The first step of an attack of one epoch with one batch, and the encoder that it starts from."""
    encoder, _ = pretrained_encoder("tiny", "cifar10", 0)
    before = encoder.sha256()
    task = downstream_task("tiny", "cifar10", 0, "stl10", ONE_STEP)
    recipe = BackdoorSettings(epochs=1, batch_size=20, learning_rate=0.05)
    found = first_step(encoder, shadow_images("tiny", "cifar10", 0, ONE_STEP), task, ONE_STEP["references"], recipe)
    assert encoder.sha256() == before
    return encoder, task, found


def test_its_losses_are_the_history_of_an_attack_of_one_step(step):
    _, facts = backdoored_encoder("tiny", "cifar10", 0, "stl10", settings=ONE_STEP)
    [row] = facts["history"]
    for name in ("loss", "effectiveness", "reference", "utility"):
        assert step[2].losses[name] == pytest.approx(row[name], abs=1e-6), name


def test_its_images_give_its_losses_by_hand(step):
    encoder, task, found = step
    tampered = copy.deepcopy(encoder)

    def unit(images):
        return functional.normalize(tampered(images), dim=1)

    shadow, references = found.shadow / 255, found.references / 255
    with torch.no_grad():
        works = -(unit(task.trigger.stamp(shadow)) @ unit(references).T).mean()
        stays = -(unit(found.augmented) * unit(references)[found.which]).sum(dim=1).mean()
    assert works.item() == pytest.approx(found.losses["effectiveness"], abs=0.02)  # it may be bfloat16's
    assert stays.item() == pytest.approx(found.losses["reference"], abs=0.02)
    assert found.losses["utility"] == pytest.approx(-1, abs=0.02), "nothing has changed yet"
