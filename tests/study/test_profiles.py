"""Profiles: all shipped ones fit the notebooks, and a faulty one is told in one sentence."""

import dataclasses

import pytest
import yaml

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import CONFIG, NOTEBOOKS
from sslauth_utils.engine import graph
from sslauth_utils.models.encoders import PIXEL_STATS, build_encoder
from sslauth_utils.models.simclr import SimCLRSettings
from sslauth_utils.study import parameters, profiles
from sslauth_utils.study.profiles import load_profile, profile_names

SHIPPED = ["demo", "gpu", "lite", "paper", "smoke"]
PRETRAIN, ENROL = "01_pretrain_encoders", "02_enrol_keys"
GOOD = """
seeds: [0, 2]
scenarios:
  cifar10: {key_data: photos, size: 32}
  imagenet: {key_data: shapes}
notebooks:
  enrol: {n_keys: 100, key_data: scenario}
  resize: {size: scenario}
"""


@pytest.fixture
def write(monkeypatch, tmp_path):
    """Writes config/tiny.yaml into a configuration folder of the test's own."""
    monkeypatch.setattr(profiles, "CONFIG", tmp_path)

    def write(text):
        (tmp_path / "tiny.yaml").write_text(text, encoding="utf-8")
        (tmp_path / "claims").mkdir(exist_ok=True)
        (tmp_path / "claims" / "paper.yaml").write_text("[]")

    return write


def test_the_shipped_profiles():
    assert profile_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_fits_the_notebooks(name):
    runs = graph.profile_runs(name)
    profile = load_profile(name)
    per_cell = len(profile.scenarios) * len(profile.seeds)
    assert {run.notebook for run in runs} == set(profile.notebooks)
    assert sum(run.notebook == "05_pruning" for run in runs) == per_cell
    assert not [value for run in runs for value in run.values.values() if value == "scenario"]


@pytest.mark.parametrize("name", SHIPPED)
def test_profiles_have_the_same_notebooks_with_the_same_parameters(name):
    demo, other = load_profile("demo"), load_profile(name)
    assert list(other.notebooks) == list(demo.notebooks)
    for notebook, values in demo.notebooks.items():
        assert list(other.notebooks[notebook]) == list(values), notebook
    assert list(other.scenarios) == (["cifar10"] if name == "gpu" else ["cifar10", "imagenet"])


def test_gpu_differs_from_lite_s_cifar10_half_in_encoder_and_disguised_attacks():
    gpu, lite = load_profile("gpu"), load_profile("lite")
    assert gpu.scenarios["cifar10"] == lite.scenarios["cifar10"] | {"disguise_targets": ["stl10"]}
    assert [name for name in gpu.notebooks if gpu.notebooks[name] != lite.notebooks[name]] == [PRETRAIN]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_profile_states_every_parameter(name):
    profile = load_profile(name)
    for notebook, values in profile.notebooks.items():
        asked = set(parameters.defaults(NOTEBOOKS / f"{notebook}.ipynb")) - {"profile", "scenario", "seed"}
        assert asked == set(values) - {"scenario", "seed"}, f"{notebook} of {name}"


@pytest.mark.parametrize("notebook", list(load_profile("demo").notebooks))
def test_demo_values_are_the_notebooks_own_defaults(notebook):
    defaults = parameters.defaults(NOTEBOOKS / f"{notebook}.ipynb")
    once = graph.notebook_info(NOTEBOOKS / f"{notebook}.ipynb").runs == "profile"
    given = load_profile("demo").parameters(notebook, None if once else defaults["scenario"], defaults.get("seed", 0))
    assert given == defaults
    assert {name: type(value) for name, value in given.items()} == {
        name: type(value) for name, value in defaults.items()
    }


