"""What an edit of this very project costs: which notebooks run again, and which artifacts are made again.

The edits are made in a copy in which everything of profile smoke is done, by fabricated records: no notebook runs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from toy_project import ROOT, tree

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))  # solutions are no experiment
PACKAGE = [path.as_posix() for path in tree("sslauth_utils") if path.suffix == ".py"]
EVERYTHING = " ".join(name[:2] for name in NOTEBOOKS)
ALL = EVERYTHING.replace("20 21 22 23 24 ", "")  # these are on classifiers and know no encoder
VERIFYING = ALL.replace("01 ", "")  # 01 trains encoders and verifies none
#: how many runs of a notebook may run again in profile smoke, all of them, where it is not one a scenario; of three
#: models one has rows of 20 that 22 and 23 rest on
RUNS = {"00": {1}, "20": {1}, "21": {1}, "22": {1, 3}, "23": {1, 3}, "24": {1}, "90": {1}}
OF_CLASSIFIERS = "backdoored_classifiers classifiers protected signature_keys signatures"
FROM_ENCODERS = "accuracies backdoors encoders fine_tuned generator_training generators records tasks"


class Study:
    """A copy of the project, and a process in it that answers what its engine thinks."""

    def __init__(self, root):
        self.root = root
        for path in [*tree("sslauth_utils"), *tree("notebooks"), *tree("config")]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, root / path)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SSLAUTH_")}
        self.worker = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("whatif_worker.py")], cwd=root,
            env=kept | {"PYTHONPATH": str(root)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.before = {}
        self.records_changed = False

    def ask(self, name, *arguments, **named):
        print(json.dumps([name, arguments, named]), file=self.worker.stdin, flush=True)
        answer = json.loads(self.worker.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def succeed(self, *notebooks, **how):
        """These notebooks come to their end."""
        self.records_changed = True
        self.ask("succeed", *notebooks, **how)

    def pending(self):
        """Reasons by the name of the run."""
        return self.ask("pending")

    def again(self):
        """Numbers of the notebooks that run again; all runs of each."""
        runs = [name.partition(" ")[0] for name in self.pending()]
        for name in set(runs):
            assert runs.count(name) in RUNS.get(name[:2], {2}), f"{name} runs again in part"
        return " ".join(sorted(name[:2] for name in set(runs)))

    def write(self, path, text):
        """Write or, for None, remove a file; `restore` undoes it."""
        target = self.root / path
        self.before.setdefault(path, target.read_text(encoding="utf-8"))
        target.unlink() if text is None else target.write_text(text, encoding="utf-8")

    def edit(self, path, *changes):
        """Put new text for old, each old one occurring once."""
        text = (self.root / path).read_text(encoding="utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
            text = text.replace(old, new)
        self.write(path, text)

    def edit_notebook(self, name, change):
        """Let `change` alter the notebook as nested dictionaries."""
        content = json.loads((self.root / f"notebooks/{name}.ipynb").read_text(encoding="utf-8"))
        change(content)
        self.write(f"notebooks/{name}.ipynb", json.dumps(content))

    def set_value(self, notebook, name, value):
        """Give the profile another value of a parameter."""
        content = yaml.safe_load((self.root / "config/smoke.yaml").read_text(encoding="utf-8"))
        assert content["notebooks"][notebook][name] != value
        content["notebooks"][notebook][name] = value
        self.write("config/smoke.yaml", yaml.safe_dump(content, sort_keys=False))

    def restore(self):
        """The files as they were committed."""
        for path, text in self.before.items():
            (self.root / path).write_text(text, encoding="utf-8")
        self.before = {}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The copy in which all is done; `study` lends it to one test."""
    study = Study(tmp_path_factory.mktemp("what runs again") / "a copy")
    study.ask("succeed")
    yield study
    study.worker.stdin.close()
    study.worker.wait(20)
    study.worker.stdout.close()


@pytest.fixture
def study(done):
    """The copy as it is after everything ran; put back at the end."""
    yield done
    done.restore()
    if done.records_changed:
        done.ask("succeed")
        done.records_changed = False


def test_nothing_runs_again_when_nothing_was_edited(study):
    assert study.pending() == {}


# --- edits ------------------------------------------------------------------------------------------------------------

