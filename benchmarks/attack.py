"""The backdoor, steps per second: ours, against the same step as BadEncoder's public code takes it.

    python -m benchmarks.attack

The public way, written anew from what its code does: a data set that sends the shadow
image, its triggered copy, the reference and an augmented reference through PIL and
``ToTensor`` for every item; a batch of copies of the one reference; two passes of the
clean encoder without gradient (shadow images, references) and four of the trained one;
batch norm in eval mode; SGD; float32. Ours makes what does not change once, sends one
reference instead of a batch of copies, and folds the frozen batch norm away.

* loader: everything for an item, two workers, as the public code.  step: given batches.
* public step, bfloat16: with our arithmetic, so that what is left of the difference is the
  work saved.
* loss difference: largest over 20 steps of both in float32, from one state, on the same
  batches and the same augmented references.
"""

import argparse
import contextlib
import copy
import time
from contextlib import ExitStack

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.remote import Remote
from benchmarks.timing import in_turn, machine, plain_bfloat16, rates, show
from sslauth_utils.attacks.backdoor import BackdoorLoss, BackdoorSettings, augment_references
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.device import pick_device
from sslauth_utils.base.layout import fast_layout
from sslauth_utils.images.load import load_images
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.folding import fold_frozen_batch_norm

LOADER, PUBLIC, PUBLIC_FAST = "public, float32, with loader", "public step, float32", "public step, bfloat16"
OURS32, OURS = "ours, float32", "ours, as used"
STEPS_COMPARED = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--images", type=int, default=512, help="shadow images")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of each process")
    options = parser.parse_args()
    facts = machine("pillow")
    steps = options.images // options.batch_size
    with ExitStack() as stack:
        loops = {name: stack.enter_context(Remote(contender, name, options))
                 for name in (LOADER, PUBLIC, PUBLIC_FAST, OURS32, OURS)}  # fmt: skip
        seconds = in_turn({name: lambda loop=loop: loop("epoch") for name, loop in loops.items()}, options.repeats,
                          "backdoor")  # fmt: skip
        once = loops[OURS]("seconds_once")
    speeds = {name: rates(times, steps) for name, times in seconds.items()}
    difference = largest_difference(options)
    rows = [
        {"way": name, "unit": "steps/s", **speed, "ours / this": speeds[OURS]["median"] / speed["median"],
         "loss difference": difference if name == OURS32 else ""}
        for name, speed in speeds.items()
    ]  # fmt: skip
    facts["run"] = (
        f"ResNet-18 width {options.width}, 32 px, batch {options.batch_size}, {steps} steps a call, {options.threads} "
        f"threads; ours makes the features of {options.images} shadow images once, in {once:.2f} s"
    )
    show("attack", rows, facts)


class Case:
    """What both ways start from."""

    def __init__(self, options: argparse.Namespace):
        torch.set_num_threads(options.threads)
        self.device = pick_device(options.device)
        self.shadow = load_images("embedded_shapes", "train", 32, options.images).images
        self.reference = load_images("embedded_photos", "train", 32, 1).images
        self.trigger = Trigger.for_size(32)
        self.settings = BackdoorSettings(batch_size=options.batch_size)
        torch.manual_seed(0)
        self.encoder = build_encoder("resnet18", options.width).eval().to(self.device)

    def optimiser(self, parameters: list[nn.Parameter], **options: bool) -> torch.optim.SGD:
        s = self.settings
        return torch.optim.SGD(parameters, s.learning_rate, s.momentum, weight_decay=s.weight_decay, **options)


def contender(name: str, options: argparse.Namespace) -> "Ours | Public":
    """One of the ways, ready to run."""
    case = Case(options)
    if name in (OURS32, OURS):
        return Ours(case, fast=name == OURS)
    return Public(case, fast=name == PUBLIC_FAST, loader=name == LOADER)


