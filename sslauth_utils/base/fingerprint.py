"""Fingerprints of meaning: has anything changed that a result depends on?

A result depends on the modules that make it and on those that they import. What counts of a module
is what it does: its syntax tree without docstrings, comments, type hints, layout, and the words
of its error messages. So explaining code better never costs a training run. Standard library only.
"""

import ast
import contextlib
import functools
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import write_json
from sslauth_utils.base.notebooks import check_cells, code_of, python_of, read_notebook
from sslauth_utils.base.paths import CACHE, ROOT

PACKAGE = "sslauth_utils"
#: rooms that only show what others made: no rows and no artifact depend on them
SHOWING = ("claims", "report", "engine")
#: modules whose whole effect is on names, places, messages and values; the values are hashed themselves
PLUMBING = frozenset(
    f"{PACKAGE}/{name}.py"
    for name in (
        "base/checks", "base/errors", "base/files", "base/fingerprint", "base/leash", "base/notebooks", "base/paths",
        "images/cache", "images/identity", "study/parameters", "study/profiles", "study/runs", "study/store",
    )
)  # fmt: skip
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

#: a module's path from the root to the hash of its meaning
Meanings = dict[str, str]


def meanings(modules: Iterable[str], root: Path = ROOT) -> Meanings:
    """What `modules` (dotted names) and all modules that they import mean, plumbing left out.

    Raises:
        UserError: a module does not exist or is not valid Python.
    """
    waiting = [_existing(name, f"The code that asks for {name}", root) for name in modules]
    return _reachable(waiting, root, leave_out=())


def notebook_meanings(path: Path, root: Path = ROOT, everything: bool = False) -> Meanings:
    """What the rows of the notebook at `path` depend on: its code cells and the modules that these import.

    Args:
        everything: also the rooms that only show (`SHOWING`), for a notebook that draws.

    Raises:
        UserError: it is no notebook, its code is not valid Python, or it imports a module that does not exist.
    """
    notebook = read_notebook(path)
    try:
        meaning, imported = _memory(root).understood(code_of(notebook), path)
    except UserError:
        check_cells(notebook, path)  # it knows in which cell the fault lies
        raise
    waiting = [_existing(name, str(path), root) for name in imported]
    own = {path.relative_to(root).as_posix(): meaning}
    return own | _reachable(waiting, root, leave_out=() if everything else SHOWING)


def combined(found: Mapping[str, str]) -> str:
    """One SHA-256 of several meanings, names included."""
    text = json.dumps(dict(sorted(found.items())), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _reachable(waiting: list[str], root: Path, leave_out: tuple[str, ...]) -> Meanings:
    found: Meanings = {}
    skipped = tuple(f"{PACKAGE}/{room}/" for room in leave_out)
    seen: set[str] = set()
    memory = _memory(root)
    while waiting:
        path = waiting.pop()
        if path in seen or path.startswith(skipped):
            continue
        seen.add(path)
        meaning, imported = memory.understood((root / path).read_text(encoding="utf-8"), root / path)
        waiting += [_existing(name, path, root) for name in imported]
        if path not in PLUMBING:
            found[path] = meaning
    memory.keep()
    return dict(sorted(found.items()))


def _existing(name: str, where: str, root: Path) -> str:
    """The file of the module called `name`, from the root."""
    path = f"{name.replace('.', '/')}.py"
    if not (root / path).is_file():
        raise UserError(f"{where} imports {name}, but there is no such module; correct the import.")
    return path


# --- what one text means ------------------------------------------------------------------------------------------


def _understand(code: str, where: Path, root: Path) -> tuple[str, list[tuple[str, str]]]:
    try:
        tree = _Bare().visit(ast.parse(python_of(code) if where.suffix == ".ipynb" else code))
    except SyntaxError as error:
        raise UserError(f"{where} is not valid Python (line {error.lineno}: {error.msg}); correct it.") from error
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    tree = _Imports(used).visit(tree)
    package = list(where.relative_to(root).parts[:-1])
    imported = sorted({pair for node in ast.walk(tree) for pair in _imports_of(node, package)})
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


class _Bare(ast.NodeTransformer):
    """Takes off what explains and does nothing: docstrings, type hints, the words of errors."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        for hint in ("annotation", "returns"):
            if hasattr(node, hint):
                setattr(node, hint, None)
        return node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """``if TYPE_CHECKING:`` never runs."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse:
            return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Which error and when counts; what it says does not."""
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)


class _Imports(ast.NodeTransformer):
    """Takes off imported names that nothing is left to use: those of type hints, say."""

    def __init__(self, used: set[str]):
        self.used = used

    def _kept(self, node: ast.Import | ast.ImportFrom) -> ast.AST | None:
        node.names = [
            name for name in node.names if name.name == "*" or (name.asname or name.name.split(".")[0]) in self.used
        ]
        return node if node.names else None

    visit_Import = visit_ImportFrom = _kept


def _imports_of(node: ast.AST, package: list[str]) -> list[tuple[str, str]]:
    """What the statement `node` imports from this package: (module, "") or (module or room, name)."""
    if isinstance(node, ast.Import):
        pairs = [(alias.name, "") for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *filter(None, [node.module])])
        pairs = [(base, alias.name) for alias in node.names]
    else:
        return []
    return [pair for pair in pairs if pair[0].split(".")[0] == PACKAGE]


def _module_of(base: str, name: str, root: Path) -> str:
    """The module that an import is of, as a dotted name; of a room each name is a module."""
    room = root.joinpath(*base.split("."), "__init__.py").is_file()
    return f"{base}.{name}" if name and room else base


# --- remembered between runs --------------------------------------------------------------------------------------


class _Memory:
    """What texts were found to mean, by their hash; kept in a file, because parsing all of them takes half a second.

    The file belongs to this very code and this Python. One that cannot be read or written costs that half second.
    """

    def __init__(self, root: Path):
        self.root, self.new = root, False
        own = hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).hexdigest()[:12]
        self.path = root / CACHE.relative_to(ROOT) / f"meanings-{own}.json"
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self.known = {key: (meaning, imported) for key, (meaning, imported) in content.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self.known = {}

    def understood(self, code: str, where: Path) -> tuple[str, list[str]]:
        """The hash of what `code`, the text of file `where`, means and the modules that it imports."""
        key = hashlib.sha256(f"{where.relative_to(self.root).parent}\0{code}".encode()).hexdigest()[:32]
        if key not in self.known:
            self.known[key] = _understand(code, where, self.root)
            self.new = True
        meaning, imported = self.known[key]
        # what is a room may have changed since
        return meaning, sorted({_module_of(base, name, self.root) for base, name in imported})

    def keep(self) -> None:
        if self.new:
            with contextlib.suppress(UserError):
                write_json(self.path, self.known)
            self.new = False


_memory = functools.cache(_Memory)
