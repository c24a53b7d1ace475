"""Where recipes keep what they make, in the tests: in a folder of the test's own, or in one that all share."""

import functools
import inspect
from types import SimpleNamespace

import pytest
from tiny_world import drawn, settle

from sslauth_utils.models import training
from sslauth_utils.study.recipes import backdoors, fine_tuned


@pytest.fixture
def results(monkeypatch, tmp_path):
    """An empty folder for artifacts. Its `asked` has the (set, split) of all images loaded, in order."""
    asked = []

    def load_images(name, split="train", *arguments):
        asked.append((name, split))
        return drawn(name, split, *arguments)

    settle(monkeypatch, tmp_path / "results", load_images)
    return SimpleNamespace(folder=tmp_path / "results", asked=asked)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """Artifacts that the tests share, because nothing in them is ever changed: each encoder is attacked once."""
    return tmp_path_factory.mktemp("shared") / "results"


@pytest.fixture
def shared(monkeypatch, shared_folder):
    """The shared artifacts. `attacked` has the (way, arguments) of the attacks of this test."""
    settle(monkeypatch, shared_folder)
    attacked = []
    for module, way in (
        (backdoors, "backdoor"), (fine_tuned, "fine_tune"), (fine_tuned, "continue_simclr"),
        (fine_tuned, "refresh_batch_norm"),
    ):  # fmt: skip
        call = getattr(module, way)

        def counted(*arguments, way=way, call=call):
            attacked.append((way, arguments))
            return call(*arguments)

        monkeypatch.setattr(module, way, counted)
    return SimpleNamespace(folder=shared_folder, attacked=attacked)


@pytest.fixture
def ingredients(monkeypatch):
    """What a recipe asks the store for, without making it: ``ingredients(recipe, *arguments, **more)``."""

    class Asked(Exception):
        pass

    def refuse(_profile, _kind, asked, _make):
        raise Asked(asked)

    def asked_for(recipe, *arguments, **more):
        module = inspect.getmodule(recipe)
        with monkeypatch.context() as patch, pytest.raises(Asked) as caught:
            patch.setattr(module, "find_or_make", refuse)
            recipe(*arguments, **more)
        return caught.value.args[0]

    return asked_for


@pytest.fixture
def saved_always(monkeypatch):
    """Every training writes a checkpoint after each epoch."""
    train = training.train

    @functools.wraps(train)
    def saving(*arguments, **more):
        bound = inspect.signature(train).bind(*arguments, **more)
        bound.arguments["checkpoint_seconds"] = 0
        return train(*bound.args, **bound.kwargs)

    monkeypatch.setattr(training, "train", saving)
