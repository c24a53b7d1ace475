"""What is committed: nothing large, private or left over; documents that point at things that exist."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from sslauth_utils.base.notebooks import imported_files
from sslauth_utils.base.paths import ROOT

DOCS = ["data", "deviations", "method", "reproducing"]
DOCUMENTS = ["README.md", "data/README.md", *(f"docs/{name}.md" for name in DOCS)]
#: what makes numbers, and what only reads them
MAKING = {"arrays", "artifacts", "augment", "data", "encoders", "generator", "simclr", "verification"}
READING = ["claims", "plotting", "reference", "report", "results", "summary", "tables"]


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


def imports(name):
    """Names of all helper modules that importing this one runs."""
    files = imported_files(f"import sslauth_utils.{name}", Path(__file__))
    return {path.relative_to(ROOT / "sslauth_utils").with_suffix("").as_posix().replace("/", ".") for path in files}


@pytest.mark.parametrize("name", READING)
def test_compute_and_plot_are_apart(name):
    """The colour of a line never costs a training run."""
    assert imports(name) & MAKING == set()


def test_data_flows_one_way():
    """Nothing that makes numbers knows how they are read, run or shown; and nothing imports itself in a circle."""
    later = {*READING, "notebook", "execute", "run", "graph", "sliders"}
    assert imports("verification") & (later | {"artifacts", "simclr", "downstream"}) == set()
    assert imports("artifacts") & later == set()
    for name in modules():
        own = name.removeprefix("sslauth_utils.")
        if not own.endswith("__init__"):
            others = {other for other in imports(own) - {own} if not other.endswith("__init__")}
            circle = {other for other in others if own in imports(other)}
            assert circle == set(), f"{own} and {circle} import each other"


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
    command = [sys.executable, "-m", "sslauth_utils.front", "--help"]
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


def test_method_names_functions_that_exist():
    text = (ROOT / "docs/method.md").read_text(encoding="utf-8")
    names = re.findall(r"`((?:attacks\.)?[a-z]\w*\.[a-z]\w*)(?:\([^`]*\))?`", text)
    names = [name for name in names if not name.endswith((".yaml", ".md", ".csv"))]
    assert len(names) > 10
    for name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(f"sslauth_utils.{module}"), function, None)), name


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


def test_licence_and_citation_agree_with_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["license"] == citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert citation["version"] == project["version"]
    assert citation["cff-version"] and citation["title"] and citation["authors"] and citation["message"]
