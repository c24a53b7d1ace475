"""Pre-trained encoders: made once, found by whoever asks for the same one, or taken from a file."""

import json
import os

import pytest
import torch
from tiny_world import PRETRAINING, artifacts, drawn, pretraining, profile, use

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import save
from sslauth_utils.engine import graph
from sslauth_utils.models import simclr
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.features import encode
from sslauth_utils.study import profiles, store
from sslauth_utils.study.profiles import BACKDOOR, ENROL, FINE_TUNE, PRETRAIN, load_profile, profile_names
from sslauth_utils.study.recipes import encoders
from sslauth_utils.study.recipes.encoders import pretrained_encoder


def test_an_encoder_is_trained_once_and_then_found(results):
    encoder, facts = pretrained_encoder("tiny", "cifar10", 0)
    assert results.asked == [("dots", "train")], "it is trained, and nothing else is done with it"
    [folder] = artifacts(results.folder)
    assert folder.startswith("encoder-cifar10-s0-") and len(folder.rsplit("-", 1)[1]) == 12
    again, same_facts = pretrained_encoder("tiny", "cifar10", 0)
    assert len(results.asked) == 1, "nothing was loaded or trained again"
    assert again.sha256() == encoder.sha256() == facts["weights_sha256"] and same_facts == facts
    pictures = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(encode(again, pictures), encode(encoder, pictures))
    assert not encoder.training and next(encoder.parameters()).device.type == "cpu"


def test_facts_of_an_encoder(results):
    encoder, facts = pretrained_encoder("tiny", "cifar10", 3)
    assert [point["epoch"] for point in facts["history"]] == [1, 2] and facts["seed"] == 3
    assert facts["data"] == {"name": "dots", "source": "drawn dots", "train": 48}
    assert facts["settings"] == pretraining() and encoder.config["width"] == 2
    assert not any("accuracy" in name for name in facts), "these are an artifact of their own"


def test_the_same_settings_given_by_the_notebook_find_the_same_encoder(results):
    pretrained_encoder("tiny", "cifar10", 0)
    pretrained_encoder("tiny", "cifar10", 0, pretraining())
    pretrained_encoder("tiny", "cifar10", 0, {"profile": "tiny", "scenario": "cifar10", "seed": 0, **pretraining()})
    assert len(artifacts(results.folder)) == 1 and len(results.asked) == 1


@pytest.mark.parametrize("name", profile_names())
def test_notebooks_and_their_profile_ask_for_the_same_artifacts(name):
    """Values pass through the notebook's parameters; one changed on the way would train everything twice."""
    making, checked = (PRETRAIN, ENROL, FINE_TUNE, BACKDOOR), 0
    for run in graph.profile_runs(name):
        if run.notebook in making:
            by_profile = profiles.notebook_settings(name, run.notebook, run.scenario, run.seed, None)
            by_notebook = profiles.notebook_settings(name, run.notebook, run.scenario, run.seed, run.values)
            assert json.dumps(by_profile, sort_keys=True) == json.dumps(by_notebook, sort_keys=True)
            checked += 1
    shipped = load_profile(name)
    assert checked == len(making) * len(shipped.scenarios) * len(shipped.seeds)


def address(scenario="cifar10", seed=0, **changes):
    return encoders.encoder_ingredients(scenario, seed, pretraining(**changes)).address


@pytest.mark.parametrize(
    ("scenario", "seed", "changes"),
    [
        ("imagenet", 0, {}),
        ("cifar10", 1, {}),
        ("cifar10", 0, {"temperature": 0.4}),
        ("cifar10", 0, {"pretrain_data": "other"}),
        ("cifar10", 0, {"width": 3}),
        ("cifar10", 0, {"device": "auto"}),
    ],
    ids=["scenario", "seed", "recipe", "data", "architecture", "device"],
)
def test_anything_else_is_another_encoder(results, scenario, seed, changes):
    usual = address()
    assert address(scenario, seed, **changes) != usual
    assert address() == usual


def test_every_parameter_of_the_notebook_but_one_makes_another_encoder(results):
    """Other test images judge the same encoder."""
    changed = {name: address(**{name: f"another {value}"}) for name, value in PRETRAINING.items()}
    assert {name for name, found in changed.items() if found == address()} == {"test_images"}
    assert len(set(changed.values())) == len(PRETRAINING)


def test_the_address_that_others_use_is_that_of_the_profile_s_own_encoder(results, monkeypatch):
    assert encoders.encoder_address("tiny", "cifar10", 0) == address()
    use(monkeypatch, profile(pretraining={"epochs": 1}))
    assert encoders.encoder_address("tiny", "cifar10", 0) == address(epochs=1) != address()


def test_other_code_makes_another_encoder_and_keeps_the_old_one(results, monkeypatch):
    pretrained_encoder("tiny", "cifar10", 0)
    monkeypatch.setattr(store, "meanings", lambda modules: {name: "edited" for name in modules})
    pretrained_encoder("tiny", "cifar10", 0)
    assert len(artifacts(results.folder)) == 2 and len(results.asked) == 2


# --- the user's own images --------------------------------------------------------------------------------------------


