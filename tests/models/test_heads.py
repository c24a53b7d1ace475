"""BadEncoder's classifier: its layers, its training against a plain loader loop, bad input."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.heads import ClassifierSettings, build_classifier, chance, predict, train_classifier

QUICK = ClassifierSettings(epochs=3, batch_size=16, learning_rate=1e-3)


@pytest.fixture(scope="module")
def directions():
    """90 features of three classes: a class is a direction, lengths differ a hundredfold."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    features = torch.eye(3, 8)[labels] + 0.3 * torch.randn(90, 8, generator=draw)
    return features * torch.logspace(-1, 1, 90)[:, None], labels


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_layers_are_the_released_codes():
    shapes = [tuple(p.shape) for p in build_classifier(128, 43).parameters()]
    assert shapes == [(512, 128), (512,), (256, 512), (256,), (43, 256), (43,)]
    kinds = [type(layer) for layer in build_classifier(128, 43)]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Linear]
    assert build_classifier(2, 2)[2].p == 0.5


def test_defaults_are_the_released_codes():
    settings = ClassifierSettings()
    assert (settings.epochs, settings.batch_size, settings.learning_rate) == (500, 64, 1e-4)


def test_it_learns_directions_and_ignores_lengths(directions):
    features, labels = directions
    classifier = train_classifier(features, labels, 3, ClassifierSettings(30, 16, 1e-3))
    assert not classifier.training
    assert (predict(classifier, features) == labels).double().mean() > 0.95
    assert torch.equal(predict(classifier, 1000 * features), predict(classifier, features))
    assert predict(classifier, features).dtype == torch.int64


def test_training_equals_a_loader_loop_of_the_same_mathematics(directions):
    features, labels = directions
    settings = ClassifierSettings(epochs=4, batch_size=16, learning_rate=1e-3, seed=7)
    ours = train_classifier(features, labels, 3, settings)
    torch.manual_seed(7)
    plain = nn.Sequential(nn.Linear(8, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 256), nn.ReLU(),
                          nn.Linear(256, 3))  # fmt: skip
    order = torch.randperm(90)
    unit = torch.stack([f / f.norm() for f in features])
    adam = torch.optim.Adam(plain.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(unit[order], labels[order]), batch_size=16, shuffle=False)
    generator_state = torch.get_rng_state()
    for _ in range(4):
        for batch, truth in loader:  # the last one has ten
            torch.set_rng_state(generator_state)  # a loader draws a seed at its start; dropout should not notice
            adam.zero_grad()
            F.cross_entropy(plain(batch), truth).backward()
            adam.step()
            generator_state = torch.get_rng_state()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_seed_decides_everything_and_global_randomness_is_left_alone(directions):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = train_classifier(*directions, 3, QUICK)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert same(first, train_classifier(*directions, 3, QUICK))
    assert not same(first, train_classifier(*directions, 3, ClassifierSettings(3, 16, 1e-3, seed=1)))


def test_features_are_left_alone_and_may_come_from_inference(directions):
    features, labels = directions
    with torch.inference_mode():
        inferred = features.clone()
    before = features.clone()
    assert same(train_classifier(inferred, labels, 3, QUICK), train_classifier(features, labels, 3, QUICK))
    assert torch.equal(features, before)


def test_a_class_without_images_is_a_class(directions):
    assert train_classifier(*directions, 5, QUICK)[-1].out_features == 5


def test_prediction_is_the_largest_score_by_hand():
    classifier = nn.Sequential(nn.Linear(2, 3, bias=False))
    classifier[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.8]])
    assert predict(classifier, torch.tensor([[9.0, 0.1], [1.0, 1.0], [-1.0, 0.1], [0.0, 0.0]])).tolist() == [0, 2, 1, 0]


def test_chance_is_the_commonest_class():
    assert chance(torch.tensor([0, 0, 2, 5])) == 0.5
    with pytest.raises(UserError, match="no labels"):
        chance(torch.tensor([], dtype=torch.int64))


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        *(("epochs", value, "a whole number from 1 on") for value in (0, 1.0, True, "500")),
        ("batch_size", 0, "a whole number from 1 on"),
        *(("learning_rate", value, "a number above 0") for value in (0, -1, math.nan, math.inf, "1e-4", True)),
    ],
)
def test_a_setting_out_of_range_is_told(name, value, wanted):
    with pytest.raises(UserError) as caught:
        ClassifierSettings(**{name: value})
    assert str(caught.value) == f"A classifier's {name} must be {wanted}, not {value!r}."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y + 1), "Labels from 1 to 3 do not fit 3 classes."),
        (lambda x, y: (x, y - 1), "Labels from -1 to 1 do not fit 3 classes."),
        (lambda x, y: (x, y[:9]), "Labels must be one label an image, whole numbers of shape (90,), not int64 (9,)."),
        (lambda x, y: (x[:, 0], y), "A classifier needs features (N, D), N at least 1, not (90,)."),
        (lambda x, y: (x[:0], y[:0]), "A classifier needs features (N, D), N at least 1, not (0, 8)."),
        (lambda x, y: (x * math.nan, y), "The classifier's loss is not finite; lower its rate (0.001)."),
    ],
)
def test_features_and_labels_that_do_not_fit_are_told(directions, change, message):
    with pytest.raises(UserError) as caught:
        train_classifier(*change(*directions), 3, QUICK)
    assert str(caught.value) == message


def test_a_head_predicts_without_its_dropout_and_keeps_its_mode(directions):
    features, labels = directions
    head = train_classifier(features, labels, 3, QUICK).train()
    assert torch.equal(predict(head, features), predict(head, features)) and head.training


@pytest.mark.parametrize(
    "around",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu")],
    ids=["no_grad", "inference", "autocast"],
)
def test_a_head_is_the_same_whatever_the_caller_has_switched_on(directions, around):
    features, labels = directions
    wanted = train_classifier(features, labels, 3, QUICK)
    with around():
        found = train_classifier(features.clone(), labels.tolist(), 3, QUICK)
    assert same(found, wanted)
    assert same(train_classifier(features.clone().requires_grad_(), labels.int(), 3, QUICK), wanted)
