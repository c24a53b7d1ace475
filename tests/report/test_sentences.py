"""Sentences say what the rows say, whichever way they come out."""

import pandas as pd
import pytest
from drawn import KAPPA, TAU, part, sweep

from sslauth_utils.report import sentences

RECIPE = {"epochs": 5, "learning_rate": 0.05, "lambda1": 1.0, "lambda2": 1.0, "shared_rate": True}


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
    told = sentences.attack_success(measures, RECIPE, 1024, {"stl10": 0.99})
    assert f"{100 * values[0]:.0f} % for stl10, {100 * values[1]:.0f} % for svhn" in told
    assert f"{reach} of 2 reach it" in told
    assert ("5 epochs on 1,024 shadow images" in told) is reason
    assert ("the learning rate is 23 % of that of 06_backdoor" in told) is reason
    assert ("Without imitation loss as many epochs give 99 % for stl10." in told) is reason
    assert ("1 of 2 are no working backdoors" in told) is reason
    plain = sentences.attack_success(measures.assign(strength=0), RECIPE, 1024)
    assert "λ" not in plain and "imitation" not in plain


@pytest.mark.parametrize(("shared", "weight", "share"), [(True, 10, 3 / 13), (True, 0, 1), (False, 10, 1)])
def test_the_learning_rate_falls_with_the_weight_where_it_is_shared(shared, weight, share):
    assert sentences.share_of_rate(RECIPE | {"shared_rate": shared}, weight) == pytest.approx(share)


def test_the_task_s_loss_is_told_with_the_attack_that_costs_most():
    measures = pd.DataFrame([
        {"tamper": f"backdoor {target}", "quantity": quantity, "value": value}
        for target, before, after in (("gtsrb", 0.5, 0.52), ("svhn", 0.789, 0.608))
        for quantity, value in (("clean accuracy", before), ("backdoored accuracy", after))
    ])  # fmt: skip
    assert sentences.utility(measures) == (
        "Seen here: accuracy goes from 50.0 to 52.0 % for gtsrb, 78.9 to 60.8 % for svhn. "
        "The largest change is -18.1 points, for svhn."
    )


def test_a_backdoor_is_held_against_the_papers_agreement_and_keys():
    found = sweep("backdoor stl10", (0,), lambda scheme, _: 1e-3 if scheme == "DCmp" else 0.4, ["DCmp", "Trans"])
    printed = pd.DataFrame([
        {"scenario": "cifar10", "measure": "agreement", "scheme": "DCmp", "paper": 73.9},
        {"scenario": "cifar10", "measure": "agreement", "scheme": "DCmp", "paper": 74.5},
        {"scenario": "imagenet", "measure": "agreement", "scheme": "Trans", "paper": 3.2},
    ])  # fmt: skip
    told = sentences.backdoor(one(pd.DataFrame(found)), TAU, printed).splitlines()
    assert told == [
        "Seen here: DCmp rejects 0 of 1 encoders, Trans rejects 1 of 1 encoders.",
        "DCmp: agreement is 99.9 % for stl10; the paper has 73.9 to 74.5 %. Keys that pass: 100 % for stl10.",
        "Trans: agreement is 60.0 % for stl10. No key passes.",
    ]


def test_what_is_said_is_broken_between_words_and_keeps_its_indent(capsys):
    sentences.say("Seen here: " + "word " * 40 + "\n  " + "κ [1.0, 2.0], " * 12)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= sentences.WIDTH and len(lines) == 5
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 0, 0, 2, 4]
    assert " ".join(lines).count("word") == 40
    assert not any(line.endswith("[1.0,") for line in lines), "an interval stays whole"
    sentences.say("x" * 98 + " 5 %")
    assert capsys.readouterr().out.splitlines()[1] == "5 %"


@pytest.mark.parametrize(("loss", "verdict"), [(1e-4, "is deceived (100 %"), (0.02, "rejects (0 %")])
def test_a_disguise_deceives_or_does_not(loss, verdict):
    rows = pd.DataFrame(sweep("disguised stl10", (10,), lambda scheme, _: loss if scheme == "DCmp" else 0.1, KAPPA))
    told = sentences.disguise(one(rows), TAU)
    assert f"stl10, λ = 10: DCmp {verdict} of keys pass), Trans rejects (0 % of keys pass)." in told
    assert ("every key above 99.5 %" in told) is (loss > 0.01)
    deceived = int(loss < 0.01)
    assert f"Of 1 disguises {deceived} deceive DCmp and 0 deceive Trans. DCmp's agreement is above 99.9 %" in told
    assert f"for {deceived}." in told
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
