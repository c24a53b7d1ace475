"""Claims: the file agrees with the paper, every measure with a hand computation, every verdict can go both ways."""

import json

import pandas as pd
import pytest
import yaml

from sslauth_utils import claims
from sslauth_utils.claims import (
    MEASURES,
    NOT_REPRODUCED,
    NOT_TESTED,
    REPRODUCED,
    evaluate,
    holds,
    printed_points,
    read_claims,
    rule_text,
    select,
)
from sslauth_utils.config import load_profile, profile_names
from sslauth_utils.errors import UserError
from sslauth_utils.paths import NOTEBOOKS

TAU = 0.995
CLAIMS = {claim["id"]: claim for claim in read_claims()}

#: Tables 3 and 6 as printed, in %: (keys, decimals, scheme) to (agreement, authentication success). Table 6 calls keys
#: by their data set; the encoder is CIFAR-10's, so ImageNet keys are out of distribution.
TABLE_6 = {
    ("ood", 2, "DCmp"): (99.752, 100),
    ("ood", 2, "Trans"): (94.520, 0),
    ("ood", 3, "DCmp"): (99.997, 100),
    ("ood", 3, "Trans"): (99.875, 100),
    ("id", 2, "DCmp"): (99.762, 100),
    ("id", 2, "Trans"): (94.993, 0),
    ("id", 3, "DCmp"): (99.997, 100),
    ("id", 3, "Trans"): (99.885, 100),
}
#: §5.2 on Figs. 5 and 6 at 10 % pruning, in %: scenario to (agreement, authentication success) of DCmp
PRUNED_BY_10 = {"imagenet": (99.89, 99), "cifar10": (99.99, 100)}


# --- the file against the paper ---------------------------------------------------------------------------------------


def test_printed_numbers_of_precision_loss_are_the_papers():
    seen = set()
    for claim in CLAIMS.values():
        where = claim["where"]
        if claim["notebook"] == "08_precision_loss" and claim["measure"] in ("agreement", "auth_success"):
            printed = TABLE_6[where["keys"], where["strength"], where["scheme"]]
            assert claim["paper"] == printed[claim["measure"] == "auth_success"], claim["id"]
            assert where["tamper"] == "rounding"
            assert claim["measure"] == "auth_success" or where["scenario"] == "cifar10", "the encoder of Table 6"
            seen.add((where["keys"], where["strength"], where["scheme"], claim["measure"]))
    assert {cell[:3] for cell in seen if cell[3] == "agreement"} == set(TABLE_6)
    assert {cell[:3] for cell in seen if cell[3] == "auth_success"} == {cell for cell in TABLE_6 if cell[0] == "ood"}


def test_printed_numbers_of_pruning_are_the_papers():
    points = printed_points("05_pruning")
    found = {(point.scenario, point.measure): point.paper for point in points.itertuples()}
    assert found == {
        (scenario, measure): value
        for scenario, values in PRUNED_BY_10.items()
        for measure, value in zip(("agreement", "auth_success"), values, strict=True)
    }
    assert set(points["scheme"]) == {"DCmp"} and set(points["strength"]) == {0.1}


def test_the_derived_amplification_follows_from_the_printed_cells():
    kappa = (100 - TABLE_6["ood", 2, "Trans"][0]) / (100 - TABLE_6["ood", 2, "DCmp"][0])
    assert CLAIMS["law-kappa-2"]["paper"] == pytest.approx(kappa, abs=0.5)


def test_claims_are_complete():
    assert len(CLAIMS) == len(read_claims())
    for claim in CLAIMS.values():
        assert claim["source"].strip() and claim["quantity"].strip() and str(claim["paper"]).strip()
        assert any(word in claim["source"] for word in ("§", "Fig.", "Table")), claim["source"]
        assert (NOTEBOOKS / f"{claim['notebook']}.ipynb").is_file()
        assert set(claim["tested_in"]) <= set(profile_names()) - {"smoke"}, "smoke decides nothing"
        assert "paper" in claim["tested_in"]
        assert set(claim["where"]) <= {*claims_columns(), "kind"}


