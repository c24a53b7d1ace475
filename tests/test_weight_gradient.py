"""Weight gradients by unfolding: the same sums as PyTorch's, only where they are meant."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sslauth_utils import weight_gradient
from sslauth_utils.encoders import build_encoder
from sslauth_utils.weight_gradient import UnfoldedWeightGradients


@pytest.fixture
def taken(monkeypatch):
    """Shapes of the weights whose gradient was computed by unfolding."""
    shapes, compute = [], weight_gradient._weight_gradient

    def noted(x, gradient, shape, *rest):
        shapes.append(tuple(shape))
        return compute(x, gradient, shape, *rest)

    monkeypatch.setattr(weight_gradient, "_weight_gradient", noted)
    return shapes


def gradients(x, weight, bias, ours, **settings):
    leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    if ours:
        with UnfoldedWeightGradients():
            y = F.conv2d(*leaves, **settings)
    else:
        y = F.conv2d(*leaves, **settings)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    return y.detach(), [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("kernel", "height", "width", "settings"),
    [
        (3, 4, 4, {"padding": 1}),
        (3, 7, 4, {"padding": 1, "stride": 2}),
        (3, 5, 3, {"padding": (2, 1), "stride": (1, 2)}),
        (1, 4, 4, {"stride": 2}),
        (2, 3, 4, {}),
        (3, 1, 1, {"padding": 1}),
    ],
)
def test_the_sums_are_those_of_float64(taken, layout, kernel, height, width, settings):
    """Small whole numbers: every product and sum is exact in bfloat16's inputs and float32's sums."""
    random = torch.Generator().manual_seed(0)
    x = torch.randint(-2, 3, (3, 80, height, width), generator=random).double()
    weight = torch.randint(-2, 3, (5, 80, kernel, kernel), generator=random).double()
    leaves = [tensor.to(torch.bfloat16).contiguous(memory_format=layout) for tensor in (x, weight)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    with UnfoldedWeightGradients():
        y = F.conv2d(*leaves, **settings)
    direction = torch.randint(-1, 2, y.shape, generator=random).double()
    y.backward(direction.to(torch.bfloat16))
    exact = [tensor.requires_grad_() for tensor in (x, weight)]
    F.conv2d(*exact, **settings).backward(direction)
    assert taken == [tuple(weight.shape)]
    for leaf, wanted in zip(leaves, exact, strict=True):
        assert torch.equal(leaf.grad, wanted.grad.to(torch.bfloat16)) and wanted.grad.abs().max() > 3


def test_a_bias_gets_its_gradient(taken):
    x, weight, bias = torch.rand(2, 64, 2, 2), torch.rand(3, 64, 3, 3), torch.rand(3)
    values = [tensor.to(torch.bfloat16) for tensor in (x, weight, bias)]
    y, ours = gradients(*values, ours=True, padding=1)
    plain_y, plain = gradients(*values, ours=False, padding=1)
    assert len(taken) == 1 and torch.equal(y, plain_y)
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        ({"channels": 63}, {"padding": 1}),  # fewer than 16 for each of 4 columns
        ({"dtype": torch.float32}, {"padding": 1}),
        ({}, {"padding": 1, "groups": 2}),
        ({}, {"padding": 2, "dilation": 2}),
        ({}, {"padding": "same"}),
        ({"trained": False}, {"padding": 1}),
    ],
)
def test_other_convolutions_are_pytorchs_to_the_bit(taken, change, settings):
    channels, dtype = change.get("channels", 64), change.get("dtype", torch.bfloat16)
    torch.manual_seed(0)
    values = torch.rand(2, channels, 4, 4), torch.rand(4, channels // settings.get("groups", 1), 3, 3)
    x, weight = (value.to(dtype) for value in values)
    found = []
    for context in (UnfoldedWeightGradients, torch.enable_grad):
        a, b = x.clone().requires_grad_(), weight.clone().requires_grad_(change.get("trained", True))
        with context():
            F.conv2d(a, b, **settings).float().square().sum().backward()
        found.append([a.grad, b.grad])
    assert taken == [] and torch.equal(found[0][0], found[1][0])
    assert found[0][1] is found[1][1] is None or torch.equal(found[0][1], found[1][1])


def test_an_encoder_under_autocast_gets_float32_gradients_close_to_pytorchs(taken):
    torch.manual_seed(0)
    encoder, x = build_encoder("resnet18", 16).train(), torch.rand(8, 3, 32, 32)
    found = []
    for context in (UnfoldedWeightGradients, torch.enable_grad):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16), context():
            features = encoder(x)
        features.float().square().mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in encoder.parameters()]))
    ours, plain = found
    assert ours.dtype == torch.float32
    assert F.cosine_similarity(ours, plain, dim=0) > 0.999
    # The four 3x3 convolutions and the shortcut that make 4x4 pixels out of 64 or 128 channels.
    assert sorted(taken) == sorted([(128, 64, 3, 3), (128, 64, 1, 1), *3 * [(128, 128, 3, 3)]])


def test_without_gradients_nothing_is_taken():
    layer, x = nn.Conv2d(64, 8, 3, padding=1).bfloat16(), torch.rand(1, 64, 4, 4).bfloat16()
    with torch.no_grad(), UnfoldedWeightGradients():
        y = layer(x)
    assert y.grad_fn is None and torch.equal(y, layer(x).detach())
