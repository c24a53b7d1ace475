"""Measures of claims: every one against a computation by hand on a few rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, f

from sslauth_utils.claims import near
from sslauth_utils.claims.contrast import Incomplete, worst
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.findings import read_findings
from sslauth_utils.claims.measures import MEASURES
from sslauth_utils.claims.tolerance import Matched
from sslauth_utils.study.rows import select

TAU = 0.995


# --- agreement and verdicts -------------------------------------------------------------------------------------------


def frame(*lines, **constant):
    """Rows from (scheme, key, strength, similarity)."""
    about = {"scenario": "cifar10", "seed": 0, "keys": "ood", "tamper": "pruning"} | constant
    return pd.DataFrame([about | dict(zip(("scheme", "key", "strength", "similarity"), line, strict=True))
                         for line in lines])  # fmt: skip


def measure(name, rows, **claim):
    measured, low, high, n = MEASURES[name](rows, TAU, claim)
    assert low <= measured + 1e-12 and measured <= high + 1e-12
    return pytest.approx(measured), n


FOUR = frame(("DCmp", 0, 0.1, 1.0), ("DCmp", 1, 0.1, 0.996), ("DCmp", 2, 0.1, 0.995), ("DCmp", 3, 0.1, 0.9))
#: as in real rows, the hash stands among the keys, with number -1
PAIRS = frame(
    ("SHA-256", -1, 0.1, 0.0), ("SHA-256", -1, 0.2, 0.0),
    ("DCmp", 0, 0.1, 1.0), ("DCmp", 1, 0.1, 0.996), ("Trans", 0, 0.1, 0.998), ("Trans", 1, 0.1, 0.99),
    ("DCmp", 0, 0.2, 0.9), ("DCmp", 1, 0.2, 0.8), ("Trans", 0, 0.2, 0.92), ("Trans", 1, 0.2, 0.7),
)  # fmt: skip


def test_agreement_is_the_mean_similarity():
    assert measure("agreement", FOUR) == (97.275, 4)


def test_success_counts_keys_strictly_above_tau():
    assert measure("auth_success", FOUR) == (50, 4)


def test_lowest_agreement_is_of_one_change_in_one_scenario():
    other = FOUR.assign(scenario="imagenet", similarity=[0.99, 0.98, 0.98, 0.99])
    third = FOUR.assign(tamper="threads", similarity=0.9)
    assert measure("lowest_agreement", pd.concat([FOUR, other])) == (97.275, 4)
    assert measure("lowest_agreement", pd.concat([FOUR, other, third])) == (90, 4)
    assert measure("lowest_agreement", pd.concat([FOUR, FOUR.assign(seed=1, similarity=0.9)])) == (90, 4), "no mean"


@pytest.mark.parametrize(
    ("rule", "chosen"),
    [({"at_least": 1}, (2, 0, 9, 5)), ({"above": 1}, (2, 0, 9, 5)), ({"at_most": 1}, (6, 5, 7, 5)),
     ({"below": 1}, (2, 0, 9, 5)), ({"within": 1}, (6, 5, 7, 5)), ({"between": [1, 3]}, (2, 0, 9, 5)),
     ({"between": [4, 10]}, (2, 0, 9, 5)), ({"between": [-9, 4]}, (2, 0, 9, 5))],
)  # fmt: skip
def test_the_worst_encoder_is_the_farthest_from_the_rule(rule, chosen):
    found = [(3, 2, 4, 5), (6, 5, 7, 5), (2, 0, 9, 5)]
    assert worst(found, {"rule": rule, "paper": 3}) == chosen


def test_passing_and_failing_count_verifications_not_keys():
    good = FOUR.assign(seed=1, similarity=0.999)
    elsewhere = FOUR.assign(scenario="imagenet", similarity=0.999)
    both = pd.concat([FOUR, good, elsewhere, FOUR.assign(strength=0.2, similarity=TAU)])
    assert measure("passing", both) == (50, 4)
    assert measure("failing", both) == (50, 4)
    assert measure("passing", pd.concat([good, elsewhere])) == (100, 2)
    assert measure("failing", pd.concat([FOUR, good, elsewhere])) == (100 / 3, 3)


def test_verdicts_differ_where_id_and_ood_keys_disagree():
    ood = pd.concat([FOUR.assign(similarity=0.999), FOUR.assign(strength=0.2, similarity=0.9)])
    same, other = ood.assign(keys="id"), ood.assign(keys="id", similarity=0.999)
    assert measure("verdicts_differ", pd.concat([ood, same])) == (0, 2)
    assert measure("verdicts_differ", pd.concat([ood, other])) == (50, 2)


def test_order_is_the_gap_where_the_schemes_are_closest():
    # Trans minus DCmp: -0.2 and -0.6 points at 0.1, +2 and -10 points at 0.2
    assert measure("order", PAIRS) == (-0.4, 2)
    assert measure("order", select(PAIRS, {"strength": 0.2})) == (-4, 2)


def test_order_looks_at_every_tamper_by_itself():
    one, other = select(PAIRS, {"strength": 0.1}), select(PAIRS, {"strength": 0.2})
    both = pd.concat([one.assign(tamper="backdoor gtsrb"), other.assign(tamper="backdoor svhn", strength=0.1)])
    assert measure("order", both) == (-0.4, 2), "not the mean of both, -2.2"


def test_success_gap_is_paired_by_key():
    assert measure("success_gap", select(PAIRS, {"strength": 0.1})) == (-50, 2)
    assert measure("success_gap", select(PAIRS, {"strength": 0.2})) == (0, 2)


def test_rise_is_second_minus_first_strength():
    rows = PAIRS[PAIRS["scheme"] == "DCmp"]
    assert measure("rise", rows, where={"strength": [0.1, 0.2]}) == (-14.8, 2)
    assert measure("rise", rows, where={"strength": [0.2, 0.1]}) == (14.8, 2)


def test_kappa_is_the_ratio_of_mean_losses():
    rows = select(PAIRS, {"strength": 0.2})
    assert measure("kappa", rows) == ((0.08 + 0.3) / (0.1 + 0.2), 2)


def test_kappa_ratio_compares_two_generators_on_the_same_keys():
    rows = select(PAIRS, {"strength": 0.2})
    other = rows[rows["scheme"] == "Trans"].assign(scheme="Trans G_max", similarity=[0.96, 0.85])
    assert measure("kappa_ratio", pd.concat([rows, other]), versus="Trans G_max") == (2, 2)


def test_two_settings_of_a_generator_are_compared_key_by_key():
    rows = select(PAIRS, {"strength": 0.2})  # Trans: 0.92 and 0.7
    longer = rows.assign(keys="ood d32 s1000", similarity=[0.0, 0.9, 0.8, 0.996, 0.62])
    both, where = pd.concat([longer, rows]), {"keys": ["ood", "ood d32 s1000"]}
    assert measure("setting_kappa_ratio", both, where=where) == ((0.004 + 0.38) / (0.08 + 0.3), 2)
    assert measure("setting_success_gap", both, where=where) == (50, 2), "one of two keys passes with the second"
    assert measure("setting_success_gap", both, where={"keys": where["keys"][::-1]}) == (-50, 2)
    with pytest.raises(Incomplete):
        measure("setting_kappa_ratio", rows, where=where)


# --- attacks ----------------------------------------------------------------------------------------------------------


def test_last_minus_first_takes_the_outermost_strengths_as_numbers():
    rows = frame(
        *(
            (
                ("DCmp", key, strength, value)
                for strength, values in (("2", (0.9, 0.7)), ("10", (0.5, 0.5)), ("1", (1.0, 0.9)))
                for key, value in enumerate(values)
            )
        )
    )
    assert measure("last_minus_first", rows) == (-45, 2)
    with pytest.raises(Incomplete):
        measure("last_minus_first", select(rows, {"strength": 2}))


def test_scenario_gap_is_imagenet_minus_cifar10_over_all_tampers():
    rows = [frame(("DCmp", 0, 0, 0.8), ("DCmp", 1, 0, 0.6), tamper="backdoor stl10"),
            frame(("DCmp", 0, 0, 0.6), ("DCmp", 1, 0, 0.4), tamper="backdoor svhn"),
            frame(("DCmp", 0, 0, 0.3), ("DCmp", 1, 0, 0.1), tamper="backdoor stl10", scenario="imagenet")]  # fmt: skip
    assert measure("scenario_gap", pd.concat(rows)) == (-40, 4)
    with pytest.raises(Incomplete):
        measure("scenario_gap", pd.concat(rows[:2]))


def test_scenario_gap_has_the_spread_of_two_independent_samples():
    draw = np.random.default_rng(0)
    parts = [frame(*(("DCmp", key, 0, value) for key, value in enumerate(draw.normal(0.5, spread, 400))),
                   scenario=scenario) for scenario, spread in (("imagenet", 0.03), ("cifar10", 0.04))]  # fmt: skip
    _, low, high, _ = MEASURES["scenario_gap"](pd.concat(parts), TAU, {})
    assert high - low == pytest.approx(2 * 1.96 * 100 * 0.05 / 20, rel=0.1)


def test_scenario_gap_draws_unrelated_encoders_apart():
    """Two seeds of each scenario, keys all alike: what varies is which encoders are drawn."""
    parts = [frame(("DCmp", 0, 0, value), ("DCmp", 1, 0, value), scenario=scenario, seed=seed)
             for scenario in ("imagenet", "cifar10") for seed, value in ((0, 0.9), (1, 0.8))]  # fmt: skip
    _, low, high, _ = MEASURES["scenario_gap"](pd.concat(parts), TAU, {})
    assert (low, high) == pytest.approx((-10, 10)), "one of each of two, sixteen draws in all"


def test_highest_success_is_of_one_strength_of_the_worst_encoder():
    rows = frame(("Trans", 0, 1, 0.999), ("Trans", 1, 1, 0.9), ("Trans", 0, 2, 0.9), ("Trans", 1, 2, 0.9))
    other = frame(("Trans", 0, 1, 0.9), ("Trans", 1, 1, 0.9), ("Trans", 0, 2, 0.999), ("Trans", 1, 2, 0.999), seed=1)
    none = rows.assign(seed=2, similarity=0.9)
    assert measure("highest_success", rows, rule={"at_most": 99}) == (50, 2)
    for rule, highest in (({"at_most": 99}, 100), ({"within": 1}, 100), ({"at_least": 100}, 0)):
        assert measure("highest_success", pd.concat([rows, other, none]), rule=rule, paper=0) == (highest, 2)


def test_beyond_matched_counts_what_only_trans_rejects():
    tolerances = {("cifar10", 0): Matched(0.99, 0.995, 0.985, 0, 3, 1)}
    verdicts = {0.1: (0.992, 0.98), 0.2: (0.98, 0.9), 0.3: (0.999, 0.999), 0.4: (0.98, 0.999)}
    lines = [(scheme, 1, rate, value) for rate, pair in verdicts.items()
             for scheme, value in zip(("DCmp", "Trans"), pair, strict=True)]  # fmt: skip
    rows = frame(*lines, *((scheme, 0, rate, 1.0) for scheme in ("DCmp", "Trans") for rate in verdicts),
                 *(("SHA-256", -1, rate, 0.0) for rate in (0.1, 0.2)))  # fmt: skip
    above = {"rule": {"above": 0}}
    assert measure("beyond_matched", rows, tolerances=tolerances, **above) == (25, 4), "at 0.1 alone"
    blind = rows.assign(seed=1, similarity=rows["similarity"].where(rows["scheme"] != "Trans", 0.999))
    both = tolerances | {("cifar10", 1): tolerances["cifar10", 0]}
    assert measure("beyond_matched", pd.concat([rows, blind]), tolerances=both, **above) == (0, 4), "not every encoder"
    for incomplete in (None, {}, {("cifar10", 1): tolerances["cifar10", 0]}):
        with pytest.raises(Incomplete):
            measure("beyond_matched", rows, tolerances=incomplete)
    with pytest.raises(Incomplete):
        measure("beyond_matched", rows[rows["scheme"] == "DCmp"], tolerances=tolerances)


def test_beyond_loosest_gives_dcmp_every_benefit_of_the_gap():
    tolerances = {("cifar10", 0): Matched(0.99, 0.995, 0.985, 0, 3, 1)}
    rows = frame(
        ("DCmp", 0, 0.1, 0.992),
        ("Trans", 0, 0.1, 0.9),
        ("DCmp", 0, 0.2, 0.987),
        ("Trans", 0, 0.2, 0.9),
        ("DCmp", 0, 0.3, 0.985),
        ("Trans", 0, 0.3, 0.9),
        ("DCmp", 0, 0.4, 0.98),
        ("Trans", 0, 0.4, 0.9),
    )
    at_most = {"rule": {"at_most": 0}, "tolerances": tolerances}
    assert measure("beyond_matched", rows, **at_most) == (25, 4)
    assert measure("beyond_loosest", rows, **at_most) == (50, 4), "0.985 itself is the change that is to be rejected"
    with pytest.raises(Incomplete):
        measure("beyond_loosest", rows, rule={"at_most": 0}, tolerances=None)


def numbers(*lines, **constant):
    """Lines of measures.csv from (quantity, value, n)."""
    about = {"scenario": "cifar10", "seed": 0, "tamper": "backdoor stl10", "strength": 0} | constant
    return pd.DataFrame([about | dict(zip(("quantity", "value", "n"), line, strict=True)) for line in lines])


def test_share_pools_images_over_seeds_with_an_exact_interval():
    rows = numbers(("attack success", 0.9, 100), ("attack success", 0.5, 300))
    assert measure("share", rows) == (60, 400)
    _, low, high, _ = MEASURES["share"](rows, TAU, {})
    assert low == pytest.approx(100 * beta.ppf(0.025, 240, 161))
    assert high == pytest.approx(100 * beta.ppf(0.975, 241, 160))


def test_share_is_the_measured_one_even_where_n_does_not_divide_it():
    assert measure("share", numbers(("attack success", 0.9498, 1000))) == (94.98, 1000)


def test_accuracy_gap_is_backdoored_minus_clean():
    rows = numbers(("clean accuracy", 0.8, 100), ("backdoored accuracy", 0.7, 100), ("ASR-B", 0.1, 90))
    assert measure("accuracy_gap", rows) == (-10, 100)
    _, low, high, _ = MEASURES["accuracy_gap"](rows, TAU, {})
    assert (high - low) / 2 == pytest.approx(196 * np.sqrt((0.8 * 0.2 + 0.7 * 0.3) / 100))
    with pytest.raises(Incomplete):
        measure("accuracy_gap", rows[rows["quantity"] != "clean accuracy"])


def test_share_change_is_second_minus_first_strength():
    rows = pd.concat([numbers(("attack success", value, 100), strength=strength)
                      for strength, value in ((1.0, 0.2), (10.0, 0.9), (100.0, 0.6))])  # fmt: skip
    assert measure("share_change", rows, where={"strength": [10, 100]}) == (-30, 100)
    assert measure("share_change", rows, where={"strength": [100, 10]}) == (30, 100)
    with pytest.raises(Incomplete):
        measure("share_change", rows[:2], where={"strength": [10, 100]})


def test_largest_change_is_of_one_task_in_either_direction():
    tasks = [numbers(("accuracy before", 0.8, 400), ("accuracy after", after, 400), tamper=f"enrolment {name}")
             for name, after in (("stl10", 0.8), ("gtsrb", 0.7975), ("svhn", 0.801))]  # fmt: skip
    assert measure("largest_change", pd.concat(tasks)) == (0.25, 3)
    assert measure("largest_change", pd.concat(tasks[:1])) == (0, 1)
    for kept in ("accuracy before", "accuracy after"):
        with pytest.raises(Incomplete):
            measure("largest_change", tasks[0][tasks[0]["quantity"] == kept])


# --- key sets ---------------------------------------------------------------------------------------------------------


def of_sets(**agreements):
    """Rows of two keys a set; names with an underscore for "id:N"."""
    return pd.concat([frame(("DCmp", 0, 0.1, value + 0.01), ("DCmp", 1, 0.1, value - 0.01),
                            keys=keys.replace("_", ":")) for keys, value in agreements.items()])  # fmt: skip


def test_key_gap_is_ood_minus_id():
    rows = of_sets(ood=0.9, id=0.95, id_5=0.5)
    assert measure("key_gap", rows) == (-5, 2)
    both = pd.concat([rows, rows.assign(strength=0.2, similarity=rows["similarity"] - (rows["keys"] == "ood") * 0.1)])
    assert measure("key_gap", both) == (-10, 2), "the mean over tamperings"
    with pytest.raises(Incomplete):
        measure("key_gap", of_sets(ood=0.9))


def test_key_gap_does_not_take_keys_of_one_number_for_a_pair():
    draw = np.random.default_rng(0)
    one, other = draw.normal(0.9, 0.03, 400), draw.normal(0.9, 0.04, 400)
    rows = [frame(*(("DCmp", key, 0.1, value) for key, value in enumerate(values)), keys=keys)
            for keys, values in (("ood", one), ("id", other))]  # fmt: skip
    _, low, high, _ = MEASURES["key_gap"](pd.concat(rows), TAU, {})
    assert high - low == pytest.approx(2 * 1.96 * 100 * 0.05 / 20, rel=0.1)


def test_key_spread_is_the_farthest_two_choices_apart_with_the_encoder_where_it_is_largest():
    rows, rule = of_sets(ood=0.1, id=0.2, id_5=0.9, id_100=0.93, id_1=0.91), {"at_most": 5}
    assert measure("key_spread", rows, rule=rule) == (3, 2)
    turned = of_sets(id_5=0.94, id_100=0.90, id_1=0.91).assign(seed=1)  # the seeds' means lie 0.5 to 1 points apart
    assert measure("key_spread", pd.concat([rows, turned]), rule=rule) == (4, 2)
    with pytest.raises(Incomplete):
        measure("key_spread", of_sets(ood=0.1, id=0.2, id_5=0.9))


def test_choice_verdicts_count_verifications_on_which_choices_disagree():
    alike = of_sets(id_5=0.9, id_100=0.8, id_1=0.7, ood=1.1)
    odd = alike.assign(strength=0.2, similarity=[0.999, 0.999, 0.999, 0.995, 0.999, 0.999, 0.1, 0.1])
    assert measure("choice_verdicts", alike) == (0, 1)
    assert measure("choice_verdicts", pd.concat([alike, odd])) == (50, 2)
    with pytest.raises(Incomplete):
        measure("choice_verdicts", pd.concat([alike, odd[odd["keys"] != "id:1"]]))
    with pytest.raises(Incomplete):
        measure("choice_verdicts", of_sets(id_5=0.9, id=0.8, ood=0.9))


def test_log_density_gap_is_of_the_encoder_that_is_farthest_from_the_rule():
    def density(scenario, inside, outside):
        return numbers(("log density id", inside, 400), ("log density ood", outside, 300), ("pc1 id", 5.0, 0),
                       ("log density error id", 3.0, 400), ("log density error ood", 4.0, 300), ("pc1 id", 6.0, 1),
                       scenario=scenario, tamper="clean")  # fmt: skip

    both = pd.concat([density("cifar10", 30.0, 10.0), density("imagenet", 20.0, 12.0)])
    assert measure("log_density_gap", both, rule={"at_most": 5}) == (20, 700)
    assert measure("log_density_gap", both, rule={"above": 0}) == (8, 700)
    _, low, high, _ = MEASURES["log_density_gap"](both, TAU, {"rule": {"above": 0}})
    assert (low, high) == (pytest.approx(8 - 1.96 * 5), pytest.approx(8 + 1.96 * 5))
    with pytest.raises(Incomplete):
        measure("log_density_gap", both[both["quantity"] != "log density error id"])


# --- generators and other forms ---------------------------------------------------------------------------------------


def of_generators(values, seed=0):
    """Rows from scheme to one list of similarities a generator."""
    return pd.concat([frame(*((scheme, key, 10.0, value) for key, value in enumerate(line)),
                            keys=f"ood g{nth}", seed=seed)
                      for scheme, lines in values.items() for nth, line in enumerate(lines)])  # fmt: skip


MADE = of_generators({"Trans": [[0.9, 0.8], [0.999, 0.9]], "Trans G_max": [[0.9, 0.9], [0.95, 0.95]],
                      "DCmp": [[1.0, 1.0], [1.0, 1.0]]})  # fmt: skip


def test_generator_agreement_and_success_are_over_generators_and_keys():
    about = {"where": {"scheme": "Trans"}}
    assert measure("generator_agreement", MADE, **about) == (100 * (0.9 + 0.8 + 0.999 + 0.9) / 4, 4)
    assert measure("generator_success", MADE, **about) == (25, 4)
    with pytest.raises(Incomplete):
        measure("generator_agreement", MADE, where={"scheme": "Trans G_ini"})


def test_generator_intervals_are_those_of_the_generators_where_these_differ():
    """Keys that all say the same are no more numbers than there are generators."""
    rows = of_generators({"Trans": [[value] * 50 for value in (0.90, 0.92, 0.94, 0.96, 0.98)]})
    _, low, high, n = MEASURES["generator_agreement"](rows, TAU, {"where": {"scheme": "Trans"}})
    error = np.std([90, 92, 94, 96, 98]) / np.sqrt(5)
    assert n == 250 and (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    same = pd.concat([rows.assign(seed=seed) for seed in range(4)])  # every encoder has the generators of these seeds
    _, low, high, n = MEASURES["generator_agreement"](same, TAU, {"where": {"scheme": "Trans"}})
    assert n == 1000 and (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1), "generators, not encoders"


def test_generator_gap_is_paired_by_generator_and_key():
    about = {"where": {"scheme": ["Trans", "Trans G_max"]}, "versus": "Trans G_max"}
    assert measure("generator_gap", MADE, **about) == (100 * (0 - 0.1 + 0.049 - 0.05) / 4, 4)
    turned = about | {"versus": "Trans"}
    assert measure("generator_gap", MADE, **turned) == (100 * (0.1 - 0.049 + 0.05) / 4, 4)
    lacking = MADE[(MADE["scheme"] != "Trans") | (MADE["keys"] != "ood g1")]
    with pytest.raises(Incomplete):
        measure("generator_gap", lacking, **about)


def test_generator_spread_is_a_ratio_of_standard_deviations_with_fishers_interval():
    about = {"where": {"scheme": ["Trans G_ini", "Trans"]}, "versus": "Trans"}
    one = {"Trans": [[0.9, 0.7], [0.8, 0.8], [0.7, 0.9]], "Trans G_ini": [[0.9, 0.9], [0.8, 0.6], [0.5, 0.5]]}
    two = {"Trans": [[0.9, 0.9], [0.7, 0.7], [0.8, 0.8]], "Trans G_ini": [[0.8, 0.8], [0.8, 0.8], [0.8, 0.8]]}
    rows = pd.concat([of_generators(one), of_generators(two, seed=1)])
    # variances of the generators' means: G_ini 0.04 (0.9, 0.7, 0.5) and 0; G_min 0 and 0.01
    assert measure("generator_spread", rows, **about) == (2, 6)
    _, low, high, _ = MEASURES["generator_spread"](rows, TAU, about)
    # untrained generators are the same for both encoders: 2 degrees of freedom; trained ones are not: 4
    assert low == pytest.approx(2 / np.sqrt(f.ppf(0.975, 2, 4)))
    assert high == pytest.approx(2 / np.sqrt(f.ppf(0.025, 2, 4)))
    with pytest.raises(Incomplete):
        measure("generator_spread", rows[rows["keys"] == "ood g0"], **about)


def test_form_gap_is_of_the_form_closest_to_breaking_the_rule():
    rows = frame(("DCmp", 0, 10.0, 0.9), ("DCmp", 1, 10.0, 0.8), ("mlp 8", 0, 10.0, 0.8), ("mlp 8", 1, 10.0, 0.8),
                 ("mlp 4", 0, 10.0, 0.7), ("mlp 4", 1, 10.0, 0.7))  # fmt: skip
    about = {"where": {"scheme": ["DCmp", "mlp 8", "mlp 4"]}, "versus": "DCmp"}
    assert measure("form_gap", rows, **about, rule={"below": 0}) == (-5, 2)
    assert measure("form_gap", rows, **about, rule={"above": 0}) == (-15, 2)
    with pytest.raises(Incomplete):
        measure("form_gap", rows[rows["scheme"] != "mlp 4"], **about, rule={"below": 0})


def forms(**similarity):
    """Rows of two keys and more: tamper__scheme to the keys' similarities."""
    return pd.DataFrame([
        {"scenario": "cifar10", "seed": 0, "tamper": tamper, "strength": 1, "scheme": scheme, "key": key,
         "similarity": value}
        for name, values in similarity.items()
        for tamper, scheme in [name.split("__")]
        for key, value in enumerate(values)
    ])  # fmt: skip


