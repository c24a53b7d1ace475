"""A notebook on classifiers runs once for each of the profile's models, and a model may name its notebooks."""

import pytest

from sslauth_utils.engine import graph
from sslauth_utils.study.profiles import Profile

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
