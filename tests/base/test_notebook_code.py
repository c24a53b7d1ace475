"""Notebooks as files: what of their code is Python."""

import ast

import pytest

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.notebooks import check_cells, code_of, python_of

ONLY_IPYTHON = {
    "question": ("prune?", "pass"), "two": ("prune??", "pass"), "before": ("?prune", "pass"),
    "shell": ("!ls", "pass"), "magic": ("%time x = 3", "pass"),
    "indented": ("for a in b:\n    !ls {a}", "for a in b:\n    pass"),
    "assigned shell": ("files = !ls", "files = None"), "assigned magic": ("x = %time 3", "x = None"),
    "other language": ("%%bash\nif [ 1 ]; then\nfi", ""), "html": ("%%html\n<b>", ""),
    "timed": ("%%time\nx = 3", "pass\nx = 3"), "blank first": ("\n%%capture\nx = 3", "\npass\nx = 3"),
}  # fmt: skip
PYTHON = {
    "text": 'x = """\n%not a magic\nis it?\n!\n"""', "continued": "x = (7\n% 3)", "comment": "# is it?",
    "nothing": "", "plain": "x = 3\ny = x != 2",
}  # fmt: skip


def notebook(*cells):
    return {"cells": [{"cell_type": "code", "source": cell} for cell in cells]}


@pytest.mark.parametrize(("cell", "wanted"), ONLY_IPYTHON.values(), ids=ONLY_IPYTHON.keys())
def test_what_only_ipython_reads_is_left_out(cell, wanted):
    given = notebook("a = 1", cell, "b = 2")
    found = python_of(code_of(given))
    assert found == f"a = 1\n{wanted}\nb = 2"
    ast.parse(found)
    check_cells(given, "x.ipynb")


@pytest.mark.parametrize("cell", PYTHON.values(), ids=PYTHON.keys())
def test_python_stays_as_it_is(cell):
    assert python_of(code_of(notebook(cell))) == cell


def test_what_is_neither_is_told_with_its_cell_and_line():
    with pytest.raises(UserError, match=r"x\.ipynb is not valid Python \(line 2 of code cell 3: "):
        check_cells({"cells": [*notebook("a = 1", "%ls")["cells"], {"cell_type": "markdown", "source": "def"},
                               *notebook("b = 2\nc = = 3")["cells"]]}, "x.ipynb")  # fmt: skip