#: path, old text, new text, notebooks that run again, recipes whose artifacts get another address
EDITS = {
    "a colour": ("report/style.py", '"Trans": "#D55E00"', '"Trans": "#E69F00"', "90", ""),
    "a column of a table": ("report/tables.py", 'columns={"strength": "decimals"}', 'columns={"strength": "digits"}',
                            "90", ""),
    "what the report shows": ("report/contents.py", "def all_figures(", "NEW = 1\n\n\ndef all_figures(", "90", ""),
    "a slider": ("report/sliders.py", "figsize=(9, 2.2)", "figsize=(9, 2)", "", ""),
    "a statistic": ("claims/statistics.py", "import numpy as np\n", "import numpy as np\n\nNEW = 1\n", "90", ""),
    "the engine": ("engine/progress.py", 'ENDED = ("done", "failed")', 'ENDED = ("done", "failed", "x")', "", ""),
    "the leash": ("base/leash.py", "PR_SET_PDEATHSIG = 1", "PR_SET_PDEATHSIG = 2", "", ""),
    "names of a run's variables": ("study/runs.py", '"SSLAUTH_RUN_DIR"', '"SSLAUTH_FOLDER"', "", ""),
    "the store": ("study/store.py", "time.monotonic() - start", "time.monotonic() - start + 0", "", ""),
    "the words of an error": ("schemes/keys.py", "key samples asked for, but", "key samples wished for, but", "", ""),
    "a comment": ("schemes/keys.py", "import torch\n", "import torch  # for permutations\n", "", ""),
    "pruning": ("attacks/prune.py", "amount=rate)", "amount=rate / 2)",
                "00 05 09 10 11 13 14 15 21 24 90", ""),
    "pre-training": ("models/simclr.py", "import math\n", "import math\n\nNEW = 1\n", ALL, FROM_ENCODERS),
    "probes": ("models/probes.py", "C=strength", "C=2 * strength", ALL, "accuracies fine_tuned"),
    "how an image is drawn": ("images/shapes.py", "import numpy as np\n", "import numpy as np\n\nNEW = 1\n",
                              EVERYTHING, f"{FROM_ENCODERS} keys shadow {OF_CLASSIFIERS}"),
    "a report's table": ("schemes/report.py", '"worst key %"', '"lowest key %"', VERIFYING, ""),
    "a backdoor": ("attacks/backdoor.py", "import math\n", "import math\n\nNEW = 1\n", "06 07 09 10 11 12 13 14 15 90",
                   "backdoors"),
    "sample pairs": ("schemes/pairs.py", "import hashlib\n", "import hashlib\n\nNEW = 1\n", "20 21 22 23 24 90",
                     "signatures"),
    "a classifier's training": ("models/supervised.py", "import math\n", "import math\n\nNEW = 1\n",
                                "20 21 22 23 24 90", OF_CLASSIFIERS),
    "a transformation": ("schemes/mappers.py", "import torch\n", "import torch\n\nNEW = 1\n", "11 90", ""),
}  # fmt: skip


@pytest.mark.parametrize(("path", "old", "new", "notebooks", "recipes"), EDITS.values(), ids=EDITS)
def test_an_edit_of_a_module(study, path, old, new, notebooks, recipes):
    before = study.ask("recipes")
    study.edit(f"sslauth_utils/{path}", (old, new))
    after = study.ask("recipes")
    assert study.again() == notebooks
    assert sorted(name for name in before if after[name] != before[name]) == sorted(recipes.split())


def test_docstrings_and_comments_of_all_modules_cost_nothing(study):
    before = study.ask("recipes")
    for path in PACKAGE:
        text = (study.root / path).read_text(encoding="utf-8")
        words = re.sub(r'^( *)"""(?=\w)', r'\1"""In other words: ', text, flags=re.MULTILINE)
        assert words != text or not text, f"{path} explains nothing"
        study.write(path, words + "\n# the end\n")
    assert study.pending() == {}
    assert study.ask("recipes") == before


def test_a_type_hint_and_its_import_cost_nothing(study):
    study.edit(
        "sslauth_utils/schemes/keys.py", ("from torch import Tensor\n", "from torch import Tensor, device\n"),
        ("def choose_keys(", "def _where(place: device) -> device:\n    return place\n\n\ndef choose_keys("),
    )  # fmt: skip
    assert study.again() == VERIFYING, "a new function counts, so that the hints alone are seen below"
    study.restore()
    study.edit("sslauth_utils/models/features.py",
               ("def encode(encoder: nn.Module, images", "def encode(encoder: Encoder, images"),
               ("from sslauth_utils.base.device", "from sslauth_utils.models.encoders import Encoder\n"
                                                  "from sslauth_utils.base.device"))  # fmt: skip
    assert study.pending() == {}


def test_prose_outputs_counts_and_language_of_all_notebooks_cost_nothing(study):
    def change(content):
        content["metadata"]["language_info"] = {"name": "python", "version": "3.11.9", "pygments_lexer": "ipython3"}
        content["cells"].append({"cell_type": "markdown", "id": "more", "metadata": {}, "source": "More words."})
        for number, cell in enumerate(content["cells"]):
            if cell["cell_type"] == "markdown":
                cell["source"] = ["In other words: ", *cell["source"]]
            else:
                cell["execution_count"] = number
                cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}]

    for name in NOTEBOOKS:
        study.edit_notebook(name, change)
    assert study.pending() == {}


@pytest.mark.parametrize(
    ("notebook", "notebooks"),
    [
        ("00_start_here", "00 90"),
        ("03_verify_intact", "03 90"),  # 04, 06 and 07 only show its rows
        ("08_precision_loss", "08 90"),
        ("09_key_distribution", "09 13 90"),
        ("01_pretrain_encoders", ALL),
        ("90_summary", "90"),
    ],
)
def test_an_edit_of_a_notebooks_code(study, notebook, notebooks):
    def change(content):
        [last] = [cell for cell in content["cells"] if cell["cell_type"] == "code"][-1:]
        last["source"] = [*last["source"], "\nprint(1)"]

    study.edit_notebook(notebook, change)
    assert study.again() == notebooks


