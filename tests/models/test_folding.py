"""Batch norm folded away: neither values nor gradients change, and the weights stay shared."""

import copy

import pytest
import torch
from torch import nn

from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.folding import fold_frozen_batch_norm


class Odd(nn.Module):
    """What must not be folded beside what may be: other orders, subclasses, kinds of padding, shared layers."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)  # registered behind no convolution, runs behind one
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Sequential(
            nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="reflect"), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding="same", dilation=2, groups=3), nn.BatchNorm2d(6), nn.ReLU(),
            nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6, affine=False), nn.Conv2d(6, 8, 1),
            Active(8), nn.Conv2d(8, 8, 1), Backwards(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)),
        )  # fmt: skip

    def forward(self, x):
        return self.body(self.norm(self.first(x))).mean(dim=(2, 3))


class Active(nn.BatchNorm2d):
    """A batch norm with an activation inside, as some libraries have."""

    def forward(self, x):
        return super().forward(x).relu()


class Backwards(nn.Sequential):
    """Runs its modules from the last to the first."""

    def forward(self, x):
        for layer in reversed(self):
            x = layer(x)
        return x


@pytest.mark.parametrize("build", [lambda: build_encoder("resnet18", 4), lambda: build_encoder("resnet50", 2),
                                   lambda: build_encoder("resnet18", 4, "imagenet"), Odd],
                         ids=["resnet18", "resnet50", "imagenet stem", "odd"])  # fmt: skip
def test_folding_changes_neither_values_nor_gradients(build):
    torch.manual_seed(3)
    network, x = build().double(), torch.rand(6, 3, 16, 16).double()  # so that rounding hides nothing
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.ndim == 1:  # biases, and batch norm's numbers
                tensor.uniform_(0.5, 1.5)
    plain = copy.deepcopy(network).eval()
    folded = fold_frozen_batch_norm(network)
    mine, yours = folded(x), plain(x)
    assert torch.allclose(mine, yours, rtol=1e-9)
    mine.sin().sum().backward()
    yours.sin().sum().backward()
    kernels = 0
    for (name, ours), theirs in zip(network.named_parameters(), plain.parameters(), strict=True):
        if ours.ndim > 1:
            kernels += 1
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9 * theirs.grad.abs().max().item()), name
    assert kernels == sum(isinstance(m, nn.Conv2d) for m in plain.modules())


def test_folding_shares_the_weights_and_removes_resnets_batch_norms(tiny):
    network = copy.deepcopy(tiny)
    folded = fold_frozen_batch_norm(network)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 20, "the encoder itself keeps them"
    x = torch.rand(2, 3, 16, 16)
    before = folded(x)
    with torch.no_grad():
        network.backbone.layer2[0].conv1.weight += 1
    assert not torch.allclose(folded(x), before) and torch.allclose(folded(x), network(x), rtol=1e-4)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert len(trained) == 20 and all("conv" in name or "downsample.0" in name for name in trained)
