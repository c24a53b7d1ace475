"""Downstream tasks of a profile, and the classifier of the untouched encoder."""

import pytest
import torch
from tiny_world import ATTACK, artifacts

from sslauth_utils.base.errors import UserError
from sslauth_utils.study.recipes.backdoors import backdoored_encoder
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.recipes.tasks import clean_task, downstream_task


def test_the_target_decides_set_and_class(shared):
    task = downstream_task("tiny", "cifar10", 0, "svhn")
    assert (task.train.name, task.target, task.trigger.side) == ("digits", 1, 5)
    assert len(task.train) + len(task.adversary) == 30 and len(task.test) == 20, "0 images: all of them"


def test_a_set_with_fewer_images_than_asked_for_is_taken_whole(shared):
    wishes = ATTACK | {"downstream_images": 500, "downstream_test_images": 21}
    task = downstream_task("tiny", "cifar10", 0, "stl10", wishes)
    assert (len(task.train) + len(task.adversary), len(task.test)) == (60, 20)


def test_the_clean_task_is_fitted_once_and_its_facts_are_those_of_the_task(shared):
    classifier, facts = clean_task("tiny", "cifar10", 0, "stl10")
    before = artifacts(shared.folder)
    again, same = clean_task("tiny", "cifar10", 0, "stl10")
    assert artifacts(shared.folder) == before and same == facts and not classifier.training
    pairs = zip(classifier.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    task, (encoder, _) = downstream_task("tiny", "cifar10", 0, "stl10"), pretrained_encoder("tiny", "cifar10", 0)
    assert facts["scores"] == task.score(encoder, classifier) == task.score(encoder, task.fit(encoder))
    assert facts["wanted"] == "c" and facts["chance"] == task.chance
    assert (facts["train"], facts["train_classes"]) == ("objects", 3)


@pytest.mark.parametrize(
    ("changes", "another"),
    [
        ({"classifier_epochs": 1}, True),
        ({"downstream_images": 20}, True),
        ({"references": 1}, True),
        ({"target_classes": [1, 1]}, True),
        ({"target_classes": [2, 0]}, False),
        ({"learning_rate": 0.01}, False),
        ({"shadow_images": 39}, False),
        ({"epochs": 9}, False),
    ],
    ids=["classifier", "images", "references", "class", "other target's class", "rate", "shadow set", "epochs"],
)
def test_only_what_the_classifier_sees_makes_another_task(shared, ingredients, changes, another):
    usual, other = (ingredients(clean_task, "tiny", "cifar10", 0, "stl10", settings).address
                    for settings in (None, ATTACK | changes))  # fmt: skip
    assert (other != usual) == another


@pytest.mark.parametrize("ask", [backdoored_encoder, clean_task, downstream_task])
def test_an_unknown_target_is_told(shared, ask):
    with pytest.raises(UserError) as caught:
        ask("tiny", "cifar10", 0, "mnist")
    assert str(caught.value) == "There is no target 'mnist'; the profile's 06_backdoor has stl10, svhn."


def test_a_class_that_the_set_lacks_is_told(shared):
    with pytest.raises(UserError, match="Target class 9 is outside objects, which has classes 0 to 2"):
        downstream_task("tiny", "cifar10", 0, "stl10", ATTACK | {"target_classes": [9, 1]})
