"""A finished run frozen as reference, and a later run compared with it."""

import json
import shutil

import pandas as pd
import pytest
import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_json, sha256_file, write_json, write_text
from sslauth_utils.base.tensors import describe
from sslauth_utils.claims import reference
from sslauth_utils.claims.cuts import cuts_in_words
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.reference import compare, freeze, reference_claims, restore
from sslauth_utils.models.encoders import build_encoder, load_encoder, save_encoder
from sslauth_utils.study import reference_encoders, store
from sslauth_utils.study.profiles import KEPT, PRETRAIN, load_profile, notebook_settings, profile_of_rows
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.reference_encoders import lay_out_encoders

SETTINGS = {"pretrain_data": "embedded_shapes", "epochs": 1, "device": "cpu"}


@pytest.fixture
def finished(tmp_path):
    run = tmp_path / "lite"
    for notebook in ("01_pretrain_encoders", "05_pruning"):
        for seed in (0, 1):
            folder = run / notebook / f"cifar10-s{seed}"
            folder.mkdir(parents=True)
            (folder / "rows.csv").write_text(f"scenario,seed,similarity\ncifar10,{seed},0.1234567890123456{seed}\n")
            machine = {"gpu": None, "system": "kernel", "processor": "a processor", "threads": 2}
            facts = {
                "notebook": notebook, "scenario": "cifar10", "seed": seed,
                "parameters": load_profile("lite").parameters(notebook, "cifar10", seed),
                "versions": {"torch": "2"}, "machine": machine, "git": {"commit": "c", "dirty": False},
                "fingerprint": f"print of {notebook}", "seconds": 3, "peak_memory_mb": 500, "finished": "then",
                "artifacts": {f"{kind}-cifar10-s{seed}-run": True for kind in ("encoder", "accuracies")},
                "outputs": {f"results/lite/{notebook}/cifar10-s{seed}/rows.csv": sha256_file(folder / "rows.csv")},
            }  # fmt: skip
            (folder / "done.json").write_text(json.dumps(facts))
    torch.manual_seed(0)
    encoder, other = build_encoder("resnet18", 2), build_encoder("resnet18", 2)
    for seed in (0, 1):
        for which, network, settings in (("run", encoder, SETTINGS), ("newer", other, SETTINGS | {"epochs": 2})):
            path = run / "artifacts" / f"encoder-cifar10-s{seed}-{which}" / "encoder.safetensors"
            save_encoder(network, path, settings=settings | {"device": "cuda"})  # handed over by another machine
            accuracies = run / "artifacts" / f"accuracies-cifar10-s{seed}-{which}" / "accuracies.json"
            accuracies.parent.mkdir()
            accuracies.write_text(json.dumps({"knn_accuracy": 0.5 if which == "run" else 0.1}))
        (run / "artifacts" / f"encoder-cifar10-s{seed}-unfinished.partial").mkdir()
    (run / "summary.csv").write_text("id,measured,verdict\na,1.5,reproduced\nb,,not tested at this size\n")
    (run / "findings.csv").write_text("finding,claims\n")
    return tmp_path, encoder


def test_the_profile_stays_with_its_rows_whatever_becomes_of_the_file(finished):
    results, _ = finished
    freeze("lite", results)
    kept = results / "reference" / "lite" / KEPT
    kept.write_text(kept.read_text().replace("epochs: 30 ", "epochs: 29 "))
    shutil.rmtree(results / "lite")
    restore("lite", results)
    assert profile_of_rows("lite", results).notebooks[PRETRAIN]["epochs"] == 29
    assert "SimCLR epochs 29 of 1000" in cuts_in_words("lite", results)(read_claims()[0])
    (results / "lite" / KEPT).unlink()
    assert profile_of_rows("lite", results) == load_profile("lite")


def test_freeze_keeps_rows_bit_for_bit_and_encoders_that_load(finished):
    results, encoder = finished
    target = freeze("lite", results)
    rows = pd.read_csv(target / "05_pruning.csv.gz", dtype=str)
    assert rows["similarity"].tolist() == [str(float(f"0.1234567890123456{seed}")) for seed in (0, 1)]
    assert load_encoder(target / "encoders" / "cifar10-s1.safetensors").sha256() == encoder.sha256()
    kept = json.loads((target / "encoders" / "cifar10-s1.json").read_text())
    assert kept["settings"] == SETTINGS | {"device": "cuda"} and kept["knn_accuracy"] == 0.5
    first = (target / "05_pruning.csv.gz").read_bytes()
    assert (freeze("lite", results) / "05_pruning.csv.gz").read_bytes() == first


