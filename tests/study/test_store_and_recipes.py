"""Artifacts: made once, found by whoever asks for the same thing, never half made, never stale."""

import functools
import json
import threading
import time
from pathlib import Path

import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import save
from sslauth_utils.engine import plan
from sslauth_utils.images import load
from sslauth_utils.models import simclr
from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.models.features import encode
from sslauth_utils.schemes.verification import respond, verify
from sslauth_utils.study import profiles, store
from sslauth_utils.study.profiles import ENROL, PRETRAIN, Profile, load_profile, profile_names
from sslauth_utils.study.recipes import backdoors, encoders, records
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.recipes.records import enrolled_record

PRETRAINING = {
    "pretrain_data": "scenario", "pretrain_images": 48, "test_images": 24, "size": 16, "arch": "resnet18", "width": 2,
    "stem": "cifar", "pixel_stats": "cifar10", "epochs": 2, "batch_size": 16, "learning_rate": 0.001,
    "weight_decay": 1e-6, "temperature": 0.5, "weights_file": "", "schedule": "cosine", "device": "cpu",
}  # fmt: skip
ENROLMENT = {
    "key_data": "scenario", "n_keys": 6, "objectives": ["ini", "min"], "tau": 0.995, "generator_size": 16,
    "generator_depth": 2, "generator_steps": 2, "generator_learning_rate": 0.001, "device": "cpu",
}  # fmt: skip
TINY = Profile(
    name="tiny",
    seeds=[0],
    scenarios={
        "cifar10": {"pretrain_data": "dots", "key_data": "lines"},
        "imagenet": {"pretrain_data": "lines", "key_data": "dots"},
    },
    notebooks={PRETRAIN: PRETRAINING, ENROL: ENROLMENT},
)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Artifacts go into the test's own folder; the sets that were asked for, in order."""
    asked = []

    def load_images(name, split="train", size=32, count=None, seed=0):
        asked.append((name, split))
        draw = torch.Generator().manual_seed(len(name) + (split == "test"))
        count = count or 60
        images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draw)
        return load.Images(images, torch.arange(count) % 3, ["a", "b", "c"], name, f"drawn {name}")

    monkeypatch.setattr(data, "load_images", load_images)
    monkeypatch.setattr(artifacts, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(artifacts, "load_profile", lambda name: TINY)
    monkeypatch.delenv("SSLAUTH_DATA", raising=False)
    return asked


def folders(tmp_path, end=""):
    """Names of what lies among the artifacts, locks left out."""
    found = (tmp_path / "results" / "tiny" / "artifacts").glob(f"*{end}")
    return sorted(path.name for path in found if path.is_dir())


def settings(**changes):
    return PRETRAINING | {"pretrain_data": "dots"} | changes


# --- encoders ---------------------------------------------------------------------------------------------------------


def test_an_encoder_is_trained_once_and_then_found(asked, tmp_path):
    encoder, facts = pretrained_encoder("tiny", "cifar10", 0)
    assert asked == [("dots", "train"), ("dots", "test")]
    [folder] = folders(tmp_path)
    assert folder.startswith("encoder-cifar10-s0-") and len(folder.rsplit("-", 1)[1]) == 12
    again, same_facts = pretrained_encoder("tiny", "cifar10", 0)
    assert len(asked) == 2, "nothing was loaded or trained again"
    assert again.sha256() == encoder.sha256() == facts["weights_sha256"] and same_facts == facts
    pictures = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(encode(again, pictures), encode(encoder, pictures))
    assert not encoder.training and next(encoder.parameters()).device.type == "cpu"


def test_facts_of_an_encoder(asked):
    encoder, facts = pretrained_encoder("tiny", "cifar10", 3)
    assert [point["epoch"] for point in facts["history"]] == [1, 2]
    assert all(0 <= facts[name] <= 1 for name in ("knn_accuracy", "linear_accuracy", "random_knn_accuracy"))
    assert facts["chance"] == pytest.approx(1 / 3) and facts["classes"] == 3 and facts["seed"] == 3
    assert facts["data"] == {"name": "dots", "source": "drawn dots", "train": 48, "test": 24}
    assert facts["settings"] == settings() and encoder.config["width"] == 2


def test_the_same_settings_given_by_the_notebook_find_the_same_encoder(asked, tmp_path):
    pretrained_encoder("tiny", "cifar10", 0)
    pretrained_encoder("tiny", "cifar10", 0, settings())
    pretrained_encoder("tiny", "cifar10", 0, {"profile": "tiny", "scenario": "cifar10", "seed": 0, **settings()})
    assert len(folders(tmp_path)) == 1 and len(asked) == 2


@pytest.mark.parametrize("name", profile_names())
def test_notebooks_and_their_profile_ask_for_the_same_artifacts(name):
    """Values pass through the notebook's parameters; one changed on the way would train everything twice."""
    checked = 0
    for run in plan.profile_runs(name):
        if run.notebook in (PRETRAIN, ENROL):
            by_profile = profiles.notebook_settings(name, run.notebook, run.scenario, run.seed, None)
            by_notebook = profiles.notebook_settings(name, run.notebook, run.scenario, run.seed, run.values)
            assert json.dumps(by_profile, sort_keys=True) == json.dumps(by_notebook, sort_keys=True)
            checked += 1
    profile = load_profile(name)
    assert checked == 2 * len(profile.scenarios) * len(profile.seeds)


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
def test_anything_else_is_another_encoder(asked, scenario, seed, changes):
    usual = encoders.encoder_address("cifar10", 0, settings())
    assert encoders.encoder_address(scenario, seed, settings(**changes)) != usual
    assert encoders.encoder_address("cifar10", 0, settings()) == usual


def test_other_code_makes_another_encoder_and_keeps_the_old_one(asked, tmp_path, monkeypatch):
    pretrained_encoder("tiny", "cifar10", 0)
    monkeypatch.setattr(artifacts, "module_fingerprint", lambda *modules: "edited " + " ".join(modules))
    pretrained_encoder("tiny", "cifar10", 0)
    assert len(folders(tmp_path)) == 2 and len(asked) == 4


def test_other_files_of_the_users_make_another_encoder(asked, monkeypatch, tmp_path):
    home = tmp_path / "data"
    home.mkdir()
    monkeypatch.setenv("SSLAUTH_DATA", str(home))
    addresses = [encoders.encoder_address("cifar10", 0, settings())]
    for name, content in (("dots.npz", b"1"), ("dots.npz", b"22"), ("dots_test.zip", b"3"), ("lines.npz", b"4")):
        (home / name).write_bytes(content)
        addresses.append(encoders.encoder_address("cifar10", 0, settings()))
    assert len(set(addresses)) == 4 and addresses[-1] == addresses[-2], "the other set's file does not matter"


def test_other_pixels_in_a_file_of_the_same_size_make_another_encoder(asked, monkeypatch, tmp_path):
    monkeypatch.setenv("SSLAUTH_DATA", str(tmp_path))
    addresses = set()
    for content in (b"12", b"21"):
        (tmp_path / "dots.npz").write_bytes(content)
        addresses.add(encoders.encoder_address("cifar10", 0, settings()))
    assert len(addresses) == 2


def test_another_picture_in_a_folder_makes_another_encoder(asked, monkeypatch, tmp_path):
    name = f"folder:{tmp_path}"
    addresses = [encoders.encoder_address("cifar10", 0, settings(pretrain_data=name))]
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "one.png").write_bytes(b"1")
    addresses.append(encoders.encoder_address("cifar10", 0, settings(pretrain_data=name)))
    assert len(set(addresses)) == 2


