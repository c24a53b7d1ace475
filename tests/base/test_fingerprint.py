"""Fingerprints of meaning: words, hints and layout do not count, everything that runs does; and nothing stale."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sslauth_utils.base import fingerprint
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.fingerprint import PLUMBING, SHOWING, combined, meanings, notebook_meanings
from sslauth_utils.base.paths import NOTEBOOKS, ROOT

SHAPES = '''"""Areas."""

from dataclasses import dataclass

from sslauth_utils.units import FACTOR
from sslauth_utils.words import advice


@dataclass
class Square:
    """A square."""

    side: int = 3
    colour: str


def area(side: int) -> float:
    """Area of a square."""
    if side < 0:
        raise ValueError(f"A side is not {side}. " + advice())
    assert side == side, "not a number"
    unit: int = FACTOR
    return unit * side * side  # square


async def later(side) -> float:
    """The same, later."""
    return area(side)
'''
CELLS = ["from sslauth_utils.shapes import area\n", "%matplotlib inline\narea(3)\n"]


class Package:
    """A small package and a notebook, in a folder of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("sslauth_utils/__init__.py", "")
        self.write("sslauth_utils/shapes.py", SHAPES)
        self.write("sslauth_utils/units.py", "FACTOR = 2\n")
        self.write("sslauth_utils/words.py", "def advice():\n    return 'Take another.'\n")
        self.write("sslauth_utils/unused.py", "SPEED = 1\n")
        self.cells(*CELLS)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def cells(self, *code: str, prose: str = "# Toy") -> None:
        cells = [{"cell_type": "code", "source": cell, "outputs": []} for cell in code]
        self.write("toy.ipynb", json.dumps({"cells": [{"cell_type": "markdown", "source": prose}, *cells]}))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text(encoding="utf-8")
        assert text.count(old) == 1
        self.write(path, text.replace(old, new))

    def module(self, name: str = "sslauth_utils.shapes") -> str:
        return combined(meanings([name], self.root))

    def notebook(self, everything: bool = False) -> str:
        return combined(notebook_meanings(self.root / "toy.ipynb", self.root, everything))

    def both(self) -> tuple[str, str]:
        """The fingerprints of the module and of the notebook, as a new process finds them."""
        fingerprint._memory.cache_clear()
        return self.module(), self.notebook()


@pytest.fixture
def package(tmp_path):
    yield Package(tmp_path)
    fingerprint._memory.cache_clear()


WORDS = {
    "module docstring": ("shapes", '"""Areas."""', '"""Areas of squares."""'),
    "class docstring": ("shapes", '"""A square."""', '"""A square, of side 3."""'),
    "function docstring": ("shapes", '"""Area of a square."""', "'''Its area, in square metres.'''"),
    "docstring removed": ("shapes", '    """Area of a square."""\n', ""),
    "async docstring": ("shapes", '"""The same, later."""', '"""The same, but later."""'),
    "comment": ("shapes", "# square", "# eq. 1"),
    "blank lines": ("shapes", "\n\n\ndef area", "\n\n\n\n\ndef area"),
    "brackets": ("shapes", "unit * side * side", "((unit * side) * side)"),
    "comment in what is imported": ("units", "2", "2  # two"),
    "hint of an argument": ("shapes", "side: int)", "side: float)"),
    "hint of an argument removed": ("shapes", "area(side: int)", "area(side)"),
    "hint of what comes back": ("shapes", "async def later(side) -> float", "async def later(side) -> int"),
    "hint of a variable": ("shapes", "unit: int = FACTOR", "unit: float = FACTOR"),
    "hint of a field": ("shapes", "side: int = 3", "side: float = 3"),
    "import for hints alone": (
        "shapes",
        "import dataclass\n\nfrom sslauth_utils.units import FACTOR\nfrom sslauth_utils.words import advice\n\n\n"
        "@dataclass\nclass Square:\n",
        "import dataclass\nfrom pathlib import Path\n\nfrom sslauth_utils.units import FACTOR\n"
        "from sslauth_utils.unused import SPEED as Speed\nfrom sslauth_utils.words import advice\n\n\n"
        "@dataclass\nclass Square:\n",
    ),
    "TYPE_CHECKING": (
        "shapes",
        "import dataclass\n",
        "import dataclass\nfrom typing import TYPE_CHECKING\n\n"
        "if TYPE_CHECKING:\n    from sslauth_utils.unused import SPEED\n",
    ),
    "words of an error": ("shapes", "A side is not {side}. ", "{side} is no side. "),
    "words of an assertion": ("shapes", '"not a number"', 'f"{side} is no number"'),
    "words of an assertion removed": ("shapes", ', "not a number"', ""),
    "what only the words of an error use": ("words", "Take another.", "Take a larger one."),
    "an error without words": ("shapes", 'ValueError(f"A side is not {side}. " + advice())', "ValueError"),
}
CODE = {
    "constant": ("shapes", "side: int = 3", "side: int = 4"),
    "kind of number": ("shapes", "side: int = 3", "side: int = 3.0"),
    "order of terms": ("shapes", "unit * side * side", "unit * (side * side)"),
    "name": ("shapes", "class Square", "class Cube"),
    "default": ("shapes", "area(side: int)", "area(side: int = 1)"),
    "string that is no docstring": ("shapes", "return unit", "'a string'; return unit"),
    "imported module": ("units", "2", "3"),
    "field": ("shapes", "    colour: str\n", ""),
    "decorator": ("shapes", "@dataclass\n", "@dataclass()\n"),
    "kind of error": ("shapes", "raise ValueError(", "raise TypeError("),
    "when an error is raised": ("shapes", "side < 0", "side <= 0"),
    "what is asserted": ("shapes", "assert side == side", "assert side <= side"),
    "assertion": ("shapes", '    assert side == side, "not a number"\n', ""),
    "the error behind an error": ("shapes", "advice())", "advice()) from None"),
    "variable behind a hint": ("shapes", "unit: int = FACTOR", "unit: int = FACTOR + 0"),
    "imported name": ("shapes", "import FACTOR", "import FACTOR as FACTOR"),
    "what runs where types are not checked": (
        "shapes",
        "import dataclass\n",
        "import dataclass\nfrom typing import TYPE_CHECKING\n\n"
        "if TYPE_CHECKING:\n    SPEED = 1\nelse:\n    SPEED = 2\n",
    ),
}


