"""Answers of the engine in a copy of this project, whose root is the working folder: one JSON line a question.

Nothing is executed: a run that succeeds here leaves made-up rows, and the record that `engine.execute` would leave.
"""

import contextlib
import json
import sys
import traceback
from types import SimpleNamespace

from sslauth_utils.base.files import sha256_json, write_json, write_text
from sslauth_utils.base.fingerprint import combined, meanings
from sslauth_utils.base.paths import FIGURES, RESULTS, ROOT
from sslauth_utils.engine import graph, plan

PROFILE, SCENARIO, SEED = "smoke", "cifar10", 0
RECIPES = sorted(path.stem for path in (ROOT / "sslauth_utils/study/recipes").glob("*.py") if path.stem != "__init__")


def succeed(*notebooks, rows=True):
    """The runs of these notebooks, or all, come to their end; with `rows` False they leave the rows that were there."""
    runs = graph.with_needs(graph.profile_runs(PROFILE))
    for run in runs:
        if notebooks and run.notebook not in notebooks:
            continue
        if rows and run.scenario:
            write_text(ROOT / run.folder / "rows.csv", f"{run.name} with {sha256_json(run.values)}\n")
        if rows and run.info.summary:
            for path in (RESULTS / PROFILE / "summary.csv", RESULTS / PROFILE / "findings.csv"):
                write_text(path, "id\n")
            for name in ("fig05.png", "fig05.pdf", "report.html"):
                write_text(FIGURES / PROFILE / name, name)
        found = plan.made_from(run)
        record = {"made_from": found, "fingerprint": plan.fingerprint(found), "outputs": plan.outputs_of(run)}
        write_json(ROOT / run.done, record | {"seconds": 60.0, "artifacts": {}})


def pending():
    """Name of each run that is to be made, with its reasons."""
    return {one.run.name: one.reasons for one in plan.pending(graph.profile_runs(PROFILE))}


def recipes():
    """What the code behind each recipe means."""
    return {name: combined(meanings([f"sslauth_utils.study.recipes.{name}"])) for name in RECIPES}


class Asked(Exception):
    """The store was asked: its address is known, and nothing is made."""


def addresses():
    """Addresses of the artifacts of one encoder, by kind."""
    import torch

    from sslauth_utils.study.recipes import accuracies, backdoors, encoders, fine_tuned, generators, records, tasks

    found = {}

    def note(_profile, kind, ingredients, _make):
        found[kind.removesuffix(f"-{SCENARIO}-s{SEED}")] = ingredients.address
        raise Asked

    for module in (accuracies, backdoors, encoders, fine_tuned, generators, records, tasks):
        module.find_or_make = note
    record = SimpleNamespace(generators={}, features=torch.zeros(1, 1))
    generators.enrolled_record = lambda *_: (record, {})
    which = PROFILE, SCENARIO, SEED
    for ask, *more in [
        (encoders.pretrained_encoder,), (accuracies.encoder_accuracies,), (records.enrolled_record, "ood"),
        (records.enrolled_record, "id"), (tasks.clean_task, "stl10"), (backdoors.backdoored_encoder, "stl10", 0.0),
        (backdoors.backdoored_encoder, "stl10", 10.0), (generators.generators_of_seed, 1, ["min"]),
        *((fine_tuned.fine_tuned_encoder, method) for method in fine_tuned.METHODS),
    ]:  # fmt: skip
        with contextlib.suppress(Asked):
            ask(*which, *more)
    return found


for question in sys.stdin:
    name, arguments, named = json.loads(question)
    try:
        answer = {"answer": globals()[name](*arguments, **named)}
    except Exception:  # told where it was asked; the next question may fare better
        answer = {"error": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
