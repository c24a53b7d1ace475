"""Batch norm folded away: neither values nor gradients change, and the weights stay shared."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from sslauth_utils.models.classifiers import build_network
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.folding import can_be_folded, fold_batch_norm, fold_frozen_batch_norm
from sslauth_utils.schemes.honest_classifier import honest_changes


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


class InOrderOfAnother(nn.Module):
    """Convolutions and batch norms registered in another order than they run in."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).mean(dim=(2, 3))


def one_activation_twice():
    """The second batch norm runs behind the activation that it seems to be registered before."""
    relu = nn.ReLU()
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), relu, nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), relu, nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def one_convolution_twice():
    layer = nn.Conv2d(3, 3, 3)
    return nn.Sequential(layer, layer, nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def hooked():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network[0].register_forward_hook(lambda module, given, out: 2 * out)
    return network


def with_ordinary_statistics(network, size):
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.rand(4, 3, size, size, dtype=next(network.parameters()).dtype))
    return network.eval()


@pytest.mark.parametrize(
    ("build", "size", "folds"),
    [
        (InOrderOfAnother, 16, False),
        (one_activation_twice, 16, False),
        (one_convolution_twice, 16, False),
        (hooked, 16, False),
        (Odd, 16, True),
        (lambda: timm_model("test_efficientnet"), 64, False),
        (lambda: torchvision.models.resnet18(weights=None, num_classes=4), 32, True),
        (lambda: torchvision.models.resnet50(weights=None, num_classes=4), 32, True),
        (lambda: build_network("resnet20", 4, 4), 32, True),
        (lambda: build_network("resnet18", 4, 4), 32, True),
        (lambda: build_network("vgg16", 4, 4), 32, True),
        (lambda: build_network("small_cnn", 4, size=8), 8, True),
    ],
    ids=[
        "order", "activation", "convolution", "hook", "odd", "timm", "tv-resnet18", "tv-resnet50", "resnet20",
        "resnet18", "vgg16", "small_cnn",
    ],
)  # fmt: skip
def test_folding_for_deployment_keeps_the_function_or_is_not_done(build, size, folds):
    torch.manual_seed(0)
    network, images = with_ordinary_statistics(build().double(), size), torch.rand(2, 3, size, size).double()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    with torch.no_grad():
        assert torch.allclose(folded(images), network(images), rtol=1e-9)
    assert can_be_folded(network) is folds
    assert (batch_norms(folded) < batch_norms(network)) is folds
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("build", [InOrderOfAnother, lambda: build_network("small_cnn", 4, size=8)], ids=["not", "may"])
def test_folding_is_an_honest_change_only_where_it_can_be_done(build):
    network = with_ordinary_statistics(build(), 8)
    names = [change.name for change in honest_changes(network)]
    assert ("batch norm folded" in names) is can_be_folded(network)


def batch_norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def timm_model(name):
    import timm

    return timm.create_model(name, pretrained=False, num_classes=4)