@pytest.mark.parametrize(("module", "old", "new"), WORDS.values(), ids=WORDS)
def test_words_hints_and_layout_do_not_count(package, module, old, new):
    before = package.both()
    package.edit(f"sslauth_utils/{module}.py", old, new)
    assert package.both() == before


@pytest.mark.parametrize(("module", "old", "new"), CODE.values(), ids=CODE)
def test_code_counts_in_a_module_and_in_what_it_imports(package, module, old, new):
    before = package.both()
    package.edit(f"sslauth_utils/{module}.py", old, new)
    assert all(new != old for new, old in zip(package.both(), before, strict=True))


def test_the_whole_package_means_the_same_however_it_is_laid_out(tmp_path):
    """Written anew from its syntax trees it has other blanks, quotes and brackets, and no comments."""
    for path in sorted((ROOT / "sslauth_utils").rglob("*.py")):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(ast.unparse(ast.parse(path.read_text(encoding="utf-8"))), encoding="utf-8")
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        copy = Path(shutil.copy(path, tmp_path / "notebooks"))
        assert notebook_meanings(copy, tmp_path, everything=True) == notebook_meanings(path, everything=True)
    fingerprint._memory.cache_clear()


@given(
    left=st.integers(0, 9),
    right=st.integers(0, 9),
    words=st.text(st.characters(codec="utf-8", exclude_characters='"\\\0\r', exclude_categories=["Cs"])),
    blanks=st.integers(0, 3),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_texts_mean_the_same_exactly_if_they_do_the_same(package, left, right, words, blanks):
    package.write("sslauth_utils/left.py", f"def made(x):\n    return x + {left}\n")
    package.write("sslauth_utils/right.py", f'def made(x: int) -> int:\n    """{words}"""\n'
                  + "\n" * blanks + f"    return {' ' * blanks}x + {right}\n")  # fmt: skip
    [one], [other] = (meanings([f"sslauth_utils.{name}"], package.root).values() for name in ("left", "right"))
    assert (one == other) == (left == right)


# --- what is looked at --------------------------------------------------------------------------------------------


def test_a_module_that_nothing_imports_does_not_count(package):
    before = package.both()
    package.edit("sslauth_utils/unused.py", "1", "2")
    assert package.both() == before


def test_a_module_of_which_everything_is_imported_counts(package):
    package.cells("from sslauth_utils.unused import *\nprint(SPEED)\n")
    before = package.both()
    package.edit("sslauth_utils/unused.py", "1", "2")
    assert package.both() != before


def test_a_notebook_counts_by_its_code_not_by_its_prose(package):
    module, before = package.both()
    package.cells(*CELLS, prose="# A longer title")
    assert package.both() == (module, before)
    package.cells(CELLS[0], "# threefold\n%time 1\narea(3)\n")
    assert package.both() == (module, before), "nor by its comments and IPython's own lines"
    package.cells(CELLS[0], "area(4)\n")
    assert package.both()[0] == module
    assert package.both()[1] != before


def test_names_of_modules_count(package):
    package.write("sslauth_utils/other.py", "FACTOR = 2\n")
    [one], [other] = (meanings([f"sslauth_utils.{name}"], package.root).values() for name in ("units", "other"))
    assert one == other
    assert package.module("sslauth_utils.units") != package.module("sslauth_utils.other")
    together = meanings(["sslauth_utils.units", "sslauth_utils.other"], package.root)
    assert list(together) == ["sslauth_utils/other.py", "sslauth_utils/units.py"]
    assert together == meanings(["sslauth_utils.other", "sslauth_utils.units"], package.root)


def test_all_kinds_of_imports_are_followed(package):
    package.write("sslauth_utils/room/__init__.py", "")
    for name in ("one", "two", "three", "four", "five"):
        package.write(f"sslauth_utils/room/{name}.py", "VALUE = 1\n")
    package.write("sslauth_utils/room/all.py", (
        "import sslauth_utils.room.one\n"
        "import sslauth_utils.room.two as second\n"
        "from sslauth_utils.room import three, unused\n"
        "from . import four\n"
        "from .five import VALUE\n"
        "def late():\n    from ..units import FACTOR\n    return FACTOR\n"
        "print(sslauth_utils.room.one, second, three, four, VALUE)\n"
    ))  # fmt: skip
    found = meanings(["sslauth_utils.room.all"], package.root)
    assert [path.removeprefix("sslauth_utils/") for path in found] == [
        "room/all.py", "room/five.py", "room/four.py", "room/one.py", "room/three.py", "room/two.py", "units.py",
    ]  # fmt: skip


@pytest.mark.parametrize("room", SHOWING)
def test_rooms_that_only_show_do_not_count_for_a_notebook_s_rows(package, room):
    package.write(f"sslauth_utils/{room}/__init__.py", "")
    package.write(f"sslauth_utils/{room}/lines.py", "from sslauth_utils.unused import SPEED\nCOLOUR = SPEED\n")
    package.cells(*CELLS, f"from sslauth_utils.{room}.lines import COLOUR\nprint(COLOUR)\n")
    rows, drawing = package.notebook(), package.notebook(everything=True)
    package.edit(f"sslauth_utils/{room}/lines.py", "= SPEED", "= SPEED + 1")
    assert package.notebook() == rows and package.notebook(everything=True) != drawing
    assert not any(path.startswith(f"sslauth_utils/{room}/") for path in package_meanings(package))
    drawing = package.notebook(everything=True)
    package.edit("sslauth_utils/unused.py", "1", "2")
    assert package.notebook() == rows and package.notebook(everything=True) != drawing, "nor what they import"


def package_meanings(package):
    return notebook_meanings(package.root / "toy.ipynb", package.root)


@pytest.mark.parametrize("path", sorted(PLUMBING))
def test_plumbing_does_not_count_but_what_it_imports_does(package, path):
    assert (ROOT / path).is_file(), "what is excused is there"
    name = path.removesuffix(".py").replace("/", ".")
    package.write(path, "from sslauth_utils.unused import SPEED\nPLACE = SPEED\n")
    package.edit("sslauth_utils/shapes.py", "return unit", "return PLACE * unit")
    package.edit(
        "sslauth_utils/shapes.py", "from sslauth_utils.words", f"from {name} import PLACE\nfrom sslauth_utils.words"
    )
    before = package.both()
    package.edit(path, "= SPEED", "= SPEED + 1")
    assert package.both() == before and path not in package_meanings(package)
    package.edit("sslauth_utils/unused.py", "1", "2")
    assert all(new != old for new, old in zip(package.both(), before, strict=True))


def test_what_the_words_of_an_error_import_does_not_count(package):
    assert set(package_meanings(package)) == {"sslauth_utils/shapes.py", "sslauth_utils/units.py", "toy.ipynb"}


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("sslauth_utils/units.py", "FACTOR = = 2", r"units\.py is not valid Python \(line 1: .*\); correct it\."),
        (
            "sslauth_utils/units.py",
            "from sslauth_utils.none import A\nA",
            "units.py imports sslauth_utils.none, but there",
        ),
        ("toy.ipynb", '{"cells": [{"cell_type": "code", "source": "1 +"}]}', r"toy\.ipynb is not valid Python"),
        ("toy.ipynb", "[]", "is not a notebook"),
    ],
    ids=["syntax", "import", "cell", "notebook"],
)
def test_what_cannot_be_understood_is_told(package, path, text, told):
    package.write(path, text)
    with pytest.raises(UserError, match=told):
        package.notebook()