def test_form_kappa_is_the_ratio_of_mean_changes():
    rows = forms(pruning__DCmp=[0.99, 0.97], pruning__linear=[0.98, 0.90], pruning__Trans=[0, 0])
    assert measure("form_kappa", rows, versus="linear") == (0.12 / 0.04, 2)
    _, low, high, _ = MEASURES["form_kappa"](rows, TAU, {"versus": "linear"})
    assert (low, high) == pytest.approx((2, 10 / 3)), "the draws with one key twice"
    with pytest.raises(Incomplete):
        measure("form_kappa", rows, versus="mlp")


def test_kappa_unevenness_is_one_where_all_changes_are_magnified_alike_by_every_encoder():
    rule = {"at_most": 1.5}
    even = forms(a__DCmp=[0.99, 0.99], a__Trans=[0.9, 0.9], b__DCmp=[0.9, 0.9], b__Trans=[0.0, 0.0])
    assert measure("kappa_unevenness", even, rule=rule) == (1, 4)
    uneven = forms(a__DCmp=[0.99, 0.99], a__Trans=[0.9, 0.9], b__DCmp=[0.9, 0.9], b__Trans=[0.6, 0.6])
    assert measure("kappa_unevenness", uneven, rule=rule) == (10 / 4, 4)
    assert measure("kappa_unevenness", pd.concat([even, uneven.assign(seed=1)]), rule=rule) == (10 / 4, 4), "no mean"
    with pytest.raises(Incomplete):
        measure("kappa_unevenness", forms(a__DCmp=[0.9, 0.8], a__Trans=[0.5, 0.5]), rule=rule)