def test_freeze_says_where_every_run_came_from(finished):
    results, _ = finished
    target = freeze("lite", results)
    runs = pd.read_csv(target / "runs.csv", keep_default_na=False)
    assert list(zip(runs["notebook"], runs["scenario"], runs["seed"], strict=True)) == [
        (notebook, "cifar10", seed) for notebook in ("01_pretrain_encoders", "05_pruning") for seed in (0, 1)
    ]
    [versions] = set(runs["versions"])
    assert json.loads((target / "versions.json").read_text()) == {versions: {"torch": "2"}}
    assert runs.drop(columns=["notebook", "scenario", "versions"]).iloc[3].to_dict() == {
        "seed": 1, "finished": "then", "seconds": 3, "peak_memory_mb": 500, "commit": "c", "uncommitted_changes": False,
        "processor": "a processor", "threads": 2, "gpu": "", "made_from_sha256": "print of 05_pruning",
        "rows_sha256": sha256_file(results / "lite" / "05_pruning" / "cifar10-s1" / "rows.csv"), "measures_sha256": "",
    }  # fmt: skip
    assert "kernel" not in (target / "runs.csv").read_text(), "the system's name is not kept"


def test_freeze_keeps_measures_beside_the_rows_and_only_where_there_are_some(finished):
    results, _ = finished
    for seed in (0, 1):
        path = results / "lite" / "05_pruning" / f"cifar10-s{seed}" / "measures.csv"
        path.write_text(f"scenario,seed,quantity,value\ncifar10,{seed},accuracy,0.75\n")
        done = read_json(path.with_name("done.json"))
        done["outputs"]["results/lite/05_pruning/measures.csv"] = sha256_file(path)
        write_json(path.with_name("done.json"), done)
    target = freeze("lite", results)
    measures = pd.read_csv(target / "05_pruning.measures.csv.gz", dtype=str)
    assert measures.to_dict("list") == {"scenario": ["cifar10"] * 2, "seed": ["0", "1"], "quantity": ["accuracy"] * 2,
                                        "value": ["0.75"] * 2}  # fmt: skip
    assert sorted(path.name for path in target.glob("*.csv.gz")) == [
        "01_pretrain_encoders.csv.gz", "05_pruning.csv.gz", "05_pruning.measures.csv.gz"
    ]  # fmt: skip
    assert "similarity" in pd.read_csv(target / "05_pruning.csv.gz").columns


def test_compare_puts_the_reference_beside(finished):
    results, _ = finished
    freeze("lite", results)
    now = pd.DataFrame({"id": ["a", "new"], "measured": [1.75, 2.0], "verdict": ["not reproduced", "reproduced"]})
    table = compare("lite", now, results).set_index("claim")
    assert table.loc["a", "difference"] == 0.25 and table.loc["a", "reference verdict"] == "reproduced"
    assert pd.isna(table.loc["new", "reference"])
    assert compare("demo", now, results) is None


def test_without_the_run_s_encoder_nothing_is_frozen_and_the_old_reference_stays(finished):
    results, _ = finished
    target = freeze("lite", results)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    shutil.rmtree(results / "lite" / "artifacts" / "encoder-cifar10-s1-run")
    with pytest.raises(UserError, match="is no longer in"):
        freeze("lite", results)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before


def test_freezing_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no summary\.csv"):
        freeze("lite", tmp_path)


