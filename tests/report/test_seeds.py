"""Every seed by itself: what they agree on is counted, what they do not is shown with each one's number."""

import pytest
from claims_world import TAU, world

from sslauth_utils.claims import findings, judge, rules
from sslauth_utils.report.seeds import seed_tables
from sslauth_utils.report.tables import with_interval


@pytest.fixture
def results(tmp_path):
    """Rows of pruning in which agreement rises from 30 to 40 % with seed 0, as the paper says; with seed 1 it falls."""
    for (notebook, name), table in world("lite").items():
        if notebook == "05_pruning":
            fallen = (table["seed"] == 1) & (table["strength"] == 0.4) & (table["scheme"] == "DCmp")
            table = table.assign(similarity=table["similarity"] - 0.05 * fallen)
        if notebook in ("03_verify_intact", "05_pruning"):
            for (scenario, seed), part in table.groupby(["scenario", "seed"]):
                folder = tmp_path / "lite" / notebook / f"{scenario}-s{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                part.to_csv(folder / f"{name}.csv", index=False)
    return tmp_path


def tables(results, seeds):
    summary = judge.evaluate("lite", TAU, results)
    return seed_tables("lite", TAU, summary, findings.evaluate("lite", TAU, summary, results), seeds, results)


def test_a_claim_that_holds_with_one_seed_only_is_shown_and_the_others_are_counted(results):
    (_, text, table), (_, about_findings, _) = tables(results, [0, 1])
    shown = table.set_index("claim")
    assert "fig5-anomaly-dcmp" in shown.index
    line = shown.loc["fig5-anomaly-dcmp"]
    assert (line["seed 0"], line["seed 1"]) == (rules.REPRODUCED, rules.NOT_REPRODUCED)
    assert float(line["seed 0 measures"].split()[0]) > 0 > float(line["seed 1 measures"].split()[0])
    assert line["all seeds"] == rules.NOT_REPRODUCED, "a rule on an interval asks it of both"
    decided = (judge.evaluate("lite", TAU, results)["verdict"] != rules.NOT_TESTED).sum()
    assert f"Of {decided} claims that this run decides, {decided - len(table)} come out the same" in text
    none = "There are no tests of findings that every seed can answer (those written after its rows too)."
    assert about_findings == none, "all of them name a seed"


def test_a_reason_s_number_of_each_seed_is_of_that_seed_s_rows(results, monkeypatch):
    where = {"scenario": "cifar10", "scheme": "DCmp", "tamper": "pruning", "strength": [0.3, 0.4]}
    test = {"quantity": "It falls", "notebook": "05_pruning", "where": where, "measure": "rise", "rule": {"at_most": 0}}
    named = test | {"quantity": "Seed 0 rises", "rule": {"above": 0}, "where": where | {"seed": 0}}
    finding = {"id": "f", "claims": ["fig5-anomaly-dcmp"], "profiles": ["lite"], "reason": "r"}
    finding |= {"kind": findings.OBSERVATION, "tests": [test, named]}
    monkeypatch.setattr(findings, "read_findings", lambda: [finding])
    _, (_, text, table) = tables(results, [0, 1])
    assert table["test"].tolist() == ["It falls"], "a test that names a seed is of that seed anyway"
    [line] = table.to_dict("records")
    assert (line["seed 0"], line["seed 1"]) == (findings.FITS_NOT, findings.FITS)
    whole = judge.Results("lite", TAU, results)
    for seed in (0, 1):
        found, _ = whole.judge(test | {"where": where | {"seed": seed}})
        assert line[f"seed {seed} measures"] == with_interval(*found[:3], 3)
    assert text.endswith("with each seed's 95 % intervals, over its keys, images or generators:")


def test_a_seed_alone_sees_only_its_own_rows(results):
    whole = judge.evaluate("lite", TAU, results).set_index("id")
    alone = judge.evaluate("lite", TAU, results, seed=0).set_index("id")
    ratio = (whole["n"] / alone["n"]).dropna()
    of_worst = [name for name in ratio.index if name.startswith(("intact", "matched"))]  # of one encoder at any rate
    assert (ratio[of_worst] == 1).all() and (ratio.drop(of_worst) == 2).all() and len(ratio) > len(of_worst)


def test_one_seed_has_nothing_to_be_compared_with(results):
    assert tables(results, [0]) == []
