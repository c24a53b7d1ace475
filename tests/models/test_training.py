"""The shared loop: batches and rows, resuming bit for bit, stopping with the last good state."""

import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.models import simclr
from sslauth_utils.models.classifiers import build_network
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.supervised import SupervisedSettings, train_supervised
from sslauth_utils.models.training import train

COUNT, BATCH = 14, 4  # three batches, two images left out


class Killed(Exception):
    """Stands for a killed process."""


class Toy:
    """A linear map trained on noisy lines; `fate` happens at a step."""

    def __init__(self, optimiser=torch.optim.Adam, fate=None, at=0, **options):
        torch.manual_seed(0)
        self.model = nn.Linear(3, 2)
        self.optimiser = optimiser(self.model.parameters(), lr=0.1, **options)
        self.inputs = torch.arange(COUNT * 3.0).view(COUNT, 3).cos()
        self.fate, self.at, self.seen = fate, at, []

    def step(self, indices, number, generator):
        self.seen.append((number, indices.tolist()))
        if self.fate is not None and number >= self.at:
            if isinstance(self.fate, float):
                return {"loss": torch.tensor(self.fate), "part": torch.tensor(1.0)}
            raise self.fate
        noise = 0.1 * torch.randn(len(indices), 2, generator=generator)
        loss = (self.model(self.inputs[indices]) - self.inputs[indices, :2] - noise).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        return {"loss": loss.detach(), "part": torch.tensor(float(number))}

    def train(self, epochs=4, seed=0, **options):
        return train("toy", self.model, self.optimiser, self.step, COUNT, BATCH, epochs, seed, **options)

    def weights(self):
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


def epochs_saved(path):
    with safe_open(path, "pt") as file:
        return len(json.loads(file.metadata()["history"]))


def without_speed(history):
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in history]


def test_every_epoch_is_a_new_permutation_in_full_batches():
    toy = Toy()
    toy.train(epochs=3)
    assert [number for number, _ in toy.seen] == list(range(9)), "steps are counted over all epochs"
    epochs = [[i for _, indices in toy.seen[first : first + 3] for i in indices] for first in (0, 3, 6)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == 12 and set(epoch) <= set(range(COUNT))
    assert epochs[0] != epochs[1] != epochs[2]


def test_rows_are_means_over_the_steps_and_what_after_epoch_adds():
    given = []

    def after_epoch(row):
        given.append(dict(row))
        return {"twice": 2 * row["epoch"]}

    toy = Toy()
    history = toy.train(epochs=2, after_epoch=after_epoch)
    assert [row["part"] for row in history] == [1.0, 4.0], "means of 0, 1, 2 and of 3, 4, 5"
    assert [row["epoch"] for row in history] == [1, 2] and [row["twice"] for row in history] == [2, 4]
    assert all(row["images_per_second"] > 0 for row in history)
    assert [row["part"] for row in given] == [1.0, 4.0] and "twice" not in given[0]


def test_training_learns_and_the_seed_decides_everything():
    def outcome(seed):
        toy = Toy()
        return toy.train(epochs=30, seed=seed)[-1]["loss"], toy.weights()

    (loss, weights), (_, again), (_, other) = outcome(0), outcome(0), outcome(1)
    assert loss < 0.05
    assert torch.equal(weights, again) and not torch.equal(weights, other)


@pytest.mark.parametrize(
    ("optimiser", "options"),
    [
        (torch.optim.Adam, {"fused": True}),
        (torch.optim.Adam, {"fused": False}),
        (torch.optim.SGD, {"momentum": 0.9, "fused": True}),
        (torch.optim.SGD, {"momentum": 0.0, "fused": False}),
    ],
    ids=["fused Adam", "Adam", "fused SGD with momentum", "SGD without state"],
)
@pytest.mark.parametrize("killed_at", [3, 7, 11])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, optimiser, options, killed_at):
    file = tmp_path / "checkpoint.safetensors"
    whole = Toy(optimiser, **options)
    expected = whole.train()
    with pytest.raises(Killed):
        Toy(optimiser, Killed(), killed_at, **options).train(checkpoint=file, checkpoint_seconds=0)
    assert epochs_saved(file) == killed_at // 3
    resumed = Toy(optimiser, **options)
    history = resumed.train(checkpoint=file, checkpoint_seconds=0)
    assert torch.equal(resumed.weights(), whole.weights())
    assert without_speed(history) == without_speed(expected)
    assert resumed.seen[0][0] == killed_at // 3 * 3, "finished epochs are not run again"


