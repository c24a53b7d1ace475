"""Tampered encoders: attacked once, then found; by whom the keys are known; what the facts say."""

import functools

import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.images import load
from sslauth_utils.models.features import encode
from sslauth_utils.schemes.similarity import cosine
from sslauth_utils.study.profiles import BACKDOOR, ENROL, FINE_TUNE, PRETRAIN, Profile
from sslauth_utils.study.recipes.backdoors import backdoored_encoder, shadow_images
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.recipes.fine_tuned import METHODS, fine_tuned_encoder
from sslauth_utils.study.recipes.records import enrolled_record, overlapping
from sslauth_utils.study.recipes.tasks import clean_task, downstream_task

PRETRAINING = {
    "pretrain_data": "scenario", "pretrain_images": 48, "test_images": 24, "size": 16, "arch": "resnet18", "width": 2,
    "stem": "cifar", "pixel_stats": "cifar10", "epochs": 1, "batch_size": 16, "learning_rate": 0.001,
    "weight_decay": 1e-6, "temperature": 0.5, "weights_file": "", "schedule": "cosine", "device": "cpu",
}  # fmt: skip
ENROLMENT = {
    "key_data": "scenario", "n_keys": 6, "objectives": ["min"], "tau": 0.995, "generator_size": 16,
    "generator_depth": 2, "generator_steps": 2, "generator_learning_rate": 0.001, "device": "cpu",
}  # fmt: skip
TUNING = {
    "tune_data": "digits", "tune_images": 32, "tune_test_images": 12, "learning_rates": [0.001, 0.01], "epochs": 2,
    "batch_size": 16, "device": "cpu",
}  # fmt: skip
ATTACK = {
    "targets": ["stl10", "svhn"], "target_data": ["objects", "digits"], "target_classes": [2, 1],
    "downstream_images": 30, "downstream_test_images": 0, "classifier_epochs": 2, "classifier_learning_rate": 0.001,
    "shadow_images": 40, "references": 2, "epochs": 2, "batch_size": 16, "learning_rate": 0.05, "momentum": 0.9,
    "weight_decay": 0.0005, "schedule": "constant", "shared_rate": False, "lambda1": 1.0, "lambda2": 1.0,
    "device": "cpu",
}  # fmt: skip


def profile(attack=None, tuning=None):
    return Profile(
        name="tiny", seeds=[0], scenarios={"cifar10": {"pretrain_data": "dots", "key_data": "lines"}},
        notebooks={PRETRAIN: PRETRAINING, ENROL: ENROLMENT, FINE_TUNE: TUNING | (tuning or {}),
                   BACKDOOR: ATTACK | (attack or {})},
    )  # fmt: skip


