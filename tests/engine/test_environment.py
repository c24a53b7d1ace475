"""The environment: made from the lock, completed, used if it is the user's; and no drift between its three files."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml
from packaging.requirements import Requirement
from toy_project import ROOT

from sslauth_utils.base.errors import UserError
from sslauth_utils.engine import environment


def test_lock_has_every_direct_dependency_in_a_version_that_pyproject_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {}
    for name, version, _marker in environment.pinned():
        pinned.setdefault(name, []).append(version)
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]  # a cluster's executor is not locked
    for requirement in map(Requirement, wanted):
        versions = pinned.get(environment.normal(requirement.name), [])
        assert versions, f"{requirement.name} is not in requirements.lock"
        assert all(version in requirement.specifier for version in versions)


def test_lock_is_hashed_and_names_no_host_and_no_path():
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert " @ " not in text


def test_conda_environment_is_the_lock_with_the_same_python():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert {"pip": ["-r requirements.lock"]} in conda
    [python] = [entry for entry in conda if isinstance(entry, str) and entry.startswith("python=")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert python == "python=" + project["requires-python"].removeprefix(">=")
    assert set(map(str, conda)) - {python, "pip"} == {str({"pip": ["-r requirements.lock"]})}, "no pin beside the lock"


def test_installed_versions_are_read_from_the_lock(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:00\nPyYAML==6.0.3 \\\n    --hash=sha256:00\n"
    )
    assert environment.pinned(lock) == [("numpy", "2.4.6", "python_full_version < '3.12'"), ("pyyaml", "6.0.3", "")]


def test_differences_are_named(monkeypatch):
    monkeypatch.setattr(environment, "pinned", lambda: [("numpy", "0.0.1", ""), ("scipy", "0.1", "python_version<'3'")])
    assert re.fullmatch(r"1 of its versions differ.*: numpy \S+ \(lock 0\.0\.1\)\.", environment.differences())


def test_missing_package_in_the_users_environment_is_named(monkeypatch):
    monkeypatch.setattr(environment, "direct_dependencies", lambda extra: ["numpy", "never-made"])
    with pytest.raises(UserError, match=r"lacks never-made; install them"):
        environment.differences()


@pytest.mark.parametrize(
    ("variables", "used"),
    [
        ({}, False),
        ({"VIRTUAL_ENV": "own"}, True),
        ({"VIRTUAL_ENV": "gone"}, False),
        ({"CONDA_PREFIX": "own", "CONDA_DEFAULT_ENV": "base"}, False),
        ({"CONDA_PREFIX": "own", "CONDA_DEFAULT_ENV": "sslauth"}, True),
    ],
)
def test_which_environment_counts_as_activated(variables, used, monkeypatch, tmp_path):
    (tmp_path / "own/bin").mkdir(parents=True)
    (tmp_path / "own/bin/python").touch()
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value) if name != "CONDA_DEFAULT_ENV" else value)
    assert environment.user_environment() == (tmp_path / "own" if used else None)


def test_activated_environment_without_the_packages_stops_with_a_sentence(project, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    answer = project.run_all("--dry-run", VIRTUAL_ENV=str(bare))
    assert answer.returncode == 1
    assert f"The activated environment {bare} lacks " in answer.stderr
    assert "snakemake" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert not (project.root / ".venv").exists()


def test_the_users_python_variables_do_not_reach_our_processes(monkeypatch):
    monkeypatch.setattr(os, "environ", {
        "PATH": "/bin", "PYTHONPATH": "/other", "PYTHONSTARTUP": "/s.py", "PYTHONOPTIMIZE": "2", "PYTHONHOME": "/gone",
        "PYTHONIOENCODING": "latin1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHON_KEYRING_BACKEND": "mine",
        "SNAKEMAKE_PROFILE": "slurm", "GIT_DIR": "/dotfiles", "XDG_CACHE_HOME": "/tmp", "LOGNAME": "me",
    })  # fmt: skip
    assert environment.clean_variables() == {
        "PATH": "/bin", "PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHON_KEYRING_BACKEND": "mine", "XDG_CACHE_HOME": "/tmp", "LOGNAME": "me",
    }  # fmt: skip


@pytest.mark.parametrize("home", ["/proc/nowhere", None], ids=["cannot be written", "no account"])
def test_an_account_without_a_home_gets_a_cache_and_a_name(home, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", home) if home else path)

    def no_account():
        raise OSError("No username set in the environment")

    monkeypatch.setattr(environment.getpass, "getuser", no_account)
    variables = environment.clean_variables()
    assert variables["XDG_CACHE_HOME"] == str(ROOT / ".snakemake/cache")
    assert variables["LOGNAME"] == str(os.getuid())


@pytest.fixture
def wheels(project, tmp_path):
    """A lock of one package, which lies beside it: nothing is fetched from anywhere."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "tiny_thing-1.0-py3-none-any.whl"
    files = {
        "tiny_thing.py": "ANSWER = 42\n",
        "tiny_thing-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n",
        "tiny_thing-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},\n"
        for name, text in files.items()
    )
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, "tiny_thing-1.0.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    project.write("requirements.lock", f"tiny-thing==1.0 \\\n    --hash=sha256:{digest}\n")
    return folder


