"""The claims on sample pairs: the printed numbers are the paper's, and what their measures measure."""

import numpy as np
import pandas as pd
import pytest
from pairs_world import of_samples
from printed_pairs import MODELS, TABLE_I, TABLE_II, TABLE_III, TABLE_V, cells

from sslauth_utils.claims import measures_pairs, pair_rates
from sslauth_utils.claims.contrast import Incomplete
from sslauth_utils.claims.cuts import scenarios_of
from sslauth_utils.claims.families import read_claims
from sslauth_utils.study.profiles import load_profile, profile_names
from sslauth_utils.study.rows import select

CLAIMS = [claim for claim in read_claims() if claim["notebook"] in ("20_sensitive_samples", "21_sample_pairing")]
PRINTED = [claim for claim in CLAIMS if isinstance(claim["paper"], int | float)]


def test_every_printed_rate_has_its_claim_and_no_claim_has_another():
    rates = [claim for claim in PRINTED if claim["measure"] not in ("cost_ratio", "share")]
    stated = {
        (where["scenario"], where["method"], where["tamper"], where.get("strength"), claim["measure"], claim["paper"],
         claim["source"].removeprefix("Sample pairs, ")) for claim in rates for where in [claim["where"]]
    }  # fmt: skip
    assert stated == set(cells()) and len(rates) == len(cells())


def test_the_classifiers_accuracies_are_table_i_s():
    found = {claim["where"]["scenario"]: claim["paper"] for claim in PRINTED if claim["measure"] == "share"}
    assert found == {MODELS[data][0]: accuracy for data, accuracy in TABLE_I.items()}


def test_every_classifier_of_every_profile_is_asked_at_its_own_step():
    """So that an order holds a new one as well; VGG16 has 1e-4, the others 1e-6 (§IV-A)."""
    asked = {}
    for claim in CLAIMS:
        if claim["id"].startswith("pairs-fig3-smallest"):
            asked |= dict.fromkeys(claim["where"]["scenario"], claim["where"]["method"])
    for name in profile_names():
        profile = load_profile(name)
        for model in scenarios_of(profile, "21_sample_pairing"):
            wanted = "pairs 0.0001" if profile.models[model]["arch"] == "vgg16" else "pairs 1e-06"
            assert asked[model] == wanted, f"{model} of {name}"


def test_orders_are_judged_at_the_paper_s_backdoor_and_one_grid_of_weights():
    for claim in CLAIMS:
        wanted = {"backdoor": 1e-5, "8-bit weights": "a layer"}.get(str(claim["where"].get("tamper")))
        assert wanted is None or claim["where"]["strength"] == wanted, claim["id"]


def test_a_strength_in_words_is_taken_as_it_stands():
    rows = pd.DataFrame({"tamper": ["8-bit weights"] * 2 + ["pruning"], "strength": ["a layer", "a channel", "0.1"]})
    [found] = select(rows, {"tamper": "8-bit weights", "strength": "a layer"})["strength"]
    assert found == "a layer"
    assert select(rows, {"strength": 0.1})["tamper"].tolist() == ["pruning"]


def test_the_ratios_of_seconds_follow_from_table_v():
    found = {
        (claim["where"]["scenario"], claim["where"]["strength"], claim["where"]["quantity"][0]): claim["paper"]
        for claim in PRINTED if claim["measure"] == "cost_ratio"
    }  # fmt: skip
    wanted = {}
    for data, by_count in TABLE_V.items():
        for count, (dbi, aid, theirs) in by_count.items():
            wanted[MODELS[data][0], count, "seconds AID"] = round(aid / dbi, 2)
            wanted[MODELS[data][0], count, "seconds pairs"] = round(theirs / dbi, 2)
    assert found == wanted


def test_the_printed_pairs_of_singles_are_independent_within_the_rules_distance():
    """Why the rule for random pairs is wider."""
    rows = [*TABLE_II.values(), *(row for of in TABLE_III.values() for row in of.values())]
    away = [abs(100 * (1 - (1 - row[single] / 100) ** 2) - row[single + 1]) for row in rows for single in (1, 3)]
    assert 14 < max(away) < 20


def test_printed_numbers_are_decided_by_the_paper_s_models_only():
    assert all(claim["tested_in"] == ["paper"] for claim in PRINTED)


# --- measures ---------------------------------------------------------------------------------------------------------


def together(*parts):
    return pd.DataFrame([row for part in parts for row in part])


ABOUT = {"scenario": "m", "kind": "tamper", "tamper": "t", "strength": 1}


