"""What is committed: nothing large, private or left over; documents that point at things that exist."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from sslauth_utils.base.fingerprint import notebook_meanings
from sslauth_utils.base.notebooks import cell_source, read_notebook
from sslauth_utils.base.paths import NOTEBOOKS, ROOT

DOCS = ["data", "deviations", "history", "method", "reproducing", "results", "rooms", "speed"]
DOCUMENTS = ["README.md", "data/README.md", *(f"docs/{name}.md" for name in DOCS)]
ROOMS = ["attacks", "base", "claims", "engine", "images", "models", "report", "schemes", "study"]


@pytest.fixture(scope="module")
def tracked():
    """Paths of all committed files."""
    answer = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip("this is no git checkout")
    return [path for path in answer.stdout.split("\0") if path and (ROOT / path).is_file()]


@pytest.fixture(scope="module")
def texts(tracked):
    """Contents of all committed text files, by path."""
    contents = {path: (ROOT / path).read_bytes() for path in tracked}
    return {path: content.decode() for path, content in contents.items() if b"\0" not in content[:8000] and
            not path.endswith((".pdf", ".gz", ".safetensors"))}  # fmt: skip


def found(texts, pattern, endings=("",)):
    """Lines that match, as `path:number: line`."""
    return [
        f"{path}:{number}: {line[:120]}"
        for path, text in texts.items() if path.endswith(tuple(endings))
        for number, line in enumerate(text.splitlines(), 1) if re.search(pattern, line)
    ]  # fmt: skip


def test_what_must_be_there(tracked):
    needed = {"LICENSE", "CITATION.cff", "environment.yml", "requirements.lock", "pyproject.toml", "run_all.sh",
              "run_tests.sh", "Snakefile", ".ci/run", *DOCUMENTS}  # fmt: skip
    assert needed <= set(tracked)
    for script in ("run_all.sh", "run_tests.sh", ".ci/run"):
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} cannot be run"
        assert (ROOT / script).read_text().startswith("#!/usr/bin/env bash\n")


def test_no_file_is_large(tracked):
    size = {path: (ROOT / path).stat().st_size for path in tracked}
    encoders = {path for path in size if re.fullmatch(r"results/reference/\w+/encoders/.*\.safetensors", path)}
    assert {path for path in size if size[path] > 5_000_000} <= encoders
    assert sum(size[path] for path in encoders) <= 30_000_000


def test_nothing_that_runs_or_tools_make_is_committed(tracked):
    tools = r"__pycache__|\.pyc$|\.ipynb_checkpoints|\.egg-info|\.snakemake"
    left = [path for path in tracked if re.search(tools, path)]
    left += [path for path in tracked if re.match(r"results/(?!reference/)|data/(?!README\.md|\.gitignore)", path)]
    assert left == []


def test_no_package_registry_is_named(texts):
    # assembled from parts, so that this file does not name them either
    hosts = [".".join(parts) for parts in (("py" + "pi", "org"), ("python" + "hosted", "org"), ("ana" + "conda", "org"),
                                           ("download", "pytorch", "org"), ("registry", "npm" + "js"))]  # fmt: skip
    assert found(texts, "|".join(map(re.escape, hosts))) == []


def test_no_path_of_a_machine_is_named(texts):
    homes = "|".join(("home", "root", "Users", "tmp", "mnt", "work"))
    assert found(texts, rf"(?<![\w.*$}}>])/({homes})/\w") == []


def test_nothing_is_unfinished_or_unsafe(texts):
    # written so that the patterns do not match themselves
    words = ["TO" "DO", "FIX" "ME", "X" "XX", "NotImplemented" "Error", r"\bexcept" ":", "assert " "True",
             r"(?<![.\w])eval" r"\(", r"pickle\.load", r"weights_only\s*=\s*" "False",
             r"shell\s*=\s*" "True"]  # fmt: skip
    assert found(texts, "|".join(words), (".py", ".sh", ".ipynb", ".md", ".yaml", ".toml", "Snakefile")) == []


def modules():
    return {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
            for path in sorted((ROOT / "sslauth_utils").rglob("*.py"))}  # fmt: skip


@pytest.mark.parametrize("name", modules())
def test_modules_classes_and_functions_say_what_they_are_for(name):
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]
    public = [node for node in public if node.name != "main"]
    assert [getattr(node, "name", name) for node in [tree, *public] if not ast.get_docstring(node)] == []


def test_the_package_has_rooms_and_every_module_lies_in_one():
    package = ROOT / "sslauth_utils"
    assert sorted(path.parent.name for path in package.glob("*/__init__.py")) == ROOMS
    assert [path.name for path in package.glob("*.py")] == ["__init__.py"]


def test_the_linter_of_imports_knows_every_room():
    """Which room may import which is its contract, checked by ./run_tests.sh."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    [contract] = options["contracts"]
    assert (contract["type"], contract["exhaustive"], contract["containers"]) == ("layers", True, ["sslauth_utils"])
    assert sorted(contract["layers"]) == ROOMS and not contract.get("ignore_imports")
    place = contract["layers"].index
    assert place("report") < place("claims") < place("study") < place("attacks") < place("base"), "the highest first"


