"""Findings: the file is whole, every claim that lite missed has one, a cause was varied, and every test can fail."""

import functools
import gzip

import numpy as np
import pandas as pd
import pytest
import yaml

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import RESULTS
from sslauth_utils.claims import families, findings, judge
from sslauth_utils.claims.findings import (
    AFTER,
    BEFORE,
    CAUSE,
    CONFIRMED,
    FITS,
    FITS_NOT,
    NOT_MEASURED,
    OBSERVATION,
    REFUTED,
    UNEXPLAINED,
    UNKNOWN,
    compares,
    evaluate,
    read_findings,
)  # fmt: skip
from sslauth_utils.claims.measures import COMPARES, MEASURES
from sslauth_utils.claims.near import ROUNDING
from sslauth_utils.claims.rules import NOT_REPRODUCED, REPRODUCED
from sslauth_utils.study.rows import select

TAU = 0.995
load_once = functools.cache(judge.load_rows)  # the reference's tables are read again and again, and never changed
REFERENCE = pd.read_csv(RESULTS / "reference" / "lite" / "summary.csv")


def one(name):
    [finding] = [finding for finding in read_findings() if finding["id"] == name]
    return finding


def test_every_claim_that_the_reference_missed_has_a_finding_that_was_measured(results):
    table = evaluate("lite", TAU, REFERENCE, results)
    missed = REFERENCE.loc[REFERENCE["verdict"] == NOT_REPRODUCED, "id"].tolist()
    assert missed and UNEXPLAINED not in set(table["finding"])
    assert sorted({name for names in table["claims"] for name in names}) == sorted(missed)
    of = {test["quantity"]: test["notebook"] for _, test in TESTS}
    has_rows = table["test"].map(lambda test: (RESULTS / "reference" / "lite" / f"{of[test]}.csv.gz").is_file())
    assert (table.loc[has_rows, "answer"] != NOT_MEASURED).all() and has_rows.any()
    assert table.loc[has_rows, ["measured", "low", "high", "n"]].notna().all(axis=None)


def test_only_what_was_missed_is_explained_and_the_rest_is_named(results):
    summary = pd.DataFrame({
        "id": ["fig5-anomaly-dcmp", "matched-pruning", "intact-dcmp"],
        "verdict": [NOT_REPRODUCED, REPRODUCED, NOT_REPRODUCED],
    })  # fmt: skip
    table = evaluate("lite", TAU, summary, results)
    rise = "a-rise-belongs-to-one-encoder"
    assert table["finding"].tolist() == [rise] * 4 + [UNEXPLAINED], "a line a test"
    assert table["kind"].tolist() == [OBSERVATION] * 4 + [UNKNOWN]
    assert table["claims"].tolist() == [["fig5-anomaly-dcmp"]] * 4 + [["intact-dcmp"]]
    assert pd.isna(table["measured"].iloc[-1])
    elsewhere = evaluate("paper", TAU, summary, results)
    assert elsewhere["finding"].tolist() == [UNEXPLAINED], "no reason is offered for that profile"


def test_without_rows_a_finding_is_not_measured(tmp_path):
    summary = pd.DataFrame({"id": ["matched-pruning"], "verdict": [NOT_REPRODUCED]})
    assert evaluate("lite", TAU, summary, tmp_path)["answer"].tolist() == [NOT_MEASURED] * 4, "a line a test"


def test_tests_on_a_scenario_that_the_profile_lacks_are_left_out(tmp_path):
    summary = pd.DataFrame({"id": ["matched-pruning"], "verdict": [NOT_REPRODUCED]})
    of = {name: evaluate(name, TAU, summary, tmp_path)["test"].tolist() for name in ("lite", "gpu")}
    assert of["gpu"] == [test for test in of["lite"] if not test.startswith("ImageNet")] != of["lite"]