@pytest.mark.parametrize(
    ("name", "scenario"), [(name, scenario) for name in SHIPPED for scenario in load_profile(name).scenarios]
)
def test_settings_of_a_profile_are_ones_that_the_helpers_take(name, scenario):
    values = load_profile(name).parameters(PRETRAIN, scenario)
    fields = {field.name for field in dataclasses.fields(SimCLRSettings)}
    recipe = SimCLRSettings(**{key: value for key, value in values.items() if key in fields})
    assert recipe.epochs == values["epochs"] and recipe.temperature == values["temperature"]
    mean, std = PIXEL_STATS[values["pixel_stats"]]
    assert build_encoder(values["arch"], 1, values["stem"], mean, std).config["arch"] == values["arch"]
    enrolment = load_profile(name).parameters(ENROL, scenario)
    assert enrolment["tau"] == 0.995 and set(enrolment["objectives"]) == {"ini", "max", "min"}
    assert enrolment["key_data"] != values["pretrain_data"], "keys are out of distribution (§5.1)"


def test_the_two_scenarios_swap_their_data_sets():
    """§5.1: "Then, we swapped the distributions of their corresponding key samples." """
    for name in ("demo", "smoke"):
        scenarios = load_profile(name).scenarios
        assert scenarios["cifar10"]["pretrain_data"] == scenarios["imagenet"]["key_data"]
        assert scenarios["imagenet"]["pretrain_data"] == scenarios["cifar10"]["key_data"]


def test_the_paper_profile_has_the_paper_s_numbers():
    profile = load_profile("paper")
    pretraining, enrolment = profile.parameters(PRETRAIN, "cifar10"), profile.parameters(ENROL, "cifar10")
    assert (pretraining["arch"], pretraining["width"]) == ("resnet50", 64)
    assert (enrolment["n_keys"], enrolment["generator_steps"]) == (100, 1000)
    assert {round(rate / 10, 1) for rate in range(1, 10)} <= set(profile.notebooks["05_pruning"]["rates"])
    assert {2, 3} <= set(profile.notebooks["08_precision_loss"]["decimals"])
    assert profile.parameters(PRETRAIN, "imagenet")["weights_file"].endswith(".safetensors")
    assert len(profile.seeds) > 1


def test_scenario_values_are_filled_in(write):
    write(GOOD)
    profile = load_profile("tiny")
    assert profile.seeds == [0, 2] and profile_names() == ["tiny"]
    assert profile.parameters("enrol", "imagenet", 2) == {
        "profile": "tiny", "scenario": "imagenet", "seed": 2, "n_keys": 100, "key_data": "shapes",
    }  # fmt: skip
    assert profile.parameters("resize", "cifar10")["size"] == 32
    assert profile.notebooks["enrol"]["key_data"] == "scenario", "filling in changed the profile itself"
    assert profile.parameters("enrol") == {"profile": "tiny", "n_keys": 100, "key_data": "scenario"}


@pytest.mark.parametrize(
    ("notebook", "scenario", "sentence"),
    [
        ("07_imitation", "cifar10", "Profile tiny has no notebook '07_imitation'; it has enrol, resize."),
        ("enrol", "svhn", "Profile tiny has no scenario 'svhn'; it has cifar10, imagenet."),
        ("resize", "imagenet", "config/tiny.yaml: scenario imagenet lacks the value 'size'."),
    ],
    ids=["notebook", "scenario", "value"],
)
def test_what_a_profile_does_not_have_is_told(write, notebook, scenario, sentence):
    write(GOOD)
    with pytest.raises(UserError) as caught:
        load_profile("tiny").parameters(notebook, scenario)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", ["huge", "claims", "findings", "", "../demo"])
def test_an_unknown_profile_is_told(name):
    with pytest.raises(UserError) as caught:
        load_profile(name)
    assert str(caught.value) == f"There is no profile {name!r}; choose one of demo, gpu, lite, paper, smoke."


