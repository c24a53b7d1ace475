"""Enrolment: what cannot be enrolled is told."""

import pytest
import torch
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.schemes.enrolment import enrol


class _Wrong(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: torch.full((len(x), 5), float("nan")), "NaN or infinite"),
        (lambda x: x, "one vector an image"),
        (lambda x: x.flatten(1)[:-1] if len(x) > 1 else x.flatten(1), "7 feature vectors for 8"),
    ],
    ids=["nan", "rank", "short"],
)
def test_enrolling_a_bad_encoder(make, message):
    keys = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(UserError, match=message):
        enrol(_Wrong(make), keys, ())


def test_enrolment_refuses_empty_keys_and_odd_tau(encoder):
    with pytest.raises(UserError, match="N at least 1"):
        enrol(encoder, torch.zeros(0, 3, 32, 32, dtype=torch.uint8), ())
    with pytest.raises(UserError, match=r"99.5 % is 0.995"):
        enrol(encoder, torch.zeros(2, 3, 32, 32, dtype=torch.uint8), (), tau=99.5)
