"""Fewer digits: rounding in its closed form, by example, and bad wishes."""

import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import normalise
from sslauth_utils.schemes.precision import round_features, truncate_features
from sslauth_utils.schemes.similarity import cosine


def test_rounding_follows_its_closed_form():
    """Uniform errors of variance 10^(-2d)/12 on D dense numbers of a unit vector: 1 - cos = D 10^(-2d)/24."""
    vectors = normalise(torch.rand(200, 2048, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5)
    for decimals in (2, 3, 4):
        measured = (1 - cosine(vectors, round_features(vectors, decimals))).mean().item()
        assert measured == pytest.approx(2048 * 10 ** (-2 * decimals) / 24, rel=0.1)
        # cutting off shifts every number down: four times the mean square, most of it along the vector
        assert (1 - cosine(vectors, truncate_features(vectors, decimals))).mean().item() >= measured * 0.9


def test_rounding_and_truncating_by_example():
    features = torch.tensor([[0.126, -0.126, 0.004, 1.995]])
    assert round_features(features, 2).tolist()[0] == pytest.approx([0.13, -0.13, 0.0, 2.0], abs=0.006)
    assert truncate_features(features, 2).tolist()[0] == pytest.approx([0.12, -0.12, 0.0, 1.99])


@pytest.mark.parametrize("decimals", [-1, 1.5])
def test_precision_refuses_decimals(decimals):
    for function in (round_features, truncate_features):
        with pytest.raises(UserError, match="whole number from 0 on"):
            function(torch.zeros(1, 2), decimals)
