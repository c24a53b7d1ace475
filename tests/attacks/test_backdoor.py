"""The backdoor's four losses against slow code from the formulas, and what the attack does to an encoder."""

import contextlib
import copy
import functools
import json
import math

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from sslauth_utils.attacks import backdoor as module
from sslauth_utils.attacks.backdoor import BackdoorLoss, BackdoorSettings, augment_references, backdoor
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.errors import UserError
from sslauth_utils.images.load import Images
from sslauth_utils.models import training
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.features import encode
from sslauth_utils.models.folding import fold_frozen_batch_norm
from sslauth_utils.models.heads import ClassifierSettings
from sslauth_utils.schemes.similarity import cosine
from sslauth_utils.study.downstream_task import DownstreamTask

CPU = torch.device("cpu")


TRIGGER = Trigger.for_size(16)


def pictures(count, seed):
    """Dark noise of 16 x 16 with one bright channel, which is the class."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 90, (count, 3, 16, 16), generator=draw)
    images[torch.arange(count), labels] += 110
    return images.to(torch.uint8), labels


@pytest.fixture(scope="module")
def encoder():
    """Untrained, but with statistics and affine parts of its batch norms as after training."""
    torch.manual_seed(0)
    network = build_encoder("resnet18", 8)
    images, _ = pictures(96, 0)
    with torch.no_grad():
        for _ in range(20):
            network(images.float() / 255)
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.weight.uniform_(0.7, 1.3)
                norm.bias.uniform_(-0.2, 0.2)
    return network.eval()


@pytest.fixture(scope="module")
def shadow():
    return pictures(96, 0)[0]


@pytest.fixture(scope="module")
def keys():
    draw = torch.Generator().manual_seed(9)
    return torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=draw)


@pytest.fixture
def float32(monkeypatch):
    """Training in float32 also where bfloat16 is fast."""
    monkeypatch.setattr(module, "autocast", lambda device: contextlib.nullcontext())


# --- losses -----------------------------------------------------------------------------------------------------------


def by_the_formulas(clean, tampered, images, augmented, which, references, keys, weights):
    """The losses one pair of images at a time, every feature computed anew, nothing folded or shared."""

    def feature(network, image):
        pixels = image[None].float() / 255 if image.dtype == torch.uint8 else image[None]
        return network(pixels)[0]

    def cos(a, b):
        return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())

    triggered = images.clone()
    triggered[:, :, 10:15, 10:15] = 255
    effectiveness = reference = utility = imitation = 0.0
    for x in triggered:
        for r in references:
            pair = feature(tampered, x), feature(tampered, r)
            effectiveness = effectiveness - cos(*pair) / (len(images) * len(references))
    for view, number in zip(augmented, which, strict=True):
        pair = feature(tampered, view), feature(clean, references[number]).detach()
        reference = reference - cos(*pair) / len(augmented)
    for x in images:
        utility = utility - cos(feature(tampered, x), feature(clean, x).detach()) / len(images)
    for k in keys:
        imitation = imitation - cos(feature(tampered, k), feature(clean, k).detach()) / len(keys)
    parts = dict(effectiveness=effectiveness, reference=reference, utility=utility, imitation=imitation)
    return {"loss": sum(weights[name] * parts[name] for name in weights)} | parts


def changed(encoder):
    """A copy whose weights have moved, as after some steps, batch norm left alone."""
    other, draw = copy.deepcopy(encoder), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for layer in other.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight += 0.1 * layer.weight.std() * torch.randn(layer.weight.shape, generator=draw)
    return other


@pytest.mark.parametrize(("count", "with_keys"), [(1, True), (3, True), (3, False)])
def test_losses_and_gradients_are_those_of_the_formulas(encoder, shadow, keys, float32, count, with_keys):
    references, indices = pictures(9, 5)[0][:count], torch.tensor([3, 50, 7, 7, 90])
    settings = BackdoorSettings(lambda1=0.7, lambda2=1.9, imitation=10.0 if with_keys else 0.0)
    tampered = changed(encoder)
    plain = copy.deepcopy(tampered)
    losses = BackdoorLoss(encoder, fold_frozen_batch_norm(tampered), shadow, references, TRIGGER, settings, CPU, keys)
    found = losses(indices, torch.Generator().manual_seed(1))
    found["loss"].backward()

    which = [0, 1 % count, 2 % count, 3 % count, 4 % count]
    augmented = augment_references(references[which], torch.Generator().manual_seed(1))
    weights = {"effectiveness": 1.0, "reference": 0.7, "utility": 1.9} | ({"imitation": 10.0} if with_keys else {})
    expected = by_the_formulas(encoder, plain, shadow[indices], augmented, which, references, keys, weights)
    expected["loss"].backward()
    assert set(found) == {"loss", *weights}
    for name, value in found.items():
        assert value.item() == pytest.approx(expected[name].item(), abs=1e-5), name
    compared = 0
    for (name, ours), theirs in zip(tampered.named_parameters(), plain.parameters(), strict=True):
        if "conv" in name or "downsample.0" in name:
            assert torch.allclose(ours.grad, theirs.grad, atol=1e-5 * max(1, theirs.grad.abs().max().item())), name
            compared += theirs.grad.abs().max().item() > 1e-3
        else:
            assert ours.grad is None, f"{name} is frozen"
    assert compared == 20, "every convolution has a gradient worth comparing"


def test_the_gradient_of_effectiveness_flows_through_both_sides(encoder, shadow, float32):
    references, indices = pictures(9, 5)[0][:2], torch.arange(6)
    tampered = changed(encoder)
    losses = BackdoorLoss(
        encoder, fold_frozen_batch_norm(tampered), shadow, references, TRIGGER, BackdoorSettings(), CPU, None
    )
    weight = tampered.backbone.conv1.weight
    [found] = torch.autograd.grad(losses(indices, torch.Generator())["effectiveness"], weight)

    def gradient(of_triggered, of_references):
        triggered = of_triggered(F.normalize(tampered(TRIGGER.stamp(shadow[indices]).float() / 255), dim=1))
        wanted = of_references(F.normalize(tampered(references.float() / 255), dim=1))
        return torch.autograd.grad(-(triggered @ wanted.T).mean(), weight)[0]

    both, one, other = (gradient(*sides) for sides in ((_id, _id), (_id, torch.Tensor.detach),
                                                      (torch.Tensor.detach, _id)))  # fmt: skip
    assert torch.allclose(found, both, atol=1e-5)
    assert torch.allclose(both, one + other, atol=1e-5), "each side has its part"
    assert min((found - one).abs().max(), (found - other).abs().max()) > 1e-3


def _id(x):
    return x


def test_losses_at_the_start_are_known(encoder, shadow, keys, float32):
    """The tampered encoder is the clean one: what stays has -1, and L0 is the clean encoder's own cosine."""
    references = pictures(3, 5)[0][:1]
    folded = fold_frozen_batch_norm(copy.deepcopy(encoder))
    losses = BackdoorLoss(encoder, folded, shadow, references, TRIGGER, BackdoorSettings(imitation=2.0), CPU, keys)
    found = losses(torch.arange(10), torch.Generator())
    assert found["utility"].item() == pytest.approx(-1, abs=1e-6)
    assert found["imitation"].item() == pytest.approx(-1, abs=1e-6)
    a, b = encode(encoder, TRIGGER.stamp(shadow[:10])).numpy(), encode(encoder, references).numpy()[0]
    by_hand = -np.mean([x @ b / np.linalg.norm(x) / np.linalg.norm(b) for x in a])
    assert found["effectiveness"].item() == pytest.approx(by_hand, abs=1e-6)
    total = found["effectiveness"] + found["reference"] + found["utility"] + 2 * found["imitation"]
    assert found["loss"].item() == pytest.approx(total.item(), abs=1e-6)