def test_a_pair_detects_by_either_image_and_a_single_image_by_itself():
    rows = together(of_samples(60, 25, method="pairs 1e-06", **ABOUT))
    assert measures_pairs.detected(rows, 0, {})[0] == pytest.approx(60)
    assert measures_pairs.first_detected(rows, 0, {})[0] == pytest.approx(25)
    _, low, high, n = measures_pairs.detected(rows, 0, {})
    assert low < 60 < high and n == 200 and low > 45 and high < 75


def test_random_pairs_are_counted_over_all_pairings_within_a_model():
    rows = together(of_samples(30, method="DBI", **ABOUT))
    wanted = 100 * (1 - 70 * 69 / (100 * 99))
    assert measures_pairs.random_pairs_detected(rows, 0, {})[0] == pytest.approx(wanted)
    [rate] = set(pair_rates.rates(rows)["random pair"].round(9))
    assert rate == pytest.approx(wanted)


def test_nothing_detected_leaves_room_above_zero():
    rows = together(of_samples(0, method="DBI", **ABOUT))
    measured, low, high, _ = measures_pairs.detected(rows, 0, {})
    assert measured == 0 == low and 0.5 < high < 5


def test_gaps_compare_with_single_images_or_with_random_pairs():
    rows = together(of_samples(80, 50, method="pairs 1e-06", **ABOUT), of_samples(30, method="DBI", **ABOUT))
    claim = {"versus": "DBI"}
    assert measures_pairs.detected_gap(rows, 0, claim)[0] == pytest.approx(50)
    assert measures_pairs.first_detected_gap(rows, 0, claim)[0] == pytest.approx(20)
    pairs = 100 * (1 - 70 * 69 / (100 * 99))
    assert measures_pairs.gap_to_random_pairs(rows, 0, claim)[0] == pytest.approx(80 - pairs)
    with pytest.raises(Incomplete):
        measures_pairs.detected_gap(rows, 0, {"versus": "AID"})


def test_two_tampers_are_compared_by_one_method():
    rows = together(of_samples(20, method="DBI", **ABOUT), of_samples(30, method="DBI", **ABOUT | {"tamper": "u"}))
    assert measures_pairs.gap_to_tamper(rows, 0, {"versus": "u"})[0] == pytest.approx(-10)
    with pytest.raises(Incomplete):
        measures_pairs.gap_to_tamper(rows, 0, {"versus": "v"})


def test_a_tamper_counts_above_the_worst_way_of_running_the_untouched_model():
    null = [of_samples(share, method="pairs 1e-06", scenario="m", kind="run", tamper=name, strength="")
            for name, share in (("threads", 1), ("oneDNN off", 12))]  # fmt: skip
    cast = of_samples(90, method="pairs 1e-06", scenario="m", kind="cast", tamper="weights stored as", strength="x")
    rows = together(of_samples(80, method="pairs 1e-06", **ABOUT), *null, cast)
    assert measures_pairs.false_alarm_rate(rows, 0, {})[0] == pytest.approx(12)
    assert measures_pairs.above_false_alarms(rows, 0, {})[0] == pytest.approx(68)
    assert pair_rates.false_alarms(rows)["pairs 1e-06"] == pytest.approx(12)
    with pytest.raises(Incomplete):
        measures_pairs.above_false_alarms(rows[rows["kind"] != "run"], 0, {})


def test_costs_are_compared_model_by_model():
    lines = [
        {"scenario": name, "seed": 0, "strength": count, "quantity": f"seconds {core}", "value": value}
        for name, count, values in (("a", 150, (1.0, 1.0)), ("a", 300, (4.0, 1.0)), ("b", 150, (8.0, 1.0)))
        for core, value in zip("xy", values, strict=True)
    ]
    claim = {"where": {"quantity": ["seconds x", "seconds y"]}}
    assert measures_pairs.cost_ratio(pd.DataFrame(lines), 0, claim) == pytest.approx((4.0, 2.0, 8.0, 2))
    with pytest.raises(Incomplete):
        measures_pairs.cost_ratio(pd.DataFrame(lines[:5]), 0, claim)


def test_models_and_not_samples_are_replicates():
    """Two models that differ leave a wide interval, however many samples each has."""
    parts = []
    for seed, share in ((0, 20), (1, 80)):
        parts.append([row for row in of_samples(share, method="DBI", **ABOUT) if row["seed"] == seed])
    measured, low, high, _ = measures_pairs.detected(together(*parts), 0, {})
    assert measured == pytest.approx(50) and low < 25 and high > 75
    assert np.isfinite([low, high]).all()
