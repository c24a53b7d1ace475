"""SimCLR pre-training, source images per second: ours, against lightly's documented loop.

    python -m benchmarks.pretraining

The demo's encoder (ResNet-18 of width 16, 32 x 32), the same starting weights,
head, optimiser, batch and augmentation ranges for all. A source image is one
image with two views, so twice as many images pass through the encoder.

* loader: views only.  step: forward, loss, backward, Adam on given views.
  end to end: an epoch over the images.
* lightly float32 is the loop as its documentation writes it (two workers);
  lightly bfloat16 has our arithmetic, bfloat16 autocast and channels-last memory.
* loss and kNN (k = 200, on 1,000 other images) after the end-to-end epochs, all
  of which train: speed is worth nothing if learning suffers.
"""

import argparse
import copy

import torch
from torch import nn

from benchmarks import peers
from benchmarks.timing import in_turn, machine, rates, show
from sslauth_utils.augment import two_views
from sslauth_utils.data import load_images
from sslauth_utils.device import pick_device
from sslauth_utils.downstream import chance, knn_accuracy
from sslauth_utils.encoders import build_encoder, encode
from sslauth_utils.simclr import SimCLRSettings, gradients, projection_head, training_step

FLOAT32, BFLOAT16 = "lightly float32", "lightly bfloat16"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--images", type=int, default=2048, help="source images in one epoch")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of this process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    facts = machine("lightly", "pillow")
    train = load_images("embedded_shapes", "train", 32, options.images)
    test = load_images("embedded_shapes", "test", 32, 1000)
    settings = SimCLRSettings(batch_size=options.batch_size)
    torch.manual_seed(0)
    start = build_encoder("resnet18", options.width)
    head = projection_head(start.feature_dim)
    encoders = {name: copy.deepcopy(start) for name in ("ours", FLOAT32, BFLOAT16)}
    loops = {
        name: peers.Loop(encoders[name], copy.deepcopy(head), settings, device, fast=name == BFLOAT16)
        for name in (FLOAT32, BFLOAT16)
    }
    batches = peers.loader(train.images, settings)
    ours = Ours(encoders["ours"], copy.deepcopy(head), settings, train.images.to(device))
    losses = {}

    def epoch(name: str) -> None:
        losses[name] = ours.epoch() if name == "ours" else loops[name].epoch(batches)

    loaded = options.images // options.batch_size * options.batch_size
    seconds = in_turn({name: lambda n=name: epoch(n) for name in encoders}, options.repeats, "end to end")
    rows = _rows("end to end", seconds, loaded)
    for row in rows:
        row["loss"] = losses[row["loop"]]
        row["kNN"] = knn_accuracy(
            encode(encoders[row["loop"]], train.images), train.labels,
            encode(encoders[row["loop"]], test.images), test.labels,
        )  # fmt: skip
        encoders[row["loop"]].train()

    views = two_views(train.images[: options.batch_size].to(device), torch.Generator().manual_seed(0))
    pair = views.chunk(2)
    steps = {
        "ours": lambda: ours.step(views),
        FLOAT32: lambda: loops[FLOAT32].step(*pair).item(),
        BFLOAT16: lambda: loops[BFLOAT16].step(*pair).item(),
    }
    rows += _rows("step", in_turn(steps, 2 * options.repeats, "step"), options.batch_size)
    loaders = {"ours": ours.load, FLOAT32: lambda: [None for _ in batches]}
    rows += _rows("loader", in_turn(loaders, options.repeats, "loader"), loaded)
    facts["run"] = (
        f"ResNet-18 width {options.width}, batch {options.batch_size}, {options.repeats + 1} epochs of {loaded}, "
        f"kNN's chance level {chance(test.labels):.3f}"
    )
    show("pretraining", rows, facts)


class Ours:
    """`simclr.pretrain`'s loop, an epoch at a time."""

    def __init__(self, encoder: nn.Module, head: nn.Module, settings: SimCLRSettings, images: torch.Tensor):
        self.model = nn.ModuleDict({"encoder": encoder, "head": head}).to(images.device).train()
        self.model.to(memory_format=torch.channels_last)
        self.settings, self.images, self.generator = settings, images, torch.Generator().manual_seed(0)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    def _batches(self) -> list[torch.Tensor]:
        order = torch.randperm(len(self.images), generator=self.generator).to(self.images.device)
        return [b for b in order.split(self.settings.batch_size) if len(b) == self.settings.batch_size]

    def epoch(self) -> float:
        total = 0.0
        for batch in self._batches():
            total += training_step(self.model, self.images[batch], self.settings, self.generator).item()
            self.optimiser.step()
        return total / (len(self.images) // self.settings.batch_size)

    def step(self, views: torch.Tensor) -> None:
        gradients(self.model, views, self.settings.temperature).item()
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