def imported_by(name, path):
    """Modules of the package that this one imports itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        else:
            assert not isinstance(node, ast.ImportFrom), f"{name} has a relative import"
    return found & set(modules())


def test_no_modules_import_each_other_in_a_circle():
    """Within a room too, where the linter's layers do not look."""
    waiting = {name: imported_by(name, path) for name, path in modules().items()}
    while free := {name for name, needed in waiting.items() if not needed}:
        waiting = {name: needed - free for name, needed in waiting.items() if name not in free}
    assert waiting == {}


# --- compute and plot are apart ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_colour_of_a_line_never_costs_a_training_run(path):
    """Nor does a claim's rule: what only shows or runs is no part of what a notebook's rows depend on."""
    found = notebook_meanings(path)
    assert {path.relative_to(ROOT).as_posix(), "sslauth_utils/study/notebook.py"} <= set(found)
    assert [module for module in found if module.split("/")[1] in ("claims", "report", "engine")] == []


SHOWING = ("sslauth_utils.claims", "sslauth_utils.report")


def names(tree, context):
    """Names that the code reads (`ast.Load`) or gives a value (`ast.Store`), those within comprehensions left out."""
    own = {
        name.id
        for node in ast.walk(tree) if isinstance(node, ast.comprehension)
        for name in ast.walk(node.target) if isinstance(name, ast.Name)
    }  # fmt: skip
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}
    return found - own


def imported_to_show(cell):
    return {
        alias.asname or alias.name
        for node in ast.walk(cell) if isinstance(node, ast.ImportFrom) and node.module.startswith(SHOWING)
        for alias in node.names
    }  # fmt: skip


def defined(statement):
    return {statement.name} if isinstance(statement, ast.FunctionDef) else names(statement, ast.Store)


def what_only_shows(cells):
    """Of each cell, the names that it reads and that come from a room that only shows.

    Either they are imported from there, in this cell or an earlier one, or an earlier cell made them with such a name.
    """
    shown = set()
    for cell in cells:
        shown |= imported_to_show(cell)
        yield (names(cell, ast.Load) - names(cell, ast.Store)) & shown
        for statement in cell.body:
            if names(statement, ast.Load) & shown:
                shown |= defined(statement)
            else:
                shown -= defined(statement)


def adds_rows(cell):
    """Whether the code adds to a row log, by ``add`` with two arguments, which no set takes, or by a ``log_...``."""
    calls = [node for node in ast.walk(cell) if isinstance(node, ast.Call)]
    added = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add"]
    logged = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id.startswith("log_")]
    return bool(logged) or any(len(call.args) == 2 for call in added)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_row_is_made_with_what_only_shows(path):
    """Else an edit there would change rows that nothing makes again."""
    sources = [cell_source(cell) for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]
    cells = [ast.parse(source) for source in sources]
    found = {source: used for source, cell, used in zip(sources, cells, what_only_shows(cells), strict=True) if used}
    assert [(used, source) for source, used in found.items() if adds_rows(ast.parse(source))] == []


