"""Cosine and SSIM against independent implementations, on inputs that tell variants apart."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import normalise
from sslauth_utils.schemes.similarity import correlations, cosine, ssim


@pytest.mark.parametrize("degrees", [0, 30, 45, 60, 90, 180])
def test_cosine_of_known_angles(degrees):
    angle = math.radians(degrees)
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    assert cosine(a, b).item() == pytest.approx(math.cos(angle), abs=1e-12)


def test_cosine_is_exactly_one_for_equal_rows_and_blind_to_scale():
    features = torch.rand(50, 128, generator=torch.Generator().manual_seed(0))
    assert (cosine(features, features) == 1).all()
    assert cosine(features, 3.7 * features).min().item() > 1 - 1e-12, "a stated blind spot: E' = c E"


def test_cosine_sees_a_change_that_float32_would_lose():
    a = torch.zeros(1, 2, dtype=torch.float64)
    a[0] = torch.tensor([1.0, 0.0])
    b = torch.tensor([[1.0, 1e-5]], dtype=torch.float64)
    assert 1 - cosine(a, b).item() == pytest.approx(0.5e-10, rel=1e-3)


def test_cosine_with_zero_rows():
    zero, one = torch.zeros(1, 4), torch.ones(1, 4)
    assert cosine(zero, zero).item() == 1 and cosine(zero, one).item() == 0


@given(st.integers(0, 10_000))
def test_cosine_is_symmetric_and_bounded(seed):
    a, b = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(cosine(a, b), cosine(b, a))
    assert cosine(a, b).abs().max() <= 1


def _scikit(a, b):
    return [
        structural_similarity(
            x.numpy(),
            y.numpy(),
            win_size=11,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=0,
            K1=0.01,
            K2=0.03,
            full=True,
        )[1][:, 5:-5, 5:-5].mean()  # valid borders, as ours
        for x, y in zip(a, b, strict=True)
    ]


@pytest.mark.parametrize("case", ["unrelated", "slightly noisy", "edges only", "inverted"])
def test_ssim_equals_scikit_image(case):
    draw = torch.Generator().manual_seed(1)
    a = torch.rand(4, 3, 32, 32, generator=draw, dtype=torch.float64)
    b = {
        "unrelated": torch.rand(4, 3, 32, 32, generator=draw, dtype=torch.float64),
        "slightly noisy": (a + 0.02 * torch.randn(4, 3, 32, 32, generator=draw, dtype=torch.float64)).clamp(0, 1),
        "edges only": a.clone(),
        "inverted": 1 - a,
    }[case]
    if case == "edges only":  # distinguishes valid from padded borders
        b[..., 0, :] = 1 - b[..., 0, :]
        b[..., :, -1] = 0
    assert ssim(a, b, data_range=1.0).tolist() == pytest.approx(_scikit(a, b), abs=1e-6)


def test_ssim_needs_its_data_range():
    a, b = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with pytest.raises(TypeError):
        ssim(a, b)
    assert ssim(a, b, data_range=255).item() > 0.95 > 0.1 > ssim(a, b, data_range=1.0).item()


@pytest.mark.parametrize("shape", [(1, 3, 32, 31), (1, 3, 8, 8), (3, 32, 32)])
def test_ssim_refuses_shapes(shape):
    with pytest.raises(UserError, match="SSIM compares two batches"):
        ssim(torch.zeros(shape), torch.zeros(1, 3, 32, 32) if shape[-1] != 8 else torch.zeros(shape), data_range=1.0)


def test_normalise_gives_unit_rows_and_keeps_zero():
    features = torch.cat([torch.rand(3, 7), torch.zeros(1, 7)])
    norms = normalise(features).norm(dim=1).numpy()
    np.testing.assert_allclose(norms, [1, 1, 1, 0], atol=1e-6)


def test_correlations_are_pearson_s():
    images, keys = torch.rand(3, 3, 4, 4), torch.rand(5, 3, 4, 4)
    found = correlations(images, keys)
    both = torch.cat([images, keys]).double().flatten(1)
    assert torch.allclose(found, torch.corrcoef(both)[:3, 3:])
    negative = correlations(1 - keys, keys).diagonal()
    assert torch.allclose(negative, torch.full((5,), -1.0, dtype=torch.float64))
    assert (correlations(torch.full((1, 3, 4, 4), 0.5), keys) == 0).all()
