"""Fine-tuning, backdoor and quantisation of a classifier: each does what it says, on a copy."""

import copy

import pytest
import torch
from torch import nn

from sslauth_utils.attacks import badnet as bad
from sslauth_utils.attacks.fine_tune_classifier import TuneSettings, changed_weights, fine_tune_classifier
from sslauth_utils.attacks.prune import prune
from sslauth_utils.attacks.quantise import quantise
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.errors import UserError
from sslauth_utils.images.load import load_images
from sslauth_utils.models.classifiers import Classifier, accuracy, build_network
from sslauth_utils.models.supervised import SupervisedSettings, train_supervised

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    return load_images("embedded_digits", "train", 8, 320, 0)


@pytest.fixture(scope="module")
def classifier(digits):
    torch.manual_seed(0)
    built = build_network("small_cnn", 10, width=4, size=8)
    train_supervised(built, digits.images, digits.labels, SupervisedSettings(epochs=8, batch_size=32), CPU)
    return built


@pytest.fixture(autouse=True)
def untouched(request):
    if "classifier" not in request.fixturenames:
        yield
        return
    given = request.getfixturevalue("classifier")
    before = given.sha256()
    yield
    assert given.sha256() == before, "an attack changed what it was given"


def tuned(classifier, digits, **settings):
    chosen = TuneSettings(**({"batch_size": 32} | settings))
    return fine_tune_classifier(classifier, digits.images, digits.labels, chosen, CPU)[0]


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_at_rate_0_with_batch_norm_frozen_nothing_changes(classifier, digits, optimiser):
    assert tuned(classifier, digits, learning_rate=0.0, optimiser=optimiser).sha256() == classifier.sha256()


def test_at_rate_0_in_train_mode_batch_norms_statistics_alone_change(classifier, digits):
    after = tuned(classifier, digits, learning_rate=0.0, batch_norm="train")
    assert changed_weights(classifier, after) == 0 and after.sha256() != classifier.sha256()
    changed = {name.rsplit(".", 1)[1] for name, value in after.state_dict().items()
               if not torch.equal(value, classifier.state_dict()[name])}  # fmt: skip
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}


def test_smaller_rates_change_fewer_float32_weights(classifier, digits):
    shares = [changed_weights(classifier, tuned(classifier, digits, learning_rate=rate)) for rate in (1e-3, 1e-8)]
    assert shares[0] > 0.8 > 0.2 > shares[1]


def test_changed_weights_are_found_by_name():
    """Pruning registers a layer's weight anew, behind its bias."""
    layer = nn.Sequential(nn.Linear(10, 10))
    pruned = prune(layer, 0.5)
    assert [name for name, _ in pruned.named_parameters()] == ["0.bias", "0.weight"]
    assert changed_weights(layer, pruned) == 50 / 110 and changed_weights(layer, layer) == 0


def test_frozen_batch_norm_keeps_its_affine_part(classifier, digits):
    after = tuned(classifier, digits, learning_rate=1e-3, optimiser="adam")
    norms = [
        (a, b)
        for a, b in zip(classifier.modules(), after.modules(), strict=True)
        if isinstance(a, nn.BatchNorm2d)
    ]  # fmt: skip
    assert all(torch.equal(x, y) for a, b in norms
               for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))  # fmt: skip
    assert changed_weights(classifier, after) > 0.8


