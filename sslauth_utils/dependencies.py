"""Which helper files a notebook depends on: everything under ``sslauth_utils`` that it imports, and what that imports.

Snakemake does not look into imports, so each rule lists these files as inputs:
changing a helper re-runs the notebooks that use it, and no others.
"""

import ast
import json
from pathlib import Path

from sslauth_utils.errors import UserError
from sslauth_utils.paths import ROOT

PACKAGE = "sslauth_utils"


def helper_files(notebook: Path, root: Path = ROOT) -> list[Path]:
    """All helper files that `notebook` uses, directly or not, sorted.

    Raises:
        UserError: a code cell or a helper is not valid Python, or imports a helper that does not exist.
    """
    return imported_files(_code(notebook), notebook, root)


def imported_files(code: str, where: Path, root: Path = ROOT) -> list[Path]:
    """All helper files that `code` imports, directly or not, sorted; `where` names it in errors.

    Raises:
        UserError: the code or a helper is not valid Python, or imports a helper that does not exist.
    """
    found: set[Path] = set()
    waiting = _imported(code, package=None, where=where, root=root)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            parts = path.relative_to(root).with_suffix("").parts
            waiting |= _imported(path.read_text(encoding="utf-8"), ".".join(parts[:-1]), path, root)
    return sorted(found)


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


def _code(notebook: Path) -> str:
    """The notebook's code without IPython's own lines (``%magic``, ``!command``)."""
    cells = (cell_source(cell) for cell in read_notebook(notebook)["cells"] if cell.get("cell_type") == "code")
    lines = (line for cell in cells for line in cell.splitlines())
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def _imported(code: str, package: str | None, where: Path, root: Path) -> set[Path]:
    """Helper files that `code` imports; `package` is what its relative imports start from."""
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        raise UserError(f"{where} is not valid Python (line {error.lineno}: {error.msg}); correct it.") from error
    files: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                files |= _module_files(alias.name, where, root)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".") if package else []
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            files |= _module_files(base, where, root)
            for alias in node.names:  # each name may be a module of its own
                files |= _module_files(f"{base}.{alias.name}", where, root, name_of=base)
    return files


def _module_files(name: str, where: Path, root: Path, name_of: str | None = None) -> set[Path]:
    """Files that importing module `name` runs: its own and those of the packages around it.

    With `name_of`, `name` may also be a plain name inside module `name_of`: no file then.
    """
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return set()
    around = {root.joinpath(*parts[:count], "__init__.py") for count in range(1, len(parts) + 1)}
    files = {path for path in around if path.is_file()}
    module = root.joinpath(*parts).with_suffix(".py")
    if module.is_file():
        files.add(module)
    elif name_of is None and not root.joinpath(*parts).is_dir():
        raise UserError(f"{where} imports {name}, but there is no such module; correct the import.")
    return files