def test_a_checkpoint_is_written_no_oftener_than_asked(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    Toy().train(checkpoint=file, checkpoint_seconds=1000)
    assert not file.exists()


def test_checkpoints_of_another_run_or_damaged_are_left_and_told(tmp_path, capsys):
    file = tmp_path / "checkpoint.safetensors"
    fresh = Toy()
    fresh.train(epochs=2)
    Toy().train(epochs=2, run="other", checkpoint=file, checkpoint_seconds=0)
    for content, message in ((None, "other settings, weights or images"), (b"\0" * 99, "not a readable checkpoint")):
        if content:
            file.write_bytes(content)
        toy = Toy()
        toy.train(epochs=2, run="this", checkpoint=file, checkpoint_seconds=1000)
        assert message in capsys.readouterr().out
        assert torch.equal(toy.weights(), fresh.weights())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_diverging_loss_stops_with_the_last_good_state(tmp_path, bad):
    file = tmp_path / "checkpoint.safetensors"
    good = Toy()
    good.train(epochs=2)
    toy = Toy(fate=bad, at=7)
    with pytest.raises(UserError) as caught:
        toy.train(checkpoint=file, checkpoint_seconds=1000)
    assert str(caught.value) == (
        f"toy diverged in epoch 3: loss {bad}, part 1.0; lower its learning rate (0.1). "
        "The state after epoch 2 is kept."
    )
    assert torch.equal(toy.weights(), good.weights()), "the step before the bad one is undone too"
    assert epochs_saved(file) == 2
    whole, resumed = Toy(), Toy()
    whole.train()
    resumed.train(checkpoint=file)
    assert torch.equal(resumed.weights(), whole.weights())


def test_diverging_at_once_leaves_no_checkpoint_and_the_start(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    toy, start = Toy(fate=math.nan), Toy()
    with pytest.raises(UserError, match="The state after epoch 0 is kept"):
        toy.train(checkpoint=file)
    assert torch.equal(toy.weights(), start.weights()) and not file.exists()


def test_after_epoch_may_stop_the_run(tmp_path):
    file = tmp_path / "checkpoint.safetensors"

    def give_up(row):
        if row["epoch"] == 3:
            raise UserError("It does not learn.")
        return {}

    toy, good = Toy(), Toy()
    good.train(epochs=2)
    with pytest.raises(UserError, match=r"^It does not learn\.$"):
        toy.train(checkpoint=file, after_epoch=give_up)
    assert torch.equal(toy.weights(), good.weights()) and epochs_saved(file) == 2


@pytest.mark.parametrize("kind", ["text", "weights"])
def test_a_file_that_is_no_checkpoint_is_kept_beside_it(tmp_path, capsys, kind):
    file, copies = tmp_path / "model.safetensors", []
    for number in (1, 2):
        if kind == "text":
            file.write_text("of somebody's")
        else:
            save_file({"weight": torch.ones(2)}, file, {"of": "somebody's"})
        content = file.read_bytes()
        Toy().train(epochs=2, run="this", checkpoint=file, checkpoint_seconds=0)
        copies.append(tmp_path / f"model.safetensors.kept{number}")
        assert copies[-1].read_bytes() == content
        assert f"was no checkpoint; it is kept as {copies[-1].name}" in capsys.readouterr().out
    Toy().train(epochs=2, run="other", checkpoint=file, checkpoint_seconds=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in [file, *copies])


def test_a_checkpoint_lies_at_home_and_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Toy().train(epochs=1, run="this", checkpoint="~/c.safetensors", checkpoint_seconds=0)
    assert (tmp_path / "c.safetensors").is_file()
    with pytest.raises(UserError, match="is a folder"):
        Toy().train(epochs=1, run="this", checkpoint=tmp_path)


def test_what_is_trained_in_place_must_not_be_frozen(tmp_path):
    encoder = build_encoder("resnet18", 2).requires_grad_(False)
    before = encoder.sha256()
    with pytest.raises(UserError, match="All weights of the model are frozen"):
        simclr.pretrain(encoder, IMAGES, simclr.SimCLRSettings(epochs=1, batch_size=8), "cpu")
    classifier = build_network("small_cnn", 3, size=8).requires_grad_(False)
    with pytest.raises(UserError, match="All weights of the model are frozen"):
        train_supervised(classifier, IMAGES, [0, 1, 2, 0] * 4, SupervisedSettings(epochs=1, batch_size=8), "cpu")
    assert encoder.sha256() == before
    encoder.backbone.layer4.requires_grad_()
    simclr.pretrain(encoder, IMAGES, simclr.SimCLRSettings(epochs=1, batch_size=8), "cpu")
    assert encoder.sha256() != before


def test_a_classifier_whose_training_fails_is_left_in_eval_mode():
    classifier = build_network("small_cnn", 3, size=8)
    settings = SupervisedSettings(epochs=1, batch_size=8, learning_rate=1e30)
    with pytest.raises(UserError, match="diverged"):
        train_supervised(classifier, IMAGES, [0, 1, 2, 0] * 4, settings, "cpu")
    assert not any(module.training for module in classifier.modules())


@pytest.mark.parametrize("device", ["cuda:77", "gpu", "meta", "", 3.5])
def test_a_device_that_is_not_here_is_told(device):
    with pytest.raises(UserError, match=r"device"):
        train_supervised(
            build_network("small_cnn", 3, size=8), IMAGES, [0, 1, 2, 0] * 4, SupervisedSettings(epochs=1, batch_size=8),
            device,
        )  # fmt: skip


IMAGES = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
