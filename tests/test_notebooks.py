"""The notebooks: as they are committed, and all of them run as a user runs them, at smoke size.

By default with smoke's first scenario alone, with ``--all`` with both. Only then is proved: the sweep of lambda
(Fig. 12), the keys by class (A.2's K1 to K3), and everything that compares the two scenarios.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml

from sslauth_utils.base.notebooks import cell_source, read_notebook
from sslauth_utils.base.paths import NOTEBOOKS, ROOT
from sslauth_utils.claims import families, rules
from sslauth_utils.engine import graph
from sslauth_utils.study import parameters
from sslauth_utils.study.profiles import load_profile

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb"))
EXPERIMENTS = [name for name in NAMES if "00" < name[:2] < "90"]
OF_MODELS = [name for name in EXPERIMENTS if name >= "20"]  # on classifiers: run for each model, not each scenario


SOLUTIONS = "solutions"  # of the exercises: no experiment, but a notebook like the others


@pytest.fixture(params=[*NAMES, SOLUTIONS])
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    """The notebook as nested dictionaries."""
    return read_notebook(NOTEBOOKS / f"{name}.ipynb")


def cells(notebook, kind):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def prose(notebook):
    return "\n".join(cell_source(cell) for cell in cells(notebook, "markdown"))


# --- as committed -----------------------------------------------------------------------------------------------------


def test_it_is_a_notebook_for_the_kernel_of_this_environment(notebook):
    nbformat.validate(nbformat.from_dict(notebook))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert set(notebook["metadata"]) == {"kernelspec", "language_info", "sslauth"}
    identities = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identities)) == len(identities)


def test_it_is_written_as_jupyter_writes_it(name, tmp_path):
    """So a reader who opens and saves it changes nothing."""
    path = NOTEBOOKS / f"{name}.ipynb"
    nbformat.write(nbformat.read(path, as_version=nbformat.NO_CONVERT), tmp_path / "saved.ipynb")
    assert (tmp_path / "saved.ipynb").read_bytes() == path.read_bytes()


def test_it_holds_no_outputs(notebook):
    for cell in cells(notebook, "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None, cell["id"]


def test_it_says_what_it_needs(name):
    info = graph.notebook_info(NOTEBOOKS / f"{name}.ipynb")
    assert {*info.needs, *info.shows} - {"*"} <= set(NAMES) - {name}
    assert not set(info.needs) & set(info.shows)
    kind = "model-seed" if name in OF_MODELS else "scenario-seed"
    assert info.runs == (kind if name in EXPERIMENTS else "profile")
    assert all((ROOT / path).exists() for path in info.reads)


def test_its_parameters_are_literals_each_with_its_reason(name, notebook):
    values = parameters.defaults(NOTEBOOKS / f"{name}.ipynb")
    [cell] = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    lines = cell_source(cell).splitlines()
    # papermill's reader drops a line with two equals signs, the comment's included
    assert [re.fullmatch(r"(\w+) = [^=#]+  # [^=]{3,}", line) is not None for line in lines] == [True] * len(values)
    assert values["profile"] == "demo"
    assert ("scenario" in values and "seed" in values) or name == "90_summary"


def test_it_starts_under_its_own_name_from_its_parameters(name, notebook):
    """`notebook.start` takes every parameter from the notebook's names, and stops where one is missing."""
    [setup] = [cell_source(cell) for cell in cells(notebook, "code") if "notebook.start(" in cell_source(cell)]
    assert f'run = notebook.start("{name}", globals())' in setup


def test_no_cell_is_longer_than_a_look(notebook):
    for cell in notebook["cells"]:
        assert len(cell_source(cell).splitlines()) <= 30, cell["id"]
        assert max(map(len, cell_source(cell).splitlines())) <= 120 or cell["cell_type"] == "markdown"
    assert not any(cell_source(cell).lstrip().startswith(("%", "!")) for cell in cells(notebook, "code"))


def test_it_names_no_path_of_a_machine(notebook):
    homes = "|".join(("home", "root", "Users", "tmp", "mnt", "work"))
    text = "\n".join(cell_source(cell) for cell in notebook["cells"])
    assert re.search(rf"/({homes})/|[A-Z]:\\", text) is None


