"""The front door: options, list, help; everything before the environment."""

import os
import subprocess
import sys

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


def test_what_editors_leave_beside_profiles_is_none(project):
    (project.root / "config/.#demo.yaml").symlink_to("user@host.1")
    project.write("config/.demo.yaml", "half written")
    project.write("notebooks/._a_make.ipynb", "macOS")
    listed = project.run_all("--list")
    assert listed.returncode == 0 and listed.stderr == ""
    assert [line.split()[0] for line in listed.stdout.splitlines()[-2:]] == ["Profiles:", "demo"]


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf# mine: Small\r\n", b"# mine: Small\n# Gr\xfc\xdfe\n"])
def test_a_profile_s_purpose_whatever_the_editor_wrote(project, content):
    (project.root / "config/mine.yaml").write_bytes(content)
    listed = project.run_all("--list")
    assert listed.stdout.splitlines()[-1].split()[:2] == ["mine", "Small"]


@pytest.mark.parametrize("name", ["mini (copy)", "mini copy", "-mini", "{mini}"])
def test_a_profile_whose_name_can_be_no_folder_s_is_refused(project, name):
    project.write(f"config/{name}.yaml", "")
    answer = project.run_all(f"--profile={name}")
    assert answer.returncode == 2 and len(answer.stderr.splitlines()) == 1
    assert f"the name of config/{name}.yaml is {name!r}, but must be of letters, digits," in answer.stderr


def test_a_number_that_two_notebooks_have_is_told(monkeypatch, capsys):
    monkeypatch.setattr(front, "notebooks", lambda: ["05_pruning", "05_pruning-Copy1"])
    assert front.parse(["--only", "05_pruning"]).only == ["05_pruning"]
    with pytest.raises(SystemExit):
        front.parse(["--only", "05"])
    assert "'05' may be 05_pruning or 05_pruning-Copy1; give the whole name" in capsys.readouterr().err


def test_the_list_in_strange_surroundings(project, tmp_path):
    """Packages and a home of another Python, a terminal that knows ASCII only, a CDPATH, sh instead of bash."""
    for module in ("argparse", "yaml", "enum"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('of another Python')")
    project.write("config/mine.yaml", "# mine: a \u2013 b.\n")
    (tmp_path / "other" / project.root.name / ".ci").mkdir(parents=True)
    strange = project.variables(
        PYTHONPATH=str(tmp_path), PYTHONHOME="/nowhere", PYTHONIOENCODING="ascii", CDPATH=str(tmp_path / "other")
    )
    for command in (["bash", f"{project.root.name}/run_all.sh"], ["sh", project.root / "run_all.sh"]):
        answer = subprocess.run(
            [*command, "--list"], cwd=project.root.parent, env=strange, capture_output=True, text=True, check=False
        )
        assert (answer.returncode, answer.stderr) == (0, "")
        assert answer.stdout.startswith("Notebooks:") and "a \u2013 b" in answer.stdout


def test_a_terminal_without_the_sign_gets_another(project):
    project.write("config/mine.yaml", "# mine: a \u2013 b.\n")
    answer = subprocess.run(
        [sys.executable, "-m", "sslauth_utils.engine.front", "--list"], cwd=project.root,
        env=project.variables(PYTHONIOENCODING="latin1"), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "a ? b" in answer.stdout


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


HEAD = "id,source,quantity,paper,measured,low,high,n,verdict,cuts\n"


def test_claims_table_fits_the_width_and_loses_no_word(tmp_path):
    path = tmp_path / "summary.csv"
    said = "the tau of 0.995 lies above every honest change of every encoder that was ever enrolled by anybody"
    path.write_text(
        HEAD
        + 'fig5-order,"Fig. 5, §5.3",words,99.997,99.99731,99.12354,100.0,200,reproduced,one; another\n'
        + f"table3,Table 3,words,{said},12.3456,,,2000.0,not tested at this size,\n"
    )
    table = claims_table(path, 100)
    assert max(map(len, table.splitlines())) <= 100
    for word in (*said.split(), "fig5-order", "99.997", "99.9973", "[99.1235,", "100]", "200", "12.35", "2000", "size"):
        assert word in table.split()
    [line] = [line for line in table.splitlines() if line.startswith("fig5-order")]
    assert line.split()[-2:] == ["reproduced", "2"] and table.splitlines()[0].split()[-1] == "cut"
    assert table.split()[-1] == "size", "none cut"


def test_claims_table_without_a_column_is_an_error(tmp_path):
    path = tmp_path / "summary.csv"
    path.write_text("id,source\nP1,Fig. 5\n")
    with pytest.raises(UserError, match=r"lacks the column 'quantity'"):
        claims_table(path)
