"""Where things lie. Every path of the suite is built from here."""

import os
from collections.abc import Callable
from pathlib import Path

from sslauth_utils.base.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
NOTEBOOKS = ROOT / "notebooks"
RESULTS = ROOT / "results"
FIGURES = ROOT / "figures"
DATA = ROOT / "data"
CACHE = DATA / "cache"
CLAIMS = CONFIG / "claims"  # one file a paper
FINDINGS = CONFIG / "findings"
QUESTIONS = CONFIG / "questions"
STATED = CONFIG / "stated"  # the settings that it states


def user_data() -> Path | None:
    """Folder with the user's own array files: ``$SSLAUTH_DATA``, or None if unset.

    A relative path is taken from the project's root, because notebooks run in
    a folder of their own.

    Raises:
        UserError: the variable names something that is not a folder.
    """
    value = os.environ.get("SSLAUTH_DATA")
    if not value:
        return None
    try:
        folder = at_home(value)
    except UserError as error:
        raise UserError(f"SSLAUTH_DATA: {error}") from error
    folder = folder if folder.is_absolute() else ROOT / folder
    if not is_folder(folder):
        raise UserError(
            f"SSLAUTH_DATA names {folder}, which is not a folder; "
            "set it to the folder that holds the array files, or unset it."
        )
    return folder.resolve()


def at_home(path: Path | str) -> Path:
    """The path, with its leading ``~`` or ``~name`` as that user's folder.

    Raises:
        UserError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path} begins with a user who is not known here; write the path in full.") from error


def is_folder(path: Path) -> bool:
    """Whether a folder lies there.

    Raises:
        UserError: that cannot be seen: a folder on the way may not be entered, or the name is too long.
    """
    return _look(path, Path.is_dir)


def is_file(path: Path) -> bool:
    """Whether a file lies there; links are followed.

    Raises:
        UserError: as `is_folder`.
    """
    return _look(path, Path.is_file)


def _look(path: Path, asked: Callable[[Path], bool]) -> bool:
    try:
        return asked(path)
    except OSError as error:
        raise UserError(f"Cannot look at {path} ({error.strerror}); see to the path and its permissions.") from error


def readable(path: Path) -> str:
    """The path as text that every file can hold: bytes of its name that are no UTF-8 as escapes."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
