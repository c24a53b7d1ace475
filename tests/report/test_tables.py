"""The report's tables of attacks, by their cells."""

import pandas as pd
from claims_world import TAU, world

from sslauth_utils.claims.tolerance import matched_tolerances
from sslauth_utils.report.tables import success_table, tolerance_table, utility_table
from sslauth_utils.study.rows import select


def test_the_ablation_s_table_has_a_line_a_weight_with_task_and_keys():
    rows, measures = (world("demo")["13_utility_loss", kind].copy() for kind in ("rows", "measures"))
    gone = (measures["quantity"] == "destroyed") & (measures["strength"] == 0) & (measures["scenario"] == "cifar10")
    measures.loc[gone, "value"] = 1.0
    heading, _, table = utility_table(rows, measures, TAU)
    assert heading == "The utility loss and the keys"
    assert table.columns.name is None, "a name would be a column of the page"
    assert table[["scenario", "λ2"]].drop_duplicates().shape[0] == len(table) == 6
    line = select(table.rename(columns={"λ2": "strength"}), {"scenario": "cifar10", "strength": 0}).iloc[0]
    assert line["encoders destroyed %"] == 100 and table["encoders destroyed %"].sum() == 100
    for keys, scheme in (("ood", "DCmp"), ("id", "Trans")):
        where = {"scenario": "cifar10", "strength": 0, "keys": keys, "scheme": scheme}
        mean = 100 * select(rows, where)["similarity"].mean()
        assert float(line[f"{scheme} agreement, {keys.upper()} keys %"].split()[0]) == round(mean, 2)
    attack = {"scenario": "cifar10", "strength": 0, "quantity": "attack success"}
    assert line["attack success %"] == round(100 * select(measures, attack)["value"].mean(), 1)


def test_one_number_stands_for_one_quantity():
    lines = [("clean accuracy", 0.8), ("attack success", 0.95), ("attack success, all classes", 0.96), ("chance", 0.1)]
    measures = pd.DataFrame([{"tamper": "backdoor svhn", "strength": 0, "quantity": name, "value": value}
                             for name, value in lines])  # fmt: skip
    table = success_table(measures)
    assert table.columns.tolist() == ["chance %", "clean accuracy %", "attack success %"]
    assert table.loc[("backdoor svhn", 0)].tolist() == [10, 80, 95]
    gone = pd.DataFrame([{"tamper": "backdoor svhn", "strength": 0, "quantity": "destroyed", "value": 1.0}])
    assert success_table(pd.concat([measures, gone]))["destroyed"].tolist() == ["yes"]


def test_the_table_of_equal_strictness_says_why_its_numbers_differ():
    rows = {notebook: table for (notebook, kind), table in world("demo").items() if kind == "rows"}
    tolerances = matched_tolerances(rows["03_verify_intact"], TAU)
    heading, text, table = tolerance_table(rows, tolerances, TAU)
    assert heading == "Equally strict" and "pruning with batch norm" in set(table["tamper"])
    ablation = "Pruning with batch norm is an ablation: the count of all tampered encoders leaves it out."
    assert ablation in text
    pruned = rows["05_pruning"]
    without = {"05_pruning": pruned[pruned["tamper"] != "pruning with batch norm"]}
    assert ablation not in tolerance_table(without, tolerances, TAU)[1]
    tuned = rows["04_fine_tuning"]
    last = tuned["strength"].astype(float) == tuned["strength"].astype(float).max()
    hashed = {"04_fine_tuning": tuned[(tuned["scheme"] != "SHA-256") | last]}
    said = "SHA-256 is asked once a fine-tuning and not once an epoch."
    assert said in tolerance_table(hashed, tolerances, TAU)[1]
    assert said not in tolerance_table({"06_backdoor": rows["06_backdoor"]}, tolerances, TAU)[1]
