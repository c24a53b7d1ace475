"""Generators of other seeds: the record's for its own seed, others made once, nothing but the seed changed."""

import pytest
import torch

from sslauth_utils.images import load
from sslauth_utils.schemes.generator import OBJECTIVES, key_targets, train_generator
from sslauth_utils.schemes.similarity import correlations, normalise
from sslauth_utils.study.profiles import ENROL, PRETRAIN, Profile
from sslauth_utils.study.recipes.generators import generators_of_seed
from sslauth_utils.study.recipes.records import enrolled_record

TINY = Profile(
    name="tiny",
    seeds=[0],
    scenarios={"cifar10": {"pretrain_data": "dots", "key_data": "lines"}},
    notebooks={
        PRETRAIN: {
            "pretrain_data": "scenario", "pretrain_images": 32, "test_images": 24, "size": 24, "arch": "resnet18",
            "width": 2, "stem": "cifar", "pixel_stats": "cifar10", "epochs": 1, "batch_size": 16,
            "learning_rate": 0.001, "weight_decay": 1e-6, "temperature": 0.5, "weights_file": "", "schedule": "cosine",
            "device": "cpu",
        },
        ENROL: {
            "key_data": "scenario", "n_keys": 6, "objectives": ["ini", "min"], "tau": 0.995, "generator_size": 16,
            "generator_depth": 2, "generator_steps": 2, "generator_learning_rate": 0.001, "device": "cpu",
        },
    },
)  # fmt: skip


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Artifacts go into the test's own folder; the (objective, seed) of every training, in order."""
    trained = []

    def load_images(name, split="train", size=32, count=None, seed=0):
        draw = torch.Generator().manual_seed(len(name) + (split == "test"))
        count = count or 60
        images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draw)
        return load.Images(images, torch.arange(count) % 3, ["a", "b", "c"], name, f"drawn {name}")

    def watched(features, keys, objective, *settings):
        trained.append((objective, settings[4]))
        return train_generator(features, keys, objective, *settings)

    monkeypatch.setattr(data, "load_images", load_images)
    monkeypatch.setattr(generator_seeds, "train_generator", watched)
    monkeypatch.setattr(artifacts, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(artifacts, "load_profile", lambda name: TINY)
    monkeypatch.delenv("SSLAUTH_DATA", raising=False)
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


def test_targets_of_the_right_size_are_the_pixels():
    keys = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(key_targets(keys, 16), keys.float() / 255)
    assert key_targets(keys, 8).shape == (2, 3, 8, 8)


def test_correlations_are_pearson_s():
    images, keys = torch.rand(3, 3, 4, 4), torch.rand(5, 3, 4, 4)
    found = correlations(images, keys)
    both = torch.cat([images, keys]).double().flatten(1)
    assert torch.allclose(found, torch.corrcoef(both)[:3, 3:])
    negative = correlations(1 - keys, keys).diagonal()
    assert torch.allclose(negative, torch.full((5,), -1.0, dtype=torch.float64))
    assert (correlations(torch.full((1, 3, 4, 4), 0.5), keys) == 0).all()
