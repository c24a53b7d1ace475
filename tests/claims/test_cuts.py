"""Cuts: what a profile sets otherwise than stated is named for every claim that hangs on it, and nothing else is."""

import itertools
import os
import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd
import printed_deepauth
import printed_pairs
import pytest
import yaml

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml
from sslauth_utils.base.paths import NOTEBOOKS, RESULTS
from sslauth_utils.base.paths import STATED as STATED_IN
from sslauth_utils.claims import cuts as cuts_module
from sslauth_utils.claims.cut_texts import BREAK
from sslauth_utils.claims.cuts import all_needs, cuts_of, read_stated, scenarios_of
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.rules import NOT_REPRODUCED
from sslauth_utils.study import parameters
from sslauth_utils.study.profiles import PRETRAIN, load_profile, profile_names, profile_of_rows

ANY = "any scenario"
CLAIMS = {claim["id"]: claim for claim in read_claims()}
STATED = [(notebook, setting) for notebook, settings in read_stated().items() for setting in settings]


def listed(value):
    return value if isinstance(value, list) else [value]


def hanging(setting):
    """Ids of the claims that a stated setting is for."""
    patterns = setting.get("claims", ["*"])
    return {name for name in CLAIMS if any(fnmatchcase(name, pattern) for pattern in patterns)}


def test_stated_settings_are_parameters_of_their_notebooks_in_every_profile():
    for notebook, setting in STATED:
        names = {setting["setting"], setting.get("unless", setting["setting"])}
        assert names <= set(parameters.defaults(NOTEBOOKS / f"{notebook}.ipynb"))
        for profile in [profile for profile in map(load_profile, profile_names()) if notebook in profile.notebooks]:
            scenarios = scenarios_of(profile, notebook)
            assert scenarios, f"{profile.name} runs {notebook} for nothing"
            for scenario in scenarios:
                assert names <= set(profile.parameters(notebook, scenario)), f"{profile.name}, {scenario}"


def plain(text):
    """A paper's text with one space between words, and its formulas as plain text."""
    for formula, words in {"$": "", "**": "", r"\epsilon": "ε", r"\%": "%"}.items():
        text = text.replace(formula, words)
    return re.sub(r" (?=[.,])", "", " ".join(text.split()))


@pytest.mark.parametrize(("paper", "sentences"), [("pairs", printed_pairs), ("deepauth", printed_deepauth)])
def test_what_the_paper_states_is_quoted_and_the_quotations_are_its_words(paper, sentences):
    words, of = plain(sentences.SENTENCES), read_yaml(STATED_IN / f"{paper}.yaml")
    settings = [setting for notebook, settings in of.items() if notebook != "shared" for setting in settings]
    assert len(settings) > 10
    for setting in settings:
        assert setting["by"] != "paper" or plain(setting["quote"]) in words, setting
        mine = hanging(setting)
        assert "claims" in setting and mine and all(name.startswith((f"{paper}-", "crossing-")) for name in mine), (
            setting
        )
    assert {name for name in CLAIMS if name.startswith(f"{paper}-")} <= set().union(*map(hanging, settings))
    for pattern in {pattern for setting in settings for pattern in setting["claims"]}:
        assert any(fnmatchcase(name, pattern) for name in CLAIMS), pattern


@pytest.mark.parametrize(("name", "sentences"), [("sample-pairing", printed_pairs), ("deepauth", printed_deepauth)])
def test_the_sentences_are_the_paper_s(name, sentences):
    """Where the papers' texts are at hand."""
    if "SSLAUTH_PAPERS" not in os.environ:
        pytest.skip("SSLAUTH_PAPERS names no folder with the papers' texts")
    text = plain((Path(os.environ["SSLAUTH_PAPERS"]) / f"{name}.txt").read_text(encoding="utf-8"))
    left = [one for one in sentences.SENTENCES.strip().split("\n\n") if plain(one) not in text]
    assert left == []


