"""What each artifact depends on, by its code: whatever makes it, and nothing that only judges or shows it."""

from pathlib import Path

import pytest
from tiny_world import RECIPES

from sslauth_utils.base.fingerprint import SHOWING, meanings
from sslauth_utils.study.recipes.accuracies import encoder_accuracies
from sslauth_utils.study.recipes.backdoors import backdoored_encoder
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.recipes.fine_tuned import fine_tuned_encoder
from sslauth_utils.study.recipes.generators import generators_of_seed
from sslauth_utils.study.recipes.records import enrolled_record
from sslauth_utils.study.recipes.tasks import clean_task

ASK = {
    "encoder": (pretrained_encoder, "tiny", "cifar10", 0),
    "accuracies": (encoder_accuracies, "tiny", "cifar10", 0),
    "record": (enrolled_record, "tiny", "cifar10", 0),
    "generators": (generators_of_seed, "tiny", "cifar10", 0, 3, ["min"]),
    "task": (clean_task, "tiny", "cifar10", 0, "stl10"),
    "backdoor": (backdoored_encoder, "tiny", "cifar10", 0, "stl10", 10.0),
    "fine-tuned": (fine_tuned_encoder, "tiny", "cifar10", 0),
}
#: module of the package to the artifacts that are made anew when it is edited
EDITS = {
    "images/augment": set(ASK),
    "models/simclr": set(ASK),
    "study/recipes/encoders": set(ASK),
    "models/probes": {"accuracies", "fine-tuned"},
    "study/recipes/accuracies": {"accuracies"},
    "schemes/keys": {"record", "generators", "backdoor", "fine-tuned"},
    "study/recipes/keys": {"record", "generators", "backdoor", "fine-tuned"},
    "schemes/generator": {"record", "generators"},
    "schemes/enrolment": {"record", "generators"},
    "study/recipes/records": {"record", "generators"},
    "study/recipes/generators": {"generators"},
    "schemes/verification": set(),
    "schemes/honest": set(),
    "models/heads": {"accuracies", "task", "backdoor"},
    "study/downstream_task": {"task", "backdoor"},
    "study/recipes/shadow": {"backdoor", "fine-tuned"},
    "attacks/backdoor": {"backdoor"},
    "study/recipes/backdoors": {"backdoor"},
    "attacks/fine_tune": {"fine-tuned"},
    "study/recipes/fine_tuned": {"fine-tuned"},
    "study/store": set(),
    "study/profiles": set(),
    "base/files": set(),
}  # fmt: skip


@pytest.fixture(scope="module")
def before():
    """Addresses without an edit, found by the first test."""
    return {}


@pytest.mark.parametrize("edited", EDITS)
def test_an_edit_makes_anew_what_the_module_makes_and_nothing_else(shared, ingredients, monkeypatch, before, edited):
    """By a read of that one file that finds a line more in it."""
    before.update(before or {name: ingredients(*ask).address for name, ask in ASK.items()})
    read = Path.read_text

    def with_a_line(path, *arguments, **options):
        more = "\nEDITED = True\n" if path.as_posix().endswith(f"sslauth_utils/{edited}.py") else ""
        return read(path, *arguments, **options) + more

    monkeypatch.setattr(Path, "read_text", with_a_line)
    after = {name: ingredients(*ask).address for name, ask in ASK.items()}
    assert {name for name in ASK if after[name] != before[name]} == EDITS[edited]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__.rpartition(".")[2])
def test_no_recipe_depends_on_what_only_shows(recipe):
    found = meanings([recipe.__name__])
    assert f"sslauth_utils/study/recipes/{recipe.__name__.rpartition('.')[2]}.py" in found
    assert not [path for path in found if path.split("/")[1] in SHOWING]
