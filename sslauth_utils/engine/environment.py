"""The Python environment of the suite: made from ``requirements.lock``, or the user's own, checked against it.

Standard library only: this runs on a bare Python, before there is anything else.
"""

import fcntl
import getpass
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import ROOT

LOCK = ROOT / "requirements.lock"
PYPROJECT = ROOT / "pyproject.toml"
OWN = ROOT / ".venv"
MARKER = OWN / "made-from.json"  # written last: without it the environment is not complete


def ensure(extra: str | None = None) -> Path:
    """The interpreter of the environment to use, made or completed if need be.

    An environment that the user has activated is used as it is; its differences
    from the lock are printed to standard error.

    Args:
        extra: an extra of pyproject.toml whose packages are needed, too.

    Raises:
        UserError: the user's environment lacks a package, or the suite's own cannot be made.
    """
    activated = user_environment()
    if activated is None:
        return _own()
    python = activated / "bin" / "python"
    if not _runs(python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"):
        raise UserError(
            f"The activated environment {activated} has no Python of at least 3.11; deactivate it and run again."
        )
    check = subprocess.run(
        [python, "-m", "sslauth_utils.engine.environment", *([extra] if extra else [])],
        cwd=ROOT, env=clean_variables(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if check.returncode != 0:
        more = " (PYTHONPATH is not looked at.)" if os.environ.get("PYTHONPATH") else ""
        raise UserError(check.stderr.strip() + more)
    if check.stdout.strip():
        print(f"Using the activated environment {activated}. {check.stdout.strip()}", file=sys.stderr)
    return python


def user_environment() -> Path | None:
    """Folder of the environment that the user has activated, or None. Conda's base does not count."""
    for folder in (os.environ.get("VIRTUAL_ENV"), _conda_prefix()):
        if folder and Path(folder).resolve() != OWN.resolve() and (Path(folder) / "bin" / "python").exists():
            return Path(folder)
    return None


def _conda_prefix() -> str | None:
    return os.environ.get("CONDA_PREFIX") if os.environ.get("CONDA_DEFAULT_ENV", "base") != "base" else None


#: what a user's shell may set for other programs: Snakemake's own profile, and the repository that git works on
FOREIGN = ("SNAKEMAKE_PROFILE", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
HARMLESS = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


def clean_variables() -> dict[str, str]:
    """The environment variables for the suite's own processes: its helpers found, and Python as it comes.

    The user's PYTHONPATH may hold packages of another Python, PYTHONSTARTUP may change what notebooks compute,
    PYTHONOPTIMIZE takes their assertions away. Text is UTF-8, whatever the terminal's language.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in HARMLESS or not (re.fullmatch("PYTHON[A-Z0-9]*", name) or name in FOREIGN)
    }
    return {**kept, **_account(), "PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}


def _account() -> dict[str, str]:
    """What Snakemake, Matplotlib and PyTorch ask of an account, where it lacks it (in a container): a name, a cache."""
    found = {}
    try:
        getpass.getuser()
    except (KeyError, OSError):
        found["LOGNAME"] = str(os.getuid())
    own = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    try:
        if os.path.isabs(own):  # of an account without a home "~" stays as it is
            os.makedirs(own, exist_ok=True)
            with tempfile.TemporaryFile(dir=own):
                return found
    except OSError:
        pass
    return {**found, "XDG_CACHE_HOME": str(ROOT / ".snakemake" / "cache")}


def _own() -> Path:
    """Interpreter of ``.venv``, made from the lock if it is missing, unfinished or of another lock."""
    python = OWN / "bin" / "python"
    wanted = {"lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(), "root": str(ROOT)}
    if _marker() == wanted and python.exists():
        return python
    try:
        with open(ROOT / ".venv.lock", "w", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Another run is making the environment; waiting for it.", file=sys.stderr)
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _marker() != wanted or not python.exists():
                _make(python)
                MARKER.write_text(json.dumps(wanted) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"Cannot write the environment {OWN} ({error.strerror or error}); free some disk space or see to the "
            "folder's permissions, or activate an environment of your own, and run again."
        ) from error
    return python


def _marker() -> dict | None:
    try:
        return json.loads(MARKER.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _make(python: Path) -> None:
    uv = shutil.which("uv")
    print(
        f"Making the environment in {OWN} from {LOCK.name} with {'uv' if uv else 'pip'} "
        "(once; some minutes, and several GB where torch comes with CUDA).",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    MARKER.unlink(missing_ok=True)
    if not _runs(python):  # none yet, or its Python has since been removed
        if OWN.exists():
            shutil.rmtree(OWN)
        create = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
        _call([*create, str(OWN)], "create it; on Debian and Ubuntu the package python3-venv may be missing")
    if uv:
        # Compiled now, as pip does: where Python may not write bytecode, every notebook would compile PyTorch anew.
        install = [uv, "pip", "install", "--compile-bytecode", "--python", str(python)]
    else:
        if not _runs(python, "-m", "pip", "--version"):
            _call([str(python), "-m", "ensurepip"], "get pip into it; remove .venv and run again")
        install = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    _call(
        [*install, "--require-hashes", "-r", str(LOCK)],
        "install the packages; see the lines above: is there a network to the package index, and space on the disk? "
        "What was fetched is kept: run again to go on",
    )
    # As an editable install would: notebooks opened by hand find the helpers, too.
    pure = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        env=clean_variables(), capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    (Path(pure) / "sslauth_suite.pth").write_text(f"{ROOT}\n", encoding="utf-8")


def _runs(python: Path, *arguments: str) -> bool:
    if not python.exists():
        return False
    command = [python, *(arguments or ("-c", ""))]
    return subprocess.run(command, env=clean_variables(), capture_output=True, check=False).returncode == 0


def _call(command: list[str], purpose: str) -> None:
    variables = {name: value for name, value in clean_variables().items() if name != "PYTHONPATH"}
    if subprocess.run(command, env=variables, stdout=sys.stderr, check=False).returncode != 0:
        raise UserError(f"Making the environment failed: could not {purpose}.")


def pinned(lock: Path = LOCK) -> list[tuple[str, str, str]]:
    """The lock's entries: (name in normal form, version, marker or "")."""
    entry = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: ; ([^\\\n]+?))?\s*\\?$", re.MULTILINE)
    found = entry.findall(lock.read_text(encoding="utf-8"))
    return [(normal(name), version, marker) for name, version, marker in found]


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_dependencies(extra: str | None = None) -> list[str]:
    """Names of the packages that pyproject.toml asks for (with those of `extra`), in normal form."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    return [normal(re.match(r"[A-Za-z0-9._-]+", requirement)[0]) for requirement in wanted]


def differences(extra: str | None = None) -> str:
    """How this interpreter's packages differ from the lock, in one or two lines; "" if they do not.

    Only what this suite asks for directly is compared: what those pull in follows from them.

    Raises:
        UserError: a package that is needed is missing.
    """
    installed = {normal(found.metadata["Name"]): found.version for found in importlib.metadata.distributions()}
    needed = direct_dependencies(extra)
    if missing := [name for name in needed if name not in installed]:
        raise UserError(
            f"The activated environment {sys.prefix} lacks {', '.join(missing)}; install them "
            f"(pip install -r requirements.lock), or deactivate it and let {OWN.name} be made."
        )
    from packaging.markers import Marker  # is there: it is one of those needed

    other = [
        f"{name} {installed[name]} (lock {version})"
        for name, version, marker in pinned()
        if name in needed and installed[name].split("+")[0] != version and (not marker or Marker(marker).evaluate())
    ]
    return f"{len(other)} of its versions differ from requirements.lock: {', '.join(other)}." if other else ""


if __name__ == "__main__":
    try:
        print(differences(*sys.argv[1:]))
    except (UserError, ModuleNotFoundError) as problem:
        sys.exit(str(problem))
