"""One side against another: by hand, and what must hold for any numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sslauth_utils.claims.contrast import Incomplete, contrast, level, of_worst_encoder
from sslauth_utils.claims.statistics import mean_interval, resamples

SEEDS = np.repeat([0, 1], 6)
PICKS, OTHERS = resamples(SEEDS), resamples(SEEDS, key_set=1)
SIDES = arrays(float, (2, 12), elements=st.floats(0.01, 1))


def test_a_level_is_a_mean_in_per_cent_with_the_interval_of_the_mean():
    values = np.linspace(0.5, 0.9, 12)
    low, high = mean_interval(values, SEEDS)
    assert level(values, PICKS) == pytest.approx((70, 100 * low, 100 * high, 12))


def test_pairs_that_differ_alike_leave_nothing_uncertain():
    first = np.linspace(0.5, 0.9, 12)
    assert contrast(first, first - 0.1, PICKS) == pytest.approx((10, 10, 10, 12))
    assert contrast(first, first / 2, PICKS, ratio=True) == pytest.approx((2, 2, 2, 12))


def test_sides_drawn_apart_are_as_uncertain_as_both_together():
    draw = np.random.default_rng(0)
    first, second, seeds = draw.normal(0.5, 0.03, 400), draw.normal(0.3, 0.04, 400), np.zeros(400)
    apart = resamples(seeds), resamples(seeds, key_set=1)
    measured, low, high, n = contrast(first, second, *apart)
    assert measured == pytest.approx(20, abs=0.5) and n == 400
    assert high - low == pytest.approx(2 * 1.96 * 100 * 0.05 / 20, rel=0.1)
    measured, low, high, _ = contrast(first, second, *apart, ratio=True)
    spread = measured * np.hypot(0.03 / 0.5, 0.04 / 0.3) / 20
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_sides_of_different_size_are_drawn_apart():
    measured, low, high, n = contrast(np.full(12, 0.5), np.full(3, 0.2), PICKS, resamples(np.zeros(3)))
    assert (measured, low, high, n) == pytest.approx((30, 30, 30, 12))


@given(SIDES)
def test_turning_the_sides_round_turns_the_answer_round(sides):
    first, second = sides
    measured, low, high, _ = contrast(first, second, PICKS)
    assert contrast(second, first, PICKS)[:3] == pytest.approx((-measured, -high, -low))
    measured, low, high, _ = contrast(first, second, PICKS, OTHERS, ratio=True)
    turned = contrast(second, first, OTHERS, PICKS, ratio=True)
    assert turned[0] == pytest.approx(1 / measured)
    # A quantile is interpolated between two draws, and so is the turned one: both lie between the same two.
    draws = np.sort(first[PICKS].mean(axis=1) / second[OTHERS].mean(axis=1))
    for share, bound, other in ((0.025, low, 1 / turned[2]), (0.975, high, 1 / turned[1])):
        place = int(share * (len(draws) - 1))
        for value in (bound, other):
            assert draws[place] * (1 - 1e-9) <= value <= draws[place + 1] * (1 + 1e-9)


@given(SIDES)
def test_a_difference_of_pairs_is_the_level_of_their_differences(sides):
    assert contrast(*sides, PICKS) == level(sides[0] - sides[1], PICKS)


def test_there_is_no_ratio_to_nothing():
    with pytest.raises(Incomplete):
        contrast(np.ones(12), np.zeros(12), PICKS, ratio=True)
    assert contrast(np.ones(12), np.zeros(12), PICKS)[0] == 100


def test_the_worst_encoder_is_one_of_one_scenario_and_seed():
    rows = pd.DataFrame({"scenario": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1], "value": [3, 1, 4, 2]})

    def value(encoder):
        return encoder["value"].sum(), 0, 0, len(encoder)

    assert of_worst_encoder(rows, {"rule": {"at_least": 5}}, value) == (1, 0, 0, 1)
    assert of_worst_encoder(rows, {"rule": {"at_most": 0}}, value) == (4, 0, 0, 1)