def spoil(results, how):
    folder = results / "lite" / "05_pruning" / "cifar10-s1"
    done = read_json(folder / "done.json")
    if how == "interrupted":
        (folder / "done.json").unlink()
    elif how == "not a run's":
        write_json(folder / "done.json", {})
    elif how == "rows changed":
        (folder / "rows.csv").write_text("scenario,seed,similarity\ncifar10,1,0.5\n")
    elif how == "measures left over":
        (folder / "measures.csv").write_text("scenario,seed,quantity,value\n")
    elif how == "other settings":
        done["parameters"]["rates"] = [0.1]
        write_json(folder / "done.json", done)
    else:
        (results / "lite" / how).unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("interrupted", "cifar10-s1 is not as a finished run left it"),
        ("not a run's", "cifar10-s1 is not as a finished run left it"),
        ("rows changed", "cifar10-s1 is not as a finished run left it"),
        ("measures left over", "cifar10-s1 is not as a finished run left it"),
        ("other settings", "was run with rates [0.1], and config/lite.yaml now says"),
        ("findings.csv", "holds no findings.csv"),
    ],
)
def test_only_whole_runs_of_today_s_settings_are_frozen_and_the_old_reference_stays(finished, how, said):
    results, _ = finished
    target = freeze("lite", results)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    spoil(results, how)
    with pytest.raises(UserError) as caught:
        freeze("lite", results)
    assert said in str(caught.value)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before


def test_the_restored_reference_is_not_frozen_again(finished):
    results, _ = finished
    target = freeze("lite", results)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    shutil.rmtree(results / "lite")
    restore("lite", results)
    for name in ("summary.csv", "findings.csv"):
        shutil.copy(target / name, results / "lite" / name)
    with pytest.raises(UserError, match="holds the reference itself"):
        freeze("lite", results)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before


def test_what_was_frozen_can_be_restored(finished):
    results, _ = finished
    freeze("lite", results)
    before = {path.relative_to(results): path.read_text() for path in results.glob("lite/*/*/rows.csv")}
    with pytest.raises(UserError, match="is there already"):
        restore("lite", results)
    shutil.rmtree(results / "lite")
    assert restore("lite", results) == results / "lite"
    after = {path.relative_to(results): path.read_text() for path in results.glob("lite/*/*/rows.csv")}
    assert after.keys() == before.keys() and len(after) == 4
    assert not list(results.glob("lite/*/*/done.json")), "the next run makes everything anew"


def test_a_folder_that_a_lock_alone_made_is_no_run(finished):
    results, _ = finished
    freeze("lite", results)
    shutil.rmtree(results / "lite")
    (results / "lite").mkdir()
    (results / "lite" / ".lock").touch()
    assert (restore("lite", results) / KEPT).is_file() and not (results / ".lite.new").exists()


def test_a_restoring_that_is_cut_short_leaves_nothing_that_counts(finished, monkeypatch):
    results, _ = finished
    freeze("lite", results)
    shutil.rmtree(results / "lite")
    written = []

    def write(path, text):
        if written:
            raise OSError("no room")
        written.append(path)
        write_text(path, text)

    with monkeypatch.context() as patched:
        patched.setattr(reference, "write_text", write)
        with pytest.raises(OSError, match="no room"):
            restore("lite", results)
    assert not (results / "lite").exists()
    assert len(list(restore("lite", results).glob("*/*/rows.csv"))) == 4


@pytest.mark.parametrize(
    ("made_from", "message"),
    [
        ({"rows 01_pretrain_encoders/cifar10-s0": "other"}, "made from other rows 01_pretrain_encoders/cifar10-s0"),
        ({"values 01_pretrain_encoders/cifar10-s1": {"epochs": 1}}, "made from other values 01_pretrain_encoders"),
    ],
)
def test_rows_that_rest_on_others_are_not_frozen_with_them(finished, made_from, message):
    results, _ = finished
    path = results / "lite" / "05_pruning" / "cifar10-s0" / "done.json"
    write_json(path, read_json(path) | {"made_from": made_from | {"rows of_a_notebook/that_is_not_here": "x"}})
    with pytest.raises(UserError, match=message):
        freeze("lite", results)
    assert not (results / "reference").exists()


def test_a_summary_of_other_rows_is_not_frozen(finished):
    results, _ = finished
    path = results / "lite" / "05_pruning" / "cifar10-s0" / "done.json"
    done = read_json(path)
    done["outputs"]["results/lite/summary.csv"] = "of another one"
    write_json(path, done)
    with pytest.raises(UserError, match=r"summary\.csv is not as 05_pruning left it"):
        freeze("lite", results)


