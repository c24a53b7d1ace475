"""The row log: a killed sweep goes on where it was, and ends with the same bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslauth_utils.study import notebook
from sslauth_utils.study.notebook import Run
from sslauth_utils.study.rowlog import RowLog
from sslauth_utils.study.rows import COLUMNS as COLUMNS_OF_ROWS
from sslauth_utils.study.rows import read_rows

COLUMNS = ["experiment", "seed", "tamper", "strength", "key", "similarity"]
CODE, OTHER_CODE = "a" * 64, "b" * 64
SCORES = st.lists(st.floats(allow_nan=False), min_size=1, max_size=4)


def log(folder, fingerprint=CODE, **constant):
    return RowLog(folder, COLUMNS, fingerprint, {"experiment": "05_pruning", "seed": 0} | constant)


class Killed(Exception):
    """Stands for SIGKILL between two steps, or in the middle of one."""


def sweep(folder, scores, done, kill_at=None, fingerprint=CODE):
    """A notebook's loop; appends what it really computes to `done`."""
    rows = log(folder, fingerprint)
    for rate, values in scores.items():
        if rate == kill_at:
            raise Killed
        if rows.has(f"pruning {rate}"):
            continue
        done.append(rate)
        rows.add(
            f"pruning {rate}",
            [
                {"tamper": "pruning", "strength": rate, "key": key, "similarity": value}
                for key, value in enumerate(values)
            ],
        )
    return rows.finish()


@given(scores=st.lists(SCORES, min_size=1, max_size=6), data=st.data())
@settings(max_examples=25, deadline=None)
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path_factory, scores, data):
    scores = {float(index) / 10: values for index, values in enumerate(scores)}
    kill_at = data.draw(st.sampled_from(sorted(scores)))
    whole, broken, computed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken"), []
    expected = sweep(whole, scores, []).read_bytes()
    with pytest.raises(Killed):
        sweep(broken, scores, computed, kill_at)
    assert not (broken / "rows.csv").exists(), "half a sweep is no result"
    assert sweep(broken, scores, computed).read_bytes() == expected
    assert computed == sorted(scores), "every step was computed once, over both runs"


def test_rows_are_one_line_each_with_the_shared_values(tmp_path):
    rows = log(tmp_path)
    rows.add("first", [{"tamper": "rounding", "strength": 2, "key": 0, "similarity": 0.1 + 0.2}])
    rows.add("second", [{"tamper": "", "strength": "", "key": -1, "similarity": 1.0, "seed": 5}])
    assert rows.finish().read_text() == (
        "experiment,seed,tamper,strength,key,similarity\n"
        "05_pruning,0,rounding,2,0,0.30000000000000004\n"
        "05_pruning,5,,,-1,1.0\n"
    )


def test_steps_stand_in_the_order_in_which_they_were_added_not_by_name(tmp_path):
    rows = log(tmp_path)
    for step in ("z", "a", "10", "9"):
        rows.add(step, [{"tamper": step}])
    assert [line.split(",")[2] for line in rows.finish().read_text().splitlines()[1:]] == ["z", "a", "10", "9"]


def test_only_the_joined_file_is_left(tmp_path):
    rows = log(tmp_path)
    rows.add("one", [{"key": 1}])
    assert [path.name for path in tmp_path.iterdir()] == ["rows.partial"]
    rows.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_other_code_or_parameters_discard_what_was_kept(tmp_path):
    scores, computed = {0.1: [0.5], 0.2: [0.25]}, []
    with pytest.raises(Killed):
        sweep(tmp_path, scores, computed, kill_at=0.2)
    sweep(tmp_path, {0.1: [0.75], 0.2: [0.25]}, computed, fingerprint=OTHER_CODE)
    assert computed == [0.1, 0.1, 0.2]
    assert [line.rsplit(",", 1)[1] for line in (tmp_path / "rows.csv").read_text().splitlines()[1:]] == ["0.75", "0.25"]
    assert not (tmp_path / "rows.partial").exists()


def test_a_step_cut_short_while_it_is_written_counts_as_not_done(tmp_path):
    def rows_until_killed():
        yield {"key": 0}
        raise Killed

    class Half(list):
        def __iter__(self):
            return rows_until_killed()

    with pytest.raises(Killed):
        log(tmp_path).add("one", Half())
    assert not log(tmp_path).has("one")
    assert not list(tmp_path.rglob("*.csv"))