def test_value_mean_has_students_interval_over_generators_or_over_seeds():
    rows = pd.DataFrame({"value": [1.0, 2.0, 3.0], "strength": [0, 1, 2], "scenario": "cifar10", "seed": 0})
    assert measure("value_mean", rows) == (2, 3)
    value, low, high, _ = MEASURES["value_mean"](rows, TAU, {})
    assert high - value == pytest.approx(4.302653 / 3**0.5, rel=1e-5) and value - low == pytest.approx(high - value)
    # another scenario's encoder has generators of the same seeds: still three
    other = pd.concat([rows, rows.assign(scenario="imagenet", value=rows["value"] + 10)])
    assert measure("value_mean", other) == (7, 6)
    assert MEASURES["value_mean"](other, TAU, {})[2] - 7 == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    # of several seeds their means, 7, 8 and 9, whatever the generators do
    seeds = pd.concat([other.assign(seed=seed, value=other["value"] + seed) for seed in range(3)])
    assert measure("value_mean", seeds) == (8, 18)
    assert MEASURES["value_mean"](seeds, TAU, {})[2] - 8 == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    for incomplete in (rows[:1], seeds[:-1]):
        with pytest.raises(Incomplete):
            measure("value_mean", incomplete)


def test_success_rise_counts_the_keys_that_pass():
    rows = frame(*(("DCmp", key, strength, value) for strength, values in ((10, (0.999, 0.999, 0.9, 0.9)),
                                                                           (100, (0.999, 0.9, 0.9, 0.9)))
                   for key, value in enumerate(values)))  # fmt: skip
    assert measure("success_rise", rows, where={"strength": [10, 100]}) == (-25, 4)
    with pytest.raises(Incomplete):
        measure("success_rise", rows[rows["strength"] == 10], where={"strength": [10, 100]})


