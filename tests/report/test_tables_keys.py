"""Key sets side by side: the tables say what the rows say."""

import pandas as pd
import pytest
from drawn import TAU, part, sweep

from sslauth_utils.claims.statistics import summarise
from sslauth_utils.report import tables_keys

FACTOR = {"ood": 2, "id": 1, "id:5": 1.5, "id:100": 3}


@pytest.fixture
def rows():
    """Of one encoder; agreement falls with the pruning rate, except for OOD keys from 0.1 to 0.5."""

    def loss(keys):
        return lambda scheme, rate: FACTOR[keys] * (0.01 / rate if keys == "ood" else rate / 100)

    made = [pd.DataFrame(sweep("pruning", (0.1, 0.5), loss(keys), ["DCmp", "Trans"])).assign(keys=keys)
            for keys in FACTOR]  # fmt: skip
    return part(pd.concat(made, ignore_index=True), scenario="cifar10", seed=0)


def test_each_column_is_a_scheme_and_a_key_set(rows):
    table = tables_keys.by_key_set(rows, ["ood", "id"], TAU, "agreement")
    assert table.columns.tolist() == [(s, k) for s in ("DCmp", "Trans") for k in ("ood", "id")]
    for scheme, keys in table.columns:
        wanted = summarise(part(rows, scheme=scheme, keys=keys), ["strength"], TAU)["agreement"]
        assert table[scheme, keys].to_numpy() == pytest.approx(wanted.to_numpy())


def test_the_gap_has_its_sign_and_lies_in_its_interval(rows):
    gaps = tables_keys.ood_minus_id(rows)
    assert len(gaps) == 2 * 2 and (gaps["n"] == 4).all()
    first = gaps[gaps["strength"] == 0.1].iloc[0]
    assert first["OOD − ID, points"] < 0
    assert first["low"] <= first["OOD − ID, points"] <= first["high"]


def test_a_rise_is_told_with_its_rate(rows):
    told = tables_keys.rises(tables_keys.by_key_set(rows, ["ood", "id"], TAU, "agreement")).squeeze()
    assert told["DCmp", "ood"].startswith("to 50 %: +") and told["DCmp", "id"] == "never"


def test_choices_by_class_lie_as_far_apart_as_their_extremes(rows):
    table = tables_keys.apart(rows, TAU)
    assert table["apart, points"].to_numpy() == pytest.approx((table["id:5"] - table["id:100"]).to_numpy())
    assert tables_keys.apart(rows[~rows["keys"].str.startswith("id:")], TAU).empty
