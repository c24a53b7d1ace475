"""Weights lie channels last while training, but never where that breaks memory."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from sslauth_utils.base.layout import fast_layout, training_layout
from sslauth_utils.base.paths import ROOT
from sslauth_utils.models.encoders import build_encoder


class Stopped(Exception):
    """Stands for anything that ends training early."""


@pytest.mark.parametrize("fails", [False, True])
def test_weights_are_channels_last_while_training_only(fails):
    model = nn.Conv2d(3, 5, 3)
    weight, values = model.weight, model.weight.detach().clone()
    try:
        with training_layout(model):
            assert model.weight.is_contiguous(memory_format=torch.channels_last)
            model(torch.ones(1, 3, 4, 4)).sum().backward()
            if fails:
                raise Stopped
    except Stopped:
        assert fails
    assert model.weight is weight and model.weight.is_contiguous() and torch.equal(model.weight, values)
    assert model.weight.grad is None


@pytest.mark.parametrize(
    ("model", "safe"),
    [
        (build_encoder("resnet18", 16), True),
        (build_encoder("resnet18", 8), False),  # its first shortcut: 1x1, stride 2, 8 channels
        (build_encoder("resnet18", 4), False),
        (build_encoder("resnet50", 4), True),  # bottlenecks are four times as wide
        (nn.Conv2d(4, 8, 1, 1), True),
        (nn.Conv2d(4, 8, 3, 2), True),
        (nn.Conv2d(16, 8, 1, 2, groups=4), False),
        (nn.Conv2d(16, 8, 1, 2), True),
        (nn.Linear(3, 2), True),
    ],
)
def test_only_strided_pointwise_convolutions_of_few_channels_are_unsafe(model, safe):
    assert fast_layout(model) == (torch.channels_last if safe else torch.contiguous_format)


@pytest.mark.parametrize("width", [4, 8, 16])
def test_training_a_narrow_encoder_leaves_the_heap_whole(width):
    """In a process of its own, whose allocator checks every block that is freed; with two threads AVX-512 failed."""
    program = f"width = {width}" + """
import torch
torch.set_num_threads(2)
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.base.layout import fast_layout, training_layout
model = build_encoder("resnet18", width).train()
with training_layout(model):
    for _ in range(10):
        model(torch.rand(33, 3, 16, 16).contiguous(memory_format=fast_layout(model))).sum().backward()
        blocks = [torch.rand(size) for size in range(17, 2000, 13)]
"""
    checked = {"MALLOC_CHECK_": "3", "LD_PRELOAD": "libc_malloc_debug.so.0"} if sys.platform == "linux" else {}
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | checked
    ran = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-500:]
