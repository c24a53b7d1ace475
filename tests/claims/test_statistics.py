"""Numbers from rows: agreement, success, intervals and amplification against hand computation and scipy."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sslauth_utils.base.errors import UserError
from sslauth_utils.claims.statistics import (
    UnequalKeys,
    amplification,
    mean_interval,
    resamples,
    share_interval,
    summarise,
)
from sslauth_utils.schemes.report import SchemeResult
from sslauth_utils.study.rows import load_rows

TAU = 0.995


def rows(similarities, scheme="DCmp", seed=0, **more):
    """Rows of one verification, a key each."""
    return pd.DataFrame(
        [{"scheme": scheme, "seed": seed, "key": key, "similarity": value} | more
         for key, value in enumerate(similarities)]
    )  # fmt: skip


def test_a_group_by_hand():
    table = summarise(pd.concat([
        rows([1.0, 0.996, 0.995, 0.9], strength=0.1),
        rows([1.0, 0.999, 0.998, 0.996], strength=0.1, seed=1),
        rows([0.5, 0.5, 0.5, 0.7], strength=0.2),
    ]), ["scheme", "strength"], TAU)  # fmt: skip
    assert table["strength"].tolist() == [0.1, 0.2]
    first, second = table.iloc[0], table.iloc[1]
    assert first["agreement"] == pytest.approx(100 * (3.891 + 3.993) / 8)
    assert first["worst"] == 90
    # 0.995 itself does not exceed tau (eq. 5): 2 + 4 of 8 keys
    assert first["auth_success"] == 75
    assert first["passed"] == 50, "one of two seeds passes with all keys"
    assert (first["n"], first["seeds"], second["n"], second["seeds"]) == (8, 2, 4, 1)
    assert second["agreement"] == pytest.approx(55) and second["passed"] == second["auth_success"] == 0
    assert (first["success_low"], first["success_high"]) == pytest.approx((34.9, 96.8), abs=0.05)
    assert (second["success_low"], second["success_high"]) == pytest.approx((0, 60.2), abs=0.05)
    for line in (first, second):
        assert line["agreement_low"] <= line["agreement"] <= line["agreement_high"]


@given(
    values=st.lists(st.floats(-1, 1) | st.just(TAU), min_size=1, max_size=12),
    tau=st.floats(0.01, 0.99) | st.just(TAU),
)
@settings(max_examples=25, deadline=None)
def test_summary_of_one_verification_is_its_report(values, tau):
    report = SchemeResult("DCmp", torch.tensor(values, dtype=torch.float64), tau)
    line = summarise(rows(values), ["scheme"], tau).iloc[0]
    assert line["agreement"] == pytest.approx(report.agreement, abs=1e-9)
    assert line["auth_success"] == pytest.approx(report.auth_success)
    assert (line["passed"] == 100) == report.passed


def test_interval_of_the_mean_is_scipys():
    values = np.random.default_rng(3).beta(50, 1, size=100)
    low, high = mean_interval(values, np.zeros(100))
    wanted = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=4).confidence_interval
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=0.05 * (wanted.high - wanted.low))


def test_interval_of_the_mean_covers_it_as_often_as_it_says():
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        low, high = mean_interval(draw.normal(0.9, 0.05, size=40), np.zeros(40))
        covered += low <= 0.9 <= high
    # 95 % of 300 is 285 with a standard deviation of 3.8; the percentile bootstrap of 40 values covers 94 %
    assert 270 <= covered <= 294


def test_seeds_are_resampled_as_wholes():
    """Two encoders that differ: 200 keys say little about a third encoder."""
    noise = np.random.default_rng(0).normal(0, 0.001, size=200)
    values = np.repeat([0.9, 0.8], 100) + noise
    low, high = mean_interval(values, np.repeat([0, 1], 100))
    # with two seeds a quarter of the resamples draws only one of them, a quarter only the other
    assert (low, high) == pytest.approx((0.8, 0.9), abs=0.001)
    keys_low, keys_high = mean_interval(values, np.zeros(200))
    assert keys_high - keys_low < 0.2 * (high - low)


def test_equal_seeds_cost_nothing():
    values = np.random.default_rng(1).normal(size=150)
    widths = [np.ptp(mean_interval(np.tile(values, 2), seeds)) for seeds in (np.repeat([0, 1], 150), np.zeros(300))]
    assert widths[0] == pytest.approx(widths[1], rel=0.15)


@pytest.mark.parametrize("seeds", [[0] * 6, [5, 7] * 3, [0, 0, 1, 1, 2, 2]], ids=["one", "interleaved", "three"])
def test_a_resample_takes_whole_seeds_and_keys_within_them(seeds):
    seeds = np.array(seeds)
    picks = resamples(seeds)
    names = np.unique(seeds)
    assert picks.shape == (2000, 6)
    for pick in picks[:200]:
        blocks = seeds[pick].reshape(len(names), -1)
        assert (blocks == blocks[:, :1]).all(), "the keys of one draw of a seed are all its own"
    assert np.array_equal(np.unique(picks), np.arange(6))
    assert np.array_equal(picks, resamples(seeds)), "intervals are the same in every run"


def test_another_key_set_has_the_same_encoders_and_other_keys():
    seeds = np.repeat([0, 1, 2], 20)
    one, other = resamples(seeds), resamples(seeds, key_set=1)
    assert (seeds[one] == seeds[other]).all()
    assert (one == other).mean() == pytest.approx(1 / 20, abs=0.01), "a key in twenty by chance"
    assert np.array_equal(other, resamples(seeds, key_set=1))


def test_seeds_with_different_numbers_of_keys_have_no_interval():
    with pytest.raises(UnequalKeys, match="different numbers of keys; run the notebook again for all seeds"):
        resamples(np.array([0, 0, 1]))
    unequal = pd.concat([rows([1.0, 0.9], scheme, seed=0) for scheme in ("DCmp", "Trans")]
                        + [rows([0.8], scheme, seed=1) for scheme in ("DCmp", "Trans")])  # fmt: skip
    line = summarise(unequal, ["scheme"], TAU).iloc[0]
    assert line["agreement"] == pytest.approx(90) and line[["agreement_low", "agreement_high"]].isna().all()
    assert amplification(unequal.assign(at=1), ["at"]).empty


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Clopper and Pearson 1934; at the ends 0.025 ** (1 / n) and its complement
    [(100, 100, 0.9638, 1), (0, 100, 0, 0.0362), (99, 100, 0.9455, 0.99975), (1, 1, 0.025, 1), (5, 10, 0.1871, 0.8129)],
)
def test_known_intervals_of_a_share(hits, n, low, high):
    assert share_interval(hits, n) == pytest.approx((low, high), abs=5e-5)


@given(data=st.data(), n=st.integers(1, 400))
@settings(max_examples=30, deadline=None)
def test_interval_of_a_share_is_made_of_beta_quantiles(data, n):
    hits = data.draw(st.integers(0, n))
    low, high = share_interval(hits, n)
    assert low == pytest.approx(stats.beta.ppf(0.025, hits, n - hits + 1) if hits else 0, abs=1e-9)
    assert high == pytest.approx(stats.beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1, abs=1e-9)
    mirrored = share_interval(n - hits, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


def test_amplification_by_hand():
    table = amplification(pd.concat([
        rows([0.99, 0.98, 0.97], "DCmp", strength=0.1),
        rows([0.80, 0.90, 0.70], "Trans", strength=0.1),
        rows([0.97, 0.94, 0.91], "Trans G_ini", strength=0.1),
        rows([0.0], "SHA-256", strength=0.1),
    ]), ["strength"]).set_index("scheme")  # fmt: skip
    assert set(table.index) == {"Trans", "Trans G_ini"}
    assert table.loc["Trans", "kappa"] == pytest.approx(0.6 / 0.06), "a ratio of means, not a mean of ratios"
    assert table.loc["Trans", "low"] < 10 < table.loc["Trans", "high"]
    # where every key is magnified alike there is nothing uncertain
    assert table.loc["Trans G_ini", ["kappa", "low", "high"]].tolist() == pytest.approx([3, 3, 3])
    assert table["n"].tolist() == [3, 3]


def test_amplification_pairs_keys_by_seed_and_number():
    change = np.array([0.01, 0.02, 0.03, 0.04])
    parts = [rows(1 - factor * change[2 * seed : 2 * seed + 2], scheme, seed, scenario="cifar10")
             for seed in (1, 0) for scheme, factor in (("Trans", 7), ("DCmp", 1))]  # fmt: skip
    shuffled = pd.concat(parts).sample(frac=1, random_state=2)
    line = amplification(shuffled, ["scenario"]).iloc[0]
    assert [line["kappa"], line["low"], line["high"]] == pytest.approx([7, 7, 7])
    assert line["scenario"] == "cifar10" and line["n"] == 4


def test_groups_without_a_change_have_no_amplification():
    unchanged = [rows([1.0, 1.0], scheme, strength=6) for scheme in ("DCmp", "Trans")]
    changed = [rows([0.9, 0.8], scheme, strength=1) for scheme in ("DCmp", "Trans")]
    assert amplification(pd.concat(unchanged + changed), ["strength"])["strength"].tolist() == [1]
    with_no_features = pd.concat(changed)
    assert amplification(with_no_features[with_no_features["scheme"] == "Trans"], ["strength"]).empty


def test_rows_of_all_finished_runs_in_a_fixed_order(tmp_path):
    others = ("cifar10-s0/deeper", "cifar10-s2", "cifar10-s0 (copy)", "voc-s0", "mnist_lenet5-s5")
    for folder in ("imagenet-s0", "cifar10-s1", "cifar10-s0", *others):
        path = tmp_path / "lite" / "05_pruning" / folder / "rows.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"scenario,strength,similarity\n{folder},,0.30000000000000004\n")
    (tmp_path / "lite" / "05_pruning" / "imagenet-s1" / "rows.partial").mkdir(parents=True)
    read = load_rows("lite", "05_pruning", tmp_path)
    assert read["scenario"].tolist() == ["cifar10-s0", "cifar10-s1", "imagenet-s0"]
    assert read["strength"].tolist() == ["", "", ""], "an empty strength is a value"
    assert (read["similarity"] == 0.1 + 0.2).all()


def test_measures_are_read_from_their_own_files(tmp_path):
    for folder, tables in (("cifar10-s0", "rows measures"), ("cifar10-s1", "measures"), ("imagenet-s0", "rows")):
        for table in tables.split():
            path = tmp_path / "lite" / "06_backdoor" / folder / f"{table}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"scenario,value\n{folder} {table},\n")
    read = {table: load_rows("lite", "06_backdoor", tmp_path, table) for table in ("rows", "measures")}
    assert read["measures"]["scenario"].tolist() == ["cifar10-s0 measures", "cifar10-s1 measures"]
    assert read["rows"]["scenario"].tolist() == ["cifar10-s0 rows", "imagenet-s0 rows"]
    assert load_rows("lite", "06_backdoor", tmp_path).equals(read["rows"])
    with pytest.raises(UserError, match=r"^There are no measures of 05_pruning in results/lite; make them with"):
        load_rows("lite", "05_pruning", tmp_path, "measures")


def test_missing_rows_are_told(tmp_path):
    with pytest.raises(UserError) as caught:
        load_rows("lite", "05_pruning", tmp_path)
    assert str(caught.value) == (
        "There are no rows of 05_pruning in results/lite; make them with ./run_all.sh --profile lite --only 05_pruning."
    )
