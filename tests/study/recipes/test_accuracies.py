"""Accuracies of a pre-trained encoder: an artifact of their own, so judging it otherwise trains nothing again."""

import pytest
from tiny_world import artifacts, drawn, kinds, pretraining, profile, use

from sslauth_utils.models import simclr
from sslauth_utils.models.features import encode
from sslauth_utils.models.heads import chance
from sslauth_utils.models.probes import knn_accuracy, linear_accuracy
from sslauth_utils.study import store
from sslauth_utils.study.recipes.accuracies import encoder_accuracies
from sslauth_utils.study.recipes.encoders import pretrained_encoder, untrained_encoder


def test_accuracies_are_those_of_the_probes_on_the_encoder_s_features(shared):
    facts = encoder_accuracies("tiny", "cifar10", 0)
    encoder, _ = pretrained_encoder("tiny", "cifar10", 0)
    train, test = drawn("dots", "train", 16, 48), drawn("dots", "test", 16, 24)
    known, unknown = (encode(encoder, images.images) for images in (train, test))
    assert facts["knn_accuracy"] == knn_accuracy(known, train.labels, unknown, test.labels)
    assert facts["linear_accuracy"] == linear_accuracy(known, train.labels, unknown, test.labels)
    untrained = untrained_encoder(pretraining(), "cifar10", 0).eval()
    before = [encode(untrained, images.images) for images in (train, test)]
    assert facts["random_knn_accuracy"] == knn_accuracy(before[0], train.labels, before[1], test.labels)
    assert facts["chance"] == chance(test.labels) == pytest.approx(1 / 3)
    assert (facts["classes"], facts["test"]) == (3, 24)
    assert set(facts) == {"knn_accuracy", "linear_accuracy", "random_knn_accuracy", "chance", "classes", "test"}


def test_they_are_measured_once_and_then_found(results):
    facts = encoder_accuracies("tiny", "cifar10", 0)
    assert sorted(set(results.asked)) == [("dots", "test"), ("dots", "train")]
    done = len(results.asked)
    assert encoder_accuracies("tiny", "cifar10", 0) == facts and len(results.asked) == done
    assert kinds(results.folder) == ["accuracies-cifar10-s0", "encoder-cifar10-s0"]


def test_the_parameters_of_the_notebook_find_the_profile_s_own(shared):
    facts = encoder_accuracies("tiny", "cifar10", 0)
    before = artifacts(shared.folder)
    assert encoder_accuracies("tiny", "cifar10", 0, pretraining()) == facts
    assert artifacts(shared.folder) == before


def test_other_test_images_judge_the_same_encoder(results, monkeypatch):
    encoder_accuracies("tiny", "cifar10", 0)
    [before] = [name for name in artifacts(results.folder) if name.startswith("encoder")]
    monkeypatch.setattr(simclr, "training_step", None)  # so nothing can be trained
    use(monkeypatch, profile(pretraining={"test_images": 12}))
    assert encoder_accuracies("tiny", "cifar10", 0)["test"] == 12
    assert kinds(results.folder) == ["accuracies-cifar10-s0", "accuracies-cifar10-s0", "encoder-cifar10-s0"]
    assert before in artifacts(results.folder)


def test_other_probes_judge_the_same_encoder(results, monkeypatch):
    encoder_accuracies("tiny", "cifar10", 0)
    meanings = store.meanings

    def edited(modules):
        return {path: "edited" if "probes" in path else found for path, found in meanings(modules).items()}

    monkeypatch.setattr(store, "meanings", edited)
    monkeypatch.setattr(simclr, "training_step", None)  # so nothing can be trained
    encoder_accuracies("tiny", "cifar10", 0)
    assert kinds(results.folder) == ["accuracies-cifar10-s0", "accuracies-cifar10-s0", "encoder-cifar10-s0"]


def test_another_encoder_is_judged_anew(shared, ingredients):
    usual = ingredients(encoder_accuracies, "tiny", "cifar10", 0)
    assert usual.values == {"01_pretrain_encoders": {"test_images": 24}} and usual.data == ["dots"]
    for arguments in (("imagenet", 0), ("cifar10", 1), ("cifar10", 0, pretraining(epochs=1))):
        assert ingredients(encoder_accuracies, "tiny", *arguments).address != usual.address
