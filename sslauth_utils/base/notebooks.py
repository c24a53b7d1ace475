"""Notebooks as files: their cells, without running them. Standard library only."""

import json
from pathlib import Path

from sslauth_utils.base.errors import UserError


def read_notebook(path: Path) -> dict:
    """The notebook as nested dictionaries.

    Raises:
        UserError: the file is missing or is not a notebook.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"There is no notebook {path}.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not readable as a notebook ({error}); restore it, from git for example.") from error
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise UserError(f"{path} is not a notebook: it has no list of cells; restore it, from git for example.")
    return content


def cell_source(cell: dict) -> str:
    """A cell's text; the format allows one string or a list of lines."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def code_of(notebook: dict) -> str:
    """The code of all code cells, without IPython's own lines (``%magic``, ``!command``)."""
    cells = (cell_source(cell) for cell in notebook["cells"] if cell.get("cell_type") == "code")
    lines = (line for cell in cells for line in cell.splitlines())
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
