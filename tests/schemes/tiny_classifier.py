"""A classifier small enough for tests, and images for it."""

import torch
from torch import nn


def tiny_classifier(classes=5, seed=0, size=4, width=16):
    """Two convolutions with batch norm and two linear layers, random but fixed, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
            nn.Linear(8 * size * size, width), nn.ReLU(), nn.Linear(width, classes),
        )  # fmt: skip
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(3)  # so that classes lie apart
            model[-1].bias.zero_()
            scores = model.eval()(some_images(200, 99, size))
            model[-1].bias.sub_(scores.mean(dim=0))  # every class is somebody's
    return model


def some_images(count, seed=0, size=4):
    """Float (count, 3, size, size) in [0, 1]."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


class Counting(nn.Module):
    """A network that changes a buffer of its own at each pass, in place."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.network(x)


class Reassigning(Counting):
    """The same, with a new tensor in place of the old one."""

    def forward(self, x):
        self.calls = self.calls + 1
        return self.network(x)
