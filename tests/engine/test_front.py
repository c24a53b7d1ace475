"""The front door: options, list, help; everything before the environment."""

import os
import subprocess

import pytest

from sslauth_utils.base.errors import UserError
from sslauth_utils.engine import front
from sslauth_utils.report.terminal import claims_table


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--profile", "huge"], "there is no profile 'huge'; choose one of demo"),
        (["--only", "07_imitation"], "there is no notebook '07_imitation'; there are a_make, b_fill, z_summary"),
        (["--only", "a_make,"], "there is no notebook ''"),
        (["--fast"], "unrecognized arguments: --fast"),
        (["demo"], "unrecognized arguments: demo"),
        (["--prof", "demo"], "unrecognized arguments: --prof demo"),
        (["--jobs", "0"], "must be a whole number from 1 on, not '0'"),
        (["--jobs", "two"], "must be a whole number from 1 on, not 'two'"),
        (["--only"], "expected one argument"),
        (["--figures-only", "--fresh"], "do not go with it"),
        (["--figures-only", "--only", "a"], "do not go with it"),
        (["--figures-only", "--", "--dryrun"], "do not go with it"),
        (["--claims", "--fresh"], "of the other options only --profile goes with it"),
    ],
)
def test_senseless_options_are_told_in_one_sentence_before_the_environment(project, arguments, sentence):
    answer = subprocess.run(
        [project.root / "run_all.sh", *arguments],
        env={name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 2
    assert sentence in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert answer.stdout == ""
    assert not (project.root / ".venv").exists()


def test_claims_of_a_profile_that_was_not_run_are_told(project):
    answer = subprocess.run([project.root / "run_all.sh", "--claims"], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.strip() == (
        "Profile demo has no table of claims yet; ./run_all.sh --profile demo makes it.")  # fmt: skip


def test_help_and_list_need_no_environment(project):
    bare = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}

    def answer(script, option):
        command = [project.root / script, option]
        return subprocess.run(command, env=bare, capture_output=True, text=True, check=True).stdout

    told = answer("run_all.sh", "--help")
    for option in ("--profile", "--only", "--jobs", "--figures-only", "--dry-run", "--list", "--fresh", "--help"):
        assert option in told
    lines = [line.split() for line in answer("run_all.sh", "--list").splitlines()]
    assert ["a_make", "Toy"] in lines
    assert ["needs", "a_make"] in lines
    assert ["demo", "Toy", "profile"] in lines
    assert "usage: run_tests.sh" in answer("run_tests.sh", "-h")
    assert not (project.root / ".venv").exists()


def test_it_works_from_another_folder(project, tmp_path):
    listed = subprocess.run(
        [project.root / "run_all.sh", "--list"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "a_make" in listed.stdout


def test_no_python_is_told_in_one_sentence(project, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "env", "dirname"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    old = tools / "python3"
    old.write_text("#!/bin/bash\nexit 1\n")  # what an interpreter older than 3.11 answers
    old.chmod(0o755)
    answer = subprocess.run(
        [project.root / "run_all.sh"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("No Python 3.11 or newer was found; install one")
    assert len(answer.stderr.splitlines()) == 1


def test_number_and_full_name_mean_the_same_notebook(monkeypatch):
    monkeypatch.setattr(front, "notebooks", lambda: ["05_pruning", "08_precision_loss"])
    monkeypatch.setattr(front, "profiles", lambda: ["demo"])
    assert front.parse(["--only", "05,08_precision_loss"]).only == ["05_pruning", "08_precision_loss"]
    assert front.parse(["--only", "05_pruning"]).only == ["05_pruning"]
    assert front.parse(["--jobs", "3", "--", "--executor", "slurm", "--jobs", "9"]).snakemake == [
        "--executor", "slurm", "--jobs", "9",
    ]  # fmt: skip


def test_profiles_come_by_size(monkeypatch, tmp_path):
    monkeypatch.setattr(front, "CONFIG", tmp_path)
    for name in ("paper", "demo", "mine", "smoke", "claims/sslauth"):
        (tmp_path / f"{name}.yaml").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").touch()
    assert front.profiles() == ["smoke", "demo", "paper", "mine"]


HEAD = "id,source,quantity,paper,measured,low,high,n,verdict\n"


def test_claims_table_fits_the_width_and_loses_no_word(tmp_path):
    path = tmp_path / "summary.csv"
    said = "the tau of 0.995 lies above every honest change of every encoder that was ever enrolled by anybody"
    path.write_text(
        HEAD
        + 'fig5-order,"Fig. 5, §5.3",words,99.997,99.99731,99.12354,100.0,200,reproduced\n'
        + f"table3,Table 3,words,{said},12.3456,,,2000.0,not tested at this size\n"
    )
    table = claims_table(path, 100)
    assert max(map(len, table.splitlines())) <= 100
    for word in (*said.split(), "fig5-order", "99.997", "99.9973", "[99.1235,", "100]", "200", "12.35", "2000", "size"):
        assert word in table.split()


def test_claims_table_without_a_column_is_an_error(tmp_path):
    path = tmp_path / "summary.csv"
    path.write_text("id,source\nP1,Fig. 5\n")
    with pytest.raises(UserError, match=r"lacks the column 'quantity'"):
        claims_table(path)