def test_without_a_reference_nothing_is_restored(tmp_path):
    with pytest.raises(UserError, match="no reference run of profile demo"):
        restore("demo", tmp_path)


@pytest.fixture
def referenced(tmp_path, monkeypatch):
    """A reference encoder of profile smoke, with the settings that the profile asks for."""
    for module in (store, reference_encoders):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.delenv("SSLAUTH_DATA", raising=False)
    torch.manual_seed(3)
    encoder = build_encoder("resnet18", 4)
    path = tmp_path / "reference" / "smoke" / "encoders" / "cifar10-s0.safetensors"
    save_encoder(encoder, path, settings=notebook_settings("smoke", PRETRAIN, "cifar10", 0, None), history=[])
    write_json(path.with_suffix(".json"), describe(path))
    return path, encoder


def test_a_run_finds_the_reference_s_encoders_and_trains_none(referenced):
    path, encoder = referenced
    [folder] = lay_out_encoders("smoke")
    assert (folder / "encoder.safetensors").read_bytes() == path.read_bytes()
    found, facts = pretrained_encoder("smoke", "cifar10", 0)
    assert found.sha256() == encoder.sha256() and facts["history"] == []
    assert lay_out_encoders("smoke") == [folder], "a second time changes nothing"


def test_an_encoder_that_was_trained_here_is_not_passed_off_as_the_reference_s(referenced):
    [folder] = lay_out_encoders("smoke")
    own = folder / "encoder.safetensors"
    own.write_bytes(own.read_bytes() + b" ")
    with pytest.raises(UserError, match="holds another encoder, which was trained here; remove that folder"):
        lay_out_encoders("smoke")


def test_an_encoder_trained_on_a_gpu_serves_a_cpu(referenced):
    path = referenced[0].with_suffix(".json")
    facts = json.loads(path.read_text())
    facts["settings"]["device"] = "cuda"
    path.write_text(json.dumps(facts))
    [folder] = lay_out_encoders("smoke")
    assert (folder / "encoder.safetensors").read_bytes() == referenced[0].with_suffix(".safetensors").read_bytes()
    assert json.loads((folder / "encoder.json").read_text())["settings"]["device"] == "cuda"


def test_an_encoder_of_other_settings_is_not_passed_off_as_the_profile_s(referenced):
    path = referenced[0].with_suffix(".json")
    facts = json.loads(path.read_text())
    facts["settings"]["epochs"] = 77
    path.write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"cifar10-s0 was trained with another epochs \(77\) than profile smoke"):
        lay_out_encoders("smoke")
    assert not list((path.parents[3] / "smoke").glob("artifacts/encoder-*")), "nothing was laid out"


def test_without_its_images_no_encoder_is_laid_out_where_no_run_would_look(referenced, monkeypatch):
    path = referenced[0].with_suffix(".json")
    absent = {"pretrain_data": "tiny_imagenet"}
    facts = json.loads(path.read_text())
    facts["settings"] |= absent
    path.write_text(json.dumps(facts))
    settings = notebook_settings("smoke", PRETRAIN, "cifar10", 0, None) | absent
    monkeypatch.setattr(reference_encoders, "notebook_settings", lambda *_: settings)
    with pytest.raises(UserError, match="tiny_imagenet"):
        lay_out_encoders("smoke")
    assert not list((path.parents[3] / "smoke").glob("artifacts/encoder-*")), "nothing was laid out"


def test_without_reference_encoders_it_is_told(referenced):
    with pytest.raises(UserError, match="no reference encoders of profile demo"):
        lay_out_encoders("demo")


def test_a_text_takes_the_references_numbers_from_its_summary(tmp_path):
    folder = tmp_path / "reference" / "lite"
    folder.mkdir(parents=True)
    lines = ["id,quantity,measured,low,high,n,verdict", "one,first,1.5,1,2,100,reproduced", "two,second,7,6,8,100,no"]
    (folder / "summary.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = reference_claims("lite", ["two", "gone", "one"], tmp_path)
    assert found[["id", "measured"]].to_numpy().tolist() == [["two", 7.0], ["one", 1.5]]
    assert reference_claims("gpu", ["one"], tmp_path).empty