def test_form_success_gap_is_that_of_the_worst_form():
    rows = forms(t__DCmp=[0.999, 0.999, 0.9, 0.9], t__a=[0.999, 0.999, 0.999, 0.9], t__b=[0.999, 0.9, 0.9, 0.9])
    about = {"where": {"scheme": ["DCmp", "a", "b"]}, "versus": "DCmp", "rule": {"at_least": -1}}
    assert measure("form_success_gap", rows, **about) == (-25, 4)
    assert measure("form_success_gap", rows, **about | {"where": {"scheme": ["DCmp", "a"]}}) == (25, 4)
    with pytest.raises(Incomplete):
        measure("form_success_gap", rows[rows["scheme"] != "a"], **about)


def of_keys(**values):
    """DCmp rows of two keys: set_rate to similarities, rates in per cent."""
    return pd.concat([
        frame(*(("DCmp", key, int(rate) / 100, value) for key, value in enumerate(given)), keys=keys)
        for name, given in values.items() for keys, rate in [name.split("_")]
    ])  # fmt: skip


def test_rise_gap_is_the_difference_of_two_rises():
    rows = of_keys(ood_30=[0.90, 0.92], ood_40=[0.93, 0.95], id_30=[0.90, 0.90], id_40=[0.89, 0.89])
    assert measure("rise_gap", rows, where={"strength": [0.3, 0.4]}) == (4, 2)
    with pytest.raises(Incomplete):
        measure("rise_gap", rows[rows["keys"] == "ood"], where={"strength": [0.3, 0.4]})