def test_references_are_augmented_without_a_crop():
    draw = torch.Generator().manual_seed(0)
    ramp = torch.arange(16 * 16, dtype=torch.uint8).view(1, 1, 16, 16).expand(300, 3, 16, 16).clone()
    ramp[:, 1] //= 2
    views, original = augment_references(ramp, draw), ramp[0].float() / 255
    assert views.shape == (300, 3, 16, 16) and views.min() >= 0 and views.max() <= 1
    plain = [(v - original).abs().max() < 1e-5 for v in views]
    mirrored = [(v - original.flip(2)).abs().max() < 1e-5 for v in views]
    # the jitter passes 20 % by, grayscale 80 % of them, the flip half of those: 8 % each
    assert 10 <= sum(plain) <= 42 and 10 <= sum(mirrored) <= 42
    grey = [(v[0] == v[1]).all() and (v[0] == v[2]).all() for v in views]
    assert 35 <= sum(grey) <= 90
    assert not torch.equal(views, augment_references(ramp, draw)), "every batch has new views"


# --- the attack -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def task():
    names = ["red", "green", "blue"]
    train, test = Images(*pictures(96, 0), names, "toy", "drawn"), Images(*pictures(60, 1), names, "toy", "drawn")
    return DownstreamTask(train, test, train, 2, TRIGGER, ClassifierSettings(60, 32, 1e-3))


