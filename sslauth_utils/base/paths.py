"""Where things lie. Every path of the suite is built from here."""

import os
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
    folder = Path(value).expanduser()
    folder = folder if folder.is_absolute() else ROOT / folder
    if not folder.is_dir():
        raise UserError(
            f"SSLAUTH_DATA names {folder}, which is not a folder; "
            "set it to the folder that holds the array files, or unset it."
        )
    return folder.resolve()
