"""DeepAuth's claims against the paper's numbers, and its measures."""

import pandas as pd
import pytest
from printed_deepauth import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TOLERANCES

from sslauth_utils.claims import signatures
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.judge import Results
from sslauth_utils.claims.measures import ACROSS, MEASURES
from sslauth_utils.report.figures_deepauth import OTHER_METHODS
from sslauth_utils.schemes.deepauth import chance_match

CLAIMS = [claim for claim in read_claims() if claim["id"].startswith("deepauth-")]
QUANTITIES = ("success", "epochs", "unchanged", "C2W", "W2C", "W2W")


def test_every_number_of_tables_1_to_3_has_its_claim_and_no_claim_has_another():
    wanted = {
        (f"Table 1 {network}", rate, quantity, value)
        for (network, rate), values in TABLE_1.items() for quantity, value in zip(QUANTITIES, values, strict=True)
    }  # fmt: skip
    wanted |= {
        (f"Table 2 {network}", tolerance, "accepted", value)
        for network, values in TABLE_2.items() for tolerance, value in zip(TOLERANCES, values, strict=True)
    }  # fmt: skip
    wanted |= {
        ("Table 3 imagenet_resnet50", rate, quantity, value)
        for rate, values in TABLE_3.items()
        for quantity, value in zip(("success", "epochs", ["C2W", "W2C"]), values, strict=True)
        if not isinstance(quantity, list)
    } | {("Table 3 imagenet_resnet50", rate, "accuracy", values[2]) for rate, values in TABLE_3.items()}  # fmt: skip
    found = set()
    for claim in CLAIMS:
        if isinstance(claim["paper"], int | float):
            where, quantity = claim["where"], claim["where"].get("quantity", "accepted")
            quantity = "accuracy" if isinstance(quantity, list) else quantity
            key = where.get("strength", claim.get("versus"))
            source = claim["source"].removeprefix("DeepAuth, ")
            found.add((f"{source} {where['scenario'][0]}", key, quantity, claim["paper"]))
    assert found == wanted and len(wanted) == 24 + 10 + 6


def test_table_4_s_other_methods_are_shown_as_printed():
    shown = {method.split(" (")[0]: change.split(" (")[0] for method, change in OTHER_METHODS.items()}
    assert shown == TABLE_4


def test_a_bound_is_asked_of_each_rate():
    """Not of a mean over rates: "always less than 0.1%", "about 10 to 150 epochs"."""
    for start in ("deepauth-accuracy-", "deepauth-epochs-"):
        found = [claim["where"] for claim in CLAIMS if claim["id"].startswith(start)]
        asked = {(where["scenario"][0], where["strength"]) for where in found}
        assert asked == set(TABLE_1) and len(found) == len(TABLE_1)


def test_only_a_role_s_own_networks_play_it():
    roles = {"mnist_lenet5": "digits", "cifar10_vgg16": "shapes", "imagenet_resnet50": "photos"}
    for claim in CLAIMS:
        names = claim["where"]["scenario"]
        assert [roles[name] for name in names[::2]] == names[1::2], claim["id"]


def rows(errors, **about):
    """Verifications of ten keys, each with so many wrong."""
    about = {"scenario": "mnist_lenet5", "seed": 0, "kind": "tamper", "scheme": "DeepAuth", "tamper": "pruning",
             "strength": 0.5} | about  # fmt: skip
    return pd.DataFrame([about | {"keys": f"m{n}", "key": key, "similarity": float(key >= wrong)}
                         for n, wrong in enumerate(errors) for key in range(10)])  # fmt: skip


def test_a_verification_is_a_model_under_a_tamper_and_accepted_at_most_at_the_tolerance():
    table = signatures.verifications(pd.concat([rows([0, 3, 4]), rows([10], strength=0.9)]))
    assert table["errors"].tolist() == pytest.approx([0, 0.3, 0.4, 1]) and set(table["n"]) == {10}
    assert [signatures.accepted(table, t).sum() for t in (0, 0.29, 0.3, 0.4, 1)] == [1, 1, 2, 3, 4]
    found = signatures.acceptance(rows([0, 3, 4, 10]), ["scenario", "tamper"])
    assert found.loc[0, ["40 %", "30 %", "10 %", "0 %"]].tolist() == [75, 50, 25, 25]
    assert found.loc[0, ["n", "keys"]].tolist() == [4, 10]


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_chance_is_that_of_the_scheme(tolerance):
    assert signatures.chance(10, tolerance) == pytest.approx(chance_match(10, tolerance))


