"""Backdoored encoders: attacked once, then found; by whom the keys are known; what the facts say."""

import pytest
import torch
from tiny_world import ATTACK, artifacts, drawn, profile, use

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import encode
from sslauth_utils.schemes.similarity import cosine
from sslauth_utils.study import store
from sslauth_utils.study.recipes import backdoors
from sslauth_utils.study.recipes.backdoors import backdoored_encoder
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.recipes.keys import KeyFeatures, key_samples
from sslauth_utils.study.recipes.records import enrolled_record
from sslauth_utils.study.recipes.tasks import clean_task, downstream_task


def same_facts(one, other):
    features = one.pop("key_features"), other.pop("key_features")
    assert list(features[0]) == list(features[1])
    assert all(torch.equal(features[0][epoch], features[1][epoch]) for epoch in features[0])
    return one == other


def test_a_backdoor_is_made_once_and_then_found(shared):
    first, facts = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    done = len(shared.attacked)
    again, same = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    assert {way for way, _ in shared.attacked} <= {"backdoor"} and len(shared.attacked) == done <= 1
    assert again.sha256() == first.sha256() == facts["weights_sha256"] and same_facts(same, facts)
    names = {name.rsplit("-", 1)[0] for name in artifacts(shared.folder)}
    assert {"encoder-cifar10-s0", "task-stl10-cifar10-s0", "backdoor-stl10-0-cifar10-s0"} <= names
    assert not list(shared.folder.rglob("checkpoint*")) and not first.training


def test_an_attack_needs_an_encoder_a_task_and_keys_but_no_record(results):
    backdoored_encoder("tiny", "cifar10", 0, "stl10", settings=ATTACK | {"epochs": 1})
    names = [name.rsplit("-", 1)[0] for name in artifacts(results.folder)]
    assert names == ["backdoor-stl10-0-cifar10-s0", "encoder-cifar10-s0", "task-stl10-cifar10-s0"]


@pytest.fixture
def attacks(shared, monkeypatch):
    """With what the attack of a target and a weight is made; it is not made."""

    class Refused(Exception):
        pass

    def refuse(*arguments):
        raise Refused(*arguments)

    def ask(target, imitation):
        with monkeypatch.context() as patch, pytest.raises(Refused) as caught:
            patch.setattr(backdoors, "find_or_make", lambda profile, kind, ingredients, make: make(shared.folder))
            patch.setattr(backdoors, "backdoor", refuse)
            backdoored_encoder("tiny", "cifar10", 0, target, imitation)
        return caught.value.args

    return ask


def test_the_clean_encoder_is_not_what_was_attacked(shared, attacks):
    clean, facts = pretrained_encoder("tiny", "cifar10", 0)
    attacked, _ = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    assert clean.sha256() == facts["weights_sha256"] != attacked.sha256()
    assert attacks("stl10", 0.0)[0].sha256() == clean.sha256(), "and the attack left its own copy alone"
    images = drawn("dots", size=16).images
    assert cosine(encode(clean, images), encode(attacked, images)).max() < 1


def test_facts_of_a_backdoor_are_those_of_the_encoder(shared):
    encoder, facts = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    task = downstream_task("tiny", "cifar10", 0, "stl10")
    classifier, _ = clean_task("tiny", "cifar10", 0, "stl10")
    assert facts["scores"] == task.score(encoder, task.fit(encoder)), "a user trains on what was downloaded"
    assert [row["epoch"] for row in facts["history"]] == [1, 2]
    last = facts["history"][-1]
    assert last["scores"] == task.score(encoder, classifier), "an epoch is judged by the clean encoder's classifier"
    assert {"effectiveness", "reference", "utility", "loss"} <= set(last) and "imitation" not in last
    assert facts["n_references"] == 2 and facts["overlap"] == 0 and facts["target"] == "stl10"


def test_features_of_the_keys_are_kept_after_every_epoch(shared):
    encoder, facts = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    record, _ = enrolled_record("tiny", "cifar10", 0)
    features = facts["key_features"]
    assert list(features) == [1, 2]
    assert torch.allclose(features[2], encode(encoder, record.challenge()), rtol=1e-5, atol=1e-6)
    before, after = (cosine(record.features, features[epoch]).mean() for epoch in (1, 2))
    assert 1 > before > after, "the attack moves them further from epoch to epoch"


def test_only_the_disguised_backdoor_knows_the_keys(shared, attacks):
    plain, disguised = attacks("stl10", 0.0), attacks("stl10", 10.0)
    record, _ = enrolled_record("tiny", "cifar10", 0)
    assert plain[6] is None and torch.equal(disguised[6], record.challenge())
    assert (plain[4].imitation, disguised[4].imitation) == (0, 10)
    assert plain[4].learning_rate == 0.05 and plain[4].batch_size == 16 and plain[4].epochs == 2
    assert torch.equal(plain[1], disguised[1]) and torch.equal(plain[2], disguised[2])
    found = {weight: backdoored_encoder("tiny", "cifar10", 0, "stl10", weight)[1] for weight in (0.0, 10.0)}
    assert found[10.0]["imitation"] == 10 and "imitation" in found[10.0]["history"][0]
    similar = {weight: cosine(record.features, facts["key_features"][2]) for weight, facts in found.items()}
    assert similar[10.0].sum() > similar[0.0].sum()


