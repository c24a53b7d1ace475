"""The loss against the paper's algorithm, and training: learning, resuming, giving up."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch.nn.utils import prune

from sslauth_utils.base.errors import UserError
from sslauth_utils.models import simclr
from sslauth_utils.models.encoders import build_encoder

CPU = torch.device("cpu")


def algorithm_1(pairs, temperature):
    """SimCLR's algorithm 1 in slow numpy; pairs[k] = the projections of both views of image k."""
    z = [view for pair in pairs for view in pair]  # z_1, z_2, ...: views of one image side by side
    count = len(z)
    s = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            s[i, j] = z[i] @ z[j] / (np.linalg.norm(z[i]) * np.linalg.norm(z[j]))

    def ell(i, j):
        others = sum(math.exp(s[i, k] / temperature) for k in range(count) if k != i)
        return -math.log(math.exp(s[i, j] / temperature) / others)

    return sum(ell(2 * k, 2 * k + 1) + ell(2 * k + 1, 2 * k) for k in range(len(pairs))) / count


# --- NT-Xent --------------------------------------------------------------------------------------


@given(images=st.integers(2, 6), width=st.integers(1, 9), temperature=st.floats(0.05, 5), seed=st.integers(0, 999))
def test_loss_is_algorithm_1(images, width, temperature, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, images, width)) * rng.uniform(0.1, 10, size=(2, images, 1))
    found = simclr.nt_xent(torch.tensor(np.concatenate([first, second])), temperature).item()
    expected = algorithm_1(list(zip(first, second, strict=True)), temperature)
    assert found == pytest.approx(expected, rel=2e-5, abs=1e-6)


def test_loss_and_gradient_are_lightlys():
    lightly = pytest.importorskip("lightly.loss")
    z = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    loss, expected = simclr.nt_xent(ours, 0.2), lightly.NTXentLoss(temperature=0.2)(theirs[:16], theirs[16:])
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-7)


def test_loss_of_equal_projections_is_the_logarithm_of_all_others():
    for temperature in (0.1, 1.0):
        assert simclr.nt_xent(torch.ones(10, 4), temperature).item() == pytest.approx(math.log(9), rel=1e-6)


def test_loss_of_aligned_views_at_right_angles_to_all_others_has_a_closed_form():
    z = torch.eye(6).repeat(2, 1)
    expected = math.log(1 + 10 * math.exp(-1 / 0.5))
    assert simclr.nt_xent(z, 0.5).item() == pytest.approx(expected, rel=1e-6)
    assert simclr.nt_xent(z, 0.25).item() < expected  # the temperature divides, it does not multiply


def test_loss_pairs_row_k_with_row_n_plus_k_and_no_other():
    z = torch.eye(6).repeat(2, 1)
    side_by_side = torch.eye(6).repeat_interleave(2, dim=0)
    shuffled = torch.cat([torch.eye(6), torch.eye(6).roll(1, 0)])
    right = simclr.nt_xent(z, 0.5)
    assert simclr.nt_xent(side_by_side, 0.5) > right + 1
    assert simclr.nt_xent(shuffled, 0.5) > right + 1


def test_loss_treats_both_views_alike_but_not_two_images():
    z = torch.randn(8, 5, generator=torch.Generator().manual_seed(3))
    assert simclr.nt_xent(z.roll(4, 0), 0.5).item() == pytest.approx(simclr.nt_xent(z, 0.5).item(), rel=1e-6)
    one_view_permuted = torch.cat([z[:4], z[4:].roll(1, 0)])
    assert abs(simclr.nt_xent(one_view_permuted, 0.5).item() - simclr.nt_xent(z, 0.5).item()) > 1e-3


def test_loss_is_float32_under_autocast():
    z = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        loss = simclr.nt_xent(z, 0.1)
    assert loss.dtype == torch.float32 and torch.equal(loss, simclr.nt_xent(z, 0.1))


# --- head, settings, schedule ---------------------------------------------------------------------


def test_head_is_the_recipes():
    head = simclr.projection_head(512)
    assert [tuple(p.shape) for p in head.parameters()] == [(512, 512), (512,), (512,), (128, 512), (128,)]
    assert head(torch.randn(4, 512)).shape == (4, 128)