def test_it_begins_with_its_title_and_what_goes_in_and_out(name, notebook):
    first = notebook["cells"][0]
    assert first["cell_type"] == "markdown"
    text = cell_source(first)
    assert re.match(r"# (Start here|\d\d · |Solutions)", text)
    assert name in ("00_start_here", SOLUTIONS) or text[2:4] == name[:2]
    for word in ("**In:**", "**Out:**", "**Time:**"):
        assert word in text, word
    assert "**You should see**" in text or name == "90_summary"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_quotes_the_paper_and_ends_with_how_to_read_it(name):
    text = prose(read_notebook(NOTEBOOKS / f"{name}.ipynb"))
    assert re.search(r"^> \".+", text, re.MULTILINE) and re.search(r"\((§[\dIV]|A\.\d|DeepAuth)", text)
    assert "## How to read it" in text


@pytest.mark.parametrize("name", ["00_start_here", *EXPERIMENTS])
def test_it_ends_with_two_exercises_each_with_a_line_to_start_from_and_a_solution(name):
    exercises = prose(read_notebook(NOTEBOOKS / f"{name}.ipynb")).partition("## Try it yourself")[2]
    assert f"`{SOLUTIONS}.ipynb`" in exercises
    parts = re.split(r"^\d\. ", exercises, flags=re.MULTILINE)[1:]
    assert len(parts) == 2
    for part in parts:
        starts = re.findall(r"`([^`]+)`", part.partition("Start")[2])
        assert starts, part
        for start in starts:
            compile(start, name, "exec")  # it is Python as it stands
    solved = prose(read_notebook(NOTEBOOKS / f"{SOLUTIONS}.ipynb")).partition(f"\n## {name[:2]} · ")[2]
    assert re.findall(r"^\*\*(\d)\.\*\* ", solved.partition("\n## ")[0], re.MULTILINE) == ["1", "2"]


def test_notebooks_that_are_spoken_of_exist(notebook):
    named = re.findall(r"`(\d\d_\w+)`", prose(notebook))
    assert set(named) <= set(NAMES)


# --- run as a user does -----------------------------------------------------------------------------------------------


