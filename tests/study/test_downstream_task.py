"""A downstream task by hand: what counts as attack success, which images are references, what is refused."""

import pytest
import torch
from torch import nn

from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.errors import UserError
from sslauth_utils.images.load import Images
from sslauth_utils.models.features import encode
from sslauth_utils.models.heads import ClassifierSettings, predict
from sslauth_utils.study.downstream_task import DownstreamTask, collapsed, split_off

CLASSES = ["a", "b", "c"]
TRIGGER = Trigger(1, 0)  # the last pixel


class Pixels(nn.Module):
    """A stub encoder: the first pixel's colour, and whether the last pixel is white."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4))

    def forward(self, x):
        return torch.cat([x[:, :, 0, 0], (x[:, :1, -1, -1] == 1).float()], dim=1) @ self.weight


class Stub(nn.Module):
    """A stub classifier: the strongest colour, but `fooled_into` where the trigger outweighs it."""

    def __init__(self, fooled_into):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.fooled_into = fooled_into

    def forward(self, features):
        scores = features[:, :3].clone()
        scores[features[:, 3] > features[:, :3].amax(dim=1), self.fooled_into] = 9
        return scores


def images(colours, labels, name="toy"):
    """4 x 4 images, dark but for the first pixel's colour."""
    pixels = torch.zeros(len(colours), 3, 4, 4, dtype=torch.uint8)
    pixels[:, :, 0, 0] = torch.tensor(colours, dtype=torch.uint8)
    return Images(pixels, torch.tensor(labels), CLASSES, name, "drawn")


# The trigger has strength 255 in the feature, so an image of full strength resists it.
TEST = images(
    [[200, 0, 0], [255, 0, 0], [0, 200, 0], [0, 255, 0], [0, 0, 255], [0, 0, 200], [200, 0, 0], [0, 200, 0]],
    [0, 0, 1, 1, 2, 2, 2, 0],
)
TRAIN = images(
    [[200, 0, 0], [200, 10, 0], [0, 200, 10], [10, 200, 0], [90, 0, 100], [0, 0, 100], [0, 80, 100], [10, 0, 200]],
    [0, 0, 1, 1, 2, 2, 2, 2],
)


def task(target=2, train=TRAIN, test=TEST, trigger=TRIGGER, settings=None):
    return DownstreamTask(train, test, train, target, trigger, settings or ClassifierSettings(60, 4, 3e-3))


def test_success_is_counted_on_all_images_and_on_those_of_other_classes():
    score = task(target=2).score(Pixels(), Stub(fooled_into=2))
    # clean: six of eight right (the last two are mislabelled)
    assert score["accuracy"] == 6 / 8 and score["n_test"] == 8
    # triggered: images 0, 2, 6, 7 are fooled; 4 and 5 are of the target class anyway, 1 and 3 resist
    assert score["attack_success"] == 6 / 8
    # of other classes by label: 0, 1, 2, 3, 7; of these 0, 2, 7 are fooled
    assert score["n_others"] == 5 and score["attack_success_others"] == 3 / 5


def test_the_same_trigger_says_nothing_about_another_target():
    score = task(target=1).score(Pixels(), Stub(fooled_into=2))
    assert score["attack_success"] == 1 / 8, "image 3, which resists, is the only one still called b"
    assert score["attack_success_others"] == 0 and score["n_others"] == 6
    assert score["accuracy"] == 6 / 8


def test_chance_is_the_commonest_class_of_the_test_images():
    assert task().chance == 3 / 8


class Forgetful(Pixels):
    """Counts its images in a buffer, as a batch norm left in train mode does."""

    def __init__(self, calls):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.calls = calls

    def forward(self, x):
        self.calls.append(len(x))
        if len(self.calls) == 2:  # only at the triggered images
            self.seen += 1
        return super().forward(x)


def test_an_encoder_that_changes_while_it_is_scored_is_caught():
    with pytest.raises(AssertionError, match="the encoder changed while its features were taken"):
        task().score(Forgetful([]), Stub(2))


