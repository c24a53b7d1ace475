"""Every verification in one table: the worst key decides, and what is no verification of its own is left out."""

import pandas as pd
import pytest
from claims_world import TAU, world

from sslauth_utils.claims.tolerance import matched_tolerances
from sslauth_utils.claims.verifications import KINDS, honest, verifications


@pytest.fixture(scope="module")
def rows():
    return {notebook: table for (notebook, kind), table in world("lite").items() if kind == "rows"}


def test_every_kind_is_there_and_nothing_that_is_no_verification(rows):
    found = verifications(rows, TAU)
    assert set(found["kind"]) == set(KINDS)
    assert not found["tamper"].str.endswith("by epoch").any()
    assert not set(found["tamper"]) & {"untrained encoder", "pruning with batch norm"}
    assert not found.duplicated(["scenario", "seed", "tamper", "strength"]).any()
    assert set(found.loc[honest(found), "tamper"]) == {
        "repeated run", "batch size", "threads", "channels_last", "weights stored as", "rounded to decimals",
    }  # fmt: skip


def test_the_worst_key_decides_in_every_scheme(rows):
    found = verifications(rows, TAU)
    tolerances = matched_tolerances(rows["03_verify_intact"], TAU)
    for line in found[found["kind"] == "pruning"].itertuples():
        part = rows["05_pruning"]
        part = part[(part["scenario"] == line.scenario) & (part["seed"] == line.seed) & (part["tamper"] == "pruning")
                    & (part["strength"].astype(str) == line.strength)]  # fmt: skip
        worst = part.groupby("scheme")["similarity"].min()
        assert line.change == pytest.approx(1 - worst["DCmp"]) and line.DCmp == (worst["DCmp"] > TAU)
        assert line.Trans == (worst["Trans"] > TAU)
        limit = tolerances[line.scenario, line.seed].tau
        assert line.matched == pytest.approx(1 - limit) and found.loc[line.Index, "DCmp matched"] == (
            worst["DCmp"] > limit)  # fmt: skip


def test_an_encoder_without_honest_changes_is_left_out(rows):
    null = rows["03_verify_intact"]
    found = verifications(rows | {"03_verify_intact": null[null["scenario"] == "cifar10"]}, TAU)
    assert set(found["scenario"]) == {"cifar10"}
    assert verifications({name: table for name, table in rows.items() if name[:2] != "03"}, TAU).empty


def test_where_nobody_asked_the_hash_there_is_no_answer_of_it(rows):
    null = rows["03_verify_intact"]
    found = verifications({"03_verify_intact": null[null["scheme"] != "SHA-256"]}, TAU)
    assert isinstance(found, pd.DataFrame) and found["SHA-256"].isna().all()