class Copy:
    """The committed files in an empty folder, and the one command."""

    def __init__(self, root):
        self.root = root
        self.results, self.figures = root / "results" / "smoke", root / "figures" / "smoke"
        self.committed = {}

    def command(self, *arguments):
        return [self.root / "run_all.sh", "--profile", "smoke", *arguments]

    def variables(self):
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("SSLAUTH_", "CONDA", "PYTEST", "MPL"))}  # fmt: skip
        nowhere = {name: "http://localhost:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
        path = f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"
        return kept | nowhere | {"VIRTUAL_ENV": sys.prefix, "PATH": path}

    def run_all(self, *arguments):
        command = self.command(*arguments)
        return subprocess.run(command, env=self.variables(), capture_output=True, text=True, check=False)

    def rows(self, notebook, scenario):
        return pd.read_csv(self.results / notebook / f"{scenario}-s0" / "rows.csv", keep_default_na=False)

    def kept(self, *patterns):
        """Contents of files, by path."""
        return {path.relative_to(self.root).as_posix(): path.read_bytes()
                for pattern in patterns for path in sorted(self.root.glob(pattern))}  # fmt: skip


def committed():
    """Paths of the committed files that a run can touch or need."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    paths = [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]
    return [path for path in paths if Path(path).parts[0] not in ("results", "figures", "tests")]


PROFILE = load_profile("smoke")
FIRST = next(iter(PROFILE.scenarios))
SCENARIOS = [pytest.param(name, marks=() if name == FIRST else pytest.mark.all) for name in PROFILE.scenarios]
CELLS = [
    pytest.param(*scenario.values, name, marks=scenario.marks)
    for scenario in SCENARIOS
    for name in EXPERIMENTS
    if name not in OF_MODELS
] + [
    pytest.param(model, name)
    for model, values in PROFILE.models.items()
    for name in OF_MODELS
    if name in values.get("notebooks", OF_MODELS)
]
SUMMARY = ["id", "source", "quantity", "paper", "measured", "low", "high", "n", "verdict", "cuts"]
KEYS = PROFILE.notebooks["02_enrol_keys"]["n_keys"]
SCHEMES = ["DCmp", "Trans", "Trans G_ini", "Trans G_max"]
TARGETS = ["stl10", "gtsrb", "svhn"]
NEED_BOTH = ["table1-complex"]  # claims without a scenario that one scenario cannot measure
FIGURES = {1: 35, 2: 36}  # by the number of scenarios: Fig. 12 is of the second

pytestmark = pytest.mark.timeout(1200)  # the first test that asks for it waits for the whole run


@pytest.fixture(scope="module")
def scenarios(pytestconfig):
    """The scenarios that are run: the first, or all with --all."""
    return list(PROFILE.scenarios) if pytestconfig.getoption("--all") else [FIRST]


@pytest.fixture(scope="module", autouse=True)
def started(request, tmp_path_factory, scenarios):
    """A run of profile smoke in a copy of the committed files, without a network; it begins before the first test."""
    if not any("smoke" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    root = tmp_path_factory.mktemp("smoke") / "a clone"
    for path in committed():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, root / path)
    if scenarios != list(PROFILE.scenarios):
        profile = yaml.safe_load((root / "config/smoke.yaml").read_text(encoding="utf-8"))
        profile["scenarios"] = {name: profile["scenarios"][name] for name in scenarios}
        (root / "config/smoke.yaml").write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    copy = Copy(root)
    copy.committed = copy.kept(*committed())
    process = subprocess.Popen(
        copy.command(), env=copy.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield copy, process
    process.kill()  # nothing, where it has ended
    process.communicate()


@pytest.fixture(scope="module")
def smoke(started):
    """The finished run of profile smoke, and what it said."""
    copy, process = started
    out, error = process.communicate()
    return copy, subprocess.CompletedProcess(process.args, process.returncode, out, error)


@pytest.fixture(scope="module")
def runs(scenarios):
    """The runs of profile smoke that are made."""
    return [run for run in graph.profile_runs("smoke") if run.scenario in (None, *scenarios, *PROFILE.models)]


def test_the_command_succeeds_and_ends_with_the_claims(smoke, runs):
    copy, answer = smoke
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(runs)} notebook runs, {len(runs)} to do, 0 up to date." in answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr
    assert "claims 0 held, 0 did not, " in " ".join(answer.stdout.split())
    told = copy.run_all("--profile", "smoke", "--claims").stdout
    for claim in families.read_claims():
        assert claim["id"] in told
    assert answer.stdout.strip().endswith("Report: figures/smoke/report.html")
    assert copy.root.joinpath("figures/smoke/report.html").is_file()


def test_the_summary_measures_every_claim_and_decides_none(smoke, scenarios):
    table = pd.read_csv(smoke[0].results / "summary.csv")
    assert table.columns.tolist() == SUMMARY
    assert table["id"].tolist() == [claim["id"] for claim in families.read_claims()]
    assert set(table["verdict"]) == {rules.NOT_TESTED}
    measured = table[table["measured"].notna()]
    elsewhere = set()
    for claim in families.read_claims():
        asked = claim["where"].get("scenario", FIRST)
        if not {*scenarios, *PROFILE.models} & set(asked if isinstance(asked, list) else [asked]):
            elsewhere.add(claim["id"])
    elsewhere |= set(NEED_BOTH) if len(scenarios) == 1 else set()
    # They ask for generators of other depths, and for tampers that smoke's untrained encoders never bring near.
    large = {claim["id"] for claim in families.read_claims() if claim["notebook"][:2] in ("14", "15")}
    assert set(table["id"]) - set(measured["id"]) - large == elsewhere - large, "claims without their number"
    assert measured[["low", "high", "n"]].notna().all(axis=None)
    assert (measured["low"] <= measured["measured"] + 1e-9).all()
    assert (measured["measured"] <= measured["high"] + 1e-9).all()


@pytest.mark.parametrize(("scenario", "name"), CELLS)
def test_every_experiment_leaves_rows_log_and_provenance(smoke, runs, scenario, name):
    folder = smoke[0].results / name / f"{scenario}-s0"
    assert {path.name for path in folder.iterdir()} >= {"rows.csv", "executed.ipynb", "done.json"}
    assert not (folder / "rows.partial").exists()
    rows = smoke[0].rows(name, scenario)
    assert len(rows) and set(rows["scenario"]) == {scenario} and set(rows["seed"]) == {0}
    assert set(rows["experiment"]) == {name}
    assert not [column for column in rows if "second" in column or "time" in column], "rows hold no times"
    record = json.loads((folder / "done.json").read_text())
    [run] = [run for run in runs if (run.notebook, run.scenario) == (name, scenario)]
    assert record["parameters"] == run.values
    assert {f"value {name}" for name in run.values} <= set(record["made_from"])
    assert {f"{run.folder}/rows.csv"} <= set(record["outputs"])
    assert {"versions", "machine", "seconds"} <= set(record)
    assert record["peak_memory_mb"] > 100, "PyTorch alone takes that"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_verification_has_a_row_for_each_scheme_and_key(smoke, scenario):
    pruned = smoke[0].rows("05_pruning", scenario)
    values = PROFILE.notebooks["05_pruning"]
    for tamper, rates in (("pruning", values["rates"]), ("pruning with batch norm", values["batch_norm_rates"])):
        part = pruned[pruned["tamper"] == tamper]
        assert sorted(part["strength"].unique()) == rates
        assert part["scheme"].value_counts().to_dict() == {
            **dict.fromkeys(SCHEMES, KEYS * len(rates)), "SHA-256": len(rates)
        }  # fmt: skip
    assert (pruned.loc[pruned["scheme"] == "SHA-256", "similarity"] == 0).all(), "every pruned weight is seen"
    rounded = smoke[0].rows("08_precision_loss", scenario)
    schemes = rounded.groupby("keys")["scheme"].unique().map(sorted).to_dict()
    assert schemes == {"id": ["DCmp", "SHA-256", "Trans"], "ood": sorted([*SCHEMES, "SHA-256"])}
    assert set(rounded["tamper"]) == {"rounding", "truncation", "rounding raw"}
    for rows in (pruned, rounded):
        assert rows["similarity"].between(-1, 1).all()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_honest_rerun_scores_exactly_one_and_the_hash_agrees(smoke, scenario):
    rows = smoke[0].rows("03_verify_intact", scenario)
    again = rows[rows["tamper"] == "repeated run"]
    assert (again["similarity"] == 1).all() and set(again["scheme"]) == {*SCHEMES, "SHA-256"}
    assert set(rows["kind"]) == {"run", "cast", "upload", "floor"}
    digests = rows[rows["scheme"] == "SHA-256"].groupby("kind")["similarity"].agg(["min", "max"])
    assert digests.loc[["run", "upload"]].to_numpy().min() == 1
    assert digests.loc[["cast", "floor"]].to_numpy().max() == 0


def test_nothing_was_trained_twice(smoke, scenarios):
    made = sorted(path.name.rsplit("-", 1)[0] for path in (smoke[0].results / "artifacts").iterdir() if path.is_dir())
    again = sorted(name for name in set(made) if made.count(name) > 1)
    assert again == [f"backdoor-stl10-0-{scenario}-s0" for scenario in sorted(scenarios)], "two for one"
    assert len(made) == len(set(made)) + len(again), "13's backdoor, with another lambda2, and no third"
    kinds = ["encoder", "accuracies", "record-id", "record-ood"]
    kinds += ["tuned-supervised-0.0001", "tuned-simclr-0.0001", "tuned-batch-norm-0"]
    kinds += [f"{what}-{target}{suffix}" for what, suffix in (("task", ""), ("backdoor", "-0")) for target in TARGETS]
    wanted = {f"{kind}-{scenario}-s0" for kind in kinds for scenario in scenarios}
    wanted |= {f"backdoor-{target}-10-cifar10-s0" for target in TARGETS}  # Table 7
    wanted |= {f"{kind}-{model}-s0" for kind in ("classifier", "signatures", "badnet-0.01")
               for model, of in PROFILE.models.items() if "notebooks" not in of}  # fmt: skip
    wanted |= {f"training-d4-lr{rate}-{scenario}-s0" for rate in ("0.001", "0.003") for scenario in scenarios}
    of_deepauth = ("signature-keys-", "protected-", "classifier-")
    if "imagenet" in scenarios:
        wanted |= {f"backdoor-stl10-{weight}-imagenet-s0" for weight in (10, 100)}  # Table 2, Fig. 12
        wanted |= {f"record-id{each}-imagenet-s0" for each in (2, 4, 12)}  # K1 to K3
    assert wanted <= set(made)
    others = {name.rpartition("-g1-")[0] for name in set(made) - wanted if not name.startswith(of_deepauth)}
    assert others == {"generator-max", "generator-min"}, "and the second generator seed"


def test_every_artifact_was_made_by_one_run_and_each_run_says_which_it_used(smoke):
    folder = smoke[0].results / "artifacts"
    records = [json.loads(path.read_text()) for path in smoke[0].results.rglob("done.json")]
    made = [name for record in records for name, made in record["artifacts"].items() if made]
    assert sorted(made) == sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert {name for record in records for name in record["artifacts"]} == set(made)


def test_figures_carry_their_mark_and_both_formats(smoke, scenarios):
    names = {path.stem for path in smoke[0].figures.glob("*.png")}
    assert len(names) == FIGURES[len(scenarios)] and names == {path.stem for path in smoke[0].figures.glob("*.pdf")}
    executed = json.loads((smoke[0].results / "90_summary" / "executed.ipynb").read_text())
    assert "SMOKE TEST, no meaning. smoke: resnet18 of width 4" in json.dumps(executed)


def test_the_report_holds_every_claim_and_figure_and_links_to_notebooks(smoke, scenarios, runs):
    page = (smoke[0].figures / "report.html").read_text(encoding="utf-8")
    for claim in families.read_claims():
        assert f'id="{claim["id"]}"' in page
    assert page.count("data:image/png;base64,") == FIGURES[len(scenarios)]
    links = re.findall(r'<a href="([^"#]+)"', page)
    assert len(links) >= len(runs) - 1
    assert all((smoke[0].figures / link).resolve().is_file() for link in links)
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)


@pytest.mark.parametrize("name", NAMES)
def test_executed_notebooks_hold_no_warnings_and_no_errors(smoke, name):
    for path in (smoke[0].results / name).rglob("executed.ipynb"):
        outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output["output_type"] == "error"]
        said = "".join("".join(output.get("text", "")) for output in outputs if output.get("name") == "stderr")
        assert "Warning" not in said and "Error" not in said, said[-2000:]
        assert outputs, "a notebook that shows nothing"


def test_the_solutions_run_on_what_a_run_has_left(smoke, tmp_path):
    """In a copy of their own, because they make encoders that no run of the profile asks for."""
    copy, _ = smoke
    root = tmp_path / "solutions"
    shutil.copytree(copy.root, root, ignore=shutil.ignore_patterns(".snakemake"))
    command = [sys.executable, "-m", "papermill", f"notebooks/{SOLUTIONS}.ipynb", "solved.ipynb", "-k", "python3"]
    command += ["-p", "profile", "smoke", "--no-progress-bar"]
    answer = subprocess.run(command, cwd=root, env=copy.variables(), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-3000:]
    solved = json.loads((root / "solved.ipynb").read_text())["cells"]
    solving = [cell for cell in solved if cell["cell_type"] == "code" and not cell["metadata"].get("tags")]
    assert [cell["id"] for cell in solving if not any(output.get("text") for output in cell["outputs"])] == []
    assert len(solving) == 1 + 2 * (1 + len(EXPERIMENTS)), "the start, and two for each notebook"


def test_figures_only_draws_the_same_again_and_then_nothing_is_left_to_do(smoke):
    copy, _ = smoke
    everything = ("results/smoke/**/rows.csv", "results/smoke/summary.csv", "figures/smoke/*")
    before = copy.kept(*everything)
    for path in copy.figures.glob("*"):
        path.unlink()
    answer = copy.run_all("--figures-only")
    assert answer.returncode == 0, answer.stderr
    after = copy.kept(*everything)
    assert after.keys() == before.keys()
    assert [path for path in before if after[path] != before[path]] == []
    times = {path: path.stat().st_mtime_ns for path in copy.results.rglob("done.json")}
    answer = copy.run_all()
    assert answer.returncode == 0, answer.stderr
    assert f"{len(times)} notebook runs, 0 to do, {len(times)} up to date" in answer.stdout
    assert {path: path.stat().st_mtime_ns for path in copy.results.rglob("done.json")} == times


def test_another_value_is_told_with_its_reason_and_what_it_costs(smoke, scenarios):
    copy, _ = smoke
    path = copy.root / "config/smoke.yaml"
    before = path.read_text(encoding="utf-8")
    profile = yaml.safe_load(before)
    profile["notebooks"]["06_backdoor"]["lambda1"] = 2.0
    path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    answer = copy.run_all("--dry-run")
    path.write_text(before, encoding="utf-8")
    assert answer.returncode == 0, answer.stderr
    again = re.findall(r"^  (\d\d)_\w+ ", answer.stdout, re.MULTILINE)
    assert sorted(set(again)) == ["06", "07", "09", "10", "11", "12", "13", "14", "15", "90"]
    assert "lambda1: 1.0 → 2.0" in answer.stdout
    artifacts = sorted(path.name for path in (copy.results / "artifacts").iterdir() if path.is_dir())
    backdoors = [name for name in artifacts if name.startswith("backdoor")]
    kept, made = map(int, re.search(r"Artifacts: (\d+) from the cache, (\d+) made again", answer.stdout).groups())
    assert made == len(backdoors)
    assert kept < len(artifacts) - len(backdoors), "accuracies and tuned encoders are not asked for"
    assert re.search(r"By runs at once: 1: .+, 8: .+, 64: .+\.", answer.stdout)


def test_the_copy_stays_as_it_was_committed(smoke):
    """A run writes into results/, figures/ and data/ alone."""
    copy, _ = smoke
    assert copy.kept(*copy.committed) == copy.committed
    top = {path.split("/")[0] for path in copy.committed}
    assert {path.name for path in copy.root.iterdir()} - top <= {"results", "figures", ".snakemake"}
