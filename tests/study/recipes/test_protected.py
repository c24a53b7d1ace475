"""DeepAuth's recipes: keys and protected models, made once; tampers that leave them as they were."""

import pytest
import torch
from tiny_world import drawn

from sslauth_utils.attacks.poison import poison
from sslauth_utils.attacks.prune_global import prune_and_retrain
from sslauth_utils.base.fingerprint import SHOWING, meanings
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.models.classifiers import labels
from sslauth_utils.schemes.deepauth import authenticate
from sslauth_utils.study import profiles, store, tampered_classifiers
from sslauth_utils.study.profiles import CLASSIFIERS, SIGNATURE_KEYS, SIGNATURES, Profile
from sslauth_utils.study.recipes import classifiers
from sslauth_utils.study.recipes import protected as protected_recipe
from sslauth_utils.study.recipes import signature_keys as keys_recipe
from sslauth_utils.study.recipes.protected import SCHEMES, choose, embedding, protect, protected_models
from sslauth_utils.study.recipes.signature_keys import classifier, held_out, signature_keys
from sslauth_utils.study.tampered_classifiers import tampered_answers

TRAINING = {
    "train_data": "dots", "train_images": 0, "test_images": 0, "size": 8, "arch": "small_cnn", "width": 4,
    "pixel_stats": "none", "weights_file": "", "epochs": 6, "batch_size": 20, "learning_rate": 0.05,
    "weight_decay": 0.0005, "augment": False, "device": "cpu",
}  # fmt: skip
KEYS = {
    "held_images": 0, "key_seeds": 0, "pgd_step": 0.01, "pgd_steps": 200, "rule": "upper half", "leverage_share": 0.5,
    "mu": 1.0, "mus": [1.0], "boundary": 0.0005, "device": "cpu",
}  # fmt: skip
SETTINGS = {
    "n_keys": 3, "eps_p": 0.1, "early_stop_images": 30, "most_epochs": 40, "hinge": 0.01,
    "tune_optimisers": ["sgd"], "tune_rate": 1e-4, "tune_epochs": 2, "pruning_rates": [0.5], "retrain_rate": 0.001,
    "retrain_epochs": 1, "backdoor_trials": 1, "poison_share": 0.3, "backdoor_rate": 0.003, "backdoor_epochs": 2,
    "device": "cpu",
}  # fmt: skip
ASK = ("tiny", "dots", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("deepauth")


@pytest.fixture(autouse=True)
def tiny(monkeypatch, folder):
    """The tiny profile with one model; what is made lies in one folder, because nothing in it is changed."""
    books = {CLASSIFIERS: TRAINING, SIGNATURE_KEYS: KEYS, SIGNATURES: SETTINGS}
    profile = Profile("tiny", [0], {"x": {}}, books, {}, {"dots": {"seeds": [0]}})

    def load(name, split="train", size=8, count=None, seed=0):
        return drawn(name, split, size, {"train": 120, "test": 90}[split])

    monkeypatch.setattr(profiles, "load_profile", lambda name: profile)
    monkeypatch.setattr(store, "RESULTS", folder)
    monkeypatch.setattr(store, "data_files", lambda *names: {})
    monkeypatch.setattr(classifiers, "load_images", load)


def test_held_out_images_are_halved_without_an_image_in_both():
    held = held_out(*ASK)
    assert len(held.validation) == len(held.test) == 45
    both = {image.numpy().tobytes() for image in held.validation} & {image.numpy().tobytes() for image in held.test}
    assert not both


def test_keys_are_made_once_and_are_of_the_classifier(folder):
    keys = signature_keys(*ASK)
    network, _ = classifier(*ASK)
    assert (labels(network, keys.at) == keys.adversarial).all() and keys.counts["at the boundary"] == len(keys)
    made = sorted(path.name for path in (folder / "tiny" / "artifacts").iterdir() if path.is_dir())
    again = signature_keys(*ASK)
    assert torch.equal(again.at, keys.at) and again.counts == keys.counts
    assert sorted(path.name for path in (folder / "tiny" / "artifacts").iterdir() if path.is_dir()) == made


def test_two_sets_of_keys_share_none():
    keys = signature_keys(*ASK)
    mine, others = choose(keys, 3, 3, 0)
    assert len(mine) == 3 and len(mine) + len(others) == len(keys)
    known = {image.numpy().tobytes() for image in mine.at}
    assert not known & {image.numpy().tobytes() for image in others.at}
    assert len({choose(keys, 3, 3, n)[0].at.numpy().tobytes() for n in range(5)}) > 1, "users have different keys"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_protected_models_have_their_signatures_and_facts(scheme):
    found = protected_models(*ASK, scheme, 1e-3, count=3, kept=2)
    assert len(found.facts) == 3 and len(found.models) == 2
    for model, signature in found.models:
        assert authenticate(signature, labels(model, signature.keys)).accepted
    for facts in found.facts:
        assert sum(facts[name] for name in ("unchanged", "C2W", "W2C", "W2W")) == pytest.approx(1)
        assert 0 <= facts["success"] <= 1 and 1 <= facts["epochs"] <= 40 and facts["n"] == 45
    network, _ = classifier(*ASK)
    assert sha256_tensors(found.models[0][0].state_dict()) != sha256_tensors(network.state_dict())


def test_a_stored_model_is_the_one_that_was_protected():
    network, _ = classifier(*ASK)
    recipe = embedding(SETTINGS, "mixed", 1e-3)
    assert (recipe.keep, recipe.loss, recipe.stop, recipe.hinge) == (0.5, "hinge", "success", 0.01)
    model, signature, facts = protect(network, signature_keys(*ASK), held_out(*ASK), 3, 1, SETTINGS, recipe)
    stored = protected_models(*ASK, "mixed", 1e-3, count=3, kept=2)
    assert sha256_tensors(stored.models[1][0].state_dict()) == sha256_tensors(model.state_dict())
    assert torch.equal(stored.models[1][1].labels, signature.labels) and stored.facts[1] == facts


def test_every_tamper_answers_all_keys_and_leaves_the_protected_model_alone():
    [(model, signature), *_] = protected_models(*ASK, "DeepAuth", 1e-3, count=3, kept=2).models
    before, data = sha256_tensors(model.state_dict()), drawn("dots", "train", 8, 120)
    whole = data.images, data.labels
    cases = tampered_answers(model, signature.keys, whole, whole, held_out(*ASK), 0, SETTINGS)
    assert [(tamper, strength) for tamper, strength, *_ in cases] == [
        ("last layer sgd", 1), ("last layer sgd", 2), ("pruning", 0.5), ("backdoor", 0),
    ]  # fmt: skip
    assert all(len(answer) == 3 and 0 <= costs["accuracy"] <= 1 for *_, answer, costs in cases)
    assert "attack_success" in cases[-1][3] and sha256_tensors(model.state_dict()) == before


def test_retraining_and_backdoor_have_images_of_their_own(monkeypatch):
    [(model, signature), *_] = protected_models(*ASK, "DeepAuth", 1e-3, count=3, kept=2).models
    data, used = drawn("dots", "train", 8, 120), {}
    for name, attack in (("prune_and_retrain", prune_and_retrain), ("poison", poison)):

        def counted(protected, *others, name=name, attack=attack):
            used[name] = max(len(one) for one in others if torch.is_tensor(one))
            return attack(protected, *others)

        monkeypatch.setattr(tampered_classifiers, name, counted)
    few, whole = (data.images[:64], data.labels[:64]), (data.images, data.labels)
    tampered_answers(model, signature.keys, few, whole, held_out(*ASK), 0, SETTINGS)
    assert used == {"prune_and_retrain": 64, "poison": 120}


@pytest.mark.parametrize("recipe", [keys_recipe, protected_recipe], ids=["keys", "protected"])
def test_what_is_made_depends_on_what_makes_it_and_on_no_tamper(recipe):
    found = {path.removeprefix("sslauth_utils/") for path in meanings([recipe.__name__])}
    assert {"schemes/deepauth_keys.py", "models/penultimate.py", "study/recipes/classifiers.py"} <= found
    assert ("schemes/deepauth.py" in found) == ("schemes/deepauth_matching.py" in found) == (recipe is protected_recipe)
    assert not [path for path in found if path.split("/")[0] in (*SHOWING, "attacks")]