def test_the_networks_of_deepauth_s_settings_are_its_claims():
    """A role, and what plays it, is the same list in both files."""
    roles = {tuple(claim["where"]["scenario"]) for claim in CLAIMS.values() if claim["id"].startswith("deepauth-")}
    of = read_yaml(STATED_IN / "deepauth.yaml")
    stated = {tuple(one["scenario"]) for name, settings in of.items() if name != "shared" for one in settings
              if "scenario" in one}  # fmt: skip
    assert {one for one in stated if len(one) == 2} == {one for one in roles if len(one) == 2} and len(stated) == 4


def test_a_setting_is_stated_once_for_a_claim_and_a_scenario():
    for (notebook, one), (other_notebook, other) in itertools.combinations(STATED, 2):
        if (notebook, one["setting"]) == (other_notebook, other["setting"]):
            apart = {"scenario"} <= set(one) & set(other)
            apart = apart and not set(listed(one["scenario"])) & set(listed(other["scenario"]))
            assert apart or not hanging(one) & hanging(other), (notebook, one, other)


def test_the_paper_s_profile_has_no_cuts_but_those_that_one_parameter_for_all_models_makes():
    cuts = cuts_of(load_profile("paper"))
    found = {name: cuts(claim) for name, claim in CLAIMS.items() if cuts(claim)}
    own = found.pop("pairs-isolation")  # 20 also runs for LeNet-5, whose pairs the crossing asks
    assert own and all(cut.startswith("mnist_lenet5: ") for cut in own)
    asked = [name for name in found if name.startswith(("crossing-tau-", "crossing-features-"))]
    crossed = {name: tuple(found.pop(name)) for name in asked}
    assert len(crossed) == 6, "SSL-Auth's features, and its tolerance, asked of a classifier"
    assert set(crossed.values()) == {("features of lenet5 with labels and not of a SimCLR resnet50",)}
    assert {tuple(cuts) for cuts in found.values()} == {("gtsrb_vgg16: AID's rate 0.001 instead of 0.1",)}
    assert all(CLAIMS[name]["where"].get("method") not in ("DBI", "pairs 0.0001") for name in found)


@pytest.mark.parametrize("name", ["smoke", "demo", "lite", "gpu", "paper"])
def test_each_value_that_differs_is_named_for_each_claim_that_hangs_on_its_notebook_and_nothing_else(name, monkeypatch):
    tagged = {notebook: [setting | {"says": f"{notebook} {setting['setting']}"} for setting in settings]
              for notebook, settings in read_stated().items()}  # fmt: skip
    monkeypatch.setattr(cuts_module, "read_stated", lambda: tagged)
    profile = load_profile(name)
    cuts, compared = cuts_of(profile), 0
    stated = [(notebook, setting, hanging(setting)) for notebook, setting in STATED]
    for claim in CLAIMS.values():
        mine = [(notebook, setting) for notebook, setting, names in stated
                if notebook in all_needs(claim["notebook"]) and claim["id"] in names]  # fmt: skip
        asked, said, expected = listed(claim["where"].get("scenario", ANY)), cuts(claim), set()
        scenarios = [one for one in scenarios_of(profile, claim["notebook"]) if asked == [ANY] or one in asked]
        for scenario, (notebook, setting) in itertools.product(scenarios, mine):
            if scenario in listed(setting.get("scenario", scenario)):
                values = profile.parameters(notebook, scenario)
                ours, idle = values[setting["setting"]], values.get(setting.get("unless"))
                good = [setting["is"], *setting.get("or", [])]
                expected |= {f"{notebook} {setting['setting']}"} if ours not in good and not idle else set()
        if not scenarios:
            assert said == [f"without {' or '.join(asked)}"], claim["id"]
            continue
        assert {cut.split(": ")[-1] for cut in said} == expected, claim["id"]
        compared += len(said)
    assert compared > (200 if name != "paper" else 20)


def test_what_a_given_checkpoint_makes_idle_is_no_cut():
    paper = load_profile("paper")
    short = paper.notebooks | {PRETRAIN: paper.notebooks[PRETRAIN] | {"epochs": 3}}
    cuts = cuts_of(replace(paper, notebooks=short))
    assert cuts(CLAIMS["fig5-order-cifar10"]) == ["cifar10: SimCLR epochs 3 of 1000"]
    assert cuts(CLAIMS["fig5-order-imagenet"]) == []