def test_default_settings_are_the_recipes():
    s = simclr.SimCLRSettings()
    assert (s.epochs, s.batch_size, s.learning_rate, s.weight_decay, s.temperature) == (1000, 256, 1e-3, 1e-6, 0.5)
    assert (s.schedule, s.projection_dim) == ("constant", 128)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("epochs", 1.5),
        ("batch_size", 1),
        ("batch_size", True),
        ("learning_rate", -1e-3),
        ("learning_rate", math.nan),
        ("learning_rate", "1e-3"),
        ("weight_decay", -1),
        ("temperature", 0),
        ("projection_dim", 0),
        ("schedule", "linear"),
        ("crop_scale_min", 0),
        ("crop_scale_min", 1.2),
        ("jitter", -0.1),
        ("jitter_probability", 1.1),
        ("grayscale_probability", None),
        ("seed", -1),
    ],
)
def test_a_setting_out_of_range_is_told(name, value):
    with pytest.raises(UserError, match=name):
        simclr.SimCLRSettings(**{name: value})


def test_constant_schedule_stays_and_cosine_rises_then_falls_to_nothing():
    constant = simclr.SimCLRSettings()
    assert {constant.rate(step, 100) for step in range(100)} == {1e-3}
    cosine = replace(constant, schedule="cosine")
    rates = [cosine.rate(step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3])
    assert all(a >= b for a, b in pairwise(rates[4:])) and rates[-1] < 1e-6
    assert rates[52] == pytest.approx(0.5e-3, rel=0.05)


# --- training -------------------------------------------------------------------------------------


def tiny_encoder(seed=0):
    torch.manual_seed(seed)
    return build_encoder("resnet18", 4)


@pytest.fixture
def images():
    """48 pictures of 16 x 16: a coloured rectangle each on a coloured ground."""
    generator = torch.Generator().manual_seed(5)
    pictures = torch.randint(0, 256, (48, 3, 1, 1), generator=generator, dtype=torch.uint8).repeat(1, 1, 16, 16)
    for picture in pictures:
        top, left = torch.randint(0, 8, (2,), generator=generator).tolist()
        picture[:, top : top + 8, left : left + 6] = torch.randint(0, 256, (3, 1, 1), generator=generator)
    return pictures


SETTINGS = simclr.SimCLRSettings(epochs=3, batch_size=16, crop_scale_min=0.3)


def test_training_lowers_the_loss_in_place(images):
    encoder = tiny_encoder()
    before = encoder.sha256()
    settings = replace(SETTINGS, epochs=15, learning_rate=5e-3, jitter=0.1)
    history = simclr.pretrain(encoder, images, settings, CPU)
    assert [row["epoch"] for row in history] == list(range(1, 16))
    assert history[-1]["loss"] < history[0]["loss"] - 0.3
    assert encoder.sha256() != before


def test_a_trained_encoder_is_in_eval_mode_float32_and_can_be_pruned(images):
    encoder = tiny_encoder()
    simclr.pretrain(encoder, images, replace(SETTINGS, epochs=1), CPU)
    assert not any(module.training for module in encoder.modules())
    for parameter in encoder.parameters():
        assert parameter.dtype == torch.float32 and parameter.is_contiguous() and parameter.grad is None
    prune.l1_unstructured(encoder.backbone.layer1[0].conv1, "weight", 0.5)
    assert int((encoder.backbone.layer1[0].conv1.weight == 0).sum()) == 4 * 4 * 9 // 2


def test_equal_runs_are_equal_and_other_seeds_differ(images):
    def run(settings):
        encoder = tiny_encoder()
        losses = [row["loss"] for row in simclr.pretrain(encoder, images, settings, CPU)]
        return encoder.sha256(), losses

    first = run(SETTINGS)
    torch.rand(7)  # the global generator is not what the run draws from
    assert run(SETTINGS) == first
    assert run(replace(SETTINGS, seed=1))[0] != first[0]


def test_training_leaves_the_global_random_state_alone(images):
    encoder = tiny_encoder()
    state = torch.get_rng_state()
    simclr.pretrain(encoder, images, replace(SETTINGS, epochs=1), CPU)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_epochs_leave_the_weights_as_they_were(images):
    encoder = tiny_encoder()
    before = encoder.sha256()
    assert simclr.pretrain(encoder, images, replace(SETTINGS, epochs=0), CPU) == []
    assert encoder.sha256() == before


class Interrupt(Exception):
    """Stands for a killed process."""


def interrupt_in_epoch(monkeypatch, epoch):
    step, calls = simclr.training_step, []

    def counted(*arguments):
        calls.append(1)
        if len(calls) > (epoch - 1) * 3 + 1:  # 3 batches an epoch; one batch into this one
            raise Interrupt
        return step(*arguments)

    monkeypatch.setattr(simclr, "training_step", counted)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(images, tmp_path, monkeypatch, schedule):
    settings = replace(SETTINGS, epochs=4, schedule=schedule)
    whole = tiny_encoder()
    expected = simclr.pretrain(whole, images, settings, CPU)
    file = tmp_path / "checkpoint.safetensors"
    with monkeypatch.context() as patched, pytest.raises(Interrupt):
        interrupt_in_epoch(patched, 3)
        simclr.pretrain(tiny_encoder(), images, settings, CPU, file, checkpoint_seconds=0)
    resumed = tiny_encoder()
    history = simclr.pretrain(resumed, images, settings, CPU, file, checkpoint_seconds=0)
    assert [row["loss"] for row in history] == [row["loss"] for row in expected]
    assert resumed.sha256() == whole.sha256()
    # And it did resume: the epochs before the interruption were not run again.
    with safe_open(file, "pt") as saved:
        assert '"epoch": 4' in saved.metadata()["history"]


