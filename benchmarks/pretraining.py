"""SimCLR pre-training, source images per second: ours, against lightly's documented loop.

    python -m benchmarks.pretraining

The demo's encoder (ResNet-18 of width 16, 32 x 32), the same starting weights,
head, optimiser, batch and augmentation ranges for all. A source image is one
image with two views, so twice as many images pass through the encoder.

* loader: views only.  step: forward, loss, backward, Adam on given views.
  end to end: an epoch over the images.
* lightly float32 is the loop as its documentation writes it (two workers);
  lightly bfloat16 adds PyTorch's bfloat16 autocast and channels-last memory.
  Each runs in a process of its own, in turn.
* loss and kNN (k = 200, on 1,000 other images) after the end-to-end epochs, all
  of which train: speed is worth nothing if learning suffers.
"""

import argparse
from contextlib import ExitStack

import torch
from torch import nn

from benchmarks import peers
from benchmarks.remote import Remote
from benchmarks.timing import in_turn, machine, rates, show
from sslauth_utils.base.device import pick_device
from sslauth_utils.base.layout import fast_layout
from sslauth_utils.images.augment import two_views
from sslauth_utils.images.load import Images, load_images
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.features import encode
from sslauth_utils.models.heads import chance
from sslauth_utils.models.probes import knn_accuracy
from sslauth_utils.models.simclr import SimCLRSettings, gradients, projection_head, training_step

FLOAT32, BFLOAT16 = "lightly float32", "lightly bfloat16"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--images", type=int, default=2048, help="source images in one epoch")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of each process")
    options = parser.parse_args()
    facts = machine("lightly", "pillow")
    loaded = options.images // options.batch_size * options.batch_size
    with ExitStack() as running:
        loops = {name: running.enter_context(Remote(_contender, name, options)) for name in ("ours", FLOAT32, BFLOAT16)}
        epochs = {name: lambda loop=loop: loop("epoch") for name, loop in loops.items()}
        rows = _rows("end to end", in_turn(epochs, options.repeats, "end to end"), loaded)
        for row in rows:
            row |= loops[row["loop"]]("quality")
        steps = {name: lambda loop=loop: loop("step") for name, loop in loops.items()}
        rows += _rows("step", in_turn(steps, 2 * options.repeats, "step"), options.batch_size)
        loaders = {name: lambda name=name: loops[name]("load") for name in ("ours", FLOAT32)}
        rows += _rows("loader", in_turn(loaders, options.repeats, "loader"), loaded)
    level = chance(load_images("embedded_shapes", "test", 32, 1000).labels)
    facts["run"] = (
        f"ResNet-18 width {options.width}, batch {options.batch_size}, {options.repeats + 1} epochs of {loaded}, "
        f"{options.threads} threads, kNN's chance level {level:.3f}"
    )
    show("pretraining", rows, facts)


def _contender(name: str, options: argparse.Namespace) -> "Contender":
    torch.set_num_threads(options.threads)
    train = load_images("embedded_shapes", "train", 32, options.images)
    settings = SimCLRSettings(batch_size=options.batch_size)
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", options.width)
    contender = Ours if name == "ours" else Lightly
    return contender(encoder, projection_head(encoder.feature_dim), settings, train, options.device, name == BFLOAT16)


class Contender:
    """What both loops have: an encoder, images, the loss of the last epoch."""

    def __init__(
        self, encoder: nn.Module, head: nn.Module, settings: SimCLRSettings, train: Images, device: str, fast: bool
    ):
        self.encoder, self.settings, self.train, self.loss = encoder, settings, train, float("nan")
        self.device = pick_device(device)
        batch = train.images[: settings.batch_size].to(self.device)
        self.views = two_views(batch, torch.Generator().manual_seed(0))
        self.prepare(head, fast)

    def quality(self) -> dict[str, float]:
        """Loss of the last epoch and kNN accuracy on other images."""
        test = load_images("embedded_shapes", "test", 32, 1000)
        known, unknown = encode(self.encoder, self.train.images), encode(self.encoder, test.images)
        self.encoder.train()
        return {"loss": self.loss, "kNN": knn_accuracy(known, self.train.labels, unknown, test.labels)}


class Lightly(Contender):
    """`peers.Loop` behind its DataLoader."""

    def prepare(self, head: nn.Module, fast: bool) -> None:
        self.loop = peers.Loop(self.encoder, head, self.settings, self.device, fast)
        self.batches = peers.loader(self.train.images, self.settings)
        self.pair = self.views.chunk(2)

    def epoch(self) -> None:
        self.loss = self.loop.epoch(self.batches)

    def step(self) -> None:
        self.loop.step(*self.pair).item()

    def load(self) -> None:
        for _ in self.batches:
            pass


class Ours(Contender):
    """`simclr.pretrain`'s loop, an epoch at a time."""

    def prepare(self, head: nn.Module, fast: bool) -> None:
        self.model = nn.ModuleDict({"encoder": self.encoder, "head": head}).to(self.device).train()
        self.model.to(memory_format=fast_layout(self.model))
        self.images, self.generator = self.train.images.to(self.device), torch.Generator().manual_seed(0)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), self.settings.learning_rate, weight_decay=self.settings.weight_decay, fused=True
        )

    def _batches(self) -> list[torch.Tensor]:
        order = torch.randperm(len(self.images), generator=self.generator).to(self.images.device)
        return [b for b in order.split(self.settings.batch_size) if len(b) == self.settings.batch_size]

    def epoch(self) -> None:
        total = 0.0
        for batch in self._batches():
            total += training_step(self.model, self.images[batch], self.settings, self.generator).item()
            self.optimiser.step()
        self.loss = total / (len(self.images) // self.settings.batch_size)

    def step(self) -> None:
        gradients(self.model, self.views, self.settings.temperature).item()
        self.optimiser.step()

    def load(self) -> None:
        for batch in self._batches():
            two_views(self.images[batch], self.generator, **self.settings.views())[0, 0, 0, 0].item()


def _rows(measure: str, seconds: dict[str, list[float]], images: int) -> list[dict]:
    speeds = {name: rates(times, images) for name, times in seconds.items()}
    return [
        {
            "measure": measure,
            "loop": name,
            "unit": "images/s",
            **speed,
            "ours / this": speeds["ours"]["median"] / speed["median"],
            "loss": "",
            "kNN": "",
        }
        for name, speed in speeds.items()
    ]


if __name__ == "__main__":
    main()