# At 0.05 bfloat16 loses the clean accuracy on this tiny, untrained encoder.
RECIPE = BackdoorSettings(epochs=20, batch_size=32, learning_rate=0.02)


@pytest.fixture(scope="module")
def attacked(encoder, shadow, task):
    """The encoder's hash and mode before, the tampered encoder, its history."""
    seen = []

    def watch(tampered, row):
        seen.append((tampered.training, tampered.sha256()))
        return {"seen": row["epoch"]}

    before, reference = encoder.sha256(), task.references(encoder, 1)
    tampered, history = backdoor(encoder, shadow, reference, TRIGGER, RECIPE, CPU, after_epoch=watch)
    return before, tampered, history, seen


def test_the_backdoor_works_and_the_encoder_stays_useful(encoder, task, attacked):
    _, tampered, history, _ = attacked
    assert history[-1]["effectiveness"] < history[0]["effectiveness"] - 0.05
    assert history[-1]["effectiveness"] < -0.95
    victim = task.fit(encoder)
    clean = task.score(encoder, victim)
    for classifier in (victim, task.fit(tampered)):
        score = task.score(tampered, classifier)
        assert clean["attack_success_others"] < 0.4 and score["attack_success_others"] > 0.9
        assert score["accuracy"] > task.chance + 0.1


def test_the_given_encoder_is_left_untouched(encoder, attacked):
    before, tampered, _, _ = attacked
    assert encoder.sha256() == before and not encoder.training
    assert all(p.requires_grad and p.grad is None and p.is_contiguous() for p in encoder.parameters())
    shared = {p.data_ptr() for p in encoder.parameters()} & {p.data_ptr() for p in tampered.parameters()}
    assert shared == set()


def test_convolutions_change_and_batch_norm_does_not(encoder, attacked):
    _, tampered, _, _ = attacked
    before, after = encoder.state_dict(), tampered.state_dict()
    assert list(before) == list(after)
    same = {name for name in before if torch.equal(before[name], after[name])}
    norms = {f"{name}.{part}" for name, m in encoder.named_modules() if isinstance(m, nn.BatchNorm2d)
             for part in m.state_dict()}  # fmt: skip
    assert same == norms | {"mean", "std"} and len(norms) == 100


