"""Fine-tuning in its three readings: what each changes, what it leaves alone, and bad input."""

import contextlib
import copy
import functools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sslauth_utils.attacks import fine_tune as module
from sslauth_utils.attacks.fine_tune import FineTuneSettings, continue_simclr, fine_tune, refresh_batch_norm
from sslauth_utils.base.errors import UserError
from sslauth_utils.models import training
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.features import encode
from sslauth_utils.models.simclr import SimCLRSettings
from sslauth_utils.schemes.similarity import cosine

CPU = torch.device("cpu")
RECIPE = FineTuneSettings(epochs=3, batch_size=16, learning_rate=1e-3)
SIMCLR = SimCLRSettings(epochs=2, batch_size=16, crop_scale_min=0.3)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build_encoder("resnet18", 4).eval()


@pytest.fixture(scope="module")
def pictures():
    """48 dark images of 16 x 16 with one bright channel, which is the label."""
    labels = torch.arange(48) % 3
    images = torch.randint(0, 90, (48, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    images[torch.arange(48), labels] += 110
    return images.to(torch.uint8), labels


def differing(one, other):
    """Names of weights, and of batch norm's statistics, that differ."""
    before, after = one.state_dict(), other.state_dict()
    assert list(before) == list(after)
    names = {name for name in before if not torch.equal(before[name], after[name])}
    statistics = {name for name in names if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    return names - statistics, statistics


WAYS = {
    "supervised": lambda e, images, labels, **more: fine_tune(e, images, labels, RECIPE, CPU, **more),
    "simclr": lambda e, images, labels, **more: continue_simclr(e, images, SIMCLR, CPU, **more),
    "batch norm": lambda e, images, labels, **more: refresh_batch_norm(e, images, 2, 16, CPU, **more),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["eval", "train", "frozen"])
def test_the_given_encoder_is_left_untouched(encoder, pictures, way, mode):
    given = copy.deepcopy(encoder).train(mode == "train").requires_grad_(mode != "frozen")
    state = torch.get_rng_state()
    tuned, _ = WAYS[way](given, *pictures)
    assert given.sha256() == encoder.sha256() != tuned.sha256()
    assert given.training == (mode == "train")
    assert all(p.requires_grad == (mode != "frozen") and p.grad is None for p in given.parameters())
    assert not any(m.training for m in tuned.modules())
    assert all(p.is_contiguous() and p.grad is None for p in tuned.parameters())
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not what the attacks draw from"


@pytest.mark.parametrize("way", ["supervised", "simclr"])
@pytest.mark.parametrize("frozen", [False, True])
def test_all_layers_and_statistics_change(encoder, pictures, way, frozen):
    given = copy.deepcopy(encoder).requires_grad_(not frozen)
    tuned, _ = WAYS[way](given, *pictures)
    weights, statistics = differing(encoder, tuned)
    assert weights == {name for name, _ in encoder.named_parameters()} and len(statistics) == 60


def test_refreshing_changes_the_statistics_and_no_weight(encoder, pictures):
    tuned, _ = WAYS["batch norm"](encoder, *pictures)
    weights, statistics = differing(encoder, tuned)
    assert weights == set() and len(statistics) == 60
    assert tuned.backbone.bn1.num_batches_tracked == 6, "two epochs of three batches"
    similarity = cosine(encode(encoder, pictures[0]), encode(tuned, pictures[0]))
    assert similarity.max() < 0.9999, "statistics alone move the features"


def test_refreshed_statistics_are_the_running_means_by_hand(encoder, pictures):
    images = pictures[0][:33]
    tuned, _ = refresh_batch_norm(encoder, images, 1, 16, CPU)
    mean, variance = torch.zeros(4), torch.ones(4)
    for batch in (images[:16], images[16:32]):  # the last image alone has no variance and is left out
        pixels = (batch.float() / 255 - encoder.mean) / encoder.std
        out = F.conv2d(pixels, encoder.backbone.conv1.weight, padding=1).detach().transpose(0, 1).flatten(1)
        mean, variance = 0.9 * mean + 0.1 * out.mean(1), 0.9 * variance + 0.1 * out.var(1)
    assert torch.allclose(tuned.backbone.bn1.running_mean, mean, atol=1e-5)
    assert torch.allclose(tuned.backbone.bn1.running_var, variance, rtol=1e-4)


def test_supervised_steps_are_plain_adam_on_cross_entropy(encoder, pictures, monkeypatch):
    monkeypatch.setattr(module, "autocast", lambda device: torch.autocast("cpu", enabled=False))
    images, labels = pictures
    settings = FineTuneSettings(epochs=2, batch_size=20, learning_rate=1e-3, seed=4)
    tuned, history = fine_tune(encoder, images, labels, settings, CPU)

    plain, draw = copy.deepcopy(encoder).train(), torch.Generator().manual_seed(4)
    torch.manual_seed(4)
    head = nn.Linear(32, 3)
    adam = torch.optim.Adam([*plain.parameters(), *head.parameters()], lr=1e-3)
    for row in history:
        order, losses, hits = torch.randperm(48, generator=draw), [], 0
        for batch in (order[:20], order[20:40]):
            scores = head(plain(images[batch].float() / 255))
            loss = F.cross_entropy(scores, labels[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
            hits += int((scores.argmax(1) == labels[batch]).sum())
        assert row["loss"] == pytest.approx(sum(losses) / 2, abs=1e-4) and row["accuracy"] == pytest.approx(hits / 40)
    # Adam turns a gradient that is zero but for rounding into a whole step, so a few weights may differ
    for ours, theirs in zip(tuned.parameters(), plain.parameters(), strict=True):
        assert ((ours - theirs).abs() < 2e-4).float().mean() > 0.98
    for ours, theirs in zip(tuned.buffers(), plain.buffers(), strict=True):
        assert torch.allclose(ours.float(), theirs.float(), rtol=1e-2, atol=1e-3)


def test_supervised_fine_tuning_learns_the_labels(encoder, pictures):
    settings = FineTuneSettings(epochs=8, batch_size=16, learning_rate=3e-3)
    _, history = fine_tune(encoder, *pictures, settings, CPU)
    assert history[0]["loss"] > 0.8 and history[-1]["loss"] < history[0]["loss"] / 2
    assert history[-1]["accuracy"] > 0.9


@pytest.mark.parametrize("way", WAYS)
def test_after_every_epoch_the_encoder_as_it_is_can_be_looked_at(encoder, pictures, way):
    seen = []

    def watch(tuned, row):
        encode(tuned, pictures[0][:4])  # sets eval mode for itself
        seen.append(tuned.sha256())
        return {"seen": row["epoch"]}

    tuned, history = WAYS[way](encoder, *pictures, after_epoch=watch)
    unwatched, _ = WAYS[way](encoder, *pictures)
    assert [row["seen"] for row in history] == [row["epoch"] for row in history] == list(range(1, len(seen) + 1))
    assert len(set(seen)) == len(seen) and seen[-1] == tuned.sha256() == unwatched.sha256()


def test_the_seed_decides_the_head_and_the_batches(encoder, pictures):
    def run(seed):
        torch.rand(3)
        return fine_tune(encoder, *pictures, FineTuneSettings(1, 16, 1e-3, seed), CPU)[0].sha256()

    assert run(0) == run(0) != run(1)


class Killed(Exception):
    """Stands for a killed process."""


def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(encoder, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "train", functools.partial(training.train, checkpoint_seconds=0))
    file, epochs = tmp_path / "checkpoint.safetensors", []

    def killed_in_epoch_3(tuned, row):
        epochs.append(row["epoch"])
        if len(epochs) == 3:
            raise Killed
        return {}

    whole, expected = fine_tune(encoder, *pictures, RECIPE, CPU)
    with pytest.raises(Killed):
        fine_tune(encoder, *pictures, RECIPE, CPU, file, killed_in_epoch_3)
    resumed, history = fine_tune(encoder, *pictures, RECIPE, CPU, file, killed_in_epoch_3)
    assert epochs == [1, 2, 3, 3] and resumed.sha256() == whole.sha256()
    assert [row["loss"] for row in history] == [row["loss"] for row in expected]


def test_a_loss_that_diverges_is_told(encoder, pictures):
    message = r"fine-tuning diverged in epoch \d: loss .*; lower its learning rate \(1e\+30\)"
    with pytest.raises(UserError, match=message):
        fine_tune(encoder, *pictures, FineTuneSettings(3, 16, 1e30), CPU)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        *(("epochs", value, "a whole number from 1 on") for value in (0, 1.5, True, "10")),
        ("batch_size", 1, "a whole number from 2 on"),
        *(("learning_rate", value, "a number above 0") for value in (0, -1e-4, math.nan, math.inf, "1e-4", True)),
        ("seed", -1, "a whole number from 0 on"),
    ],
)
def test_a_setting_out_of_range_is_told(name, value, wanted):
    with pytest.raises(UserError) as caught:
        FineTuneSettings(**{name: value})
    assert str(caught.value) == f"Fine-tuning's {name} must be {wanted}, not {value!r}."


NOT_LABELS = "Labels to fine-tune on must be one label an image, whole numbers of shape (48,), not "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:9], y[:9]), "at least one batch of 16 images, not 9."),
        (lambda x, y: (x, y[:9]), NOT_LABELS + "int64 (9,)."),
        (lambda x, y: (x, y - 1), "Labels to fine-tune on from -1 to 1 must be 0 or more."),
        (lambda x, y: (x, y.float()), NOT_LABELS + "float32 (48,)."),
        (lambda x, y: (x.float() / 255, y), "uint8 (N, 3, H, W), not torch.float32 (48, 3, 16, 16)."),
        (lambda x, y: (x[:, 0], y), "uint8 (N, 3, H, W), not torch.uint8 (48, 16, 16)."),
    ],
)
def test_images_and_labels_that_do_not_fit_are_told(encoder, pictures, change, message):
    with pytest.raises(UserError) as caught:
        fine_tune(encoder, *change(*pictures), RECIPE, CPU)
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(("count", "epochs", "batch"), [(48, 1, 1), (1, 1, 16), (48, 0, 16), (0, 1, 16)])
def test_statistics_of_nothing_are_refused(encoder, pictures, count, epochs, batch):
    with pytest.raises(UserError) as caught:
        refresh_batch_norm(encoder, pictures[0][:count], epochs, batch, CPU)
    assert str(caught.value) == (
        "Batch norm's statistics need one epoch and two images a batch at least, "
        f"not {epochs} epochs and {count} images in batches of {batch}."
    )


