"""A notebook's parameters: read from its tagged cell, and checked before anything runs.

papermill only warns about an unknown parameter and never looks at types; here
both stop the run.
"""

import ast
from pathlib import Path
from typing import Any

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.notebooks import cell_source, read_notebook

TAG = "parameters"


def defaults(notebook: Path) -> dict[str, Any]:
    """Names and default values of the notebook's parameters.

    Raises:
        UserError: not exactly one cell is tagged ``parameters``, or it holds anything but ``name = literal``.
    """
    cells = [cell for cell in read_notebook(notebook)["cells"] if TAG in cell.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise UserError(f"{notebook} has {len(cells)} cells tagged {TAG!r}; it must have exactly one.")
    values: dict[str, Any] = {}
    try:
        for statement in ast.parse(cell_source(cells[0])).body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target, value = statement.targets[0], statement.value
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                target, value = statement.target, statement.value
            else:
                raise ValueError(f"line {statement.lineno} is not an assignment")
            if not isinstance(target, ast.Name):
                raise ValueError(f"line {statement.lineno} does not assign to a plain name")
            values[target.id] = ast.literal_eval(value)
    except (SyntaxError, ValueError) as error:
        raise UserError(
            f"{notebook}: its parameters cell must hold lines of the form name = literal only ({error})."
        ) from error
    return values


def check(given: dict[str, Any], notebook: Path, where: str) -> dict[str, Any]:
    """All parameters with which `notebook` will run: its defaults with `given` put over them.

    A whole number given for a fraction becomes one. A list's entries are compared with the
    default's first entry. A default of None takes any value. A list that came as text, as papermill's
    ``-p`` passes it, is told how to write it.

    Args:
        where: the source of the values, for the message.

    Raises:
        UserError: an unknown name, or a value of another type than the notebook's default.
    """
    known = defaults(notebook)
    for name in given:
        if name not in known:
            raise UserError(
                f"{where}: notebook {notebook.stem} has no parameter {name!r}; it has {', '.join(known) or 'none'}."
            )
    return {**known, **{name: _checked(value, known[name], name, notebook, where) for name, value in given.items()}}


def _checked(value: Any, default: Any, name: str, notebook: Path, where: str) -> Any:
    if default is None:
        return value
    if type(default) is float and type(value) is int:
        return float(value)
    if isinstance(default, list | tuple) and isinstance(value, list | tuple):
        return [
            _checked(entry, default[0], f"{name}[{i}]", notebook, where) if default else entry
            for i, entry in enumerate(value)
        ]
    if type(value) is not type(default):
        hint = ""
        if isinstance(value, str) and type(default) is float:
            hint = " (YAML reads 1e-3 as text: write 1.0e-3)"
        if isinstance(default, list) and isinstance(value, str) and value.startswith("["):
            hint = f'; papermill\'s -p passes a list as text: write -y "{name}: {value}"'
        raise UserError(
            f"{where}: parameter {name!r} of {notebook.stem} is {value!r} ({type(value).__name__}), "
            f"but must be a {type(default).__name__} like the notebook's {default!r}{hint}."
        )
    return value