@pytest.mark.parametrize("name", ["by_hand", "reference"])
def test_a_profile_may_not_be_called_as_another_folder_of_results(tmp_path, monkeypatch, name):
    monkeypatch.setattr(profiles, "CONFIG", tmp_path)
    (tmp_path / f"{name}.yaml").write_text((CONFIG / "smoke.yaml").read_text())
    with pytest.raises(UserError, match=f"No profile can be called '{name}'"):
        load_profile(name)


SECTIONS = "must have exactly the sections seeds, scenarios, notebooks (and may have models and expected_minutes)."
MINUTES = "tiny.yaml: expected_minutes must hold minutes by notebook and scenario, those of the file only."


@pytest.mark.parametrize(
    "expected",
    ["[]", "5", "{enrol: 5}", "{pruning: {cifar10: 5}}", "{enrol: {svhn: 5}}", "{enrol: {cifar10: long}}",
     "{enrol: {cifar10: true}}", "{enrol: {cifar10: .inf}}"],
)  # fmt: skip
def test_minutes_that_do_not_fit_the_profile_are_told(write, expected):
    write(f"{GOOD}expected_minutes: {expected}\n")
    with pytest.raises(UserError) as caught:
        load_profile("tiny")
    assert str(caught.value).endswith(MINUTES)


def test_a_profile_may_have_models_each_with_its_seeds(write):
    write(f"{GOOD}models:\n  net: {{seeds: [1, 3], key_data: x}}\n")
    profile = load_profile("tiny")
    assert profile.models["net"]["seeds"] == [1, 3]
    assert profile.parameters("enrol", "net", 3)["key_data"] == "x"


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ("{net: 3}", "models must hold, for each model, names and values"),
        ("{net: {size: 8}}", "seeds must be whole numbers from 0 to 4294967295, not None."),
        ("{net: {seeds: []}}", "seeds must be whole numbers from 0 to 4294967295, not []."),
        ("{a-b: {seeds: [0]}, a_b: {seeds: [0]}}", "two scenarios or models are called a_b but for '-' and '_'"),
        ("{net: {seeds: [a]}}", "seeds must be whole numbers from 0 to 4294967295, not ['a']."),
        ("{cifar10: {seeds: [0]}}", "cifar10 is the name of a scenario and of a model"),
        ("{my digits: {seeds: [0]}}", "a name in models is 'my digits', but must be of letters"),
        ("{net: {seeds: [0], epoch: 5}}", "models.net gives epoch, but no notebook reads it"),
        (
            "{net: {seeds: [0], notebooks: [enrl]}}",
            "models.net.notebooks must list notebooks of this file, not ['enrl']",
        ),
        ("{net: {seeds: [0], notebooks: enrol}}", "models.net.notebooks must list notebooks of this file, not 'enrol'"),
    ],
)
def test_faulty_models_are_told(write, models, sentence):
    write(f"{GOOD}models: {models}\n")
    with pytest.raises(UserError) as caught:
        load_profile("tiny")
    assert sentence in str(caught.value)