def _contrary(test, rows):
    """The test's rows of the reference, changed so that the reason would be wrong."""
    rows = select(rows, test["where"]).copy()
    if "before" in rows:  # samples and pairs: every label changes, or none, and of what it is held against none
        against = (rows[["tamper", "method"]] == test.get("versus")).any(axis=1)
        return rows.assign(before=("at_most" in test["rule"]) & ~against, after="")
    column = "value" if "value" in rows else "similarity"
    strength, value = pd.to_numeric(rows["strength"], errors="coerce"), rows[column].copy()
    match test["measure"], next(iter(test["rule"])):
        case "rise", "above" | "below" as bound:
            by = 0.2 if test["rule"][bound] == 0 else 0.4
            value[strength == max(test["where"]["strength"])] += by if bound == "below" else -by
        case "key_gap", bound:
            value[rows["keys"] == "ood"] += 0.2 if bound == "below" else -0.2
        case "rise", "between":
            value[strength == max(test["where"]["strength"])] -= 0.01
        case "value_mean" | "share", bound:
            value[:] = 1.0 if bound == "at_most" else 0.1
        case "agreement", bound:
            value[:] = value - 0.002 if bound == "within" else 0.99
        case "accuracy_gap", _:
            value[:] = 0.5
        case "beyond_loosest", _:  # Trans sees a key that DCmp does not
            value[:] = np.where(rows["scheme"] == "Trans", 0.9, 0.99999)
        case "failing" | "auth_success", _:
            value[:] = 0.999
        case "kappa_ratio", _:
            trans = rows["scheme"] == "Trans"
            value[trans] = 1 - 0.2 * (1 - value)  # G_min magnifies a fifth of what it did
        case "setting_kappa_ratio" | "setting_success_gap", rule:
            second = rows["keys"] == test["where"]["keys"][1]
            value[second] = 0.9 if rule == "below" else 0.9999
        case "rejected_from_ratio", _:
            tampered = (rows["scheme"] == "Trans") & (rows["tamper"] != ROUNDING)
            value[tampered] = 1 - 3 * (1 - value)  # Trans sees tampers long before it sees a rounding
        case "generator_spread", _:  # the untrained generators agree to the last digit
            untrained = rows["scheme"] == "Trans G_ini"
            value[untrained] = 0.9 + 0.001 * rows.loc[untrained, "key"] / 100
        case "share_change", _:
            value[strength == max(test["where"]["strength"])] = 1.0
        case "scenario_gap", _:
            value[rows["scenario"] == "imagenet"] -= 0.3
        case "key_loss_ratio", bound:
            value[rows["keys"] == "ood"] = 1 - (0.2 if bound == "above" else 3) * (1 - value)
        case "log_density_gap", _:
            value[rows["quantity"] == "log density id"] += 50
        case "accepted_share" | "accepted_over_chance", bound:  # no key, or every key, answers as enrolled
            value[:] = 0.0 if bound in ("above", "at_least") else 1.0
        case "smallest_seen_ratio", _:  # the other sees no tamper at all
            value[rows["method"] == test["versus"]] = 0.0
        case "cost_ratio", _:
            value[rows["quantity"] == test["where"]["quantity"][0]] *= 10
        case "models_mean", _:
            value[:] = 1000.0
        case "models_percent", bound:
            value[:] = 0.1 if bound in ("above", "at_least") else 0.9
        case "accepted_gap", "at_most":  # every key of the second network answers as enrolled, none of the first
            value[:] = (rows["scenario"] == test["where"]["scenario"][-1]).astype(float)
        case "kappa", _:
            trans = rows["scheme"] == "Trans"
            value[trans] = 1 - 3 * (1 - value)
        case "kappa_unevenness", _:
            value[(rows["tamper"] == "rounding") & (rows["scheme"] == "Trans")] -= 0.1
        case "form_kappa", _:
            form = rows["scheme"] == test["versus"]
            value[form] = 1 - (0.2 if "above" in test["rule"] else 9) * (1 - value)
        case measure:
            raise AssertionError(f"say how {measure} goes wrong")
    return rows.assign(**{column: value})


