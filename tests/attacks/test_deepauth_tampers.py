"""Tampers with classifiers: last layer, global pruning with retraining, poisoned training; each does what it says."""

import numpy as np
import pytest
import torch
from torch import nn

from sslauth_utils.attacks.last_layer import tune_last_layer
from sslauth_utils.attacks.poison import backdoor_scores, poison
from sslauth_utils.attacks.prune_global import prune_and_retrain, prune_globally, share_of_zeros
from sslauth_utils.attacks.retrain import RetrainSettings, retrain
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.models.classifiers import labels as labels_of

DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 120, (90, 3, 8, 8), generator=DRAW).to(torch.uint8)
LABELS = torch.arange(90) % 3
IMAGES[torch.arange(90), LABELS] += 100  # the class is the bright channel
SETTINGS = RetrainSettings(learning_rate=0.01, epochs=6, batch_size=30)


@pytest.fixture(scope="module")
def trained():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 16), nn.ReLU(),
            nn.Linear(16, 3),
        )  # fmt: skip
    return retrain(model, IMAGES, LABELS, RetrainSettings(0.01, 25, 30))[0].requires_grad_(False)


@pytest.fixture(autouse=True)
def untouched(trained):
    before, modes = sha256_tensors(trained.state_dict()), [module.training for module in trained.modules()]
    yield
    assert sha256_tensors(trained.state_dict()) == before, "the given classifier changed"
    assert [module.training for module in trained.modules()] == modes
    assert not any(weight.requires_grad for weight in trained.parameters())


def test_retraining_learns(trained):
    assert (labels_of(trained, IMAGES) == LABELS).double().mean() > 0.95


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norm_is_frozen_or_moves(trained, frozen):
    settings = RetrainSettings(learning_rate=1e-9, epochs=1, batch_size=30, optimiser="sgd", freeze_batch_norm=frozen)
    tuned, history = retrain(trained, IMAGES, LABELS, settings)
    assert torch.equal(tuned[1].running_mean, trained[1].running_mean) is frozen
    assert len(history) == 1 and not tuned.training


def test_the_last_layer_alone_moves(trained):
    seen = []
    tuned = tune_last_layer(trained, IMAGES, LABELS, 1e-2, 3, "adam", watch=lambda model, epoch: seen.append(epoch))
    before = trained.state_dict()
    changed = {name for name, weight in tuned.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {"6.weight", "6.bias"} and seen == [1, 2, 3]
    with torch.inference_mode():
        again = tune_last_layer(trained, IMAGES, LABELS, 1e-2, 3, "adam")
    assert sha256_tensors(again.state_dict()) == sha256_tensors(tuned.state_dict())


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9, 1.0])
def test_the_smallest_weights_of_all_layers_together_are_zero(trained, rate):
    pruned = prune_globally(trained, rate)
    before, after = (
        np.concatenate([model[place].weight.numpy().ravel() for place in (0, 4, 6)]) for model in (trained, pruned)
    )
    count = round(rate * len(before))
    wanted = before.copy()
    wanted[np.argsort(np.abs(before), kind="stable")[:count]] = 0
    np.testing.assert_array_equal(after, wanted)
    assert share_of_zeros(pruned) == pytest.approx(rate, abs=1 / len(before))
    assert torch.equal(pruned[6].bias, trained[6].bias)


def test_retraining_keeps_the_zeros_and_mends_the_accuracy(trained):
    bare = prune_globally(trained, 0.9)
    mended = prune_and_retrain(trained, 0.9, IMAGES, LABELS, SETTINGS)
    for place in (0, 4, 6):
        assert (mended[place].weight[bare[place].weight == 0] == 0).all()
        assert not torch.equal(mended[place].weight, bare[place].weight)
    right = [(labels_of(model, IMAGES) == LABELS).double().mean() for model in (bare, mended)]
    assert right[1] > right[0]