def claims_columns():
    return {"scenario", "seed", "keys", "scheme", "tamper", "strength", "key"}


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_runs_what_the_claims_ask_about(name):
    profile = load_profile(name)
    for claim in CLAIMS.values():
        values, strength = profile.notebooks[claim["notebook"]], claim["where"].get("strength")
        sweep = values.get("rates", values.get("decimals"))
        wanted = strength if isinstance(strength, list) else [strength]
        if strength is not None and (name != "smoke" or claim["measure"] == "rise"):
            assert set(wanted) <= set(sweep), f"{claim['id']} in {name}"


# --- a world in which the paper is right ------------------------------------------------------------------------------

SEEDS, KEYS = (0, 1), 10
_SPREAD = [0.0002, -0.0002] * (KEYS // 2)  # keys differ a little, around the agreement wanted


def _rows(scheme, agreement, **more):
    """Rows of both seeds whose mean similarity is `agreement`."""
    spread = [min(1, 1 - agreement) * 1e3 * value for value in _SPREAD]
    return [
        more | {"scheme": scheme, "seed": seed, "key": key, "similarity": agreement + spread[key]}
        for seed in SEEDS
        for key in range(KEYS)
    ]


def _intact():
    rows = []
    for scenario in ("cifar10", "imagenet"):
        for kind, tamper, strength, change in [
            ("run", "repeated run", "1", 0),
            ("run", "batch size", "7", 1e-9),
            ("run", "threads", "2", 0),
            ("run", "channels_last", "", 1e-9),
            ("cast", "weights stored as", "float16", 1e-6),
            ("upload", "rounded to decimals", "2", 0.1),
            ("floor", "untrained encoder", "", 0.5),
        ]:
            for scheme in ("DCmp", "Trans"):
                about = {"scenario": scenario, "keys": "ood", "kind": kind, "tamper": tamper, "strength": strength}
                rows += _rows(scheme, 1 - change, **about)
    return pd.DataFrame(rows)


def _pruned():
    rows = []
    for scenario, (printed, _) in PRUNED_BY_10.items():
        for rate in (0.01, *(tenth / 10 for tenth in range(1, 10))):
            cosine = {0.01: 0.99999, 0.1: printed / 100, 0.4: 0.985}.get(rate, 0.99 - rate / 10)
            for scheme, kappa in (("DCmp", 1), ("Trans", 60), ("Trans G_max", 20), ("Trans G_ini", 10)):
                about = {"scenario": scenario, "keys": "ood", "tamper": "pruning", "strength": rate}
                rows += _rows(scheme, 1 - kappa * (1 - cosine), **about)
            rows += [{"scenario": scenario, "keys": "ood", "tamper": "pruning", "strength": rate, "scheme": "SHA-256",
                      "seed": seed, "key": -1, "similarity": 0.0} for seed in SEEDS]  # fmt: skip
    return pd.DataFrame(rows)


def _rounded():
    rows = []
    for scenario in ("cifar10", "imagenet"):
        for (keys, places, scheme), (agreement, _) in TABLE_6.items():
            about = {"scenario": scenario, "keys": keys, "tamper": "rounding", "strength": places}
            rows += _rows(scheme, agreement / 100, **about)
    return pd.DataFrame(rows)


RIGHT = {"03_verify_intact": _intact(), "05_pruning": _pruned(), "08_precision_loss": _rounded()}


@pytest.fixture
def world(tmp_path):
    """`world(profile, rows)` writes rows as finished runs and returns the folder of results."""

    def write(profile, tables):
        for notebook, rows in tables.items():
            for (scenario, seed), part in rows.groupby(["scenario", "seed"]):
                folder = tmp_path / profile / notebook / f"{scenario}-s{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                part.to_csv(folder / "rows.csv", index=False)
        return tmp_path

    return write


def test_where_the_paper_is_right_every_claim_is_reproduced(world):
    table = evaluate("paper", TAU, world("paper", RIGHT)).set_index("id")
    assert list(table.index) == list(CLAIMS)
    assert table["verdict"].tolist() == [REPRODUCED] * len(CLAIMS), table[table["verdict"] != REPRODUCED]
    assert not table[["measured", "low", "high", "n"]].isna().any(axis=None)
    assert (table["low"] <= table["measured"] + 1e-9).all() and (table["measured"] <= table["high"] + 1e-9).all()
    for name, claim in CLAIMS.items():
        if claim["measure"] == "agreement":
            assert table.loc[name, "measured"] == pytest.approx(claim["paper"])
    assert table.loc["law-kappa-2", "measured"] == pytest.approx(5.48 / 0.248, rel=1e-6)


@pytest.mark.parametrize("profile", ["smoke", "demo", "lite", "paper"])
def test_only_a_profile_that_can_decide_a_claim_decides_it(world, profile):
    table = evaluate(profile, TAU, world(profile, RIGHT)).set_index("id")
    decided = set(table.index[table["verdict"] != NOT_TESTED])
    assert decided == {name for name, claim in CLAIMS.items() if profile in claim["tested_in"]}
    assert table["measured"].notna().all(), "our number is shown all the same"
    assert (len(decided) == 0) == (profile == "smoke")


def _worsened(claim):
    """The rows of the world in which the paper is right, changed so that just what `claim` says is wrong."""
    rows = RIGHT[claim["notebook"]].copy()
    where = {name: value for name, value in claim["where"].items() if name != "strength"}
    ours = select(rows.assign(nth=range(len(rows))), where)
    if "strength" in claim["where"]:
        ours = select(ours, {"strength": claim["where"]["strength"]})
    ours = rows.index.isin(ours["nth"])
    similarity = rows["similarity"].copy()
    match claim["measure"]:
        case "agreement":
            similarity[ours] -= 0.03
        case "lowest_agreement":
            similarity[ours & (rows["tamper"] == "threads")] -= 0.0001
        case "auth_success":
            similarity[ours] = 0.9 if claim["paper"] > 50 else 0.999
        case "passing":  # one key of one verification, and only just: it must exceed tau
            similarity[rows.index[ours][0]] = TAU
        case "failing":
            similarity[ours] = 0.999
        case "verdicts_differ":
            similarity[ours & (rows["keys"] == "id") & (rows["strength"] == 3) & (rows["scheme"] == "Trans")] = 0.9
        case "order":  # at one rate only
            similarity[ours & (rows["scheme"] == "Trans") & (rows["strength"] == 0.5)] = 0.999
        case "success_gap":
            similarity[ours & (rows["scheme"] == "Trans")] = 0.999
        case "rise":
            similarity[ours & (rows["strength"] == 0.4)] -= 0.2
        case "kappa":
            similarity[ours & (rows["scheme"] == "Trans")] = 1 - 2 * 0.00248
        case "kappa_ratio":
            other = similarity[ours & (rows["scheme"] == claim["versus"])]
            similarity[ours & (rows["scheme"] == "Trans")] = other.max()
    return rows.assign(similarity=similarity)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_verdict_turns_when_its_numbers_do(world, monkeypatch, name):
    claim = CLAIMS[name]
    monkeypatch.setattr(claims, "read_claims", lambda: [claim])
    worse = evaluate("paper", TAU, world("paper", {claim["notebook"]: _worsened(claim)}))
    assert worse["verdict"].tolist() == [NOT_REPRODUCED]
    right = evaluate("paper", TAU, world("paper", RIGHT))
    assert right["verdict"].tolist() == [REPRODUCED]
    assert worse["measured"].item() != right["measured"].item()


# --- missing rows -----------------------------------------------------------------------------------------------------


def test_without_any_rows_nothing_is_tested(tmp_path):
    table = evaluate("paper", TAU, tmp_path)
    assert set(table["verdict"]) == {NOT_TESTED}
    assert table[["measured", "low", "high", "n"]].isna().all(axis=None)
    assert table.columns.tolist() == ["id", "source", "quantity", "paper", "measured", "low", "high", "n", "verdict"]


def test_claims_of_a_notebook_without_rows_are_not_tested(world):
    table = evaluate("paper", TAU, world("paper", {"05_pruning": RIGHT["05_pruning"]}))
    with_rows = table["id"].map(lambda name: CLAIMS[name]["notebook"] == "05_pruning")
    assert set(table[with_rows]["verdict"]) == {REPRODUCED}
    assert set(table[~with_rows]["verdict"]) == {NOT_TESTED}
    assert table[~with_rows]["measured"].isna().all()
    written = table.to_csv(index=False)
    assert ",20,reproduced" in written and "20.0" not in written, "n stays a whole number beside missing ones"


@pytest.mark.parametrize(
    ("notebook", "left_out", "untested"),
    [
        ("05_pruning", {"strength": [0.3]}, {"fig5-anomaly-dcmp"}),
        ("05_pruning", {"strength": [0.4]}, {"fig5-anomaly-dcmp"}),
        ("05_pruning", {"scheme": ["Trans G_max", "Trans G_ini"]}, {"s6-gmin-gmax", "s6-gmin-gini"}),
        ("05_pruning", {"scheme": ["Trans", "Trans G_max", "Trans G_ini"]},
         {"fig5-order-imagenet", "fig5-order-cifar10", "fig6-better-imagenet", "fig6-better-cifar10",
          "fig6-almost-all-fail-trans", "s6-gmin-gmax", "s6-gmin-gini"}),
        ("05_pruning", {"scenario": ["imagenet"]},
         {"fig5-imagenet-dcmp-10", "fig6-imagenet-dcmp-10", "fig5-order-imagenet", "fig6-better-imagenet"}),
        ("08_precision_loss", {"keys": ["id"]},
         {"table6-2-dcmp-id", "table6-2-trans-id", "table6-3-dcmp-id", "table6-3-trans-id", "table6-same-verdicts"}),
        ("08_precision_loss", {"scheme": ["Trans"]},
         {name for name, claim in CLAIMS.items() if claim["where"].get("scheme") == "Trans"
          and claim["notebook"] == "08_precision_loss"} | {"law-kappa-2"}),
    ],
    ids=["rate-30", "rate-40", "only-G_min", "only-DCmp", "one-scenario", "only-ood", "only-DCmp-rounding"],
)  # fmt: skip
def test_what_a_smaller_run_leaves_out_is_not_tested_and_the_rest_is(world, monkeypatch, notebook, left_out, untested):
    monkeypatch.setattr(claims, "read_claims", lambda: [c for c in CLAIMS.values() if c["notebook"] == notebook])
    rows = RIGHT[notebook]
    rows = rows[~rows[list(left_out)].isin(left_out).all(axis=1)]
    table = evaluate("paper", TAU, world("paper", {notebook: rows})).set_index("id")
    assert set(table.index[table["verdict"] == NOT_TESTED]) == untested


# --- measures by hand -------------------------------------------------------------------------------------------------


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


def test_every_measure_was_shown_by_hand():
    shown = {"agreement", "auth_success", "lowest_agreement", "passing", "failing", "verdicts_differ", "order",
             "success_gap", "rise", "kappa", "kappa_ratio"}  # fmt: skip
    assert set(MEASURES) == shown
    assert {claim["measure"] for claim in CLAIMS.values()} == shown, "a measure that no claim uses"


# --- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "measured", "low", "high", "met"),
    [
        ({"within": 0.1}, 99.8, 90, 100, True),
        ({"within": 0.1}, 100.01, 100, 100, False),
        ({"within": 0}, 99.9, 99, 100, True),
        ({"within": 0}, 99.901, 99, 100, False),
        ({"below": 0}, -1, -2, -0.1, True),
        ({"below": 0}, -1, -2, 0, False),
        ({"below": 0}, -1, -2, 0.1, False),
        ({"above": 1}, 2, 1.1, 3, True),
        ({"above": 1}, 2, 1, 3, False),
        ({"above": 1}, 2, 0.9, 3, False),
        ({"at_least": 85}, 85, 40, 99, True),
        ({"at_least": 85}, 84.9, 84, 99, False),
        ({"at_most": 5}, 5, 0, 40, True),
        ({"at_most": 5}, 5.1, 5, 40, False),
        ({"within": 1}, float("nan"), 0, 1, False),
        ({"below": 0}, float("nan"), float("nan"), float("nan"), False),
    ],
)
def test_rules(rule, measured, low, high, met):
    assert holds({"rule": rule, "paper": 99.9}, measured, low, high) is met