def test_cuts_are_said_with_both_values_and_with_the_scenario_that_alone_has_them():
    cuts = {name: cuts_of(load_profile(name))(CLAIMS["fig4-cifar10-dcmp-success"]) for name in ("demo", "lite", "gpu")}
    assert {"width 16 of 64", "SimCLR epochs 30 of 1000", "generator depth 32 of 512"} <= set(cuts["lite"])
    assert "cifar10: SimCLR on 20,000 of 50,000 images" in cuts["lite"], "the other's are of 1.2 million"
    assert "generator steps 100 of 1000" in cuts["demo"]
    assert not any("images" in cut for cut in cuts["gpu"]), "all of them"
    assert not any("attack" in cut for cut in cuts["lite"]), "fine-tuning rests on no attack"
    pairs = {name: cuts_of(load_profile(name))(CLAIMS["pairs-fig3-smallest"]) for name in ("demo", "lite", "gpu")}
    assert {"80 of 150 samples", "stage 1 of 100 iterations, at most 10,000 stated"} <= set(pairs["demo"])
    assert "mnist_lenet5: lenet5 and not ResNet18, VGG16 or ResNet152" in pairs["lite"], "of several models"
    assert not any("trained on" in cut for cut in pairs["gpu"]), "lossless CIFAR-10 is CIFAR-10"
    signed = cuts_of(load_profile("lite"))(CLAIMS["deepauth-table2-order"])
    own = {
        "mnist_lenet5: 2 of 10 backdoors a model",
        "cifar10_resnet20, cifar10_vgg16: 1 of 10 backdoors a model",
    }
    assert own | {"cifar10_vgg16: first layer 16 wide and not as the original"} <= set(signed)
    assert not any("stage 1" in cut for cut in signed), "another paper's setting of the same notebook"
    imagenet = cuts_of(load_profile("lite"))(CLAIMS["fig5-order-imagenet"])
    assert "imagenet: images of 32 of 224 pixels" in imagenet and not any(cut.startswith("cifar10") for cut in imagenet)


def test_a_claim_on_what_the_profile_leaves_out_has_that_one_cut():
    assert cuts_of(load_profile("gpu"))(CLAIMS["fig5-order-imagenet"]) == ["without imagenet"]
    for name in ("demo", "lite"):
        cuts = cuts_of(load_profile(name))
        assert cuts(CLAIMS["pairs-t2-dbi-gtsrb"]) == ["without gtsrb_vgg16"]
        assert cuts(CLAIMS["deepauth-fig8-sgd"]) == ["without imagenet_resnet50 or photos"]


def test_needs_are_followed_to_their_end():
    assert all_needs("11_transformation") >= {
        "11_transformation",
        "07_imitation",
        "06_backdoor",
        "01_pretrain_encoders",
    }
    assert "03_verify_intact" not in all_needs("07_imitation"), "it only shows that one"


@pytest.mark.parametrize("profile", ["lite", "gpu"])
def test_no_claim_that_the_reference_missed_is_without_its_cuts(profile):
    summary = pd.read_csv(RESULTS / "reference" / profile / "summary.csv", keep_default_na=False)
    missed = summary[summary["verdict"] == NOT_REPRODUCED]
    cuts = cuts_of(profile_of_rows(profile, RESULTS / "reference"))
    assert len(missed) and (missed["cuts"] != "").all()
    assert summary["cuts"].tolist() == [BREAK.join(cuts(CLAIMS[name])) for name in summary["id"]]


def test_every_profile_that_decides_is_asked():
    assert set(profile_names()) == {"smoke", "demo", "lite", "gpu", "paper"}, "a new one belongs into the tests above"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"more": 1}, "has the wrong fields: more"), ({"says": "a; b"}, "leave the semicolon out"), (None, "fields: by")],
)
def test_a_faulty_file_is_told(tmp_path, change, sentence):
    setting = {"setting": "width", "is": 64, "by": "paper", "says": "width {ours}"}
    setting = setting | change if change else {name: value for name, value in setting.items() if name != "by"}
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump({"01_pretrain_encoders": [setting]}), encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        read_stated(tmp_path)
