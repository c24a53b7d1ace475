"""Classifiers, their signatures and their backdoors, as the smoke profile makes them."""

import json

import pytest
import torch

from sslauth_utils.models.classifiers import accuracy, labels, logits
from sslauth_utils.schemes.pairs import margins
from sslauth_utils.study import store
from sslauth_utils.study.profiles import CLASSIFIERS, notebook_settings
from sslauth_utils.study.recipes import signatures as recipe
from sslauth_utils.study.recipes.backdoored_classifiers import backdoored_classifier
from sslauth_utils.study.recipes.classifiers import classifier_images, classifier_ingredients, trained_classifier

MODEL = ("smoke", "digits", 0)


@pytest.fixture(scope="module", autouse=True)
def own_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "RESULTS", tmp_path_factory.mktemp("results"))
        yield store.RESULTS / "smoke" / "artifacts"


@pytest.fixture(scope="module")
def classifier():
    return trained_classifier(*MODEL)[0]


@pytest.fixture(scope="module")
def made(classifier):
    return recipe.signatures(*MODEL)


def test_a_classifier_is_trained_once_and_says_how_good_it_is(classifier, own_folder):
    again, facts = trained_classifier(*MODEL)
    assert again.sha256() == classifier.sha256() and len(list(own_folder.glob("classifier-*/made.json"))) == 1
    settings = notebook_settings("smoke", CLASSIFIERS, "digits", 0)
    test = classifier_images(settings, "test", 0)
    assert facts["accuracy"] == accuracy(classifier, test.images, test.labels) and facts["test"] == len(test) == 300
    assert len(facts["history"]) == settings["epochs"] and len(facts["classes"]) == classifier.classes == 10


def test_what_a_classifier_depends_on():
    settings = dict(notebook_settings("smoke", CLASSIFIERS, "digits", 0))
    address = classifier_ingredients(settings, 0).address
    assert classifier_ingredients(settings, 1).address != address
    assert classifier_ingredients(settings | {"epochs": 3}, 0).address != address
    assert classifier_ingredients(settings | {"weight": 1.0}, 0).address == address, "of the pairs, not of the training"


def test_every_signature_holds_for_the_classifier_that_it_is_of(classifier, made):
    assert {"validation", "DBI", "AID", "variance", "AID as released", "sensitive samples"} == set(made.singles)
    assert {"pairs 0.001", "pairs 1e-06", "pairs, variance only 1e-06"} <= set(made.pairs)
    for pairs in made.pairs.values():
        pairs.confirm(classifier)
    rows = made.rows(lambda images: logits(classifier, images))
    assert {row["before"] for row in rows} == {0} and {row["after"] for row in rows} == {0, ""}
    assert len(rows) == sum(len(of.labels) for of in made.singles.values()) + sum(map(len, made.pairs.values()))


def test_a_rivals_label_is_the_classifiers_or_the_users(classifier, made):
    dbi, variance = made.singles["DBI"], made.singles["variance"]
    assert torch.equal(dbi.labels, labels(classifier, dbi.images))
    assert torch.equal(variance.labels == 0, margins(classifier, variance.layer, variance.images) > 0)


def test_rows_say_which_image_of_which_pair_changed(classifier, made):
    """Logits whose sign is turned: every user's margin turns, but for the layer's bias."""
    rows = made.rows(lambda images: -100 * logits(classifier, images))
    of = [row for row in rows if row["method"] == "pairs 0.001"]
    assert [row["key"] for row in of] == list(range(len(made.pairs["pairs 0.001"])))
    assert any(row["before"] or row["after"] for row in of)
    assert all(row["before"] == 0 or row["after"] == 0 or row["before"] == row["after"] == 1 for row in of)


def test_signatures_come_back_as_they_were_made(made):
    again = recipe.signatures(*MODEL)
    assert list(again.pairs) == list(made.pairs) and again.facts == made.facts
    assert torch.equal(again.singles["AID"].images, made.singles["AID"].images)
    assert made.facts["margin"] == pytest.approx(30 * made.facts["noise"])
    json.dumps(made.facts)


def test_a_backdoor_has_taken_and_states_its_utility(classifier):
    tampered, facts = backdoored_classifier(*MODEL, 0.01)
    assert facts["stamped"] == 1 and facts["steps"] >= 1
    assert {"accuracy", "accuracy before", "success", "success before", "test", "tested"} <= set(facts)
    assert tampered.sha256() != classifier.sha256() == trained_classifier(*MODEL)[0].sha256()