def test_resuming_does_not_repeat_finished_epochs(images, tmp_path, monkeypatch, capsys):
    file = tmp_path / "checkpoint.safetensors"
    expected = simclr.pretrain(tiny_encoder(), images, SETTINGS, CPU, file, checkpoint_seconds=0)
    with monkeypatch.context() as patched:
        interrupt_in_epoch(patched, 1)  # any second step would raise
        assert simclr.pretrain(tiny_encoder(), images, SETTINGS, CPU, file) == expected
    assert "continues after epoch 3" in capsys.readouterr().out


def test_a_checkpoint_of_another_run_is_ignored_and_told(images, tmp_path, capsys):
    file = tmp_path / "checkpoint.safetensors"
    short = replace(SETTINGS, epochs=1)
    simclr.pretrain(tiny_encoder(), images, short, CPU, file, checkpoint_seconds=0)
    for encoder, pixels, settings in (
        (tiny_encoder(), images, replace(short, seed=1)),
        (tiny_encoder(seed=1), images, short),
        (tiny_encoder(), images.flip(0), short),
    ):
        alone = tiny_encoder()
        alone.load_state_dict(encoder.state_dict())
        simclr.pretrain(encoder, pixels, settings, CPU, file, checkpoint_seconds=60)
        assert "other settings, weights or images" in capsys.readouterr().out
        simclr.pretrain(alone, pixels, settings, CPU)
        assert encoder.sha256() == alone.sha256()


def test_a_damaged_checkpoint_is_ignored_and_told(images, tmp_path, capsys):
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(b"\x80\x04 not safetensors")
    assert len(simclr.pretrain(tiny_encoder(), images, replace(SETTINGS, epochs=1), CPU, file)) == 1
    assert "not a readable checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:15], "15 images but its batch_size is 16"),
        (lambda x: x[:0], "0 images"),
        (lambda x: x.float() / 255, "uint8"),
        (lambda x: x[:, :1], "uint8"),
        (lambda x: x[0], "uint8"),
    ],
)
def test_images_that_do_not_fit_are_told(images, change, message):
    with pytest.raises(UserError, match=message):
        simclr.pretrain(tiny_encoder(), change(images), SETTINGS, CPU)


def test_a_loss_that_is_not_finite_stops_at_once_with_the_last_good_weights(images, monkeypatch):
    good = tiny_encoder()
    simclr.pretrain(good, images, replace(SETTINGS, epochs=1), CPU)
    step, calls = simclr.training_step, []

    def poisoned(model, *arguments):
        calls.append(1)
        if len(calls) == 5:  # the second batch of the second epoch
            with torch.no_grad():
                model["encoder"].backbone.conv1.weight.fill_(math.nan)
        return step(model, *arguments)

    monkeypatch.setattr(simclr, "training_step", poisoned)
    encoder = tiny_encoder()
    with pytest.raises(UserError, match="diverged in epoch 2: loss nan"):
        simclr.pretrain(encoder, images, SETTINGS, CPU)
    assert len(calls) == 5
    assert encoder.sha256() == good.sha256()


def test_a_run_that_does_not_learn_is_given_up(images, monkeypatch):
    """All images equal: their features are too, and the loss cannot leave its start value."""
    assert simclr.PATIENCE == 100
    monkeypatch.setattr(simclr, "PATIENCE", 11)
    same = images[:1].repeat(48, 1, 1, 1)
    settings = simclr.SimCLRSettings(epochs=60, batch_size=16, crop_scale_min=1.0, jitter=0.0, grayscale_probability=0)
    with pytest.raises(UserError, match=r"does not learn: after 12 steps"):
        simclr.pretrain(tiny_encoder(), same, settings, CPU)


def test_the_threshold_lies_a_little_below_the_start_value():
    for batch, temperature in ((16, 0.5), (256, 0.5), (256, 0.07), (64, 5.0)):
        start = math.log(2 * batch - 1)
        aligned = simclr.nt_xent(torch.eye(batch).repeat(2, 1), temperature).item()
        expected = start - 0.02 * (start - aligned)
        assert simclr.learning_threshold(batch, temperature) == pytest.approx(expected, rel=1e-5)