def test_scoring_does_not_move_batch_norm_of_an_encoder_left_in_train_mode():
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    task().score(encoder, nn.Sequential(nn.Linear(4, 3)))
    assert encoder.training and all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_references_are_the_most_typical_images_of_the_target_class():
    found = task(target=2).references(Pixels(), 2)
    assert found.dtype == torch.uint8 and found.shape == (2, 3, 4, 4)
    # pure blue first, then the nearly pure; the purple and the turquoise one lie towards other classes
    assert torch.equal(found, TRAIN.images[[5, 7]])
    every = task(target=2).references(Pixels(), 4)
    assert sorted(every[:, :, 0, 0].tolist()) == sorted(TRAIN.images[4:, :, 0, 0].tolist())
    assert torch.equal(task(target=0).references(Pixels(), 1)[0], TRAIN.images[0])


def test_references_of_a_set_with_one_class_are_its_images():
    alone = images([[0, 0, 90], [0, 9, 90]], [2, 2])
    assert task(train=alone).references(Pixels(), 2).shape == (2, 3, 4, 4)


@pytest.mark.parametrize(("count", "target", "there"), [(5, 2, 4), (0, 2, 4), (3, 0, 2)])
def test_more_references_than_images_are_told(count, target, there):
    with pytest.raises(UserError) as caught:
        task(target).references(Pixels(), count)
    assert str(caught.value) == (
        f"{count} references asked for, but the adversary has {there} images of class {target} of toy."
    )


def test_the_victim_and_the_adversary_share_no_image_and_lose_none():
    labels = [0] * 40 + [1] * 9 + [2]
    everything = images([[i, 0, 0] for i in range(50)], labels)
    for seed in (0, 1):
        victim, adversary = split_off(everything, 2, seed)
        halves = [part.images[:, 0, 0, 0].tolist() for part in (victim, adversary)]
        assert sorted(halves[0] + halves[1]) == list(range(50)) and not set(halves[0]) & set(halves[1])
        for part in (victim, adversary):
            assert [labels[i] for i in part.images[:, 0, 0, 0].tolist()] == part.labels.tolist()
        # a tenth, at least the two asked for, and never the victim's last
        assert torch.bincount(adversary.labels, minlength=3).tolist() == [4, 2, 0]
    assert not torch.equal(split_off(everything, 2, 0)[1].images, adversary.images), "the seed draws"


def test_references_are_the_adversary_own_images():
    own = images([[0, 0, 60], [0, 9, 60], [60, 0, 0]], [2, 2, 0])
    made = DownstreamTask(TRAIN, TEST, own, 2, TRIGGER, ClassifierSettings(1, 4))
    assert torch.equal(made.references(Pixels(), 1)[0], own.images[0])


@pytest.mark.parametrize("target", [-1, 3, 12])
def test_a_target_outside_the_set_is_told(target):
    with pytest.raises(UserError) as caught:
        task(target)
    assert str(caught.value) == f"Target class {target} is outside toy, which has classes 0 to 2."


def test_a_trigger_that_does_not_fit_the_test_images_is_told():
    with pytest.raises(UserError, match="does not fit images of 4 x 4"):
        task(trigger=Trigger(4, 1)).score(Pixels(), Stub(2))


def test_the_users_classifier_is_trained_on_the_training_images_and_all_classes():
    found = task().fit(Pixels())
    assert found[0].in_features == 4 and found[-1].out_features == 3
    assert torch.equal(predict(found, encode(Pixels(), TRAIN.images)), TRAIN.labels)
    again = task().fit(Pixels())
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("attacked", "clean", "gone"),
    [(0.54, 0.9, True), (0.56, 0.9, False), (0.9, 0.9, False), (0.1, 0.9, True), (0.95, 0.9, False),
     (0.21, 0.29, True), (0.2, 0.27, False), (0.0, 0.15, False)],
)  # fmt: skip
def test_an_encoder_counts_as_destroyed_below_half_of_what_it_had_above_chance(attacked, clean, gone):
    """With a chance of 0.2 and 100 images: two standard errors are 0.08, less above chance is nothing to destroy."""
    assert collapsed(attacked, clean, 0.2, 100) is gone
