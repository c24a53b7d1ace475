"""What the tests of schemes share: a tiny encoder and its record."""

import pytest
import torch

from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.schemes.enrolment import enrol


@pytest.fixture(scope="session")
def encoder():
    torch.manual_seed(0)
    return build_encoder("resnet18", 4).eval()


@pytest.fixture(scope="session")
def record(encoder):
    keys = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return enrol(encoder, keys, ("ini", "min"), depth=4, steps=3)
