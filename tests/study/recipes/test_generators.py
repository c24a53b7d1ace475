"""Generators of other seeds: the record's for its own seed, others made once, nothing but the seed changed."""

import pytest
import torch

from sslauth_utils.models.features import normalise
from sslauth_utils.schemes.generator import OBJECTIVES, key_targets, train_generator
from sslauth_utils.study.recipes import generators
from sslauth_utils.study.recipes.generators import generators_of_seed
from sslauth_utils.study.recipes.records import enrolled_record


@pytest.fixture
def trained(shared, monkeypatch, tmp_path):
    """The (objective, seed) of every training in this test, in order; none is found from another test."""
    trained = []

    def watched(features, keys, objective, *settings):
        trained.append((objective, settings[4]))
        return train_generator(features, keys, objective, *settings)

    find_or_make = generators.find_or_make
    monkeypatch.setattr(generators, "train_generator", watched)
    monkeypatch.setattr(
        generators, "find_or_make", lambda profile, kind, *more: find_or_make(f"{profile} {tmp_path.name}", kind, *more)
    )
    return trained


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_record_s_own_seed_gives_its_own_generators(trained):
    record, _ = enrolled_record("tiny", "cifar10", 0)
    own = generators_of_seed("tiny", "cifar10", 0, 0)
    assert list(own) == list(OBJECTIVES) and trained == [("max", 0)], "the record has no G_max"
    assert same(own["min"], record.generators["min"]) and same(own["ini"], record.generators["ini"])


def test_other_seeds_are_trained_once_and_then_found(trained):
    made = generators_of_seed("tiny", "cifar10", 0, 3)
    assert trained == [("max", 3), ("min", 3)]
    again = generators_of_seed("tiny", "cifar10", 0, 3)
    assert len(trained) == 2 and all(same(made[name], again[name]) for name in OBJECTIVES)
    assert {generator.config["seed"] for generator in made.values()} == {3}
    assert not same(made["min"], generators_of_seed("tiny", "cifar10", 0, 4, ["min"])["min"])
    assert not any(generator.training for generator in again.values())


def test_it_is_the_training_of_the_record_with_another_seed(trained):
    record, _ = enrolled_record("tiny", "cifar10", 0)
    targets = key_targets(record.keys, 16)
    wanted, _ = train_generator(normalise(record.features), targets, "min", 2, 16, 2, 0.001, 5, "cpu")
    assert same(generators_of_seed("tiny", "cifar10", 0, 5, ["min"])["min"], wanted)
    repeated, _ = train_generator(normalise(record.features), targets, "min", 2, 16, 2, 0.001, 0, "cpu")
    assert same(repeated, record.generators["min"]), "key_targets resizes as enrol does"
