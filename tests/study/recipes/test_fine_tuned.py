"""Fine-tuned encoders in their three readings: tuned once, then found; what each depends on; what the facts say."""

import pytest
import torch
from tiny_world import TUNING, artifacts, drawn, profile, use

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import encode
from sslauth_utils.schemes.similarity import cosine
from sslauth_utils.study import store
from sslauth_utils.study.recipes import fine_tuned
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.recipes.fine_tuned import METHODS, fine_tuned_encoder, tuning_images
from sslauth_utils.study.recipes.keys import KeyFeatures
from sslauth_utils.study.recipes.records import enrolled_record


@pytest.mark.parametrize("method", METHODS)
def test_a_tuned_encoder_is_made_once_and_then_found(shared, method):
    encoder, facts = fine_tuned_encoder("tiny", "cifar10", 0, method)
    done = len(shared.attacked)
    again, same = fine_tuned_encoder("tiny", "cifar10", 0, method)
    features, same_features = facts.pop("key_features"), same.pop("key_features")
    assert len(shared.attacked) == done and again.sha256() == encoder.sha256() and same == facts
    assert facts["method"] == method and facts["learning_rate"] == (0 if method == "batch norm" else 0.001)
    assert [row["epoch"] for row in facts["history"]] == list(features) == list(same_features) == [1, 2]
    record, _ = enrolled_record("tiny", "cifar10", 0)
    found = encode(encoder, record.challenge())
    assert torch.allclose(features[2], found, rtol=1e-5, atol=1e-6) and torch.equal(features[2], same_features[2])
    assert cosine(record.features, features[1]).mean() < 1
    clean, _ = pretrained_encoder("tiny", "cifar10", 0)
    same_weights = all(torch.equal(a, b) for a, b in zip(clean.parameters(), encoder.parameters(), strict=True))
    assert same_weights == (method == "batch norm") and encoder.sha256() != clean.sha256()
    assert facts["scores"]["n_test"] == 12 and 0 <= facts["scores"]["tuned"] <= 1
    assert not list(shared.folder.rglob("checkpoint*"))


def test_the_images_are_those_of_notebook_04(shared):
    images, wanted = tuning_images("tiny", "cifar10", 0), drawn("digits", size=16, count=32)
    assert torch.equal(images.images, wanted.images) and torch.equal(images.labels, wanted.labels)
    assert len(tuning_images("tiny", "cifar10", 0, TUNING | {"tune_images": 0})) == 60, "0: all of them"


def test_simclr_goes_on_with_as_many_of_the_encoders_own_images(shared, monkeypatch):
    seen = []

    def refused(_encoder, images, *_arguments):
        seen.append(images)
        raise KeyError

    monkeypatch.setattr(fine_tuned, "continue_simclr", refused)
    monkeypatch.setattr(fine_tuned, "find_or_make", lambda profile, kind, ingredients, make: make(shared.folder))
    with pytest.raises(KeyError):
        fine_tuned_encoder("tiny", "cifar10", 0, "simclr")
    assert torch.equal(seen[0], drawn("dots", size=16, count=48).images[:32])


# --- what it depends on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "one", "other", "another"),
    [
        ("supervised", {"learning_rate": 0.001}, {"learning_rate": None}, False),
        ("supervised", {"learning_rate": 0.001}, {"learning_rate": 0.01}, True),
        ("supervised", {}, {"settings": TUNING | {"learning_rates": [0.001, 0.5]}}, False),
        ("supervised", {}, {"settings": TUNING | {"epochs": 3}}, True),
        ("batch norm", {"learning_rate": 0.001}, {"learning_rate": 0.01}, False),
    ],
    ids=["first rate", "other rate", "other rates to come", "epochs", "batch norm has no rate"],
)
def test_other_settings_make_another_tuned_encoder(shared, ingredients, method, one, other, another):
    first, second = (ingredients(fine_tuned_encoder, "tiny", "cifar10", 0, method, **settings).address
                     for settings in (one, other))  # fmt: skip
    assert (first != second) == another


@pytest.mark.parametrize("method", METHODS)
def test_the_adversary_s_shadow_set_is_no_part_of_it(shared, ingredients, monkeypatch, method):
    """Not even of more SimCLR, which goes on with the encoder's own images."""
    addresses = []
    for attack in ({}, {"shadow_images": 20}):
        use(monkeypatch, profile(attack=attack))
        addresses.append(ingredients(fine_tuned_encoder, "tiny", "cifar10", 0, method).address)
    assert addresses[0] == addresses[1]


@pytest.mark.parametrize("method", METHODS)
def test_other_generators_make_another_record_and_no_attack(shared, monkeypatch, method):
    enrolled_record("tiny", "cifar10", 0)
    first, _ = fine_tuned_encoder("tiny", "cifar10", 0, method)
    done, before = len(shared.attacked), artifacts(shared.folder)
    use(monkeypatch, profile(enrolment={"generator_steps": 4 + METHODS.index(method)}))
    enrolled_record("tiny", "cifar10", 0)
    again, _ = fine_tuned_encoder("tiny", "cifar10", 0, method)
    assert len(shared.attacked) == done and again.sha256() == first.sha256()
    [made] = set(artifacts(shared.folder)) - set(before)
    assert made.startswith("record-ood-cifar10-s0-")


# --- interrupted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "run"),
    [("supervised", [1, 2, 2]), ("simclr", [1, 2, 2]), ("batch norm", [1, 2, 1, 2])],
    ids=["supervised", "simclr", "batch norm starts anew"],
)
def test_interrupted_and_resumed_it_has_the_features_of_every_epoch(
    results, shared_folder, monkeypatch, saved_always, method, run
):
    with monkeypatch.context() as patch:
        patch.setattr(store, "RESULTS", shared_folder)
        whole, expected = fine_tuned_encoder("tiny", "cifar10", 0, method)
    epochs, watch = [], KeyFeatures.watch

    def killed_in_epoch_2(self, encoder, keys, epoch):
        epochs.append(epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        watch(self, encoder, keys, epoch)

    monkeypatch.setattr(KeyFeatures, "watch", killed_in_epoch_2)
    with pytest.raises(KeyboardInterrupt):
        fine_tuned_encoder("tiny", "cifar10", 0, method)
    resumed, facts = fine_tuned_encoder("tiny", "cifar10", 0, method)
    assert epochs == run and resumed.sha256() == whole.sha256()
    assert list(facts["key_features"]) == list(expected["key_features"]) == [1, 2]
    for epoch, features in facts["key_features"].items():
        assert torch.equal(features, expected["key_features"][epoch])


def test_an_unknown_method_is_told(shared):
    with pytest.raises(UserError) as caught:
        fine_tuned_encoder("tiny", "cifar10", 0, "batchnorm")
    assert str(caught.value) == (
        "The way of fine-tuning must be one of supervised, simclr, batch norm, not 'batchnorm'."
    )
