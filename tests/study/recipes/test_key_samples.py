"""Key samples of a profile, their features through an attack, and which of them the adversary holds."""

import pytest
import torch
from tiny_world import drawn, enrolment, profile, use
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import encode
from sslauth_utils.schemes.keys import choose_keys
from sslauth_utils.study.recipes.keys import KeyFeatures, key_ingredients, key_samples, key_seed, overlapping
from sslauth_utils.study.recipes.records import enrolled_record


@pytest.mark.parametrize(
    ("keys", "name", "per_class", "seed"),
    [("ood", "lines", None, 4), ("id", "dots", None, 4), ("id:2", "dots", 2, 2004)],
)
def test_keys_are_chosen_from_the_set_with_a_seed_of_their_own(shared, keys, name, per_class, seed):
    source = drawn(name, size=16)
    chosen = choose_keys(source.labels, 6, per_class, seed)
    found = key_samples("tiny", "cifar10", 4, keys)
    assert torch.equal(found.images, source.images[chosen]) and torch.equal(found.labels, source.labels[chosen])
    assert (found.name, found.source, found.classes) == (name, f"drawn {name}", ["a", "b", "c"])
    assert key_seed(keys, 4) == seed


def test_they_are_the_record_s(shared):
    record, facts = enrolled_record("tiny", "cifar10", 0)
    found = key_samples("tiny", "cifar10", 0)
    assert torch.equal(found.images, record.keys) and found.labels.tolist() == facts["labels"]


@pytest.mark.parametrize("keys", ["iid", "", "id:x", "ood:-1"])
def test_keys_of_another_kind_are_told(shared, keys):
    with pytest.raises(UserError) as caught:
        key_samples("tiny", "cifar10", 0, keys)
    assert str(caught.value) == f"Key samples are 'ood', 'id' or 'id:N' (N from each class), not {keys!r}."


def test_what_decides_the_keys_and_nothing_else_is_an_ingredient(shared, monkeypatch):
    values, source = key_ingredients("tiny", "cifar10", 0)
    assert source == "lines"
    assert values == {"keys": "ood", "n_keys": 6, "key_data": "lines", "key_seed": 0, "size": 16}
    assert key_ingredients("tiny", "cifar10", 0, settings=enrolment(n_keys=5))[0] == values | {"n_keys": 5}
    assert key_ingredients("tiny", "cifar10", 0, "id:2")[1] == "dots"
    use(monkeypatch, profile(enrolment={"generator_steps": 9, "tau": 0.5, "objectives": ["max"], "generator_size": 8}))
    assert key_ingredients("tiny", "cifar10", 0) == (values, source)


def test_features_of_every_epoch_come_back_in_order(tmp_path):
    keys = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8)
    features, encoder = KeyFeatures(tmp_path), nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    assert features.load() == {}
    expected = {}
    for epoch in (2, 10, 1):
        with torch.no_grad():
            encoder[1].weight += epoch
        features.watch(encoder.train(), keys, epoch)
        expected[epoch] = encode(encoder, keys)
        assert encoder.training
    found = KeyFeatures(tmp_path).load()
    assert list(found) == [1, 2, 10]
    assert all(torch.equal(found[epoch], expected[epoch]) for epoch in found)
    assert found[1].dtype == torch.float32 and found[1].shape == (3, 5)


def test_an_epoch_that_is_trained_again_replaces_its_features(tmp_path):
    keys = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8)
    for encoder in (nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(48, 5))):
        KeyFeatures(tmp_path).watch(encoder, keys, 1)
    assert KeyFeatures(tmp_path).load()[1].shape == (3, 5)


def test_key_samples_among_the_shadow_images_are_counted():
    images = torch.arange(5 * 12, dtype=torch.uint8).view(5, 3, 2, 2)
    keys = torch.stack([images[1], images[4], images[1], images[2] + 1])
    assert overlapping(keys, images) == 3 and overlapping(keys[3:], images) == 0
