"""DeepAuth's key samples: each of the three steps does what the paper says, and nothing to the classifier."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_classifier import some_images, tiny_classifier
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.models.classifiers import labels as labels_of
from sslauth_utils.models.classifiers import logits
from sslauth_utils.models.penultimate import last_layer, lead, margin, penultimate
from sslauth_utils.schemes import deepauth_keys
from sslauth_utils.schemes.deepauth_keys import KeySettings, collected, cross_boundary, leverage, make_keys, squeeze

SETTINGS = KeySettings(step=0.01, steps=120, rule="upper half")


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


@pytest.fixture(scope="module")
def seeds(classifier):
    images = some_images(60, 1)
    return images, labels_of(classifier, images)


@pytest.fixture(scope="module")
def keys(classifier, seeds):
    return make_keys(classifier, *seeds, some_images(40, 2), SETTINGS)


# --- logits -----------------------------------------------------------------------------------------------------------


def test_the_features_before_the_last_layer_give_its_logits(classifier):
    images = some_images(7)
    features = penultimate(classifier, images)
    assert features.shape == (7, 16)
    torch.testing.assert_close(classifier[-1](features), logits(classifier, images).float())
    assert last_layer(classifier, images) == "6"
    assert not any(module._forward_pre_hooks for module in classifier.modules()), "hooks were left"


def test_lead_and_margin_against_a_loop():
    scores = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    wanted, other = torch.arange(20) % 4, (torch.arange(20) + 1) % 4
    for row, (one, two) in enumerate(zip(wanted.tolist(), other.tolist(), strict=True)):
        numbers = scores[row].tolist()
        assert margin(scores, wanted, other)[row].item() == pytest.approx(numbers[one] - numbers[two], abs=1e-6)
        rest = max(number for place, number in enumerate(numbers) if place != one)
        assert lead(scores, wanted)[row].item() == pytest.approx(numbers[one] - rest, abs=1e-6)


def test_probabilities_are_no_logits(classifier, seeds):
    with pytest.raises(UserError, match="gives probabilities"):
        make_keys(nn.Sequential(classifier, nn.Softmax(dim=1)), *seeds, some_images(20, 2), SETTINGS)


def test_without_a_linear_layer_there_are_no_features_before_it():
    model = nn.Sequential(nn.Conv2d(3, 2, 4), nn.Flatten())
    for ask in (penultimate, last_layer):
        with pytest.raises(UserError, match="no linear layer"):
            ask(model, some_images(3))


# --- the walk ---------------------------------------------------------------------------------------------------------


def test_the_walk_ends_where_the_class_changes_with_a_neighbour_on_each_side(classifier, seeds):
    images, truth = seeds
    walk = cross_boundary(classifier, images, truth, SETTINGS)
    out = walk.crossed > 0
    assert out.sum() > 50
    assert (labels_of(classifier, walk.before)[out] == truth[out]).all()
    assert (labels_of(classifier, walk.at)[out] == walk.adversarial[out]).all()
    assert (walk.adversarial[out] != truth[out]).all() and (walk.adversarial[~out] == truth[~out]).all()
    for one, other in ((walk.before, walk.at), (walk.at, walk.after)):
        assert (one - other).abs().max() <= 0.01 + 1e-6
    moved = (walk.at - images).abs().flatten(1).amax(dim=1)
    assert (moved <= 0.01 * walk.crossed + 1e-5).all(), "t steps lead no farther than t steps"
    assert walk.at.min() >= 0 and walk.at.max() <= 1
    torch.testing.assert_close(walk.distance, (walk.at - images).flatten(1).norm(dim=1))


def test_a_saturated_softmax_does_not_stop_the_walk(classifier):
    """With logits of thousands p is 1 in float32, and the cross entropy has no gradient."""
    sharp = nn.Sequential(classifier, _Times(1000.0))
    images = some_images(20, 3)
    truth = labels_of(sharp, images)
    found = cross_boundary(sharp, images, truth, SETTINGS)
    same = cross_boundary(classifier, images, truth, SETTINGS)
    assert (found.crossed > 0).sum() >= 0.9 * (same.crossed > 0).sum()


class _Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, scores):
        return self.factor * scores


def test_collecting_begins_after_ninety_per_cent(keys):
    walk = keys.take(torch.zeros(20, dtype=torch.int64))
    crossed = torch.tensor([5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 7])  # 16 at 1, 2 at 3, 5, 7
    walk = deepauth_keys.replace(walk, crossed=crossed)
    settings = KeySettings()
    assert collected(walk, 20, settings).nonzero().flatten().tolist() == [0, 19], "18 of 20 before the step 5"
    assert collected(walk, 21, settings).nonzero().flatten().tolist() == [19], "one never crossed: 18 are too few"


def test_the_other_rule_takes_the_upper_half_by_distance_and_leverage(keys):
    walk = deepauth_keys.replace(
        keys.take(torch.zeros(4, dtype=torch.int64)),
        distance=torch.tensor([1.0, 2.0, 3.0, 4.0]), leverage=torch.tensor([0.3, 0.1, 0.2, 0.4]),
    )  # fmt: skip
    assert collected(walk, 4, SETTINGS).tolist() == [False, False, True, True]


# --- leverage ---------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 20), mu=st.sampled_from([1e-3, 1.0, 10.0]), width=st.integers(1, 5))
def test_leverage_is_equation_2(seed, mu, width):
    draw = np.random.default_rng(seed)
    data, features = draw.normal(size=(7, width)), draw.normal(size=(4, width))
    matrix = mu * np.eye(width)
    for row in data:
        matrix = matrix + np.outer(row, row)
    wanted = [np.sqrt(row @ np.linalg.inv(matrix) @ row) for row in features]
    found = leverage(torch.from_numpy(features), torch.from_numpy(data), mu)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5)


def test_what_the_matrix_has_seen_has_a_leverage_below_one():
    data = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    assert leverage(data, data, 1e-3).max() < 1
    assert leverage(100 * data, data, 1e-3).min() > 1, "and the far more"


# --- up to the boundary -----------------------------------------------------------------------------------------------


def test_every_key_is_next_to_the_boundary_on_the_adversarial_side(classifier, keys):
    scores = logits(classifier, keys.at)
    gap = margin(scores, keys.adversarial, keys.truth)
    assert len(keys) > 10 and (gap >= 0).all() and (gap < 0.0005).all()
    assert (scores.argmax(dim=1) == keys.adversarial).all()
    assert (labels_of(classifier, keys.before) == keys.truth).all()
    assert (labels_of(classifier, keys.after) == keys.adversarial).all()
    assert keys.at.min() >= 0 and keys.at.max() <= 1 and keys.at.dtype == torch.float32


def test_the_step_of_two_cross_entropies_is_that_of_the_margin(classifier):
    images = some_images(3, 5).requires_grad_()
    scores = classifier(images)
    one, two = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3])
    loss = nn.functional.cross_entropy(scores, one, reduction="sum")
    loss = loss - nn.functional.cross_entropy(scores, two, reduction="sum")
    [theirs] = torch.autograd.grad(loss, images, retain_graph=True)
    [ours] = torch.autograd.grad(-margin(scores, one, two).sum(), images)
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-4)


def test_an_overshoot_is_not_made(classifier, keys):
    """From a point just on the adversarial side, one step as wide as the image would cross."""
    wide = squeeze(classifier, keys, KeySettings(step=1.0, squeeze_steps=1, boundary=1e-9))
    assert torch.equal(wide.at, keys.at)


# --- all together -----------------------------------------------------------------------------------------------------


def test_the_counts_say_where_candidates_were_lost(keys):
    numbers = list(keys.counts.values())
    assert list(keys.counts) == ["seeds", "classified rightly", "crossed", "collected", "kept by leverage",
                                 "at the boundary"]  # fmt: skip
    assert numbers == sorted(numbers, reverse=True) and numbers[-1] == len(keys)


def test_of_the_late_ones_the_most_leveraged_are_kept(classifier, seeds):
    settings = KeySettings(rule="after 90 %", leverage_share=0.5, steps=120)
    found = make_keys(classifier, *seeds, some_images(40, 2), settings)
    assert found.counts["collected"] <= 0.1 * 60
    assert found.counts["kept by leverage"] == max(1, round(found.counts["collected"] / 2))


def test_the_same_again_is_the_same(classifier, seeds, keys):
    again = make_keys(classifier, *seeds, some_images(40, 2), SETTINGS)
    assert all(torch.equal(tensor, keys.tensors()[name]) for name, tensor in again.tensors().items())


def test_the_classifier_is_as_before(seeds):
    model = tiny_classifier().train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model[4].weight.grad = torch.ones_like(model[4].weight)
    modes, weights = [module.training for module in model.modules()], sha256_tensors(model.state_dict())
    with torch.inference_mode():
        make_keys(model, *seeds, some_images(40, 2), KeySettings(rule="upper half", steps=60))
    assert [module.training for module in model.modules()] == modes
    assert sha256_tensors(model.state_dict()) == weights
    assert not model[0].weight.requires_grad and model[4].weight.requires_grad
    assert (model[4].weight.grad == 1).all() and model[6].weight.grad is None
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"truth": torch.zeros(3, dtype=torch.int64)}, "True classes of seeds must be one label an image"),
        ({"truth": torch.full((60,), 9)}, "True classes of seeds from 9 to 9 do not fit"),
        ({"truth": torch.zeros(60)}, "True classes of seeds must be one label an image, whole numbers"),
        ({"seeds": some_images(60) * 255}, "must lie in"),
        ({"seeds": some_images(60)[:, :1]}, "must have shape"),
        ({"settings": KeySettings(steps=1, step=1e-4)}, "boundary is not reached"),
        ({"settings": KeySettings(rule="upper half", squeeze_steps=1, step=0.2, boundary=1e-12)}, "Not one key"),
    ],
    ids=["count", "class", "floats", "range", "grey", "far", "none left"],
)
def test_bad_input_is_one_sentence(classifier, seeds, change, sentence):
    given = {"seeds": seeds[0], "truth": seeds[1], "settings": SETTINGS} | change
    with pytest.raises(UserError, match=sentence):
        make_keys(classifier, given["seeds"], given["truth"], some_images(20, 2), given["settings"])


def test_a_classifier_that_is_always_wrong_has_no_keys(classifier, seeds):
    with pytest.raises(UserError, match="all 60 seeds wrong"):
        make_keys(classifier, seeds[0], (seeds[1] + 1) % 5, some_images(20, 2), SETTINGS)


@pytest.mark.parametrize("value", [{"step": 0}, {"step": 2}, {"steps": 0}, {"rule": "all"}, {"leverage_share": 0},
                                   {"mu": 0}, {"boundary": 0}, {"squeeze_steps": 0}, {"batch_size": 0}])  # fmt: skip
def test_settings_out_of_range_are_refused(value):
    with pytest.raises(UserError):
        KeySettings(**value)