# --- values, claims, hands --------------------------------------------------------------------------------------------

VALUES = {
    "attack": ("06_backdoor", "epochs", 2, "06 07 09 10 11 12 13 14 15 90", "backdoor"),
    "generators": ("02_enrol_keys", "generator_steps", 5, VERIFYING, "record generator"),
    "keys": ("02_enrol_keys", "n_keys", 24, VERIFYING, "record generator tuned backdoor"),
    "encoder": ("01_pretrain_encoders", "epochs", 2, ALL, "encoder accuracies record generator tuned task backdoor"),
    "accuracy": ("01_pretrain_encoders", "test_images", 90, ALL, "accuracies"),
    "fine-tuning": ("04_fine_tuning", "epochs", 3, "04 09 13 90", "tuned"),
    "pruning": ("05_pruning", "rates", [0.1, 0.3], "05 90", ""),
    "shadow": ("06_backdoor", "shadow_images", 32, "06 07 09 10 11 12 13 14 15 90", "backdoor"),
    "classifier": ("06_backdoor", "classifier_epochs", 3, "06 07 09 10 11 12 13 14 15 90", "task backdoor"),
    "summary": ("90_summary", "tau", 0.99, "90", ""),
}


@pytest.mark.parametrize(("notebook", "name", "value", "notebooks", "kinds"), VALUES.values(), ids=VALUES)
def test_another_value_in_the_profile(study, notebook, name, value, notebooks, kinds):
    before = study.ask("addresses")
    assert len(before) == 11
    study.set_value(notebook, name, value)
    after = study.ask("addresses")
    assert study.again() == notebooks
    assert {kind.split("-")[0] for kind in before if after[kind] != before[kind]} == set(kinds.split())


def test_the_reason_names_the_value_before_and_after(study):
    study.set_value("06_backdoor", "epochs", 2)
    reasons = study.pending()
    assert reasons["06_backdoor cifar10 seed 0"] == ["epochs: 1 → 2"]
    assert reasons["12_fidelity imagenet seed 0"] == ["needs 06_backdoor imagenet seed 0"]


def test_a_value_still_counts_when_only_the_run_that_it_belongs_to_was_made(study):
    """Rows of 02 do not depend on tau, those of others do: 02 alone, or an interruption after it, hides nothing."""
    study.set_value("02_enrol_keys", "tau", 0.99)
    assert study.again() == VERIFYING
    study.succeed("02_enrol_keys", rows=False)
    assert study.again() == VERIFYING.replace("02 ", "")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("config/questions/sslauth.yaml", "decisive: [matched-*, near-*]"),
        ("sslauth_utils/report/templates/report.css", "#fff"),
    ],
)
def test_a_question_and_the_page_s_look_draw_the_summary_again(study, path, word):
    text = (study.root / path).read_text(encoding="utf-8")
    assert word in text
    study.write(path, text.replace(word, word.replace("matched", "table1").replace("fff", "eee"), 1))
    assert study.pending() == {"90_summary": [f"{path} changed"]}


@pytest.mark.parametrize("path", ["config/claims/sslauth.yaml", "config/findings/sslauth.yaml"])
def test_a_rule_of_a_claim_or_finding_draws_the_summary_again(study, path):
    text = (study.root / path).read_text(encoding="utf-8")
    study.write(path, text.replace("rule: {below: 0}", "rule: {below: 0.1}", 1))
    assert study.pending() == {"90_summary": [f"{path} changed"]}


def test_a_summary_drawn_alone_is_up_to_date_until_the_colour_changes_back(study):
    study.edit("sslauth_utils/report/style.py", ('"Trans": "#D55E00"', '"Trans": "#E69F00"'))
    assert study.pending() == {"90_summary": ["report/style.py changed"]}
    study.succeed("90_summary")
    assert study.pending() == {}
    study.restore()
    assert study.pending() == {"90_summary": ["report/style.py changed"]}


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("figures/smoke/fig05.png", "another picture", "is not as the run left it"),
        ("figures/smoke/fig05.pdf", None, "is gone"),
        ("figures/smoke/report.html", "<p>my own</p>", "is not as the run left it"),
        ("results/smoke/summary.csv", None, "is gone"),
    ],
)
def test_what_the_summary_made_and_a_hand_changed_is_made_again(study, path, text, reason):
    study.write(path, text)
    assert study.pending() == {"90_summary": [f"{path} {reason}"]}


@pytest.mark.parametrize(("text", "reason"), [("edited\n", "is not as the run left it"), (None, "is gone")])
def test_rows_that_a_hand_changed_are_made_again_with_all_that_needs_them(study, text, reason):
    path = "results/smoke/09_key_distribution/cifar10-s0/rows.csv"
    study.write(path, text)
    needed = ["needs 09_key_distribution cifar10 seed 0"]
    assert study.pending() == {
        "09_key_distribution cifar10 seed 0": [f"{path} {reason}"],
        "13_utility_loss cifar10 seed 0": needed,
        "90_summary": ["needs 09_key_distribution cifar10 seed 0 and 1 more"],
    }
