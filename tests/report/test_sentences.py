"""Sentences say what the rows say, whichever way they come out."""

import pandas as pd
import pytest
from drawn import KAPPA, TAU, part, sweep

from sslauth_utils.report import sentences


def one(rows):
    """Of one encoder."""
    return part(rows, scenario="cifar10", seed=0)


def test_pruning_says_where_each_scheme_first_rejects(pruned):
    told = sentences.pruning(one(pruned), TAU)
    assert told == (
        "Seen here: Trans lies below DCmp at 3 of 3 rates. Trans rejects from 10 % on; DCmp rejects from 50 % on."
    )
    mild = pd.DataFrame(sweep("pruning", (0.1, 0.5), lambda scheme, rate: 0.001 * rate, ["DCmp", "Trans"]))
    assert sentences.pruning(one(mild), TAU).endswith("Trans never rejects; DCmp never rejects.")


@pytest.mark.parametrize(("smallest", "hides"), [(5, False), (0.3, True)])
def test_magnification_says_who_magnifies_more_and_who_hides(smallest, hides):
    kappa = KAPPA | {"Trans G_ini": smallest}
    rows = one(pd.DataFrame(sweep("pruning", (0.1,), lambda scheme, rate: kappa[scheme] * 1e-3, kappa)))
    told = sentences.magnification(rows, pd.Series({"min": 0.1, "max": 0.4, "ini": 0.98}), 0.1)
    assert f"κ is 30 for G_min, 10 for G_max, {smallest:g} for G_ini" in told
    assert ("Below 1, as with G_ini" in told) is hides
    assert "0.10 for G_min, 0.40 for G_max, 0.98 for G_ini" in told
    assert sentences.magnification(rows, pd.Series(dtype=float), 0.2).startswith("No κ")


@pytest.mark.parametrize(("values", "reach", "reason"), [((0.97, 0.99), 2, False), ((0.97, 0.2), 1, True)])
def test_attack_success_is_held_against_the_papers(values, reach, reason):
    measures = pd.DataFrame([
        {"tamper": f"disguised {target}", "strength": 10, "quantity": quantity, "value": value}
        for target, value in zip(("stl10", "svhn"), values, strict=True) for quantity in ("attack success", "ASR-B")
    ])  # fmt: skip
    told = sentences.attack_success(measures, 5, 1024)
    assert f"{100 * values[0]:.0f} % for stl10, {100 * values[1]:.0f} % for svhn" in told
    assert f"{reach} of 2 reach it" in told
    assert ("5 epochs on 1,024 shadow images" in told) is reason


@pytest.mark.parametrize(("loss", "verdict"), [(1e-4, "is deceived (100 %"), (0.02, "rejects (0 %")])
def test_a_disguise_deceives_or_does_not(loss, verdict):
    rows = pd.DataFrame(sweep("disguised stl10", (10,), lambda scheme, _: loss if scheme == "DCmp" else 0.1, KAPPA))
    told = sentences.disguise(one(rows), TAU)
    assert f"stl10, λ = 10: DCmp {verdict} of keys pass), Trans rejects (0 % of keys pass)." in told
    assert ("every key above 99.5 %" in told) is (loss > 0.01)
    assert sentences.disguise(one(rows).iloc[:0], TAU).startswith("No attack")


def test_the_reference_is_quoted_with_its_interval_and_verdict(monkeypatch):
    lines = pd.DataFrame([{"quantity": "kappa", "measured": 1.066, "low": 0.97, "high": 1.1, "verdict": "reproduced"}])
    monkeypatch.setattr(sentences, "reference_claims", lambda profile, claims: lines if claims else lines.iloc[:0])
    assert sentences.reference(["one"]).splitlines()[1] == "  kappa: 1.07 [0.97, 1.10], reproduced"
    assert "no reference run of profile gpu" in sentences.reference([], "gpu")


def test_the_claims_that_notebooks_quote_exist_in_the_reference():
    from sslauth_utils.claims.families import read_claims

    known = {claim["id"] for claim in read_claims()}
    assert {"s6-gmin-gmax", "table2-cifar10-attack", "table2-cifar10-dcmp-success"} <= known