def test_a_reason_needs_every_one_of_few_seeds_where_its_test_rests_on_an_interval(results, monkeypatch):
    """ood keys lose more with seed 0, hardly with seed 1: all together lie below 0, yet the test is not met."""

    def loaded(*where):
        rows = load_once(*where).copy()
        if claim["notebook"] not in where:
            return rows
        wide = 0.47 + 0.2 * (-1.0) ** rows["key"]  # 3 points below the ID keys on average, of which a key says little
        second = rows["seed"] == 1
        rows.loc[second, "similarity"] = np.where(rows["keys"] == "ood", wide, 0.5)[second]
        return rows

    monkeypatch.setattr(judge, "load_rows", loaded)
    claim = next(claim for claim in families.read_claims() if claim["id"] == "fig8-ood-id-trans")
    test = {name: claim[name] for name in ("quantity", "notebook", "where", "measure", "rule")}
    finding = {
        "id": "f",
        "claims": ["intact-dcmp"],
        "profiles": ["lite"],
        "kind": OBSERVATION,
        "reason": "r",
        "tests": [test],
    }
    monkeypatch.setattr(findings, "read_findings", lambda: [finding])
    line = evaluate("lite", TAU, pd.DataFrame({"id": ["intact-dcmp"], "verdict": [NOT_REPRODUCED]}), results).iloc[0]
    assert line["high"] < 0 and line["answer"] == FITS_NOT


def test_a_rise_that_every_encoder_has_refutes_that_it_belongs_to_one(results, monkeypatch):
    def loaded(*where):
        rows = load_once(*where)
        return pd.concat([rows[rows["seed"] == 1].assign(seed=seed) for seed in (0, 1)])

    monkeypatch.setattr(judge, "load_rows", loaded)
    summary = pd.DataFrame({"id": ["fig5-anomaly-dcmp"], "verdict": [NOT_REPRODUCED]})
    answers = evaluate("lite", TAU, summary, results).set_index("test")["answer"]
    assert answers.tolist() == [FITS_NOT, FITS] * 2, "both encoders fall"


TESTS = [(finding, test) for finding in read_findings() for test in finding["tests"]]


@pytest.mark.parametrize("number", range(len(TESTS)))
def test_every_reason_can_be_refuted(results, number, monkeypatch):
    """On the reference's rows with just what the reason says turned round."""
    finding, test = TESTS[number]
    summary = pd.DataFrame({"id": finding["claims"][:1], "verdict": [NOT_REPRODUCED]})

    def loaded(profile, notebook, folder, table="rows"):
        rows = load_once(profile, notebook, folder, table)
        if (notebook, table) != (test["notebook"], test.get("table", "rows")):
            return rows
        turned = _contrary(test, rows)
        return pd.concat([rows.drop(turned.index), turned])

    monkeypatch.setattr(judge, "load_rows", loaded)
    monkeypatch.setattr(findings, "read_findings", lambda: [finding | {"tests": [test]}])
    assert evaluate("lite", TAU, summary, results)["answer"].isin([FITS_NOT, REFUTED]).tolist() == [True]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.pop("reason"), "has the wrong fields"),
        (lambda f: f.update(more=1), "has the wrong fields"),
        (lambda f: f.update(claims=["fig99"]), "names claims that do not exist"),
        (lambda f: f.update(kind="guess"), "unknown kind 'guess'"),
        (lambda f: f.update(kind="cause"), "has the wrong fields: {'varied'}"),
        (lambda f: f.update(kind="cause", varied={"what": "pruning"}), "varied must hold column, values, what"),
        (lambda f: f["tests"][0].update(written="later"), "was written before or after its rows"),
        (lambda f: f["tests"][0].update(measure="mood"), "has the unknown measure 'mood'"),
        (lambda f: f["tests"][0].update(rule={"near": 1}), "has the unknown rule"),
        (lambda f: f["tests"][0].update(rule={"within": 1}), "has the wrong fields"),
    ],
)
def test_a_faulty_file_is_told(tmp_path, change, sentence):
    finding = yaml.safe_load(yaml.safe_dump(one("a-rise-belongs-to-one-encoder")))
    change(finding)
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump([finding]), encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        read_findings(tmp_path)