@pytest.fixture
def home(monkeypatch, tmp_path):
    """The user's folder of array files."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("SSLAUTH_DATA", str(folder))
    return folder


def test_other_files_of_the_users_make_another_encoder(results, home):
    addresses = [address()]
    for name, content in (("dots.npz", b"1"), ("dots.npz", b"22"), ("dots_test.npz", b"3"), ("lines.npz", b"4")):
        (home / name).write_bytes(content)
        addresses.append(address())
    assert len(set(addresses)) == 4 and addresses[-1] == addresses[-2], "the other set's file does not matter"


def test_other_pixels_in_a_file_of_the_same_size_make_another_encoder(results, home):
    addresses = set()
    for time, content in enumerate((b"12", b"21"), 1):
        (home / "dots.npz").write_bytes(content)
        os.utime(home / "dots.npz", (time, time))
        addresses.add(address())
    assert len(addresses) == 2


def test_another_picture_in_a_folder_makes_another_encoder(results, tmp_path):
    name = f"folder:{tmp_path}"
    addresses = [address(pretrain_data=name)]
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "one.png").write_bytes(b"1")
    addresses.append(address(pretrain_data=name))
    assert len(set(addresses)) == 2


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_an_interrupted_making_leaves_no_artifact(results, monkeypatch):
    def killed(*_arguments, **_facts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(encoders, "save_encoder", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrained_encoder("tiny", "cifar10", 0)
    assert artifacts(results.folder) == artifacts(results.folder, ".partial") != []
    _, facts = pretrained_encoder("tiny", "cifar10", 0)
    assert len(facts["history"]) == 2
    assert not artifacts(results.folder, ".partial") and len(artifacts(results.folder)) == 1


def test_an_interrupted_training_goes_on_where_it_was(results, shared_folder, monkeypatch, saved_always):
    with monkeypatch.context() as patch:
        patch.setattr(store, "RESULTS", shared_folder)
        expected, facts = pretrained_encoder("tiny", "cifar10", 0)
    steps, step = [], simclr.training_step

    def counted(*arguments):
        steps.append(arguments)
        if len(steps) == 5:  # of six: the second in the second epoch
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(simclr, "training_step", counted)
    with pytest.raises(KeyboardInterrupt):
        pretrained_encoder("tiny", "cifar10", 0)
    resumed, same_facts = pretrained_encoder("tiny", "cifar10", 0)
    assert len(steps) == 5 + 3, "the first epoch was not trained again"
    assert resumed.sha256() == expected.sha256()
    assert [point["loss"] for point in same_facts["history"]] == [point["loss"] for point in facts["history"]]
    assert not list(results.folder.rglob("checkpoint*")), "a finished artifact holds no checkpoint"


def test_a_damaged_artifact_is_not_used(results):
    pretrained_encoder("tiny", "cifar10", 0)
    [path] = results.folder.rglob("encoder.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"digest .*encoder\.safetensors: the file was changed or damaged"):
        pretrained_encoder("tiny", "cifar10", 0)


# --- weights from a file ----------------------------------------------------------------------------------------------


def test_an_encoder_from_a_file_is_not_trained(results, home):
    torch.manual_seed(7)
    public = build_encoder("resnet18", 2, "imagenet")
    save(home / "public.safetensors", public.backbone.state_dict(), {})
    asked_for = pretraining(stem="imagenet", weights_file="public.safetensors")
    encoder, facts = pretrained_encoder("tiny", "imagenet", 0, asked_for)
    weights = public.backbone.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in encoder.backbone.state_dict().items())
    assert facts["history"] == []


def test_other_weights_under_the_same_name_make_another_encoder(results, home):
    asked_for = {"stem": "imagenet", "weights_file": "public.safetensors"}
    addresses = [address(**asked_for)]
    for content in (b"1", b"22"):
        (home / "public.safetensors").write_bytes(content)
        addresses.append(address(**asked_for))
    assert len(set(addresses)) == 3
    trained = address()
    (home / "public.safetensors").write_bytes(b"333")
    assert address() == trained, "an encoder that is trained takes no file"


def test_a_missing_weights_file_is_told_and_leaves_no_artifact(results, home):
    with pytest.raises(UserError, match=r"There is no file .*public\.safetensors; check the name"):
        pretrained_encoder("tiny", "imagenet", 0, pretraining(weights_file="public.safetensors"))
    assert artifacts(results.folder) == artifacts(results.folder, ".partial")


def test_a_pickle_as_weights_file_is_refused(results, home):
    torch.save({}, home / "public.pth")
    with pytest.raises(UserError, match="is a pickle"):
        pretrained_encoder("tiny", "imagenet", 0, pretraining(weights_file="public.pth"))


def test_the_untrained_network_is_the_one_that_training_starts_from(results, monkeypatch):
    started = []

    def watched(encoder, images, *_arguments):
        started.append((encoder.sha256(), images))
        return []

    monkeypatch.setattr(simclr, "pretrain", watched)
    encoder, _ = pretrained_encoder("tiny", "cifar10", 5)
    state = torch.get_rng_state()
    untrained = encoders.untrained_encoder(pretraining(), "cifar10", 5)
    assert torch.equal(torch.get_rng_state(), state), "global randomness is left alone"
    assert started[0][0] == untrained.sha256() == encoder.sha256()
    assert torch.equal(started[0][1], drawn("dots", size=16, count=48).images)
    others = (encoders.untrained_encoder(pretraining(), *which) for which in (("cifar10", 6), ("imagenet", 5)))
    assert all(other.sha256() != untrained.sha256() for other in others), "no two encoders start from the same weights"
