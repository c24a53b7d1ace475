"""All checks at one false-alarm rate: a detection is a number above all that honest changes gave."""

import numpy as np
import pandas as pd
import pytest
from crossing_world import SEES, crossed

from sslauth_utils.claims import measures_crossing
from sslauth_utils.claims.contrast import Incomplete
from sslauth_utils.claims.crossing import ALL_HONEST, detections, smallest_seen


def rows(**changed):
    return pd.DataFrame(crossed(**changed))


def test_a_number_as_large_as_an_honest_one_is_no_detection():
    found = detections(rows())
    assert (found["threshold"] == 0.25).all()
    assert (found["detected"] == (found["value"] > 0.25)).all() and not found["detected"].all()
    still = rows()
    still.loc[still["kind"] == "tamper", "value"] = 0.25
    assert not detections(still)["detected"].any()


def test_every_model_has_its_own_threshold():
    noisy = rows()
    noisy.loc[(noisy["seed"] == 1) & (noisy["kind"] == "run"), "value"] = 2.0
    found = detections(noisy)
    assert found[found["seed"] == 0]["detected"].any() and not found[found["seed"] == 1]["detected"].any()


def test_honest_changes_that_are_allowed_as_well_cost_the_smallest_tampers():
    strict, mild = (smallest_seen(detections(rows(), kinds)) for kinds in (("run",), ALL_HONEST))
    both = strict.merge(mild, on=["scenario", "seed", "method", "number", "tamper"], suffixes=("", "_mild"))
    assert (both["seen_mild"] > both["seen"]).all()


@pytest.mark.parametrize(("method", "expected"), SEES.items())
def test_smallest_seen_is_where_all_stronger_ones_are_seen_too(method, expected):
    seen = smallest_seen(detections(rows()))
    assert seen[seen["method"] == method]["seen"].tolist() == pytest.approx([expected] * sum(seen["method"] == method))


def test_a_gap_in_the_middle_counts_from_behind_it():
    holed = rows(sees={"DBI": 1e-6})
    holed.loc[(holed["kind"] == "tamper") & (holed["strength"] == 1e-4), "value"] = 0.0
    assert set(smallest_seen(detections(holed))["seen"]) == {1e-3}
    holed.loc[(holed["kind"] == "tamper") & (holed["strength"] == 1e-3), "value"] = 0.0
    assert set(smallest_seen(detections(holed))["seen"]) == {np.inf}


@pytest.mark.parametrize(
    ("sees", "expected"),
    [
        ({"DBI": 1e-5, "DeepAuth": 1e-4}, 0.1),
        ({"DBI": 1e-4, "DeepAuth": 1e-5}, 10),
        ({"DBI": 1e-3, "DeepAuth": 1.0}, 0.1),  # missed at 1e-3, the strongest: as if seen at 1e-2
    ],
)
def test_ratio(sees, expected):
    part = rows(sees=sees)
    measured, low, high, n = measures_crossing.smallest_seen_ratio(part, 0.995, {"versus": "DeepAuth"})
    assert (measured, low, high) == pytest.approx((expected,) * 3) and n == 2


def test_incomplete():
    lonely = rows()
    for part in (lonely[lonely["kind"] == "tamper"], lonely[lonely["kind"] == "run"]):
        with pytest.raises(Incomplete):
            detections(part)
    pair = rows(sees={"DBI": 1e-5, "DeepAuth": 1e-4})
    half = pair[(pair["method"] == "DBI") | (pair["seed"] == 0)]
    for part, versus in ((half, "DeepAuth"), (pair, "AID"), (rows(), "DeepAuth")):
        with pytest.raises(Incomplete):
            measures_crossing.smallest_seen_ratio(part, 0.995, {"versus": versus})