@pytest.mark.parametrize(
    ("rule", "words"),
    [({"within": 0.1}, "within 0.1 of the paper's number"), ({"below": 0}, "95 % interval below 0"),
     ({"above": 1}, "95 % interval above 1"), ({"at_least": 85}, "at least 85"), ({"at_most": 5}, "at most 5")],
)  # fmt: skip
def test_rules_in_words(rule, words):
    assert rule_text({"rule": rule}) == words


# --- reading and selecting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"note": "x"}, "claim table3-2-dcmp-agreement has the wrong fields: {'note'}"),
        ({"rule": None}, "claim table3-2-dcmp-agreement has the wrong fields: {'rule'}"),
        ({"measure": "vibes"}, "claim table3-2-dcmp-agreement has the unknown measure 'vibes'"),
        ({"rule": {"near": 1}}, "has the unknown rule {'near': 1}"),
        ({"rule": {"below": 1, "above": 0}}, "has the unknown rule"),
        ({"rule": {}}, "has the unknown rule"),
        ({"paper": "reliable"}, "is decided by a distance, but states no number"),
        ({"id": "law-kappa-2"}, "two claims have the same id"),
    ],
    ids=["extra", "missing", "measure", "rule", "two-rules", "no-rule", "no-number", "twice"],
)
def test_a_faulty_claims_file_is_told(tmp_path, change, sentence):
    claim = {k: v for k, v in (CLAIMS["table3-2-dcmp-agreement"] | change).items() if v is not None}
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([claim, CLAIMS["law-kappa-2"]]))
    with pytest.raises(UserError) as caught:
        read_claims(path)
    assert str(path) in str(caught.value) and sentence in str(caught.value)