def test_a_backdoor_takes_and_leaves_the_rest_alone(classifier, digits):
    test = load_images("embedded_digits", "test", 8)
    settings = bad.BadnetSettings(target=1, learning_rate=3e-3, batch_size=32, most_steps=400)
    trigger = Trigger(side=2, margin=0)
    after, facts = bad.badnet(classifier, digits.images, digits.labels, trigger, settings, CPU)
    assert facts["stamped"] == 1 and facts["steps"] % 25 == 0
    clean = bad.attack_success(classifier, test.images, test.labels, trigger, 1)
    assert bad.attack_success(after, test.images, test.labels, trigger, 1) > clean + 0.2
    assert accuracy(after, test.images, test.labels) > accuracy(classifier, test.images, test.labels) - 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 1e-9, "most_steps": 2}, "has not taken within 2 steps"),
        ({"target": 10}, "one of the classifier's 10"),
        ({"stamped": 400}, "needs 400 images"),
    ],
)
def test_a_backdoor_that_cannot_be_is_told(classifier, digits, settings, message):
    chosen = bad.BadnetSettings(**({"batch_size": 32} | settings))
    with pytest.raises(UserError, match=message):
        bad.badnet(classifier, digits.images, digits.labels, Trigger(2, 0), chosen, CPU)


@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_weights_are_whole_multiples_of_one_scale(classifier, per_channel):
    after = quantise(classifier, 8, per_channel)
    for own, new in zip(classifier.modules(), after.modules(), strict=True):
        if isinstance(own, nn.Conv2d | nn.Linear):
            for before, now in zip(own.weight.detach(), new.weight.detach(), strict=True):
                largest = (before if per_channel else own.weight.detach()).abs().max()
                units = now / (largest / 127)
                assert torch.allclose(units, units.round(), atol=1e-3) and units.abs().max() <= 128
                assert (now - before).abs().max() <= largest / 127 / 2 * 1.01
            assert own.bias is None or torch.equal(own.bias, new.bias)


def test_quantising_agrees_with_pytorchs_own_rounding(classifier):
    weight = classifier.backbone.fc.weight.detach()
    scale = float(weight.abs().max()) / 127
    own = torch.fake_quantize_per_tensor_affine(weight, scale, 0, -128, 127)
    assert torch.allclose(quantise(classifier).backbone.fc.weight.detach(), own, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TuneSettings(learning_rate=-1), "learning_rate"),
        (lambda: TuneSettings(optimiser="lion"), "optimiser must be one of sgd, adam"),
        (lambda: TuneSettings(batch_norm="on"), "batch_norm must be one of frozen, train"),
        (lambda: bad.BadnetSettings(stamped=0), "stamped"),
        (lambda: quantise(nn.Linear(2, 2), 1), "number of bits"),
    ],
)
def test_settings_out_of_range_are_told(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_caller_without_gradients_and_a_named_device_are_no_matter(digits):
    torch.manual_seed(0)
    small = build_network("small_cnn", 10, width=4, size=8)
    ways = {
        "tune": lambda model, device: fine_tune_classifier(
            model, digits.images, digits.labels, TuneSettings(batch_size=32), device
        ),
        "badnet": lambda model, device: bad.badnet(
            model, digits.images, digits.labels, Trigger(2, 0), bad.BadnetSettings(learning_rate=1e-2), device
        ),
    }
    for name, way in ways.items():
        wanted = way(small, CPU)[0].sha256()
        with torch.inference_mode():
            assert way(small, "cpu")[0].sha256() == wanted, name
        assert way(copy.deepcopy(small).double(), "cpu")[0].mean.dtype == torch.float64, name
        with pytest.raises(UserError, match="float32, not float16"):
            way(copy.deepcopy(small).half(), "cpu")


def test_a_module_of_another_kind_is_told_and_may_be_made_a_classifier(digits):
    images, labels = digits.images[:64], digits.labels[:64]
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * images[0, 0].numel(), 10))
    calls = {
        "tuned": lambda one: fine_tune_classifier(one, images, labels, TuneSettings(), "cpu"),
        "trained": lambda one: train_supervised(one, images, labels, SupervisedSettings(epochs=1), "cpu"),
        "backdoored": lambda one: bad.badnet(one, images, labels, Trigger(3, 1), bad.BadnetSettings(stamped=1), "cpu"),
    }
    for call in calls.values():
        with pytest.raises(UserError, match=r"A Classifier is needed .* not a Sequential"):
            call(network)
    calls["tuned"](Classifier(network, 10))
