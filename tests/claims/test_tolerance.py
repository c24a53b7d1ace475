"""One tolerance for two statistics, on nulls made by hand."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslauth_utils.base.errors import UserError
from sslauth_utils.claims.tolerance import at_one_tolerance, match, matched_tolerances, passing_table

TAU = 0.995


def null(changes, scenario="cifar10", seed=0, kind="upload"):
    """Rows of two keys a change; `changes` are the worst keys' (DCmp, Trans), the other key's are perfect."""
    return pd.DataFrame([
        {"scenario": scenario, "seed": seed, "kind": kind, "tamper": f"change {number}", "strength": "",
         "scheme": scheme, "key": key, "similarity": worst if key else 1.0}
        for number, pair in enumerate(changes) for scheme, worst in zip(("DCmp", "Trans"), pair, strict=True)
        for key in (0, 1)
    ])  # fmt: skip


EXACT = [(0.99999, 0.999), (0.9998, 0.9951), (0.9992, 0.9949), (0.99, 0.8)]


def test_an_exact_match_lies_between_the_last_accepted_and_the_first_rejected_change():
    found = match(null(EXACT), TAU)
    assert (found.disagreements, found.accepted, found.rejected) == (0, 2, 2)
    assert (found.strictest, found.loosest) == pytest.approx((0.9998, 0.9992))
    assert 1 - found.tau == pytest.approx(math.sqrt(0.0002 * 0.0008)), "the geometric middle of the losses"
    for loss, (worst, trans) in enumerate(EXACT):
        assert (worst > found.tau) == (trans > TAU), loss


def test_the_order_of_rows_and_of_changes_does_not_matter():
    expected = match(null(EXACT), TAU)
    assert match(null(EXACT[::-1]), TAU) == expected
    assert match(null(EXACT).sample(frac=1, random_state=1), TAU) == expected


def test_a_change_is_as_good_as_its_worst_key():
    rows = null(EXACT)
    better = rows.copy()
    better.loc[better["key"] == 0, "similarity"] = 0.99999
    assert match(better, TAU).tau == pytest.approx(match(rows, TAU).tau, abs=1e-9)


def test_a_similarity_of_just_tau_is_rejected():
    assert match(null([(0.9999, TAU), (0.99, 0.9)]), TAU).accepted == 0


def test_without_an_exact_match_the_fewest_disagreements_count():
    # by DCmp's loss: accepted, rejected, accepted, accepted, rejected; passing the first four errs once
    mixed = [(0.9999, 0.999), (0.9995, 0.9), (0.999, 0.999), (0.998, 0.999), (0.99, 0.9)]
    found = match(null(mixed), TAU)
    assert (found.disagreements, found.accepted, found.rejected) == (1, 3, 2)
    assert (found.strictest, found.loosest) == pytest.approx((0.998, 0.99))
    assert sum((worst > found.tau) != (trans > TAU) for worst, trans in mixed) == 1


def test_among_equals_the_strictest_is_taken():
    # passing nothing errs once, passing both errs once, passing the first (rejected by Trans) errs twice
    found = match(null([(0.9999, 0.9), (0.999, 0.999)]), TAU)
    assert found.disagreements == 1 and found.loosest == pytest.approx(0.9999)
    assert found.tau > 0.9999


def test_changes_of_equal_loss_cannot_be_told_apart():
    found = match(null([(0.999, 0.999), (0.999, 0.9), (0.999, 0.9)]), TAU)
    assert found.disagreements == 1 and found.tau > 0.999, "two of three are rejected, so all are"


def test_all_accepted_leaves_no_lower_edge_and_all_rejected_no_upper():
    everything = match(null([(0.9999, 0.999), (0.999, 0.996)]), TAU)
    assert (everything.disagreements, everything.accepted, everything.rejected) == (0, 2, 0)
    assert everything.strictest == pytest.approx(0.999) and everything.loosest == 0
    assert everything.tau < 0.999
    nothing = match(null([(0.9999, 0.9), (0.999, 0.8)]), TAU)
    assert (nothing.disagreements, nothing.accepted, nothing.rejected) == (0, 0, 2)
    assert nothing.strictest == 1 - 1e-12 and nothing.loosest == pytest.approx(0.9999)
    assert 0.9999 < nothing.tau < 1


def test_a_change_that_dcmp_does_not_see_passes_and_leaves_a_tolerance():
    found = match(null([(1.0, 1.0), (0.9999, 0.9)]), TAU)
    assert found.disagreements == 0 and 0.9999 < found.tau < 1


@given(st.lists(st.tuples(st.integers(1, 9999), st.booleans()), min_size=1, max_size=8, unique_by=lambda c: c[0]))
@settings(max_examples=60)
def test_no_tolerance_disagrees_less_often(changes):
    pairs = [(1 - loss * 1e-6, 0.999 if passes else 0.9) for loss, passes in changes]
    found = match(null(pairs), TAU)

    def wrong(tau):
        return sum((worst > tau) != (trans > TAU) for worst, trans in pairs)

    losses = sorted(loss for loss, _ in changes)
    tried = [1 - (loss + 0.5) * 1e-6 for loss in (0, *losses)]
    assert wrong(found.tau) == found.disagreements == min(map(wrong, tried))
    assert found.loosest < found.tau < found.strictest


def test_several_encoders_or_a_missing_scheme_are_told():
    with pytest.raises(UserError, match="give the rows of one scenario and seed"):
        match(pd.concat([null(EXACT), null(EXACT, seed=1)]), TAU)
    rows = null(EXACT)
    lacking = [rows[rows["scheme"] == "DCmp"], rows[rows["scheme"] == "Trans"],
               rows[(rows["scheme"] == "DCmp") | (rows["tamper"] != "change 1")]]  # fmt: skip
    for part in lacking:
        with pytest.raises(UserError) as caught:
            match(part, TAU)
        assert str(caught.value) == "The null's rows lack DCmp or Trans; run 03_verify_intact again."


def test_every_encoder_gets_its_own_tolerance_without_floor_and_other_schemes():
    other = [(0.9, 0.999), (0.5, 0.9)]
    rows = pd.concat([
        null(EXACT), null(other, "imagenet", 1), null([(0.1, 0.999)], kind="floor"),
        null([(0.1, 0.1)]).assign(scheme="SHA-256"), null([(0.1, 0.999)]).assign(scheme="Trans G_ini"),
    ])  # fmt: skip
    found = matched_tolerances(rows, TAU)
    assert found == {("cifar10", 0): match(null(EXACT), TAU), ("imagenet", 1): match(null(other, "imagenet", 1), TAU)}
    assert all(type(seed) is int for _, seed in found)


def test_every_check_decides_by_its_own_tolerance():
    tolerances = matched_tolerances(pd.concat([null(EXACT), null([(0.9, 0.999), (0.5, 0.9)], "imagenet", 1)]), TAU)
    rows = pd.DataFrame(
        [
            ("cifar10", 0, "DCmp", 0.9999), ("cifar10", 0, "DCmp", 0.999), ("cifar10", 0, "DCmp", 0.995),
            ("imagenet", 1, "DCmp", 0.999), ("imagenet", 1, "DCmp", 0.85), ("imagenet", 1, "DCmp", 0.6),
            ("cifar10", 0, "Trans", 0.9951), ("cifar10", 0, "Trans G_ini", 0.995), ("cifar10", 0, "SHA-256", 1.0),
            ("cifar10", 0, "SHA-256", 0.0),
        ],
        columns=["scenario", "seed", "scheme", "similarity"],
    )  # fmt: skip
    before = rows.copy()
    marked = at_one_tolerance(rows, tolerances, TAU)
    pd.testing.assert_frame_equal(rows, before)
    passes = {check: group["passes"].tolist() for check, group in marked.groupby("check")}
    assert passes == {
        "DCmp at 99.5 %": [True, True, False, True, False, False],
        "DCmp matched": [True, False, False, True, True, False],
        "Trans": [True], "Trans G_ini": [False], "SHA-256": [True, False],
    }  # fmt: skip
    assert len(marked) == 16 and (marked.loc[marked["check"] == "DCmp matched", "scheme"] == "DCmp").all()
    assert marked["passes"].dtype == bool


def test_passing_keys_by_tamper_and_check():
    rows = pd.DataFrame(
        [
            ("b", 0.5, "SHA-256", 0.0), ("b", 0.5, "DCmp", 0.999), ("b", 0.5, "DCmp", 0.9), ("b", 0.5, "DCmp", 0.9),
            ("a", 0.1, "Trans", 0.999), ("a", 0.1, "Trans", 0.9), ("a", 0.1, "DCmp", 0.9999), ("a", 0.1, "DCmp", 0.999),
            ("a", 0.1, "Trans G_max", 0.1),
        ],
        columns=["tamper", "strength", "scheme", "similarity"],
    ).assign(scenario="cifar10", seed=0)  # fmt: skip
    table = passing_table(rows, matched_tolerances(null(EXACT), TAU), TAU)
    assert list(table.columns) == ["DCmp at 99.5 %", "DCmp matched", "Trans", "SHA-256"]
    assert table.loc[("a", 0.1)].tolist()[:3] == [100, 50, 50] and math.isnan(table.loc[("a", 0.1), "SHA-256"])
    assert table.loc[("b", 0.5), ["DCmp at 99.5 %", "DCmp matched", "SHA-256"]].tolist() == [33.3, 0, 0]
