"""One training of G_min, stopped at several steps: each is what a training of that length gives."""

import torch

from sslauth_utils.models.features import normalise
from sslauth_utils.schemes.generator import Generator, key_targets, train_generator
from sslauth_utils.study.recipes import generator_training
from sslauth_utils.study.recipes.generator_training import generators_by_steps
from sslauth_utils.study.recipes.records import enrolled_record


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_every_stop_is_the_generator_of_a_training_of_that_length(shared):
    record, _ = enrolled_record("tiny", "cifar10", 0)
    found = generators_by_steps("tiny", "cifar10", 0, 3, [3, 0, 1], 0.01)
    assert sorted(found) == [0, 1, 3] and not any(generator.training for generator in found.values())
    assert same(found[0], Generator(record.features.shape[1], 16, 3, 0))
    for steps in (1, 3):
        targets = key_targets(record.keys, 16)
        wanted, _ = train_generator(normalise(record.features), targets, "min", steps, 16, 3, 0.01, 0, "cpu")
        assert same(found[steps], wanted)


def test_the_record_s_own_settings_give_the_record_s_generator(shared):
    record, _ = enrolled_record("tiny", "cifar10", 0)
    assert same(generators_by_steps("tiny", "cifar10", 0, 2, [2], 0.001)[2], record.generators["min"])


def test_it_is_trained_once_and_the_untrained_one_never(shared, monkeypatch):
    generators_by_steps("tiny", "cifar10", 0, 2, [1, 2], 0.002)
    monkeypatch.setattr(generator_training, "train_generator", None)
    assert sorted(generators_by_steps("tiny", "cifar10", 0, 2, [2, 1], 0.002)) == [1, 2]
    assert list(generators_by_steps("tiny", "cifar10", 0, 7, [0], 0.002)) == [0]