def test_a_recipe_that_does_not_exist_is_told():
    with pytest.raises(
        UserError, match=r"asks for sslauth_utils\.none imports sslauth_utils\.none, but there is no such"
    ):
        meanings(["sslauth_utils.none"])


def test_it_is_the_same_in_another_process():
    """Sets of paths must not leak their order, which differs with the seed of Python's string hashes."""
    command = ("from sslauth_utils.base.fingerprint import combined, meanings; "
               "print(combined(meanings(['sslauth_utils.schemes.verification'])))")  # fmt: skip
    told = [
        subprocess.run([sys.executable, "-c", command], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed},
                       capture_output=True, text=True, check=True).stdout.strip()
        for seed in ("1", "2")
    ]  # fmt: skip
    assert set(told) == {combined(meanings(["sslauth_utils.schemes.verification"]))}
    assert len(told[0]) == 64


# --- remembered ---------------------------------------------------------------------------------------------------


def memory_file(package):
    [path] = (package.root / "data" / "cache").glob("meanings-*.json")
    return path


def test_what_was_understood_is_not_parsed_again(package, monkeypatch):
    before = package.both()
    monkeypatch.setattr(fingerprint.ast, "parse", None)
    assert package.both() == before, "a new process reads the memory of the old one"
    monkeypatch.undo()
    package.edit("sslauth_utils/units.py", "2", "3")
    assert package.both() != before


