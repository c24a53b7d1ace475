"""What the checks of notebook 24 say of an untouched classifier, and of a tampered one."""

import pytest
import torch

from sslauth_utils.models.classifiers import build_network, labels
from sslauth_utils.models.penultimate import penultimate
from sslauth_utils.schemes import pairs as sample_pairs
from sslauth_utils.schemes.deepauth import enrol
from sslauth_utils.schemes.sensitive import Singles
from sslauth_utils.study import crossing
from sslauth_utils.study.recipes.signatures import CALIBRATED, Signatures

SETTINGS = {
    "device": "cpu", "tune_images": 8, "noise": [0.5], "tune_rates": [0.0, 1.0], "batch_size": 4,
    "pruning_rates": [0.0, 0.5], "target": 1, "stamped": 2, "backdoor_rates": [0.05], "backdoor_steps": 2000,
}  # fmt: skip


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(3)
    built = build_network("small_cnn", 4, width=4, size=8)
    torch.nn.init.normal_(built.backbone.fc.weight)
    torch.nn.init.zeros_(built.backbone.fc.bias)
    return built.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def train():
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=draw)
    return images, torch.arange(12) % 4


@pytest.fixture(scope="module")
def keys(train):
    return train[0].float() / 255


@pytest.fixture(scope="module")
def made(classifier, keys):
    recipe = sample_pairs.PairSettings(6, 200, 0.05, steps=(1e-2,), seed=0)
    pairs = sample_pairs.make_pairs(classifier, sample_pairs.user_key("u"), 8, recipe)[1e-2]
    return Signatures({"validation": Singles.enrol(classifier, keys)}, {CALIBRATED: pairs}, {})


def said(change, made, keys, classifier, tau=0.995):
    found = crossing.said_by_samples(change, made, keys, penultimate(classifier, keys), tau)
    return {row["method"]: row["value"] for row in found}


def test_nothing_says_anything_of_a_repeated_run(classifier, made, keys):
    changes = {(change.tamper, change.strength): change for change in crossing.honest(classifier)}
    assert max(said(changes["repeated run", ""], made, keys, classifier).values()) < 1e-15
    assert said(changes["batch size", "7"], made, keys, classifier)[crossing.HASH] == 0
    half = changes["weights stored as", "bfloat16"]
    assert said(half, made, keys, classifier)[crossing.HASH] == 1
    assert said(half, made, keys, classifier)[crossing.FEATURES] > 0
    assert {change.kind for change in changes.values()} == {"run", "cast", "sent"}


def test_every_tamper_is_one_and_leaves_the_classifier(classifier, made, keys, train):
    before = classifier.sha256()
    found = {(change.tamper, change.strength): (change, copied)
             for change, copied in crossing.tampered(classifier, train, 0, SETTINGS)}  # fmt: skip
    assert classifier.sha256() == before
    assert {tamper for tamper, _ in found} == {
        "weight noise", "fine-tuning", "pruning", "8-bit weights", "backdoor"
    }  # fmt: skip
    for change, copied in found.values():
        torch.testing.assert_close(change.features(keys), penultimate(copied, keys))
    strong = said(found["pruning", 0.5][0], made, keys, classifier)
    assert strong[crossing.HASH] == 1 and strong[crossing.FEATURES] > 1e-6
    for nothing in (("fine-tuning", 0.0), ("pruning", 0.0)):  # not one number of these differs
        assert max(said(found[nothing][0], made, keys, classifier).values()) < 1e-15


def test_tau_decides_the_verdict_on_features(classifier, made, keys, train):
    change, _ = next(crossing.tampered(classifier, train, 0, SETTINGS))
    numbers = said(change, made, keys, classifier)
    farthest = numbers[crossing.FEATURES]
    assert farthest > 0
    for tau, rejected in ((1 - 2 * farthest, 0.0), (1 - farthest / 2, 1.0)):
        assert said(change, made, keys, classifier, tau)[crossing.VERDICT] == rejected


def test_a_signature_counts_its_wrong_keys(classifier, keys, train):
    signature = enrol(classifier, keys)
    for change, copied in crossing.tampered(classifier, train, 0, SETTINGS):
        [row] = crossing.said_by_signature(change, "DeepAuth", signature)
        wrong = (labels(copied, keys) != labels(classifier, keys)).double().mean().item()
        assert row == {"method": "DeepAuth", "value": pytest.approx(wrong), "n": len(keys)}


def test_a_backdoor_that_does_not_take_is_no_tamper_of_this_model(classifier, train):
    rare = labels(classifier, train[0]).bincount(minlength=4).argmin().item()
    few = SETTINGS | {"backdoor_rates": [1e-12], "backdoor_steps": 25, "target": rare, "noise": [], "tune_rates": []}
    tampers = [change.tamper for change, _ in crossing.tampered(classifier, train, 0, few)]
    assert tampers == ["pruning", "pruning", "8-bit weights"]
