"""What stands around the numbers: provenance, executed notebooks as pages, the comparison with the reference."""

import json
import os

import nbformat
import pandas as pd

from sslauth_utils.base.paths import RESULTS
from sslauth_utils.report.notebooks import notebook_pages
from sslauth_utils.report.provenance import provenance
from sslauth_utils.report.tables import reference_table


def executed(path):
    path.parent.mkdir(parents=True)
    cell = nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.v4.new_output("stream", text="it is two\n")])
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Sum"), cell]), path)


def test_an_executed_notebook_becomes_a_page_once(tmp_path):
    path = tmp_path / "demo" / "05_pruning" / "cifar10-s0" / "executed.ipynb"
    executed(path)
    executed(tmp_path / "demo" / "90_summary" / "executed.ipynb")
    folder = tmp_path / "figures"
    [(name, link)] = notebook_pages("demo", folder, tmp_path)
    page = path.with_suffix(".html")
    assert (name, link) == ("05_pruning · cifar10-s0", os.path.relpath(page, folder))
    text = page.read_text(encoding="utf-8")
    assert "Sum" in text and "it is two" in text and "<script" not in text and "http" not in text
    page.write_text("kept")
    os.utime(page, (path.stat().st_mtime + 5,) * 2)
    notebook_pages("demo", folder, tmp_path)
    assert page.read_text() == "kept"
    os.utime(path, (page.stat().st_mtime + 5,) * 2)
    notebook_pages("demo", folder, tmp_path)
    assert "it is two" in page.read_text(encoding="utf-8"), "the notebook was executed again"


def test_a_run_tells_where_it_came_from(tmp_path):
    folder = tmp_path / "demo" / "05_pruning" / "cifar10-s0"
    folder.mkdir(parents=True)
    done = {
        "notebook": "05_pruning", "scenario": "cifar10", "seed": 0, "finished": "2026-01-01", "seconds": 3,
        "git": {"commit": "0123456789abcdef", "dirty": False}, "machine": {"processor": "P", "threads": 1, "gpu": None},
        "versions": {"torch": "2.11.0"}, "outputs": {"results/rows.csv": "f" * 64},
    }  # fmt: skip
    (folder / "done.json").write_text(json.dumps(done))
    table, versions = provenance("demo", tmp_path)
    [line] = table.to_dict("records")
    assert line == {
        "notebook": "05_pruning", "scenario": "cifar10", "seed": 0, "finished": "2026-01-01", "seconds": 3,
        "commit": "0123456789ab", "processor": "P", "rows_sha256": "f" * 12,
    }  # fmt: skip
    assert versions == {"torch": "2.11.0"}


def test_a_restored_run_came_from_the_reference_and_an_unknown_one_says_nothing(tmp_path):
    (tmp_path / "reference").symlink_to(RESULTS / "reference")
    table, versions = provenance("lite", tmp_path)
    runs = pd.read_csv(RESULTS / "reference" / "lite" / "runs.csv")
    assert table["notebook"].tolist() == runs["notebook"].tolist() and versions
    table, versions = provenance("nowhere", tmp_path)
    assert table.empty and versions == {}


def compared(**changed):
    lines = {"claim": ["a", "b"], "this run": [1.0, None], "reference": [1.0, None], "difference": [0.0, None],
             "verdict": ["reproduced", "not tested"], "reference verdict": ["reproduced", "not tested"]}  # fmt: skip
    return pd.DataFrame(lines | changed)


def test_a_run_is_not_compared_with_itself():
    assert reference_table(None) is None and reference_table(compared()) is None


def test_only_verdicts_that_differ_from_the_reference_s_are_listed():
    _, text, table = reference_table(compared(difference=[0.5, None]))
    assert table.empty and text.startswith("Of 2 claims 2 have the verdict of the committed run of the same profile, ")
    assert text.endswith("and 1 its number to the last digit.")
    _, text, table = reference_table(compared(verdict=["not reproduced", "not tested"]))
    assert table["claim"].tolist() == ["a"] and text.endswith("The others:")