def test_the_target_decides_the_references(shared, attacks):
    task = downstream_task("tiny", "cifar10", 0, "svhn")
    references = attacks("svhn", 0.0)[2]
    pool = {image.numpy().tobytes() for image, label in zip(task.adversary.images, task.adversary.labels, strict=True)
            if label == 1}  # fmt: skip
    assert len(references) == 2 and all(r.numpy().tobytes() in pool for r in references)


# --- what it depends on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "another"),
    [({"learning_rate": 0.01}, True), ({"shadow_images": 39}, True), ({"references": 1}, True),
     ({"classifier_epochs": 1}, True), ({"target_classes": [1, 1]}, True), ({"lambda2": 2.0}, True),
     ({"targets": ["stl10"], "target_data": ["objects"], "target_classes": [2]}, False)],
    ids=["rate", "shadow set", "references", "classifier", "class", "weight", "another target left out"],
)  # fmt: skip
def test_other_settings_make_another_backdoor(shared, ingredients, changes, another):
    found = [ingredients(backdoored_encoder, "tiny", "cifar10", 0, "stl10", 0.0, settings).address
             for settings in (None, ATTACK, ATTACK | changes)]  # fmt: skip
    assert found[0] == found[1], "the notebook's own parameters ask for the same artifact as its profile"
    assert (found[2] != found[0]) == another


def test_another_weight_seed_or_target_makes_another_backdoor(shared, ingredients):
    asked = [("cifar10", 0, "stl10", 0.0), ("cifar10", 0, "stl10", 10.0), ("cifar10", 1, "stl10", 0.0),
             ("cifar10", 0, "svhn", 0.0), ("imagenet", 0, "stl10", 0.0)]  # fmt: skip
    assert len({ingredients(backdoored_encoder, "tiny", *arguments).address for arguments in asked}) == len(asked)
    whole, fraction = (ingredients(backdoored_encoder, "tiny", "cifar10", 0, "stl10", weight).address
                       for weight in (10, 10.0))  # fmt: skip
    assert whole == fraction


def test_other_generators_make_another_record_and_no_attack(shared, monkeypatch):
    enrolled_record("tiny", "cifar10", 0)
    first, _ = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    done, before = len(shared.attacked), artifacts(shared.folder)
    use(monkeypatch, profile(enrolment={"generator_steps": 3}))
    enrolled_record("tiny", "cifar10", 0)
    again, _ = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    assert len(shared.attacked) == done and again.sha256() == first.sha256()
    [made] = set(artifacts(shared.folder)) - set(before)
    assert made.startswith("record-ood-cifar10-s0-")


# --- interrupted ------------------------------------------------------------------------------------------------------


def test_interrupted_and_resumed_it_has_the_features_of_every_epoch(results, shared_folder, monkeypatch, saved_always):
    with monkeypatch.context() as patch:
        patch.setattr(store, "RESULTS", shared_folder)
        whole, expected = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    epochs, watch = [], KeyFeatures.watch

    def killed_in_epoch_2(self, encoder, keys, epoch):
        epochs.append(epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        watch(self, encoder, keys, epoch)

    monkeypatch.setattr(KeyFeatures, "watch", killed_in_epoch_2)
    with pytest.raises(KeyboardInterrupt):
        backdoored_encoder("tiny", "cifar10", 0, "stl10")
    resumed, facts = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    assert epochs == [1, 2, 2], "only the second epoch was run again"
    assert resumed.sha256() == whole.sha256()
    assert list(facts["key_features"]) == list(expected["key_features"]) == [1, 2]
    for epoch, features in facts["key_features"].items():
        assert torch.equal(features, expected["key_features"][epoch])
    assert not list(results.folder.rglob("checkpoint*"))


@pytest.mark.parametrize("imitation", [-1.0, float("nan"), float("inf")])
def test_a_weight_out_of_range_is_told_and_leaves_no_artifact(shared, imitation):
    before = artifacts(shared.folder)
    with pytest.raises(UserError, match="imitation must be a number from 0 on"):
        backdoored_encoder("tiny", "cifar10", 0, "stl10", imitation)
    assert artifacts(shared.folder) == before


def test_the_keys_that_are_followed_are_the_paper_s_default(shared):
    _, facts = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    encoder, _ = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    others = encode(encoder, key_samples("tiny", "cifar10", 0, "id").images)
    assert not torch.allclose(facts["key_features"][2], others)