def test_key_loss_ratio_compares_what_is_lost():
    rows = of_keys(ood_10=[0.98, 0.96], id_10=[0.99, 0.99])
    assert measure("key_loss_ratio", rows) == (3, 2)
    _, low, high, _ = MEASURES["key_loss_ratio"](rows, TAU, {})
    assert (low, high) == pytest.approx((2, 4))
    with pytest.raises(Incomplete):
        measure("key_loss_ratio", rows[rows["keys"] == "id"])


def test_key_loss_ratio_draws_the_encoders_of_both_sets_together_and_their_keys_apart():
    one, other = of_keys(ood_10=[0.8, 0.8], id_10=[0.9, 0.9]), of_keys(ood_10=[0.98, 0.98], id_10=[0.99, 0.99])
    _, low, high, _ = MEASURES["key_loss_ratio"](pd.concat([one, other.assign(seed=1)]), TAU, {})
    assert (low, high) == pytest.approx((2, 2)), "the ratio is two with either encoder"
    both = of_keys(ood_10=[0.98, 0.96], id_10=[0.99, 0.98])  # key by key it is two as well, but these are no pairs
    _, low, high, _ = MEASURES["key_loss_ratio"](both, TAU, {})
    assert (low, high) == pytest.approx((1, 4))


# --- near the tolerance -----------------------------------------------------------------------------------------------