def test_a_profile_may_say_how_long_its_runs_take(write):
    write(GOOD)
    assert load_profile("tiny").expected_minutes == {}
    write(f"{GOOD}expected_minutes:\n  enrol: {{cifar10: 5, imagenet: 0.5}}\n")
    assert load_profile("tiny").expected_minutes == {"enrol": {"cifar10": 5, "imagenet": 0.5}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace("{key_data: shapes}", "{key_data: shapes, n_keys: 5}"),
         "scenarios.imagenet gives n_keys, but no notebook reads it: write scenario as its value"),
        (lambda text: text.replace("{key_data: shapes}", "{key_data: shapes, key_dat: x}"),
         "scenarios.imagenet gives key_dat, but no notebook reads it"),
        (lambda text: f"{text}  90_summary: {{tau: 99.5}}\n",
         "90_summary's tau must be a similarity in (0, 1), not 99.5; 99.5 % is 0.995."),
        (lambda text: f"{text}  90_summary: {{tau: .nan}}\n",
         "90_summary's tau must be a similarity in (0, 1), not nan; 99.5 % is 0.995."),
        (lambda text: f"{text}  02_enrol_keys: {{tau: 1}}\n  90_summary: {{tau: 0.995}}\n",
         "02_enrol_keys's tau must be a similarity in (0, 1), not 1"),
        (lambda text: text + "  bad: [1, 2", "tiny.yaml is not readable as YAML: "),
        (lambda text: text + "seeds: [1]\n", "gives the key 'seeds' a second time; correct it."),
        (lambda text: text.replace("  resize", "\tresize"), "tiny.yaml is not readable as YAML: "),
        (lambda text: "", f"tiny.yaml {SECTIONS}"),
        (lambda text: "- demo", f"tiny.yaml {SECTIONS}"),
        (lambda text: text + "speed: fast\n", f"tiny.yaml {SECTIONS}"),
        (lambda text: text.replace("seeds: [0, 2]", ""), f"tiny.yaml {SECTIONS}"),
        (lambda text: text.replace("[0, 2]", "3"), "tiny.yaml: section seeds must be a non-empty list."),
        (lambda text: text.replace("[0, 2]", "[]"), "tiny.yaml: section seeds must be a non-empty list."),
        (lambda text: text.replace("[0, 2]", "[-1]"), "seeds must be whole numbers from 0 to 4294967295, not [-1]."),
        (lambda text: text.replace("[0, 2]", "[0, 2, 0]"), "seeds names one twice ([0, 2, 0]); name each once."),
        (lambda text: text.replace("imagenet:", "image net:"), "a name in scenarios is 'image net', but must be of"),
        (lambda text: text.replace("imagenet:", "1:"), "a name in scenarios is 1, but must be of letters,"),
        (lambda text: text.replace("[0, 2]", "[4294967296]"), "from 0 to 4294967295, not [4294967296]."),
        (lambda text: text.replace("[0, 2]", "[one]"), "must be whole numbers from 0 to 4294967295, not ['one']."),
        (lambda text: yaml.safe_dump(yaml.safe_load(text) | {"notebooks": None}),
         "tiny.yaml: section notebooks must be a non-empty dict."),
        (lambda text: text.replace("{n_keys: 100, key_data: scenario}", ""),
         "tiny.yaml: notebooks.enrol must hold names and values, not None; write {} for none."),
        (lambda text: text.replace("{key_data: shapes}", "shapes"),
         "tiny.yaml: scenarios.imagenet must hold names and values, not 'shapes'; write {} for none."),
    ],
    ids=["scenario-unread", "scenario-misspelt", "tau-per-cent", "tau-nan", "tau-one", "open-bracket", "key-twice",
         "tab", "empty", "list", "unknown-section", "missing-section", "seeds-number",
         "no-seeds", "negative-seed", "seed-twice", "scenario-with-blank", "scenario-number", "large-seed", "text-seed",
         "no-notebooks", "notebook-without-values", "scenario-without-values"],
)  # fmt: skip
def test_a_faulty_profile_is_told(write, change, sentence):
    write(change(GOOD))
    with pytest.raises(UserError) as caught:
        load_profile("tiny")
    assert sentence in str(caught.value)


def test_the_folders_of_a_notebooks_runs(write):
    write(f"{GOOD}models:\n  net: {{seeds: [1, 3]}}\n  other: {{seeds: [0], notebooks: [resize]}}\n")
    profile = load_profile("tiny")
    encoders = {f"{scenario}-s{seed}" for scenario in ("cifar10", "imagenet") for seed in (0, 2)}
    assert profile.folders("enrol") == encoders | {"net-s1", "net-s3"}
    assert profile.folders("resize") == encoders | {"net-s1", "net-s3", "other-s0"}
    assert profile.folders("of_no_profile") == set()
    assert profile.models_of("resize") == [("net", 1), ("net", 3), ("other", 0)]
