"""Hashes of code: has anything changed that a result depends on?

Comments, docstrings and layout do not count, so explaining code better never
costs a training run.
"""

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

from sslauth_utils.dependencies import cell_source, helper_files, imported_files, read_notebook
from sslauth_utils.paths import NOTEBOOKS, ROOT

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def module_fingerprint(*modules: str) -> str:
    """SHA-256 of the code of these helper modules and of all helpers that they import."""
    code = "\n".join(f"import {module}" for module in modules)
    return _hash(imported_files(code, Path(__file__)), [])


def notebook_fingerprint(notebook: str) -> str:
    """SHA-256 of a notebook's code cells and of all helpers that it uses."""
    path = NOTEBOOKS / f"{notebook}.ipynb"
    cells = [cell_source(cell) for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]
    return _hash(helper_files(path), cells)


def _hash(files: list[Path], texts: list[str]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"\0{path.relative_to(ROOT).as_posix()}\0{_canonical(path.read_text(encoding='utf-8'))}".encode())
    for text in texts:
        digest.update(f"\0{text}".encode())
    return digest.hexdigest()


@lru_cache(maxsize=512)
def _canonical(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