def dial(tamper, kappa, losses, **about):
    """Rows of two keys at growing strengths: 1 - cos is `losses` and half of it, 1 - SSIM `kappa` times as much."""
    return frame(*(
        (scheme, key, strength, 1 - times * loss * share)
        for strength, loss in enumerate(losses) for key, share in ((0, 1), (1, 0.5))
        for scheme, times in (("DCmp", 1), ("Trans", kappa))
    ), **{"tamper": tamper} | about)  # fmt: skip


FINE = 1e-5 * 1.1 ** np.arange(80)


def test_the_ratio_is_that_of_the_magnifications():
    rows = pd.concat([dial("rounding step", 10, FINE), dial("pruning", 40, FINE), dial("weight noise 0", 20, FINE)])
    pruned = rows[rows["tamper"] != "weight noise 0"]
    found, n = measure("rejected_from_ratio", pruned)
    assert (found.expected, n) == (pytest.approx(10 / 40, rel=1e-6), 2), "two keys"
    found, n = measure("rejected_from_ratio", rows)
    assert (found.expected, n) == (pytest.approx((10 / 40 * 10 / 20) ** 0.5, rel=1e-6), 4), "tampers count alike"
    with pytest.raises(Incomplete):
        measure("rejected_from_ratio", pruned[pruned["tamper"] == "pruning"])
    with pytest.raises(Incomplete):  # no key ever crosses the tolerance
        measure("rejected_from_ratio", pd.concat([dial("rounding step", 10, FINE), dial("pruning", 1, FINE[:20])]))


