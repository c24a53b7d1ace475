"""Notebooks as files: their cells, without running them. Standard library only."""

import ast
import json
import re
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


#: between two cells of `code_of`
_CELL = "\n#\f\n"


def code_of(notebook: dict) -> str:
    """The code of all code cells, as IPython reads it."""
    return _CELL.join(_code_cells(notebook))


def python_of(code: str) -> str:
    """What `code_of` gives as Python, what only IPython reads (``%magic``, ``!command``, ``name?``) left out."""
    return "\n".join(_python_of(cell) for cell in code.split(_CELL))


def check_cells(notebook: dict, where: Path) -> None:
    """See that every code cell is Python, as `python_of` leaves it.

    Raises:
        UserError: one is not; it says which, and where.
    """
    for number, cell in enumerate(_code_cells(notebook), 1):
        try:
            ast.parse(_python_of(cell))
        except SyntaxError as error:
            place = f"line {error.lineno} of code cell {number}"
            raise UserError(f"{where} is not valid Python ({place}: {error.msg}); correct it.") from error


#: cell magics behind which Python follows
_PYTHON_FOLLOWS = ("%%time", "%%timeit", "%%capture", "%%prun")
#: what ``x = !command`` and ``x = %magic`` begin with
_ASSIGNED = re.compile(r"^(\s*[\w., \[\]'\"]+=)\s*[!%].*$")


def _code_cells(notebook: dict) -> list[str]:
    return [cell_source(cell) for cell in notebook["cells"] if cell.get("cell_type") == "code"]


def _python_of(cell: str) -> str:
    lines = cell.splitlines()
    plain = [_python_line(line) for line in lines]
    if plain == lines or _is_python(cell):  # a string may hold such lines, too
        return cell
    first = next(line.split()[0] for line in lines if line.strip())
    if first.startswith("%%") and first not in _PYTHON_FOLLOWS:
        return ""
    return "\n".join(plain)


def _is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


def _python_line(line: str) -> str:
    bare = line.strip()
    if bare.startswith(("%", "!", "?")) or (bare.endswith("?") and "#" not in bare):
        return line[: len(line) - len(line.lstrip())] + "pass"
    return _ASSIGNED.sub(r"\1 None", line)
