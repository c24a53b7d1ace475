"""The beginning of a notebook: its own parameters, checked, and everything seeded."""

import json
import random

import numpy as np
import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.study import notebook

CELL = 'profile = "demo"\nscenario = "cifar10"\nseed = 0\nrates = [0.1]\nsteps = 3\ndevice = "cpu"\n'
VALUES = {"profile": "tiny", "scenario": "imagenet", "seed": 5, "rates": [1, 0.5], "steps": 2, "device": "cpu"}


@pytest.fixture(autouse=True)
def by_hand(monkeypatch, tmp_path):
    """A notebook of six parameters, results of the test's own, and the tests' own threads put back."""
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": CELL, "outputs": []}
    (tmp_path / "05_toy.ipynb").write_text(json.dumps({"cells": [cell]}))
    monkeypatch.setattr(notebook, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebook, "RESULTS", tmp_path / "results")
    monkeypatch.delenv("SSLAUTH_RUN_DIR", raising=False)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def test_a_run_has_the_notebook_s_own_parameters_and_no_other_name(by_hand):
    run = notebook.start("05_toy", VALUES | {"rows": 3, "__name__": "__main__", "json": json})
    assert run.parameters == VALUES and run.parameters["rates"] == [1.0, 0.5]
    assert type(run.parameters["rates"][0]) is float, "whole numbers become the fractions that they stand for"
    assert run.device == torch.device("cpu") and not run.headless
    assert run.folder == by_hand / "results" / "by_hand" / "05_toy" / "imagenet-s5"


def test_everything_is_seeded_by_the_notebook_s_seed():
    def drawn(seed):
        notebook.start("05_toy", VALUES | {"seed": seed})
        return random.random(), np.random.rand(), torch.rand(1).item()

    first, again, other = drawn(5), drawn(5), drawn(6)
    assert first == again and all(one != two for one, two in zip(first, other, strict=True))


def test_it_says_with_what_it_runs(capsys):
    notebook.start("05_toy", VALUES)
    said = capsys.readouterr().out
    assert f"PyTorch {torch.__version__.split('+')[0]}" in said and said.endswith("profile tiny\n")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("steps", "2", "parameter 'steps' of 05_toy is '2' \\(str\\), but must be a int"),
        ("rates", [0.1, "0.2"], "parameter 'rates\\[1\\]' of 05_toy is '0.2' \\(str\\), but must be a float"),
        ("rates", "[0.1, 0.5]", 'papermill\'s -p passes a list as text: write -y "rates: \\[0.1, 0.5\\]"'),
        ("device", "gpu", "Unknown device 'gpu'"),
    ],
)
def test_a_value_of_another_kind_is_told(name, value, told):
    with pytest.raises(UserError, match=told):
        notebook.start("05_toy", VALUES | {name: value})


def test_a_missing_parameter_is_told():
    with pytest.raises(UserError, match="rates"):
        notebook.start("05_toy", {name: value for name, value in VALUES.items() if name != "rates"})