def ensure(project, folder, with_uv):
    """`environment.ensure` in a fresh process of a bare Python, with only local packages to be had."""
    kept = [part for part in os.environ["PATH"].split(os.pathsep) if with_uv or not os.path.exists(f"{part}/uv")]
    variables = {
        "PATH": os.pathsep.join(kept), "HOME": os.environ.get("HOME", "/"),
        "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull,
        "UV_OFFLINE": "1", "UV_FIND_LINKS": str(folder), "UV_NO_CONFIG": "1",
    }  # fmt: skip
    code = "from sslauth_utils.base.errors import UserError\nfrom sslauth_utils.engine import environment\n"
    code += "try:\n    print(environment.ensure())\nexcept UserError as error:\n    raise SystemExit(str(error))"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, env=variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "with_uv",
    [False, pytest.param(True, marks=pytest.mark.skipif(shutil.which("uv") is None, reason="there is no uv"))],
)
def test_environment_is_made_once_completed_and_brought_up_to_date(project, wheels, with_uv):
    made = ensure(project, wheels, with_uv)
    assert made.returncode == 0, made.stderr
    assert "Making the environment" in made.stderr
    assert ("with uv" if with_uv else "with pip") in made.stderr
    python = made.stdout.strip()
    assert python == str(project.root / ".venv/bin/python")
    code = "import tiny_thing, sslauth_utils.base.errors; print(tiny_thing.ANSWER)"
    seen = subprocess.run([python, "-c", code], cwd="/", capture_output=True, text=True, check=False)
    assert seen.stdout == "42\n", seen.stderr

    again = ensure(project, wheels, with_uv)
    assert (again.stderr, again.returncode) == ("", 0)

    marker = project.root / ".venv/made-from.json"
    marker.unlink()  # as after an interruption
    [installed] = (project.root / ".venv").rglob("tiny_thing.py")
    assert ensure(project, wheels, with_uv).returncode == 0
    assert marker.exists()

    lock = project.write("requirements.lock", (project.root / "requirements.lock").read_text() + "\n# changed\n")
    assert "Making the environment" in ensure(project, wheels, with_uv).stderr
    assert hashlib.sha256(lock.read_bytes()).hexdigest() in marker.read_text()
    assert installed.exists()


@pytest.mark.parametrize(
    "with_uv",
    [False, pytest.param(True, marks=pytest.mark.skipif(shutil.which("uv") is None, reason="there is no uv"))],
)
def test_without_a_package_index_a_sentence_says_so(project, wheels, with_uv):
    (wheels / "tiny_thing-1.0-py3-none-any.whl").unlink()
    answer = ensure(project, wheels, with_uv)
    assert answer.returncode == 1
    last = answer.stderr.strip().splitlines()[-1]
    assert last.startswith("Making the environment failed: could not install the packages;")
    assert "is there a network" in last
    assert not (project.root / ".venv/made-from.json").exists()