def test_what_only_shows_is_found():
    cells = [ast.parse(source) for source in (
        "from sslauth_utils.claims.statistics import summarise as mean\nfrom sslauth_utils.study.rows import load_rows",
        "def line(rows):\n    return mean(rows)",
        "table = line(load_rows('demo', '05_pruning'))",
        "for rate in rates:\n    rows.add(f'{rate}', other(rate))",
        "for rate in rates:\n    rows.add(f'{rate}', table)",
        "table = [rate for rate in rates]\nrows.add('', table)",
        "log_attack(measures, 'backdoor', table)",
    )]  # fmt: skip
    assert list(what_only_shows(cells)) == [set(), {"mean"}, {"line"}, set(), {"table"}, set(), set()]
    assert [adds_rows(cell) for cell in cells] == [False, False, False, True, True, True, True]


# --- documents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    # what a run leaves is there once a run was committed
    local = [target for target in targets if ":" not in target and not target.startswith(("figures/", "results/"))]
    assert [target for target in local if not (ROOT / name).parent.joinpath(target).exists()] == []


def test_the_readme_shows_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "./run_all.sh" in text and "./run_tests.sh" in text


@pytest.fixture(scope="module")
def options():
    """What ./run_all.sh --help says."""
    command = [sys.executable, "-m", "sslauth_utils.engine.front", "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_in_documents_exist(name, options):
    text = (ROOT / name).read_text(encoding="utf-8")
    for script in re.findall(r"\./([\w-]+\.sh)\b", text):
        assert (ROOT / script).is_file(), script
    for option in re.findall(r"run_all\.sh[^`\n]*?(--[a-z][a-z-]+)", text):
        assert option in options, option
    for module in re.findall(r"(?:python|\bbin/python) -m ((?:sslauth_utils|benchmarks)(?:\.\w+)*)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module
    for profile in re.findall(r"--profile ([a-z]+)", text):
        assert (ROOT / "config" / f"{profile}.yaml").is_file(), profile


def exists(name):
    """Whether `name` is a module of the package, or something in one, a class's own included."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        if (module := ".".join(["sslauth_utils", *parts[:cut]])) in modules():
            found = importlib.import_module(module)
            for part in parts[cut:]:
                found = getattr(found, part, None)
            return found is not None
    return False


def test_method_names_functions_that_exist():
    text = (ROOT / "docs/method.md").read_text(encoding="utf-8")
    names = re.findall(r"`([a-z]\w*(?:\.[A-Za-z]\w*)+)(?:\([^`]*\))?`", text)
    names = [name for name in names if not name.endswith((".yaml", ".md", ".csv", ".json"))]
    assert len(names) > 10
    assert [name for name in names if not exists(name)] == []


def test_names_that_do_not_exist_are_found():
    assert exists("schemes.enrolment.enrol") and exists("schemes.record.Record.challenge") and exists("schemes.keys")
    assert not exists("enrolment.enrol") and not exists("schemes.enrolment.enroll") and not exists("schemes.none")


def test_the_readmes_example_runs(capsys):
    """As it stands, but with two training steps and ten keys."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    small = re.sub(r"steps=\d+", "steps=2", re.sub(r"count=\d+", "count=10", example))
    assert small.count("=2)") == 1 and small.count("=10)") == 1
    exec(compile(small, "README.md", "exec"), {})  # the project's own words
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines() if line][-3:] == ["DCmp", "Trans", "SHA-256"]
    assert "pass" in told.splitlines()[-1]
    assert told.splitlines()[0] in text.splitlines(), "what it is said to print has the headings that it prints"


def test_licence_and_citation_agree_with_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["license"] == citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert citation["version"] == project["version"]
    assert citation["cff-version"] and citation["title"] and citation["authors"] and citation["message"]