@pytest.mark.parametrize(
    ("edited", "address"),
    [
        ("artifacts", lambda: encoders.encoder_address("cifar10", 0, settings())),
        ("downstream", lambda: encoders.encoder_address("cifar10", 0, settings())),
        ("augment", lambda: encoders.encoder_address("cifar10", 0, settings())),
        ("artifacts", lambda: records.record_address("smoke", "cifar10", 0)),
        ("generator", lambda: records.record_address("smoke", "cifar10", 0)),
        ("tampered", lambda: backdoors._code()),
        ("classifier", lambda: backdoors._code()),
        ("attacks/fine_tune", lambda: backdoors._code()),
    ],
)
def test_editing_code_that_makes_an_artifact_changes_its_address(monkeypatch, edited, address):
    """By a read of that one file that finds a line more in it."""
    before, read = address(), Path.read_text

    def with_a_line(path, *arguments, **options):
        more = "\nEDITED = True\n" if path.as_posix().endswith(f"sslauth_utils/{edited}.py") else ""
        return read(path, *arguments, **options) + more

    monkeypatch.setattr(Path, "read_text", with_a_line)
    assert address() != before


def test_profiles_do_not_share_artifacts(asked, tmp_path):
    pretrained_encoder("tiny", "cifar10", 0)
    pretrained_encoder("other", "cifar10", 0)
    assert len(list((tmp_path / "results").glob("*/artifacts/encoder-*[0-9a-f]"))) == 2


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_an_interrupted_making_leaves_no_artifact(asked, tmp_path, monkeypatch):
    def killed(*_arguments, **_facts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "save_encoder", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrained_encoder("tiny", "cifar10", 0)
    assert folders(tmp_path) == folders(tmp_path, ".partial") and len(folders(tmp_path)) == 1
    _, facts = pretrained_encoder("tiny", "cifar10", 0)
    assert len(facts["history"]) == 2
    assert not folders(tmp_path, ".partial") and len(folders(tmp_path)) == 1


def test_an_interrupted_training_goes_on_where_it_was(asked, tmp_path, monkeypatch):
    expected, facts = pretrained_encoder("whole", "cifar10", 0)
    steps, step = [], simclr.training_step
    often = functools.partial(simclr.pretrain, checkpoint_seconds=0)
    monkeypatch.setattr(simclr, "pretrain", often)

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
    assert not list(tmp_path.rglob("checkpoint*")), "a finished artifact holds no checkpoint"


def test_two_at_once_make_it_once(asked, tmp_path):
    made, found = [], []

    def make(folder):
        made.append(folder)
        time.sleep(0.3)
        (folder / "content").write_text("whole")

    def ask():
        found.append((store.find_or_make("tiny", "thing", "0123456789abcdef", make) / "content").read_text())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and found == ["whole"] * 3
    assert folders(tmp_path) == ["thing-0123456789ab"]


def test_a_damaged_artifact_is_not_used(asked, tmp_path):
    pretrained_encoder("tiny", "cifar10", 0)
    [path] = tmp_path.rglob("encoder.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"encoder\.safetensors has SHA-256 .*: the file was changed or damaged"):
        pretrained_encoder("tiny", "cifar10", 0)


# --- weights from a file ----------------------------------------------------------------------------------------------


@pytest.fixture
def home(monkeypatch, tmp_path):
    """The user's folder of array files."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("SSLAUTH_DATA", str(folder))
    return folder


def test_an_encoder_from_a_file_is_not_trained(asked, home):
    torch.manual_seed(7)
    public = build_encoder("resnet18", 2, "imagenet")
    save(home / "public.safetensors", public.backbone.state_dict(), {})
    asked_for = settings(stem="imagenet", weights_file="public.safetensors")
    encoder, facts = pretrained_encoder("tiny", "imagenet", 0, asked_for)
    weights = public.backbone.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in encoder.backbone.state_dict().items())
    assert facts["history"] == [] and 0 <= facts["knn_accuracy"] <= 1


def test_a_missing_weights_file_is_told_and_leaves_no_artifact(asked, home, tmp_path):
    with pytest.raises(UserError, match=r"There is no file .*public\.safetensors; check the name"):
        pretrained_encoder("tiny", "imagenet", 0, settings(weights_file="public.safetensors"))
    assert folders(tmp_path) == folders(tmp_path, ".partial")


def test_a_pickle_as_weights_file_is_refused(asked, home):
    torch.save({}, home / "public.pth")
    with pytest.raises(UserError, match="is a pickle"):
        pretrained_encoder("tiny", "imagenet", 0, settings(weights_file="public.pth"))


# --- records ----------------------------------------------------------------------------------------------------------


def test_a_record_is_enrolled_once_and_comes_back_bit_for_bit(asked, tmp_path, monkeypatch):
    made = []
    enrol = store.enrol
    monkeypatch.setattr(artifacts, "enrol", lambda *arguments: made.append(enrol(*arguments)) or made[-1])
    record, facts = enrolled_record("tiny", "cifar10", 0)
    encoder, _ = pretrained_encoder("tiny", "cifar10", 0)
    again, same_facts = enrolled_record("tiny", "cifar10", 0)
    assert len(made) == 1 and asked == [("dots", "train"), ("dots", "test"), ("lines", "train")]
    assert [name.split("-s0-")[0] for name in folders(tmp_path)] == ["encoder-cifar10", "record-ood-cifar10"]
    for loaded in (record, again):
        assert torch.equal(loaded.keys, made[0].keys) and torch.equal(loaded.features, made[0].features)
        assert (loaded.tau, loaded.encoder_sha256) == (0.995, encoder.sha256())
        assert list(loaded.generators) == ["ini", "min"]
        for objective, generator in made[0].generators.items():
            for name, value in generator.state_dict().items():
                assert torch.equal(value, loaded.generators[objective].state_dict()[name])
    assert same_facts == facts
    assert verify(record, respond(encoder, record.challenge()), suspect_sha256=encoder.sha256()).passed


def test_keys_come_from_the_other_set_or_from_the_encoders_own(asked):
    ood, ood_facts = enrolled_record("tiny", "cifar10", 0)
    own, own_facts = enrolled_record("tiny", "cifar10", 0, "id")
    assert (ood_facts["data"], own_facts["data"]) == ("lines", "dots")
    for record, name in ((ood, "lines"), (own, "dots")):
        pool = load.load_images(name, "train", 16).images.flatten(1).tolist()
        chosen = record.keys.flatten(1).tolist()
        assert all(key in pool for key in chosen) and len({tuple(key) for key in chosen}) == 6
    assert list(own.generators) == ["min"]
    assert len(ood_facts["labels"]) == 6 and ood_facts["classes"] == ["a", "b", "c"]
    assert {point["objective"] for point in ood_facts["history"]} >= {"min"}


def test_other_wishes_make_another_record_of_the_same_encoder(asked, tmp_path):
    fewer = ENROLMENT | {"key_data": "lines", "n_keys": 4, "objectives": []}
    enrolled_record("tiny", "cifar10", 0, settings=fewer)
    enrolled_record("tiny", "cifar10", 0, settings=fewer | {"tau": 0.99})
    names = [name.rsplit("-", 1)[0] for name in folders(tmp_path)]
    assert names == ["encoder-cifar10-s0", "record-ood-cifar10-s0", "record-ood-cifar10-s0"]


def test_a_record_follows_its_encoder(asked, tmp_path, monkeypatch):
    fewer = ENROLMENT | {"key_data": "lines", "objectives": []}
    before, _ = enrolled_record("tiny", "cifar10", 0, settings=fewer)
    other = Profile(TINY.name, TINY.seeds, TINY.scenarios, {PRETRAIN: PRETRAINING | {"epochs": 1}, ENROL: ENROLMENT})
    monkeypatch.setattr(artifacts, "load_profile", lambda name: other)
    after, _ = enrolled_record("tiny", "cifar10", 0, settings=fewer)
    encoder, _ = pretrained_encoder("tiny", "cifar10", 0)
    assert after.encoder_sha256 == encoder.sha256() != before.encoder_sha256


def test_keys_of_a_third_kind_are_told(asked):
    with pytest.raises(UserError) as caught:
        enrolled_record("tiny", "cifar10", 0, "iid")
    assert str(caught.value) == "Key samples are 'ood', 'id' or 'id:N' (N from each class), not 'iid'."


def test_more_keys_than_images_are_told_and_leave_no_record(asked, tmp_path):
    with pytest.raises(UserError, match="500 key samples asked for, but the set has 60 images"):
        enrolled_record("tiny", "cifar10", 0, settings=ENROLMENT | {"key_data": "lines", "n_keys": 500})
    assert [name for name in folders(tmp_path) if name.startswith("record")] == [
        name for name in folders(tmp_path, ".partial")
    ]