def test_simclr_says_what_it_lacks(encoder, pictures):
    with pytest.raises(UserError, match="15 images but its batch_size is 16"):
        continue_simclr(encoder, pictures[0][:15], SIMCLR, CPU)
    with pytest.raises(UserError, match=r"uint8 \(N, 3, H, W\), not torch.float32"):
        refresh_batch_norm(encoder, pictures[0].float(), 1, 16, CPU)


def with_dropout(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 6, 3, 2), nn.BatchNorm2d(6),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


@contextlib.contextmanager
def by_default(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SWITCHED = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "device": lambda: torch.device("meta"),
    "float64": lambda: by_default(torch.float64),
    "bfloat16": lambda: by_default(torch.bfloat16),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_result_is_the_same_whatever_the_caller_has_switched_on_or_drawn(pictures, way):
    """Dropout in it, and no width stated."""
    given = with_dropout()
    wanted = WAYS[way](given, *pictures)[0].state_dict()
    for name, switch in SWITCHED.items():
        torch.manual_seed(7)
        state = torch.get_rng_state()
        with switch():
            found = WAYS[way](given, *pictures)[0]
        assert all(torch.equal(value, wanted[key]) for key, value in found.state_dict().items()), name
        assert not any(weight.is_inference() for weight in found.parameters()), name
        assert torch.equal(torch.get_rng_state(), state), name


def test_dropout_goes_on_after_an_interruption_as_if_there_had_been_none(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "train", functools.partial(training.train, checkpoint_seconds=0))
    given, killed = with_dropout(), []

    def killed_in_epoch_2(tuned, row):
        killed.append(row["epoch"])
        if len(killed) == 2:
            raise Killed
        return {}

    whole = fine_tune(given, *pictures, RECIPE, CPU)[0]
    with pytest.raises(Killed):
        fine_tune(given, *pictures, RECIPE, CPU, tmp_path / "checkpoint", killed_in_epoch_2)
    resumed = fine_tune(given, *pictures, RECIPE, CPU, tmp_path / "checkpoint", killed_in_epoch_2)[0]
    assert killed == [1, 2, 2, 3] and differing(whole, resumed) == (set(), set())


@pytest.mark.parametrize("way", WAYS)
def test_a_double_encoder_made_in_inference_mode_is_taken_and_half_is_not_trained(encoder, pictures, way):
    with torch.inference_mode():
        double = copy.deepcopy(encoder).double()
    tuned = WAYS[way](double, *pictures)[0]
    assert all(weight.dtype == torch.float64 and not weight.is_inference() for weight in tuned.parameters())
    half = copy.deepcopy(encoder).bfloat16()
    if way == "batch norm":
        assert differing(half, WAYS[way](half, *pictures)[0])[1]
    else:
        with pytest.raises(UserError, match=r"float32, not bfloat16; hand over a copy made by \.float"):
            WAYS[way](half, *pictures)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_device_may_be_named_and_what_cannot_change_is_told(encoder, pictures):
    by_name = fine_tune(encoder, *pictures, RECIPE, "cpu")[0]
    assert differing(by_name, fine_tune(encoder, *pictures, RECIPE, CPU)[0]) == (set(), set())
    with pytest.raises(UserError, match="no batch norm with running statistics"):
        refresh_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 16), nn.Flatten()), pictures[0], 1, 16, "cpu")
    for frozen in (nn.Flatten(), torch.jit.script(with_dropout())):
        with pytest.raises(UserError, match="no weights to train, or is TorchScript"):
            continue_simclr(frozen, pictures[0], SIMCLR, "cpu")