def test_the_crossing_is_read_off_between_two_strengths_in_any_order():
    rows = dial("pruning", 10, [1e-4, 4e-4, 9e-4]).sample(frac=1, random_state=0)
    assert near.rejected_from(rows, TAU).tolist() == pytest.approx([5e-4, np.nan], nan_ok=True), "key 1 never crosses"
    jump = dial("pruning", 10, [1e-4, 1e-2])
    assert near.rejected_from(jump, TAU).iloc[0] == pytest.approx(5e-4, nan_ok=True)
    assert near.rejected_from(dial("pruning", 10, [1e-2, 2e-2]), TAU).isna().all(), "rejected from the first on"


def test_verdicts_are_compared_near_the_tolerance_matched_on_roundings():
    rows = pd.concat([dial("rounding step", 10, FINE), dial("pruning", 20, FINE)])
    table = near.verdicts(rows, TAU)
    assert table["tolerance"].unique() == pytest.approx([5e-4], rel=0.05)
    pruned = table[table["tamper"] == "pruning"].set_index("strength")
    assert (pruned["dcmp"] == (pruned["tolerance"] > FINE)).all() and (pruned["trans"] == (20 * FINE < 0.005)).all()
    assert (pruned["near"] == ((pruned["tolerance"] / 3 <= FINE) & (3 * pruned["tolerance"] >= FINE))).all()
    differ, close = (pruned["dcmp"] != pruned["trans"]) & pruned["near"], pruned["near"]
    assert measure("near_verdicts_differ", rows) == (100 * differ.sum() / close.sum(), close.sum())
    assert 0 < differ.sum() < close.sum()
    with pytest.raises(Incomplete):
        measure("near_verdicts_differ", rows[rows["tamper"] == "pruning"])
    with pytest.raises(Incomplete):
        measure("near_verdicts_differ", rows[rows["tamper"] == "rounding step"])


def test_encoders_have_tolerances_of_their_own():
    rows = pd.concat([dial("rounding step", kappa, FINE, seed=seed) for seed, kappa in ((0, 10), (1, 50))])
    matched = near.matched_on_rounding(rows, TAU)
    assert [1 - of.tau for of in matched.values()] == pytest.approx([5e-4, 1e-4], rel=0.05)
    with pytest.raises(Incomplete):
        near.matched_on_rounding(pd.concat([rows, dial("pruning", 10, FINE, seed=2)]), TAU)


def test_every_measure_was_shown_by_hand_and_is_used():
    text = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    calls = ('measure("{}"', "measures_pairs.{}(", "measures_crossing.{}(")
    shown = {name for name in MEASURES if any(call.format(name) in text for call in calls)}
    assert set(MEASURES) - shown == set()
    used = [*read_claims(), *(test for finding in read_findings() for test in finding["tests"])]
    assert {claim["measure"] for claim in used} == set(MEASURES), "a measure that nothing uses"
