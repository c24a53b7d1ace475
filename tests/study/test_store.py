"""The store: made once, found by whoever asks for the same thing, never half made, and it says what it is made of."""

import json
import threading
import time
from dataclasses import replace

import pytest

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.fingerprint import meanings
from sslauth_utils.study import store
from sslauth_utils.study.store import Ingredients, find_or_make

KEYS = Ingredients(
    recipe="sslauth_utils.schemes.keys",
    values={"02_enrol_keys": {"n_keys": 6, "tau": 0.995}, "": {"seed": 0}},
    data=["dots"],
    made_from=["ab", "cd"],
)


@pytest.fixture(autouse=True)
def results(monkeypatch, tmp_path):
    """A folder for artifacts; no run asks and there are no files of the user's."""
    monkeypatch.setattr(store, "RESULTS", tmp_path / "results")
    for name in ("SSLAUTH_DATA", "SSLAUTH_RUN_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "results" / "tiny" / "artifacts"


def folders(results, end=""):
    """Names of what lies among the artifacts, locks left out."""
    return sorted(path.name for path in results.glob(f"*{end}") if path.is_dir())


def fill(folder):
    (folder / "content").write_text("whole")


# --- addresses --------------------------------------------------------------------------------------------------------


def test_an_artifact_is_made_once_and_then_found(results):
    made = []
    folder = find_or_make("tiny", "thing", KEYS, lambda folder: made.append(folder) or fill(folder))
    assert find_or_make("tiny", "thing", KEYS, made.append) == folder == results / f"thing-{KEYS.address[:12]}"
    assert len(made) == 1 and (folder / "content").read_text() == "whole"
    assert folders(results) == [folder.name]


@pytest.mark.parametrize(
    "change",
    [
        {"values": {"02_enrol_keys": {"n_keys": 7, "tau": 0.995}, "": {"seed": 0}}},
        {"values": {"02_enrol_keys": {"n_keys": 6}, "": {"seed": 0}}},
        {"values": {"03_verify_intact": {"n_keys": 6, "tau": 0.995}, "": {"seed": 0}}},
        {"values": {"02_enrol_keys": {"n_keys": 6.0, "tau": 0.995}, "": {"seed": 0}}},
        {"made_from": ["ab"]},
        {"made_from": ["ab", "ce"]},
        {"recipe": "sslauth_utils.schemes.precision"},
    ],
    ids=["value", "one value less", "notebook", "kind of number", "one ingredient less", "ingredient", "code"],
)
def test_other_ingredients_have_another_address(change):
    assert replace(KEYS, **change).address != KEYS.address


def test_the_order_of_values_does_not_matter():
    turned = {"": {"seed": 0}, "02_enrol_keys": {"tau": 0.995, "n_keys": 6}}
    assert replace(KEYS, values=turned).address == KEYS.address
    assert len(KEYS.address) == 64


def test_the_user_s_own_files_count_if_they_are_of_the_data(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLAUTH_DATA", str(tmp_path))
    addresses = [KEYS.address]
    for name, content in (("dots.npz", b"1"), ("dots.npz", b"22"), ("dots_test.npz", b"3"), ("lines.npz", b"4")):
        (tmp_path / name).write_bytes(content)
        addresses.append(KEYS.address)
    assert len(set(addresses)) == 4 and addresses[-1] == addresses[-2], "the other set's file does not matter"


def test_an_unknown_recipe_is_told_before_anything_is_made(results):
    with pytest.raises(UserError, match="there is no such module"):
        find_or_make("tiny", "thing", replace(KEYS, recipe="sslauth_utils.none"), fill)
    assert not results.exists()


# --- what stands beside it --------------------------------------------------------------------------------------------


def test_it_says_what_it_is_made_of(results):
    folder = find_or_make("tiny", "thing", KEYS, fill)
    made = json.loads((folder / "made.json").read_text())
    seconds = made.pop("seconds")
    assert made == {
        "recipe": "sslauth_utils.schemes.keys",
        "values": {"02_enrol_keys": {"n_keys": 6, "tau": 0.995}, "": {"seed": 0}},
        "data": ["dots"],
        "made_from": ["ab", "cd"],
        "address": KEYS.address,
        "code": meanings(["sslauth_utils.schemes.keys"]),
    }
    assert 0 <= seconds < 60 and "sslauth_utils/schemes/keys.py" in made["code"]


def test_its_seconds_are_without_those_of_what_was_made_on_the_way(results, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(store.time, "monotonic", lambda: clock[0])

    def ask(kind, seconds, *inner):
        def make(folder):
            clock[0] += seconds
            for arguments in inner:
                ask(*arguments)

        find_or_make("tiny", kind, KEYS, make)

    ask("whole", 1, ("left", 10, ("deep", 100)), ("right", 1000), ("right", 1000))  # the second is found
    told = {kind: json.loads((results / f"{kind}-{KEYS.address[:12]}" / "made.json").read_text())["seconds"]
            for kind in ("whole", "left", "deep", "right")}  # fmt: skip
    assert told == {"whole": 1, "left": 10, "deep": 100, "right": 1000}


def test_code_that_is_edited_meanwhile_changes_neither_the_address_nor_what_is_said(results, monkeypatch):
    """A training run may take hours: what it was started with is what it is."""
    address, code = KEYS.address, meanings([KEYS.recipe])

    def make(folder):
        fill(folder)
        monkeypatch.setattr(store, "meanings", lambda modules: {"edited": "other"})

    folder = find_or_make("tiny", "thing", KEYS, make)
    made = json.loads((folder / "made.json").read_text())
    assert folder.name == f"thing-{address[:12]}" and (made["address"], made["code"]) == (address, code)


def test_code_that_is_broken_meanwhile_does_not_cost_what_was_made(results, monkeypatch):
    def make(folder):
        fill(folder)

        def broken(_modules):
            raise UserError("keys.py is not valid Python; correct it.")

        monkeypatch.setattr(store, "meanings", broken)

    assert (find_or_make("tiny", "thing", KEYS, make) / "content").read_text() == "whole"


def test_the_run_that_asks_is_told_what_it_used(results, monkeypatch, tmp_path):
    find_or_make("tiny", "early", KEYS, fill)
    monkeypatch.setenv("SSLAUTH_RUN_DIR", str(tmp_path))
    find_or_make("tiny", "early", KEYS, fill)
    find_or_make("tiny", "whole", KEYS, lambda folder: find_or_make("tiny", "part", KEYS, fill) and None)
    find_or_make("tiny", "whole", KEYS, fill)
    lines = [json.loads(line) for line in (tmp_path / "artifacts.jsonl").read_text().splitlines()]
    end = KEYS.address[:12]
    assert lines == [
        {"artifact": f"early-{end}", "made": False},
        {"artifact": f"part-{end}", "made": True},
        {"artifact": f"whole-{end}", "made": True},
        {"artifact": f"whole-{end}", "made": False},
    ]


# --- interruptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError, OSError])
def test_an_interrupted_making_leaves_no_artifact_and_goes_on_in_the_same_folder(results, error):
    def killed(folder):
        (folder / "checkpoint").write_text("half")
        raise error

    with pytest.raises(error):
        find_or_make("tiny", "thing", KEYS, killed)
    assert folders(results) == folders(results, ".partial") == [f"thing-{KEYS.address[:12]}.partial"]

    def go_on(folder):
        assert (folder / "checkpoint").read_text() == "half"
        (folder / "checkpoint").unlink()
        fill(folder)

    folder = find_or_make("tiny", "thing", KEYS, go_on)
    assert folders(results) == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["content", "made.json"]


def test_two_at_once_make_it_once(results):
    made, found = [], []

    def make(folder):
        made.append(folder)
        time.sleep(0.3)
        fill(folder)

    def ask():
        found.append((find_or_make("tiny", "thing", KEYS, make) / "content").read_text())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and found == ["whole"] * 3
    assert folders(results) == [f"thing-{KEYS.address[:12]}"]


def test_profiles_do_not_share_artifacts(results):
    assert find_or_make("tiny", "thing", KEYS, fill) != find_or_make("other", "thing", KEYS, fill)