def measure(name, table, **claim):
    return MEASURES[name](table, 0.995, {"where": {}, "rule": {"at_most": 0}, **claim})


def test_shares_accepted():
    table = rows([0, 3, 4, 10])
    assert measure("accepted_share", table, versus=0.3)[0] == 50
    assert measure("accepted_share", table, versus=0.3)[3] == 4
    over = measure("accepted_over_chance", table, versus=0.3)
    assert over[0] == pytest.approx(50 - 100 * 176 / 1024) and over[1] < over[0] < over[2]
    both = pd.concat([table, rows([10, 10], scenario="cifar10_vgg16")])
    names = ["mnist_lenet5", "digits", "cifar10_vgg16", "shapes"]
    gap = measure("accepted_gap", both, versus=0.3, where={"scenario": names})
    assert gap[0] == -50 and gap[3] == 2


def models(**values):
    return pd.DataFrame([{"scenario": "mnist_lenet5", "seed": 0, "tamper": "DeepAuth", "strength": 1, "quantity": name,
                          "value": value} for name, all_of in values.items() for value in all_of])  # fmt: skip


def test_means_over_models_have_student_s_interval():
    from scipy import stats

    numbers = [0.9, 1.0, 0.8, 1.0]
    found = measure("models_percent", models(success=numbers))
    low, high = stats.t.interval(0.95, 3, 92.5, stats.sem([100 * n for n in numbers]))
    assert high > 100 and found == pytest.approx((92.5, low, 100, 4)), "no more than all of them"
    assert measure("models_percent", models(W2W=[0.0, 0.01]))[1] == 0
    assert measure("models_mean", models(epochs=[7]))[:3] == (7, 7, 7)


def test_the_accuracy_changes_by_what_breaks_minus_what_mends():
    found = measure("accuracy_balance", models(C2W=[0.03, 0.01], W2C=[0.01, 0.02]))
    assert found[0] == pytest.approx(0.5) and found[1] == 0 < found[2]
    sure = measure("accuracy_balance", models(C2W=[0.01, 0.011], W2C=[0.05, 0.051]))
    assert sure[0] == pytest.approx(4) and 3.9 < sure[1] <= 4 <= sure[2] < 4.1


def test_a_change_is_taken_from_the_first_to_the_last_strength_model_by_model():
    lines = [models(unchanged=[0.9, 0.8]).assign(strength=1), models(unchanged=[0.5, 0.6]).assign(strength=2),
             models(unchanged=[0.4, 0.6]).assign(strength=10)]  # fmt: skip
    found = measure("models_change", pd.concat(lines))
    assert found[0] == pytest.approx(-35) and found[3] == 2


def test_the_least_of_all_trials_is_the_least():
    assert measure("models_least", models(attack_success=[0.97, 0.99, 0.91])) == pytest.approx((91, 91, 91, 3))


def test_two_networks_means_are_subtracted():
    both = pd.concat([models(moved=[0.1, 0.2]), models(moved=[0.05]).assign(scenario="cifar10_vgg16")])
    names = ["mnist_lenet5", "digits", "cifar10_vgg16", "shapes"]
    found = measure("models_gap", both, where={"scenario": names})
    assert found[0] == pytest.approx(-10) and found[1] < -10 < found[2] and found[3] == 1


def test_networks_with_seeds_of_their_own_are_compared_all_the_same(monkeypatch):
    """Seed 1 is MNIST's alone: it compares nothing, and must not leave the claim untested."""
    [claim] = [claim for claim in CLAIMS if claim["id"] == "deepauth-table2-order"]
    assert claim["measure"] in ACROSS
    table = pd.concat([rows([0] * 40, tamper="backdoor", seed=seed) for seed in (0, 1)]
                      + [rows([10] * 40, tamper="backdoor", scenario="cifar10_vgg16")])  # fmt: skip
    results = Results("lite", 0.995)
    monkeypatch.setattr(results, "_rows", lambda notebook, kind: table)
    found, met = results.judge(claim)
    assert found[0] == -100 and met
    table.loc[(table["seed"] == 0) & (table["scenario"] == "mnist_lenet5"), "similarity"] = 0.0  # seed 0 alone: alike
    assert not results.judge(claim)[1]