UTILITY = {"what": "weight of the utility loss", "column": "strength", "values": [0, 1]}


@pytest.mark.parametrize(
    "varied",
    [{"values": [0, 0.1]}, {"values": [0]}, {"values": [1, 1]}, {"column": "scheme"}, {"column": "keys"}],
)
def test_what_no_test_compares_is_no_cause(tmp_path, varied):
    finding = one("keys-are-held-by-the-utility-loss")
    assert finding["varied"] == UTILITY
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump([finding | {"varied": UTILITY | varied}]), encoding="utf-8")
    with pytest.raises(UserError, match="is called a cause, but no test compares what it says was varied"):
        read_findings(tmp_path)


def test_a_test_of_one_value_only_compares_nothing(tmp_path):
    finding = one("keys-are-held-by-the-utility-loss")
    left = [test for test in finding["tests"] if not compares(test, UTILITY)]
    assert 0 < len(left) < len(finding["tests"])
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump([finding | {"tests": left}]), encoding="utf-8")
    with pytest.raises(UserError, match="is called a cause"):
        read_findings(tmp_path)


def test_measures_that_compare_are_measures():
    columns = {"strength", "scheme", "keys", "tamper", "method"}
    assert set(COMPARES) <= set(MEASURES) and set(COMPARES.values()) <= columns


@pytest.mark.parametrize(("met", "kind"), [(True, CAUSE), (False, UNKNOWN), (None, OBSERVATION)])
def test_a_cause_is_one_only_in_a_run_that_varied_it_and_in_which_it_made_the_difference(
    results, monkeypatch, met, kind
):
    finding = one("keys-are-held-by-the-utility-loss")
    name = finding["claims"][0]

    def judged(_, test):
        compared = compares(test, UTILITY)
        return None if compared and met is None else ((1.0, 0.0, 2.0, 3), met if compared else True)

    monkeypatch.setattr(judge.Results, "judge", judged)
    table = evaluate("lite", TAU, pd.DataFrame({"id": [name], "verdict": [NOT_REPRODUCED]}), results)
    assert set(table["kind"]) == {kind}


def test_only_what_was_written_before_its_rows_is_confirmed_or_refuted(results):
    table = evaluate("lite", TAU, REFERENCE, results)
    before = table[table["written"] == BEFORE]
    assert len(before) and set(before["finding"]) == {"keys-are-held-by-the-utility-loss"}
    assert set(before["answer"]) <= {CONFIRMED, REFUTED, NOT_MEASURED}
    after = table[table["written"] == AFTER]
    assert set(after["answer"]) <= {FITS, FITS_NOT, NOT_MEASURED} and len(after) + len(before) == len(table)


def test_two_reasons_for_one_claim_are_refused(tmp_path):
    finding = one("a-rise-belongs-to-one-encoder")
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump([finding, finding | {"id": "again"}]))
    with pytest.raises(UserError, match="explains what another finding explains"):
        read_findings(tmp_path)


def test_the_reference_s_rows_are_restored_as_they_were(results):
    for table, ending in (("rows", ""), ("measures", ".measures")):
        kept = gzip.decompress((RESULTS / "reference" / "lite" / f"06_backdoor{ending}.csv.gz").read_bytes()).decode()
        parts = [path.read_text() for path in sorted((results / "lite" / "06_backdoor").glob(f"*/{table}.csv"))]
        assert len(parts) == 4
        assert parts[0] + "".join(part.partition("\n")[2] for part in parts[1:]) == kept