def test_steps_whose_names_differ_little_are_different_steps(tmp_path):
    names = ["a b", "a_b", "a/b", "a:b", "a%20b", "A b", "../a b", "τ 1", "t 1"]
    rows = log(tmp_path)
    for name in names:
        assert not rows.has(name)
        rows.add(name, [{"tamper": name}])
    again = log(tmp_path)
    assert all(again.has(name) for name in names)
    assert again.finish().read_text() == rows.finish().read_text()
    assert [line.split(",")[2] for line in (tmp_path / "rows.csv").read_text().splitlines()[1:]] == names
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"], "a step was written outside its folder"


def test_a_reader_may_run_any_cell_twice(tmp_path):
    rows = log(tmp_path)
    for _ in range(2):
        rows.add("floor", [{"key": 1}, {"key": 2}])
        assert rows.has("floor")
        once = rows.finish().read_text()
        assert rows.finish().read_text() == once
    assert len(once.splitlines()) == 3
    rows.add("more", [{"key": 3}])
    assert len(rows.finish().read_text().splitlines()) == 4


def test_no_rows_are_a_table_with_a_heading(tmp_path):
    assert log(tmp_path).finish().read_text() == ",".join(COLUMNS) + "\n"


def test_two_logs_of_one_run_do_not_disturb_each_other(tmp_path):
    rows, measures = log(tmp_path), RowLog(tmp_path, ["tamper", "value"], CODE, {}, "measures")
    rows.add("one", [{"key": 1}])
    measures.add("one", [{"tamper": "pruning", "value": 0.5}])
    assert rows.finish().name == "rows.csv"
    again = RowLog(tmp_path, ["tamper", "value"], CODE, {}, "measures")
    assert again.has("one") and not again.has("two"), "finishing the one keeps the steps of the other"
    assert again.finish().read_text() == "tamper,value\npruning,0.5\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["measures.csv", "rows.csv"]


def test_a_notebooks_rows_and_measures_are_two_files_with_what_it_always_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLAUTH_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("SSLAUTH_FINGERPRINT", CODE)
    run = Run("05_pruning", {"scenario": "cifar10", "seed": 3})
    measured = {"quantity": "accuracy", "value": 0.25, "n": 80}
    for table, line in (
        (run.rows(keys="ood"), {"key": 0, "similarity": 0.5}),
        (run.measures(tamper="pruning"), measured),
    ):
        table.add("step", [line])
        table.finish()
    assert (tmp_path / "rows.csv").read_text().splitlines() == [
        ",".join(COLUMNS_OF_ROWS), "05_pruning,cifar10,3,ood,,,,0,0.5"
    ]  # fmt: skip
    assert (tmp_path / "measures.csv").read_text().splitlines() == [
        "experiment,scenario,seed,tamper,strength,quantity,value,n", "05_pruning,cifar10,3,pruning,,accuracy,0.25,80"
    ]  # fmt: skip


def test_a_headless_run_takes_over_what_was_kept_under_its_own_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLAUTH_RUN_DIR", str(tmp_path))
    found = []
    for fingerprint in (CODE, CODE, OTHER_CODE, CODE):
        monkeypatch.setenv("SSLAUTH_FINGERPRINT", fingerprint)
        rows = Run("05_pruning", {"scenario": "cifar10", "seed": 3}).rows()
        found.append(rows.has("step"))
        rows.add("step", [{"key": 0}])
    assert found == [False, True, False, False], "what another left is thrown away"


def test_a_run_by_hand_has_a_folder_of_its_own_and_takes_nothing_over(tmp_path, monkeypatch):
    monkeypatch.delenv("SSLAUTH_RUN_DIR", raising=False)
    monkeypatch.setattr(notebook, "RESULTS", tmp_path)
    run = Run("05_pruning", {"scenario": "cifar10", "seed": 3})
    assert run.folder == tmp_path / "by_hand" / "05_pruning" / "cifar10-s3" and not run.headless
    run.rows().add("step", [{"key": 0}])
    monkeypatch.setattr(notebook.os, "getpid", lambda: -1)
    assert not run.rows().has("step"), "a cell may have been edited since"


def test_an_unknown_column_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="similarty"):
        log(tmp_path).add("one", [{"similarty": 1.0}])


def test_a_long_table_has_one_type_a_column(tmp_path):
    """pandas would read the first pieces of such a strength as texts and the last as numbers."""
    lines = [f"{value},{nth}\n" for nth, value in enumerate(["", "a layer"] + ["0.1"] * 300_000)]
    (tmp_path / "rows.csv").write_text("strength,key\n" + "".join(lines))
    assert set(read_rows(tmp_path / "rows.csv")["strength"]) == {"", "a layer", "0.1"}
