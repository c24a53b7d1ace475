"""A notebook on classifiers runs once for each of the profile's models, and a model may name its notebooks."""

import pytest

from sslauth_utils.engine import graph, plan
from sslauth_utils.study.profiles import Profile, load_profile

MODELS = {"net": {"seeds": [0, 3]}, "wide": {"seeds": [1], "notebooks": ["22_deepauth_keys"]}}


@pytest.mark.parametrize(
    ("notebook", "cells"),
    [("22_deepauth_keys", [("net", 0), ("net", 3), ("wide", 1)]), ("20_sensitive_samples", [("net", 0), ("net", 3)])],
)
def test_a_model_may_be_for_some_notebooks_only(notebook, cells):
    profile = Profile("tiny", [0, 1], {"cifar10": {}}, {}, {}, MODELS)
    assert graph._cells(profile, notebook, "model-seed") == cells
    assert graph._cells(profile, notebook, "scenario-seed") == [("cifar10", 0), ("cifar10", 1)]
    assert graph._cells(profile, notebook, "profile") == [(None, None)]


def test_what_a_left_out_notebook_would_have_been_given_still_counts():
    """22 and 23 train the classifier with the settings of 20, also for models that 20 does not run for."""
    runs = {(run.notebook, run.scenario): run for run in graph.profile_runs("smoke")}
    keys = runs["22_deepauth_keys", "shapes"]
    assert ("20_sensitive_samples", "shapes") not in runs
    [training] = [run for run in keys.needs if run.notebook == "20_sensitive_samples"]
    assert training.values["epochs"] == load_profile("smoke").models["shapes"]["epochs"]
    found = plan.made_from(keys)
    assert found[f"values 20_sensitive_samples/shapes-s{keys.seed}"] == training.values
    assert set(training.data) <= set(keys.data)
    assert f"values 20_sensitive_samples/shapes-s{keys.seed}" in plan.made_from(runs["23_deepauth", "shapes"])