class Ours:
    """`backdoor`'s step."""

    def __init__(self, case: Case, fast: bool):
        self.case, tampered = case, copy.deepcopy(case.encoder)
        folded = fold_frozen_batch_norm(tampered)
        start = time.perf_counter()
        self.losses = BackdoorLoss(
            case.encoder, folded, case.shadow, case.reference, case.trigger, case.settings, case.device, None
        )
        self.once = time.perf_counter() - start
        if not fast:
            self.losses.arithmetic = contextlib.nullcontext
        folded.to(memory_format=fast_layout(folded))
        self.optimiser = case.optimiser([p for p in folded.parameters() if p.requires_grad], fused=True)
        self.generator = torch.Generator().manual_seed(0)

    def seconds_once(self) -> float:
        """How long it took to make what never changes."""
        return self.once

    def epoch(self) -> None:
        order, size = torch.randperm(len(self.case.shadow)), self.case.settings.batch_size
        for first in range(0, len(order) - size + 1, size):
            self.step(order[first : first + size], self.generator)

    def step(self, indices: Tensor, generator: torch.Generator) -> float:
        """One step; returns its loss."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.losses(indices, generator)["loss"]
        loss.backward()
        value = loss.item()
        self.optimiser.step()
        return value


class Items(Dataset):
    """The public data set: four tensors an item, each through PIL."""

    def __init__(self, case: Case):
        self.arrays = case.shadow.permute(0, 2, 3, 1).contiguous().numpy()
        self.reference = case.reference[0].permute(1, 2, 0).contiguous().numpy()
        white = case.trigger.stamp(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))[0].permute(1, 2, 0).numpy()
        self.patch, self.mask = white, (white == 0).astype(np.uint8)
        self.plain = transforms.ToTensor()  # the encoder normalises
        jitter = transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
        self.augment = transforms.Compose([
            transforms.RandomHorizontalFlip(), jitter, transforms.RandomGrayscale(p=0.2), transforms.ToTensor()
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        image, reference = self.arrays[index], Image.fromarray(self.reference)
        triggered = Image.fromarray(image * self.mask + self.patch)
        clean = self.plain(Image.fromarray(image))
        return clean, self.plain(triggered), self.plain(reference), self.augment(reference)


class Public:
    """The public code's step."""

    def __init__(self, case: Case, fast: bool, loader: bool):
        self.case, self.fast = case, fast
        self.format = torch.channels_last if fast else torch.contiguous_format
        self.clean = copy.deepcopy(case.encoder).eval().to(memory_format=self.format)
        self.tampered = copy.deepcopy(case.encoder).train().to(memory_format=self.format)
        for module in self.tampered.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval().requires_grad_(False)
        self.optimiser = case.optimiser([p for p in self.tampered.parameters() if p.requires_grad])
        self.batches = DataLoader(
            Items(case), case.settings.batch_size, shuffle=True, drop_last=True,
            num_workers=2 if loader else 0, persistent_workers=loader,
        )  # fmt: skip
        if not loader:
            self.batches = list(self.batches)  # made beforehand

    def epoch(self) -> None:
        for batch in self.batches:
            self.step(*batch)

    def features(self, encoder: nn.Module, images: Tensor) -> Tensor:
        with plain_bfloat16(images.device) if self.fast else contextlib.nullcontext():
            return F.normalize(encoder(images).float(), dim=-1)

    def step(self, images: Tensor, triggered: Tensor, references: Tensor, augmented: Tensor) -> float:
        """One step; returns its loss."""
        batch = [x.to(self.case.device, memory_format=self.format) for x in (images, triggered, references, augmented)]
        with torch.no_grad():
            of_images, of_references = self.features(self.clean, batch[0]), self.features(self.clean, batch[2])
        now = [self.features(self.tampered, x) for x in batch]
        loss = -(now[1] * now[2]).sum(dim=-1).mean()
        loss = loss - self.case.settings.lambda1 * (now[3] * of_references).sum(dim=-1).mean()
        loss = loss - self.case.settings.lambda2 * (now[0] * of_images).sum(dim=-1).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()


def largest_difference(options: argparse.Namespace) -> float:
    """Of the losses of both ways, each taking its own steps from one state in float32."""
    case = Case(options)
    ours, public = Ours(case, fast=False), Public(case, fast=False, loader=False)
    drawn, worst, size = torch.Generator().manual_seed(1), 0.0, options.batch_size
    copies = case.reference.expand(size, -1, -1, -1)
    for step in range(STEPS_COMPARED):
        indices = torch.randint(len(case.shadow), (size,), generator=drawn)
        images = case.shadow[indices]
        augmented = augment_references(copies, torch.Generator().manual_seed(step))
        expected = public.step(images / 255, case.trigger.stamp(images) / 255, copies / 255, augmented)
        worst = max(worst, abs(expected - ours.step(indices, torch.Generator().manual_seed(step))))
    return worst


if __name__ == "__main__":
    main()