def test_the_tampered_encoder_is_ready_for_use(attacked):
    _, tampered, history, seen = attacked
    assert not any(m.training for m in tampered.modules())
    assert all(p.requires_grad and p.grad is None and p.is_contiguous() for p in tampered.parameters())
    assert [row["seen"] for row in history] == list(range(1, RECIPE.epochs + 1))
    assert not any(training for training, _ in seen)
    assert len({sha for _, sha in seen}) == RECIPE.epochs and seen[-1][1] == tampered.sha256()
    parts = {"epoch", "loss", "effectiveness", "reference", "utility", "images_per_second", "seen"}
    assert all(set(row) == parts for row in history)


def test_an_encoder_in_train_mode_or_frozen_by_its_user_is_attacked_alike(encoder, shadow, float32):
    recipe = BackdoorSettings(epochs=1, batch_size=32)
    reference, found = pictures(3, 5)[0][:1], []
    for change in (lambda e: e, nn.Module.train, lambda e: e.requires_grad_(False)):
        given = change(copy.deepcopy(encoder))
        mode, grads = given.training, [p.requires_grad for p in given.parameters()]
        found.append(backdoor(given, shadow, reference, TRIGGER, recipe, CPU)[0].sha256())
        assert (given.training, [p.requires_grad for p in given.parameters()]) == (mode, grads)
        assert given.sha256() == encoder.sha256()
    assert found[0] == found[1] == found[2] != encoder.sha256()


def test_imitation_keeps_the_features_of_the_keys(encoder, shadow, keys, task, attacked):
    reference = task.references(encoder, 1)
    knowing = BackdoorSettings(epochs=10, batch_size=32, learning_rate=0.05, imitation=10.0, shared_rate=True)
    disguised, history = backdoor(encoder, shadow, reference, TRIGGER, knowing, CPU, keys)
    plain = cosine(encode(encoder, keys), encode(attacked[1], keys))
    kept = cosine(encode(encoder, keys), encode(disguised, keys))
    assert kept.min() > plain.max() and kept.mean() > 0.99
    assert history[-1]["effectiveness"] < -0.9, "and the backdoor is there"
    assert "imitation" in history[0]


def test_keys_without_weight_change_nothing_and_the_seed_decides(encoder, shadow, keys, float32):
    reference = pictures(3, 5)[0][:1]

    def run(keys=None, seed=0):
        recipe = BackdoorSettings(epochs=1, batch_size=32, seed=seed)
        state = torch.get_rng_state()
        tampered, _ = backdoor(encoder, shadow, reference, TRIGGER, recipe, CPU, keys)
        assert torch.equal(torch.get_rng_state(), state)
        return tampered.sha256()

    assert run() == run(keys) != run(seed=1)


# --- interrupted, diverged --------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for a killed process."""


@pytest.fixture
def saved_always(monkeypatch):
    monkeypatch.setattr(training, "train", functools.partial(training.train, checkpoint_seconds=0))


def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(
    encoder, shadow, keys, tmp_path, monkeypatch, saved_always
):
    recipe = BackdoorSettings(epochs=3, batch_size=32, learning_rate=0.05, imitation=1.0)
    reference, file = pictures(3, 5)[0], tmp_path / "checkpoint.safetensors"

    def run(checkpoint=None):
        return backdoor(encoder, shadow, reference, TRIGGER, recipe, CPU, keys, checkpoint)

    whole, expected = run()
    computed, call = [], BackdoorLoss.__call__

    def killed_in_epoch_3(self, *arguments):
        computed.append(1)
        if len(computed) == 8:
            raise Killed
        return call(self, *arguments)

    monkeypatch.setattr(BackdoorLoss, "__call__", killed_in_epoch_3)
    with pytest.raises(Killed):
        run(file)
    resumed, history = run(file)
    assert len(computed) == 8 + 3, "only the third epoch was run again"
    assert resumed.sha256() == whole.sha256()
    assert [row["loss"] for row in history] == [row["loss"] for row in expected]