def test_selecting_rows():
    rows = pd.DataFrame({"tamper": ["a", "a", "b", "c"], "strength": ["0.30000000000000004", "2", "", "float16"],
                         "n": [1, 2, 3, 4]})  # fmt: skip
    assert select(rows, {"tamper": "a"})["n"].tolist() == [1, 2]
    assert select(rows, {"tamper": ["b", "c"]})["n"].tolist() == [3, 4]
    assert select(rows, {"strength": 0.3})["n"].tolist() == [1]
    assert select(rows, {"tamper": ["a", "b"], "strength": [2, 0.3]})["n"].tolist() == [1, 2]
    assert select(rows, {"strength": 5}).empty and select(rows, {"tamper": "d"}).empty
    assert rows["strength"].tolist()[0] == "0.30000000000000004", "the given rows were changed"


def test_points_for_the_figures_are_single_cells_only():
    points = printed_points("08_precision_loss")
    assert set(points.columns) == {"scenario", "scheme", "strength", "measure", "paper"}
    assert set(points["scenario"]) == {"cifar10"} and len(points) == 8
    assert json.loads(points["paper"].to_json(orient="values")) == [
        claim["paper"] for claim in CLAIMS.values()
        if claim["notebook"] == "08_precision_loss" and claim["measure"] == "agreement"
    ]  # fmt: skip
