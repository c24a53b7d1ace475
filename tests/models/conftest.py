"""What the tests of models share: a tiny encoder and images of noise."""

import pytest
import torch
from torch import nn

from sslauth_utils.models.encoders import (
    build_encoder,
)


@pytest.fixture(scope="session")
def pictures():
    """Nine stored images of noise."""
    return torch.randint(0, 256, (9, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def shaken():
    """Gives a module's batch norms something to have seen, so that every number matters."""

    def shake(module):
        draw = torch.Generator().manual_seed(1)
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for value in (layer.weight.data, layer.running_var):
                    value.uniform_(0.5, 1.5, generator=draw)
                for value in (layer.bias.data, layer.running_mean):
                    value.uniform_(-0.2, 0.2, generator=draw)
        return module

    return shake


@pytest.fixture
def tiny(shaken):
    """A ResNet-18 of width 4 whose every weight and buffer was drawn at random."""
    torch.manual_seed(0)
    return shaken(build_encoder("resnet18", 4)).eval()