def test_the_memory_never_serves_a_stale_answer(package):
    """Whatever is edited, the answer is that of a copy that remembers nothing."""
    edits = [*CODE.values(), *WORDS.values()]
    for module, old, new in edits:
        path = f"sslauth_utils/{module}.py"
        text = (package.root / path).read_text(encoding="utf-8")
        package.edit(path, old, new)
        within, anew = (package.module(), package.notebook()), package.both()
        memory_file(package).unlink()
        assert within == anew == package.both()
        package.write(path, text)


def test_a_text_means_what_it_does_where_it_stands(package):
    """The same relative import in two rooms is of two modules."""
    for room, value in (("one", 1), ("other", 2)):
        package.write(f"sslauth_utils/{room}/__init__.py", "")
        package.write(f"sslauth_utils/{room}/value.py", f"VALUE = {value}\n")
        package.write(f"sslauth_utils/{room}/user.py", "from .value import VALUE\nprint(VALUE)\n")
    found = [meanings([f"sslauth_utils.{room}.user"], package.root) for room in ("one", "other")]
    assert [list(paths)[1] for paths in found] == ["sslauth_utils/one/value.py", "sslauth_utils/other/value.py"]


def test_a_module_that_becomes_a_room_is_looked_for_anew(package):
    package.write("sslauth_utils/tools.py", "from sslauth_utils.unused import SPEED as files\n")
    package.write("sslauth_utils/user.py", "from sslauth_utils.tools import files\nprint(files)\n")
    assert list(meanings(["sslauth_utils.user"], package.root)) == ["sslauth_utils/tools.py", "sslauth_utils/user.py"]
    (package.root / "sslauth_utils" / "tools.py").unlink()
    package.write("sslauth_utils/tools/__init__.py", "")
    package.write("sslauth_utils/tools/files.py", "VALUE = 1\n")
    found = meanings(["sslauth_utils.user"], package.root)
    assert list(found) == ["sslauth_utils/tools/files.py", "sslauth_utils/user.py"]


def test_a_folder_without_modules_is_no_room(package):
    """An older version of the code leaves its rooms behind, with nothing but __pycache__ in them."""
    (package.root / "sslauth_utils" / "units" / "__pycache__").mkdir(parents=True)
    assert "sslauth_utils/units.py" in meanings(["sslauth_utils.shapes"], package.root)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'"text"', b'{"a": 1}', b'{"a": [1]}', b'{"a": null}', b"\xff\xfe"],
    ids=["empty", "cut", "null", "list", "text", "number", "short", "nothing", "bytes"],
)
def test_a_broken_memory_does_no_harm(package, content):
    before = package.both()
    memory_file(package).write_bytes(content)
    assert package.both() == before
    assert json.loads(memory_file(package).read_text()), "and it is whole again"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_the_memory_does_no_harm(package, content):
    before = package.both()
    memory_file(package).write_text(json.dumps(content))
    assert package.both() == before


@pytest.mark.parametrize("place", ["data", "data/cache"])
def test_a_memory_that_cannot_be_written_does_no_harm(package, place):
    expected = package.both()
    shutil.rmtree(package.root / "data")
    package.write(place, "a file where the folder should be")
    assert package.both() == expected == package.both()


def test_the_memory_is_of_this_code_and_this_python(package, monkeypatch):
    before = package.both()
    path = memory_file(package)
    monkeypatch.setattr(fingerprint.sys, "version", "another")
    assert package.both() == before
    assert len(list(path.parent.iterdir())) == 2, "the other Python's syntax trees are not taken"