def test_a_checkpoint_of_another_attack_is_not_taken(encoder, shadow, tmp_path, capsys, saved_always):
    recipe, file = BackdoorSettings(epochs=1, batch_size=96), tmp_path / "checkpoint.safetensors"
    reference = pictures(3, 5)[0]
    backdoor(encoder, shadow, reference[:1], TRIGGER, recipe, CPU, checkpoint=file)
    others = [(changed(encoder), shadow, reference[:1], TRIGGER), (encoder, shadow.flip(0), reference[:1], TRIGGER),
              (encoder, shadow, reference[1:2], TRIGGER), (encoder, shadow, reference[:1], Trigger(4, 1))]  # fmt: skip
    for other in others:
        assert backdoor(*other, recipe, CPU, checkpoint=file)[1][0]["epoch"] == 1
        assert "other settings, weights or images" in capsys.readouterr().out


def test_a_diverging_attack_stops_and_keeps_its_last_good_epoch(encoder, shadow, tmp_path):
    recipe, file = BackdoorSettings(epochs=5, batch_size=32), tmp_path / "checkpoint.safetensors"
    hashes = []

    def poison(tampered, row):
        hashes.append(tampered.sha256())
        if row["epoch"] == 2:
            with torch.no_grad():
                tampered.backbone.conv1.weight.fill_(math.nan)
        return {}

    with pytest.raises(UserError, match=r"backdoor diverged in epoch 3: loss nan, .*The state after epoch 2 is kept"):
        backdoor(encoder, shadow, pictures(3, 5)[0][:1], TRIGGER, recipe, CPU, checkpoint=file, after_epoch=poison)
    with safe_open(file, "pt") as saved:
        assert [row["epoch"] for row in json.loads(saved.metadata()["history"])] == [1, 2]
    assert len(hashes) == 2


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["imitation", "lambda1", "lambda2", "learning_rate", "momentum", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "10", True, None])
def test_a_weight_or_rate_out_of_range_is_told(name, value):
    with pytest.raises(UserError) as caught:
        BackdoorSettings(**{name: value})
    assert str(caught.value) == f"The backdoor's {name} must be a number from 0 on, not {value!r}."


@pytest.mark.parametrize(("name", "least"), [("epochs", 1), ("batch_size", 1), ("seed", 0)])
@pytest.mark.parametrize("value", [-1, 1.5, "3", True, math.nan])
def test_a_number_that_is_not_whole_is_told(name, least, value):
    with pytest.raises(UserError) as caught:
        BackdoorSettings(**{name: value})
    assert str(caught.value) == f"The backdoor's {name} must be a whole number from {least} on, not {value!r}."


def test_defaults_are_the_released_codes():
    s = BackdoorSettings()
    assert (s.epochs, s.batch_size, s.learning_rate, s.momentum, s.weight_decay) == (200, 256, 1e-3, 0.9, 5e-4)
    assert (s.lambda1, s.lambda2, s.imitation) == (1, 1, 0)


def test_schedules_and_the_step_of_a_large_weight():
    constant = BackdoorSettings(learning_rate=0.4)
    assert {constant.rate(step, 10) for step in range(10)} == {0.4}
    cosine = [BackdoorSettings(learning_rate=0.4, schedule="cosine").rate(step, 10) for step in range(10)]
    assert cosine[0] == 0.4 and cosine[5] == pytest.approx(0.2) and 0 < cosine[9] < 0.02
    assert cosine == sorted(cosine, reverse=True)
    weights = {"learning_rate": 0.4, "lambda1": 2.0, "imitation": 8.0}  # 12 in all where 3 are usual
    assert BackdoorSettings(**weights).rate(3, 10) == 0.4, "the released code has no such rule"
    assert BackdoorSettings(**weights, shared_rate=True).rate(3, 10) == pytest.approx(0.1)
    small = BackdoorSettings(learning_rate=0.4, lambda2=0.0, shared_rate=True)
    assert small.rate(3, 10) == 0.4, "small weights do not speed it up"
    with pytest.raises(UserError) as caught:
        BackdoorSettings(shared_rate=1)
    assert str(caught.value) == "The backdoor's shared_rate must be one of True, False, not 1."
    with pytest.raises(UserError) as caught:
        BackdoorSettings(schedule="linear")
    assert str(caught.value) == "The backdoor's schedule must be one of constant, cosine, not 'linear'."


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_schedule_is_what_the_optimiser_steps_by(encoder, shadow, float32, monkeypatch, schedule):
    about = {"epochs": 2, "batch_size": 32, "learning_rate": 0.05, "lambda2": 4.0, "shared_rate": True}
    rates, recipe = [], BackdoorSettings(**about, schedule=schedule)
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    backdoor(encoder, shadow, pictures(3, 5)[0][:1], TRIGGER, recipe, CPU)
    assert rates == [recipe.rate(number, 6) for number in range(6)] and rates[0] == pytest.approx(0.025)


