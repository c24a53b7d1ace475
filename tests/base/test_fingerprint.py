"""Fingerprints of code: words and layout do not count, everything that runs does."""

import functools
import json
import os
import subprocess
import sys

import pytest

from sslauth_utils.base import fingerprint
from sslauth_utils.base.fingerprint import module_fingerprint, notebook_fingerprint
from sslauth_utils.base.paths import ROOT

SHAPES = '''"""Areas."""

from sslauth_utils.units import FACTOR


class Square:
    """A square."""

    side = 3


def area(side):
    """Area of a square."""
    return FACTOR * side * side  # square


async def later(side):
    """The same, later."""
    return area(side)
'''
CELLS = ["from sslauth_utils.shapes import area\n", "area(3)\n"]


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A small package and a notebook; `package(path, old, new)` edits a file of it."""
    helpers = tmp_path / "sslauth_utils"
    helpers.mkdir()
    (helpers / "__init__.py").write_text("")
    (helpers / "shapes.py").write_text(SHAPES)
    (helpers / "units.py").write_text("FACTOR = 2\n")
    (helpers / "unused.py").write_text("SPEED = 1\n")
    (tmp_path / "toy.ipynb").write_text(json.dumps({
        "cells": [{"cell_type": "markdown", "source": "# Toy"},
                  *({"cell_type": "code", "source": cell, "outputs": []} for cell in CELLS)],
    }))  # fmt: skip
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    monkeypatch.setattr(fingerprint, "NOTEBOOKS", tmp_path)
    for name in ("imported_files", "helper_files"):
        monkeypatch.setattr(fingerprint, name, functools.partial(getattr(dependencies, name), root=tmp_path))

    def edit(path, old, new):
        text = (tmp_path / path).read_text()
        assert text.count(old) == 1
        (tmp_path / path).write_text(text.replace(old, new))

    return edit


def both():
    return module_fingerprint("sslauth_utils.shapes"), notebook_fingerprint("toy")


WORDS = {
    "module-docstring": ("shapes", '"""Areas."""', '"""Areas of squares."""'),
    "class-docstring": ("shapes", '"""A square."""', '"""A square, of side 3."""'),
    "function-docstring": ("shapes", '"""Area of a square."""', "'''Its area, in square metres.'''"),
    "docstring-removed": ("shapes", '    """Area of a square."""\n', ""),
    "async-docstring": ("shapes", '"""The same, later."""', '"""The same, but later."""'),
    "comment": ("shapes", "# square", "# eq. 1"),
    "blank-lines": ("shapes", "\n\n\ndef area", "\n\n\n\n\ndef area"),
    "brackets": ("shapes", "FACTOR * side * side", "((FACTOR * side) * side)"),
    "imported-comment": ("units", "2", "2  # two"),
}
CODE = {
    "constant": ("shapes", "side = 3", "side = 4"),
    "kind-of-number": ("shapes", "side = 3", "side = 3.0"),
    "order-of-terms": ("shapes", "FACTOR * side * side", "FACTOR * (side * side)"),
    "name": ("shapes", "class Square", "class Cube"),
    "default": ("shapes", "def area(side)", "def area(side=1)"),
    "string-that-is-no-docstring": ("shapes", "return FACTOR", "'a string'; return FACTOR"),
    "imported-module": ("units", "2", "3"),
}


@pytest.mark.parametrize(("module", "old", "new"), WORDS.values(), ids=WORDS)
def test_words_and_layout_do_not_count(package, module, old, new):
    before = both()
    package(f"sslauth_utils/{module}.py", old, new)
    assert both() == before


@pytest.mark.parametrize(("module", "old", "new"), CODE.values(), ids=CODE)
def test_code_counts_in_a_module_and_in_what_it_imports(package, module, old, new):
    before = both()
    package(f"sslauth_utils/{module}.py", old, new)
    assert all(new != old for new, old in zip(both(), before, strict=True))


def test_a_module_that_nothing_imports_does_not_count(package):
    before = both()
    package("sslauth_utils/unused.py", "1", "2")
    assert both() == before


def test_a_notebook_counts_by_its_code_not_by_its_prose(package):
    module, before = both()
    package("toy.ipynb", "# Toy", "# A longer title")
    assert both() == (module, before)
    package("toy.ipynb", "area(3)", "area(4)")
    assert both()[0] == module
    assert both()[1] != before


def test_names_of_modules_count(package):
    assert module_fingerprint("sslauth_utils.units") != module_fingerprint("sslauth_utils.unused")
    together = module_fingerprint("sslauth_utils.units", "sslauth_utils.unused")
    assert together == module_fingerprint("sslauth_utils.unused", "sslauth_utils.units")
    assert together not in (module_fingerprint("sslauth_utils.units"), module_fingerprint("sslauth_utils.unused"))


def test_it_is_the_same_in_another_process():
    """Sets of paths must not leak their order, which differs with the seed of Python's string hashes."""
    command = "from sslauth_utils.fingerprint import module_fingerprint as m; print(m('sslauth_utils.verification'))"
    told = [
        subprocess.run([sys.executable, "-c", command], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed},
                       capture_output=True, text=True, check=True).stdout.strip()
        for seed in ("1", "2")
    ]  # fmt: skip
    assert set(told) == {module_fingerprint("sslauth_utils.verification")}
    assert len(told[0]) == 64