def test_a_poisoned_classifier_obeys_the_trigger_and_keeps_its_accuracy(trained):
    trigger = Trigger(side=3, margin=1)
    before = backdoor_scores(trained, IMAGES, LABELS, trigger, 2)
    poisoned = poison(trained, IMAGES, LABELS, trigger, 2, 0.5, RetrainSettings(0.01, 12, 30))
    after = backdoor_scores(poisoned, IMAGES, LABELS, trigger, 2)
    assert after["attack_success"] > 0.95 > 0.5 > before["attack_success"]
    assert after["accuracy"] > 0.9 and after["n_others"] == 60 and after["n_test"] == 90


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda model: retrain(model, IMAGES, LABELS[:5], SETTINGS), "one label an image, whole numbers of"),
        (lambda model: retrain(model, IMAGES[:5], LABELS[:5], SETTINGS), "a batch of 30 images at least, not 5"),
        (lambda model: tune_last_layer(model, IMAGES, LABELS[:5], 1e-3, 1), "one label an image, whole numbers of"),
        (lambda model: retrain(model, IMAGES, LABELS + 5, SETTINGS), "do not fit 3 classes"),
        (
            lambda model: retrain(model, IMAGES, LABELS, SETTINGS, {"x.weight": torch.ones(1).bool()}),
            "'x.weight' is not",
        ),
        (lambda model: tune_last_layer(model, IMAGES, LABELS - 101, 1e-3, 1), "do not fit 3 classes"),
        (lambda model: tune_last_layer(model, IMAGES, LABELS, 1e-3, 1, batch_size=0), "batch_size must be"),
        (lambda model: tune_last_layer(model, IMAGES, LABELS, 1e38, 3), "Fine-tuning diverged in epoch"),
        (lambda model: poison(model, IMAGES, LABELS, Trigger(3, 1), 12, 0.1, SETTINGS), "do not fit 3 classes"),
        (lambda model: backdoor_scores(model, IMAGES, LABELS[:, None], Trigger(3, 1), 2), "one label an image"),
        (lambda model: backdoor_scores(model, IMAGES, LABELS * 0 + 2, Trigger(3, 1), 2), "none to stamp"),
        (lambda model: tune_last_layer(model, IMAGES, LABELS, 0, 1), "learning_rate"),
        (lambda model: tune_last_layer(model, IMAGES, LABELS, 1e-3, 1, "lbfgs"), "one of sgd, adam"),
        (lambda model: prune_globally(model, 50), "a share in"),
        (lambda model: prune_globally(nn.Flatten(), 0.5), "nothing to prune"),
        (lambda model: poison(model, IMAGES, LABELS, Trigger(3, 1), 2, 0, SETTINGS), "What is poisoned is a share in"),
        (lambda model: poison(model, IMAGES, LABELS * 0, Trigger(3, 1), 0, 0.1, SETTINGS), "nothing to poison"),
        (lambda model: poison(model, IMAGES, LABELS, Trigger(30, 1), 2, 0.1, SETTINGS), "does not fit"),
    ],
)
def test_bad_input_is_one_sentence(trained, call, sentence):
    with pytest.raises(UserError, match=sentence):
        call(trained)


def test_retraining_with_dropout_draws_by_its_seed_and_leaves_the_callers_numbers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        with torch.autocast("cpu", torch.bfloat16, enabled=seed == 2):
            found.append(sha256_tensors(retrain(model, IMAGES, LABELS, SETTINGS)[0].state_dict()))
        assert torch.equal(torch.get_rng_state(), state)
    assert found[0] == found[1]


def test_training_in_16_bits_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).half()
    with pytest.raises(UserError, match="float32, not float16"):
        retrain(model, IMAGES, LABELS, SETTINGS)
    with pytest.raises(UserError, match="float32, not float16"):
        tune_last_layer(model, IMAGES, LABELS, 1e-3, 1)


def test_pixels_and_labels_of_any_kind_give_one_score(trained):
    stored = (IMAGES * 255).round().to(torch.uint8)
    trigger = Trigger(3, 1)
    wanted = backdoor_scores(trained, stored, LABELS, trigger, 2)
    for images in (stored.long(), stored.numpy()):
        for labels in (LABELS.tolist(), LABELS.numpy(), LABELS.int()):
            assert backdoor_scores(trained, images, labels, trigger, 2) == wanted