def drawn(name, split="train", size=32, count=None, seed=0):
    """60 images, or 20 to test on, of three classes: noise, and a bright channel that is the class."""
    draw = torch.Generator().manual_seed(len(name) + (split == "test"))
    count = count or {"train": 60, "test": 20}[split]
    labels = torch.arange(count) % 3
    images = torch.randint(0, 120, (count, 3, size, size), generator=draw)
    images[torch.arange(count), labels] += 100
    return load.Images(images.to(torch.uint8), labels, ["a", "b", "c"], name, f"drawn {name}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder for artifacts, shared, because nothing in them is ever changed; and what was attacked in it."""
    attacked, folder, patch = [], tmp_path_factory.mktemp("results"), pytest.MonkeyPatch()
    patch.setattr(data, "load_images", drawn)
    patch.setattr(tampered, "load_images", drawn)
    patch.setattr(artifacts, "RESULTS", folder)
    patch.setattr(artifacts, "load_profile", lambda name: profile())
    patch.delenv("SSLAUTH_DATA", raising=False)
    for reader in (artifacts, tampered):  # half a second each, many times
        patch.setattr(reader, "module_fingerprint", functools.cache(reader.module_fingerprint))
    for way in ("backdoor", "fine_tune", "continue_simclr", "refresh_batch_norm"):
        call = getattr(tampered, way)

        def counted(*arguments, way=way, call=call):
            attacked.append((way, arguments))
            return call(*arguments)

        patch.setattr(tampered, way, counted)
    yield folder / "tiny" / "artifacts", attacked
    patch.undo()


# --- backdoors --------------------------------------------------------------------------------------------------------


def test_a_backdoor_is_made_once_and_then_found(tiny):
    folder, attacked = tiny
    first, facts = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    done = len(attacked)
    again, same = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    assert attacked[-1][0] == "backdoor" and len(attacked) == done
    assert again.sha256() == first.sha256() == facts["weights_sha256"] and same == facts
    names = {path.name.rsplit("-", 1)[0] for path in folder.iterdir() if path.is_dir()}
    assert {"encoder-cifar10-s0", "record-ood-cifar10-s0", "task-stl10-cifar10-s0",
            "backdoor-stl10-0-cifar10-s0"} <= names  # fmt: skip
    assert not list(folder.rglob("checkpoint*")) and not first.training


def test_the_clean_encoder_is_not_what_was_attacked(tiny):
    clean, facts = pretrained_encoder("tiny", "cifar10", 0)
    attacked, _ = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    assert clean.sha256() == facts["weights_sha256"] != attacked.sha256()
    _, arguments = tiny[1][0]
    assert arguments[0].sha256() == clean.sha256(), "and the attack left its own copy alone"
    images = drawn("dots", size=16).images
    assert cosine(encode(clean, images), encode(attacked, images)).max() < 1


def test_facts_of_a_backdoor_are_those_of_the_encoder(tiny):
    encoder, facts = backdoored_encoder("tiny", "cifar10", 0, "stl10")
    task = downstream_task("tiny", "cifar10", 0, "stl10")
    classifier, clean_facts = clean_task("tiny", "cifar10", 0, "stl10")
    assert facts["scores"] == task.score(encoder, task.fit(encoder)), "a user trains on what was downloaded"
    assert [row["epoch"] for row in facts["history"]] == [1, 2]
    last = facts["history"][-1]
    assert last["scores"] == task.score(encoder, classifier), "an epoch is judged by the clean encoder's classifier"
    record, _ = enrolled_record("tiny", "cifar10", 0)
    found = cosine(record.features, encode(encoder, record.challenge()))
    assert last["similarity"]["DCmp"] == pytest.approx(found.tolist(), abs=1e-6)
    assert len(last["similarity"]["Trans"]) == 6
    assert {"effectiveness", "reference", "utility", "loss"} <= set(last) and "imitation" not in last
    assert facts["n_references"] == 2 and facts["overlap"] == 0 and facts["target"] == "stl10"
    assert clean_facts["wanted"] == "c" and clean_facts["chance"] == task.chance


def test_only_the_disguised_backdoor_knows_the_keys(tiny):
    _, attacked = tiny
    backdoored_encoder("tiny", "cifar10", 0, "stl10")
    _, facts = backdoored_encoder("tiny", "cifar10", 0, "stl10", 10.0)
    plain, disguised = [arguments for way, arguments in attacked if way == "backdoor"][:2]
    record, _ = enrolled_record("tiny", "cifar10", 0)
    assert plain[6] is None and torch.equal(disguised[6], record.challenge())
    assert (plain[4].imitation, disguised[4].imitation) == (0, 10)
    assert plain[4].learning_rate == 0.05 and plain[4].batch_size == 16 and plain[4].epochs == 2
    assert torch.equal(plain[1], disguised[1]) and torch.equal(plain[2], disguised[2])
    assert facts["imitation"] == 10 and "imitation" in facts["history"][0]
    similar = {weight: backdoored_encoder("tiny", "cifar10", 0, "stl10", weight)[1]["history"][-1]["similarity"]["DCmp"]
               for weight in (0.0, 10.0)}  # fmt: skip
    assert sum(similar[10.0]) > sum(similar[0.0])


def test_the_target_decides_set_class_and_references(tiny):
    task = downstream_task("tiny", "cifar10", 0, "svhn")
    assert (task.train.name, task.target, task.trigger.side) == ("digits", 1, 5)
    assert len(task.train) + len(task.adversary) == 30 and len(task.test) == 20, "0 images: all of them"
    backdoored_encoder("tiny", "cifar10", 0, "svhn")
    references = tiny[1][-1][1][2]
    pool = {image.numpy().tobytes() for image, label in zip(task.adversary.images, task.adversary.labels, strict=True)
            if label == 1}  # fmt: skip
    assert len(references) == 2 and all(r.numpy().tobytes() in pool for r in references)


def test_a_set_with_fewer_images_than_asked_for_is_taken_whole(tiny):
    wishes = ATTACK | {"downstream_images": 500, "downstream_test_images": 21}
    task = downstream_task("tiny", "cifar10", 0, "stl10", wishes)
    assert (len(task.train) + len(task.adversary), len(task.test)) == (60, 20)


@pytest.mark.parametrize(
    ("changes", "another"),
    [({"learning_rate": 0.01}, True), ({"shadow_images": 39}, True), ({"references": 1}, True),
     ({"classifier_epochs": 1}, True), ({"target_classes": [1, 1]}, True), ({"lambda2": 2.0}, True),
     ({"targets": ["stl10"], "target_data": ["objects"], "target_classes": [2]}, False)],
    ids=["rate", "shadow set", "references", "classifier", "class", "weight", "another target left out"],
)  # fmt: skip
def test_other_settings_make_another_backdoor(tiny, monkeypatch, changes, another):
    backdoored_encoder("tiny", "cifar10", 0, "stl10")
    asked = []

    def found(profile, kind, address, make):
        asked.append((kind, address))
        raise KeyError  # nothing is made here

    monkeypatch.setattr(tampered, "find_or_make", found)
    for settings in (None, ATTACK, ATTACK | changes):
        with pytest.raises(KeyError):
            backdoored_encoder("tiny", "cifar10", 0, "stl10", 0.0, settings)
    assert asked[0] == asked[1], "the notebook's own parameters ask for the same artifact as its profile"
    assert (asked[2] != asked[0]) == another


def test_shadow_images_are_the_first_of_the_encoders_own(tiny):
    own = drawn("dots", size=16, count=48).images
    assert torch.equal(shadow_images("tiny", "cifar10", 0), own[:40])
    assert torch.equal(shadow_images("tiny", "cifar10", 0, ATTACK | {"shadow_images": 0}), own)


def test_key_samples_among_the_shadow_images_are_counted():
    images = torch.arange(5 * 12, dtype=torch.uint8).view(5, 3, 2, 2)
    keys = torch.stack([images[1], images[4], images[1], images[2] + 1])
    assert overlapping(keys, images) == 3 and overlapping(keys[3:], images) == 0


# --- fine-tuning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_tuned_encoder_is_made_once_and_then_found(tiny, method):
    folder, attacked = tiny
    encoder, facts = fine_tuned_encoder("tiny", "cifar10", 0, method)
    done = len(attacked)
    again, same = fine_tuned_encoder("tiny", "cifar10", 0, method)
    assert len(attacked) == done and again.sha256() == encoder.sha256() and same == facts
    assert facts["method"] == method and facts["learning_rate"] == (0 if method == "batch norm" else 0.001)
    assert [row["epoch"] for row in facts["history"]] == [1, 2]
    record, _ = enrolled_record("tiny", "cifar10", 0)
    found = cosine(record.features, encode(encoder, record.challenge()))
    assert facts["history"][-1]["similarity"]["DCmp"] == pytest.approx(found.tolist(), abs=1e-6)
    clean, _ = pretrained_encoder("tiny", "cifar10", 0)
    same_weights = all(torch.equal(a, b) for a, b in zip(clean.parameters(), encoder.parameters(), strict=True))
    assert same_weights == (method == "batch norm") and encoder.sha256() != clean.sha256()
    assert facts["scores"]["n_test"] == 12 and 0 <= facts["scores"]["tuned"] <= 1
    assert not list(folder.rglob("checkpoint*"))


def test_simclr_goes_on_with_as_many_of_the_encoders_own_images(tiny):
    fine_tuned_encoder("tiny", "cifar10", 0, "simclr")
    [arguments] = [arguments for way, arguments in tiny[1] if way == "continue_simclr"]
    assert torch.equal(arguments[1], drawn("dots", size=16, count=48).images[:32])


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
def test_other_settings_make_another_tuned_encoder(tiny, monkeypatch, method, one, other, another):
    addresses = []
    monkeypatch.setattr(tampered, "find_or_make", lambda *ask: addresses.append(ask[2]) or _stop())
    for settings in (one, other):
        with pytest.raises(KeyError):
            fine_tuned_encoder("tiny", "cifar10", 0, method, **settings)
    assert (addresses[0] != addresses[1]) == another


@pytest.mark.parametrize(("method", "another"), [("simclr", True), ("supervised", False)])
def test_another_shadow_set_makes_another_encoder_only_where_it_is_used(tiny, monkeypatch, method, another):
    addresses = []
    monkeypatch.setattr(tampered, "find_or_make", lambda *ask: addresses.append(ask[2]) or _stop())
    for attack in ({}, {"shadow_images": 20}):
        monkeypatch.setattr(artifacts, "load_profile", lambda name, attack=attack: profile(attack))
        with pytest.raises(KeyError):
            fine_tuned_encoder("tiny", "cifar10", 0, method)
    assert (addresses[0] != addresses[1]) == another


def _stop():
    raise KeyError


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [backdoored_encoder, clean_task, downstream_task])
def test_an_unknown_target_is_told(tiny, ask):
    with pytest.raises(UserError) as caught:
        ask("tiny", "cifar10", 0, "mnist")
    assert str(caught.value) == "There is no target 'mnist'; the profile's 06_backdoor has stl10, svhn."


def test_an_unknown_method_is_told(tiny):
    with pytest.raises(UserError) as caught:
        fine_tuned_encoder("tiny", "cifar10", 0, "batchnorm")
    assert str(caught.value) == (
        "Unknown way of fine-tuning 'batchnorm'; use one of supervised, simclr, batch norm."
    )


def test_a_class_that_the_set_lacks_is_told(tiny):
    with pytest.raises(UserError, match="Target class 9 is outside objects, which has classes 0 to 2"):
        downstream_task("tiny", "cifar10", 0, "stl10", ATTACK | {"target_classes": [9, 1]})


@pytest.mark.parametrize("imitation", [-1.0, float("nan"), float("inf")])
def test_a_weight_out_of_range_is_told_and_leaves_no_artifact(tiny, imitation):
    folder, _ = tiny
    before = set(folder.glob("backdoor*"))
    with pytest.raises(UserError, match="imitation must be a number from 0 on"):
        backdoored_encoder("tiny", "cifar10", 0, "stl10", imitation)
    assert set(folder.glob("backdoor*")) == before