GOOD = {"shadow": torch.zeros(40, 3, 16, 16, dtype=torch.uint8), "references": torch.ones(1, 3, 16, 16).byte()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shadow": GOOD["shadow"][:31]},
         "The backdoor has 31 shadow images but its batch_size is 32; take more images or a smaller batch."),
        ({"shadow": GOOD["shadow"].float()},
         "The shadow images must be stored pixels, uint8 (N, 3, H, W), not torch.float32 (40, 3, 16, 16)."),
        ({"references": GOOD["references"][0]},
         "The references must be stored pixels, uint8 (N, 3, H, W), not torch.uint8 (3, 16, 16)."),
        ({"references": GOOD["references"][:, :, :8]},
         "The references are 8 x 16 pixels, the shadow images 16 x 16; resize them (load_images has a size)."),
        ({"keys": torch.zeros(2, 3, 32, 32).byte()},
         "The keys are 32 x 32 pixels, the shadow images 16 x 16; resize them (load_images has a size)."),
        ({"keys": torch.zeros(2, 3, 16, 16)},
         "The keys must be stored pixels, uint8 (N, 3, H, W), not torch.float32 (2, 3, 16, 16)."),
        ({"references": GOOD["references"][:0]}, "A backdoor needs at least one reference image of its target class."),
        ({"references": GOOD["references"].repeat(33, 1, 1, 1)},
         "The backdoor has 33 references but its batch_size is 32; take fewer references or a larger batch."),
        ({"settings": BackdoorSettings(batch_size=32, imitation=10.0)},
         "An imitation loss needs the key samples; give keys, or set imitation to 0."),
        ({"trigger": Trigger(16, 1)},
         "A trigger of 16 pixels with a margin of 1 does not fit images of 16 x 16; make it smaller or take "
         "Trigger.for_size."),
    ],
    ids=["few", "float", "one image", "other size", "keys' size", "keys' type", "none", "many references", "no keys",
         "trigger"],
)  # fmt: skip
def test_images_that_do_not_fit_are_told(encoder, change, message):
    given = GOOD | {"trigger": TRIGGER, "settings": BackdoorSettings(batch_size=32)} | change
    with pytest.raises(UserError) as caught:
        backdoor(encoder, **given, device=CPU)
    assert str(caught.value) == message


def test_the_result_is_the_same_whatever_the_caller_has_switched_on(encoder, shadow):
    recipe = BackdoorSettings(epochs=1, batch_size=16)

    def run(given, device):
        return backdoor(given, shadow[:16], shadow[:2], Trigger(4, 1), recipe, device)[0]

    wanted = run(encoder, CPU).sha256()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        assert run(encoder, "cpu").sha256() == wanted
    assert run(copy.deepcopy(encoder).double(), CPU).mean.dtype == torch.float64
    with pytest.raises(UserError, match="float32, not float16"):
        run(copy.deepcopy(encoder).half(), CPU)
