"""What README.md and docs/results.md tell of a run beside its summary: numbers of its rows, by name.

Each function has those of a paragraph or of a row of a table. The texts say with how many digits
(``docs/source``, `documents`).
"""

from fnmatch import fnmatch
from types import SimpleNamespace
from typing import Any

import pandas as pd

from sslauth_utils.base.paths import RESULTS
from sslauth_utils.claims.cuts import read_stated
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.findings import BEFORE, UNEXPLAINED
from sslauth_utils.claims.near import ROUNDING, verdicts
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from sslauth_utils.claims.verifications import NOTEBOOKS, honest, verifications
from sslauth_utils.report.answers import NEAR
from sslauth_utils.report.figures_training import training_table
from sslauth_utils.report.reference_run import Number, ReferenceRun
from sslauth_utils.report.sections import PAPERS, paper_of
from sslauth_utils.report.sentences import ATTACK_SUCCESS
from sslauth_utils.study.rows import select

BOTH = ["DCmp", "Trans"]
#: the classifiers of lite
MODELS = {
    "mnist_lenet5": "LeNet-5 of MNIST",
    "cifar10_resnet20": "ResNet-20 of CIFAR-10",
    "cifar10_vgg16": "VGG-16 of CIFAR-10",
}
ENCODERS = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}
#: of 15_near_tolerance, in words
SMALL_TAMPERS = {
    "pruned": ["pruning"],
    "noise on the weights": ["weight noise 0", "weight noise 1"],
    "part of the way to the backdoor": ["part of the backdoor"],
    "part of the way to the disguised backdoor": ["part of the disguise"],
}
#: claims that no key of a disguised or rounded encoder passes Trans, which is the paper's point
PASS_TRANS = ["table2-*-trans-success", "table7-*-trans-success", "table3-2-trans-success", "table6-2-trans-id-success"]
#: what lite's and gpu's claims measured on the same encoders with generators of so many steps, a file a profile: id,
#: seeds ("all", 0, 1), measured, low, high, n, met
EARLIER_STEPS = 300
EARLIER = RESULTS / "reference" / "earlier"
CLOSE = {"pruning": 0.1, "disguise": 10}  # the largest strength that is compared with honest rounding


def counts(run: ReferenceRun) -> SimpleNamespace:
    """Claims by verdict: the paper's and ours; findings' tests that were written before their rows."""
    verdicts, tests = run.papers["verdict"], run.findings[run.findings["finding"] != UNEXPLAINED]
    held, missed = (int((verdicts == verdict).sum()) for verdict in (REPRODUCED, NOT_REPRODUCED))
    source = run.summary["source"]
    put_to_it = source.str.startswith("ours") & (source.map(paper_of) == PAPERS[0])
    asked = put_to_it & ~source.str.startswith("ours; Crossing") & (run.summary["verdict"] != NOT_TESTED)
    before = int((tests["written"] == BEFORE).sum())
    return SimpleNamespace(papers=len(verdicts), held=held, missed=missed, ours=int(asked.sum()), before=before)


def others(run: ReferenceRun) -> list[SimpleNamespace]:
    """Of each further paper of which the run decides claims: how many, of how many, and how they came out."""
    asked = run.summary[~run.summary["source"].str.startswith("ours")]
    found = []
    for paper in PAPERS[1:]:
        verdicts = asked.loc[asked["source"].map(paper_of) == paper, "verdict"]
        held, missed = (int((verdicts == verdict).sum()) for verdict in (REPRODUCED, NOT_REPRODUCED))
        if held + missed:
            about = {"decided": held + missed, "of": len(verdicts), "held": held, "missed": missed}
            found.append(SimpleNamespace(paper=paper, **about))
    return found


def classifiers(run: ReferenceRun) -> list[SimpleNamespace]:
    """The classifiers that were signed, by kind: model (its name in the profile), name, accuracies, %, by seed, the
    iterations of stage 1, step (the end of the ids of claims at the paper's step), DeepAuth's larger rate, and how many
    models it protected and how many of them were tampered with, over all seeds."""
    measures = run.rows("20_sensitive_samples", "measures")
    own = measures[(measures["quantity"] == "accuracy") & (measures["tamper"] == "none")]
    return [
        SimpleNamespace(
            model=model, name=name, accuracies=(100 * own.loc[own["scenario"] == model, "value"]).tolist(),
            iterations=of["iterations"], step="-vgg16" if of["arch"] == "vgg16" else "", rate=of["embedding_rates"][-1],
            protected=of["embeddings"] * len(of["seeds"]), tampered=of["models"] * len(of["seeds"]),
        )
        for model, name in MODELS.items() if (of := run.models.get(model)) and (own["scenario"] == model).any()
    ]  # fmt: skip


def stamped(run: ReferenceRun, model: str) -> SimpleNamespace:
    """The backdoor of ten stamped images at the paper's rate, seed by seed: success on other stamped images, %, and
    the accuracy that it costs, points."""
    measures = run.rows("21_sample_pairing", "measures")
    asked = (measures["scenario"] == model) & measures["tamper"].isin(["backdoor", "none"])
    wide = measures[asked].assign(strength=lambda lines: pd.to_numeric(lines["strength"]))
    wide = wide.pivot_table(index="seed", columns=["strength", "quantity"], values="value")
    cost = 100 * (wide[0.0, "accuracy"] - wide[1e-5, "accuracy"])
    return SimpleNamespace(success=(100 * wide[1e-5, "attack success"]).tolist(), cost=cost.tolist())


def stored(run: ReferenceRun, model: str) -> Number:
    """Calibrated pairs that an honest copy with weights in float16 changes, %."""
    where = {"scenario": model, "method": "pairs, calibrated", "tamper": "weights stored as", "strength": "float16"}
    return run.measure("detected", "20_sensitive_samples", where)


def batch_norm(run: ReferenceRun, model: str, methods: list[str]) -> list[SimpleNamespace]:
    """One epoch of SGD with batch norm in either mode, at rate 0 too: how, what each method sees, %, and what the paper
    prints of its pairs at that rate on its ResNet18, if anything."""
    lines = []
    frozen = [(rate, "frozen") for rate in ("1e-09", "1e-07", "1e-06")]
    for rate, mode in [("1e-09", "train"), ("0", "train"), *frozen]:
        where = {"scenario": model, "tamper": f"fine-tuning sgd {mode} {rate}"}
        seen = [run.measure("detected", "21_sample_pairing", where | {"method": method}) for method in methods]
        paper = run.summary["paper"].get(f"pairs-t3-pairs-cifar10-{rate}", "")
        words = {"train": "in train mode", "frozen": "frozen"}[mode]
        how = f"rate {rate.replace('e-0', 'e-')}, batch norm {words}"
        lines.append(SimpleNamespace(how=how, seen=seen, paper=paper))
    return lines


def stated(notebook: str, setting: str) -> Any:
    """The value that a paper states for a setting, in config/stated."""
    return next(one["is"] for one in read_stated()[notebook] if one["setting"] == setting)


def allowed(claim: str) -> float:
    """The share of wrong keys, %, that a claim on DeepAuth's verification allows."""
    [found] = [one for one in read_claims() if one["id"] == claim]
    return 100 * found["versus"]


def accuracies(run: ReferenceRun, scenario: str) -> list[float]:
    """kNN accuracies of the committed encoders, %, seed by seed."""
    return [100 * facts["knn_accuracy"] for facts in run.encoders(scenario)]


def held(numbers: list[Number]) -> int:
    """How many of these claims held."""
    return sum(number.verdict == REPRODUCED for number in numbers)


def not_run(run: ReferenceRun) -> list[str]:
    """Numbers of the notebooks on SSL-Auth's encoders of which the run has no rows, though its profile has them."""
    tables = [name for name in run.settings if name[:2] not in ("00", "90")]
    return [name[:2] for name in tables if not run.has(name)]


def pruned(run: ReferenceRun, scheme: str) -> list[Number]:
    """Keys that pass at 10 % pruning, %, of the encoders of either scenario, CIFAR-10's first."""
    where = {"tamper": "pruning", "strength": 0.1, "scheme": scheme}
    scenarios = sorted(run.rows("05_pruning")["scenario"].unique())
    return [run.measure("auth_success", "05_pruning", where | {"scenario": scenario}) for scenario in scenarios]


def backdoors(run: ReferenceRun) -> SimpleNamespace:
    """Of the plain backdoors, by encoder: success, cost in points, and what a clean encoder answers to the trigger."""
    success, cost, clean, images = {}, {}, {}, {}
    for task in ("stl10", "gtsrb", "svhn"):
        where = {"tamper": f"backdoor {task}"}
        success[task] = run.each("share", "06_backdoor", where | {"quantity": "attack success"}, "measures")
        clean[task] = run.each("share", "06_backdoor", where | {"quantity": "ASR-B"}, "measures")
        cost[task] = [gap.turned for gap in run.each("accuracy_gap", "06_backdoor", where, "measures")]
        images[task] = cost[task][0].n
    both = success["stl10"] + success["gtsrb"]
    return SimpleNamespace(
        success=success, cost=cost, clean=clean, images=images,
        worked=[number for number in both if number.measured >= 100 * ATTACK_SUCCESS],
        failed=[number for number in success["stl10"] if number.measured < 100 * ATTACK_SUCCESS],
    )  # fmt: skip


def continued_simclr(run: ReferenceRun, epoch: int) -> list[Number]:
    """Keys that pass DCmp after so many epochs of continued SimCLR, %, by encoder."""
    where = {"tamper": "fine-tuning simclr 0.0001", "scheme": "DCmp", "strength": epoch}
    return run.each("auth_success", "04_fine_tuning", where)


def rises(run: ReferenceRun, seed: int) -> int:
    """At how many rates from 10 % on the agreement of the CIFAR-10 encoder's keys is higher than at the one before."""
    found = 0
    for notebook, where in (("05_pruning", {}), ("09_key_distribution", {"keys": "id"})):
        where = where | {"scenario": "cifar10", "seed": seed, "scheme": "DCmp", "tamper": "pruning"}
        rows = select(run.rows(notebook), where)
        means = rows[rows["strength"] >= 0.1 - 1e-9].groupby("strength")["similarity"].mean().sort_index()
        found += int((means.diff() > 0).sum())
    return found


def hashed_casts(run: ReferenceRun) -> list[float]:
    """What SHA-256 says of honest 16-bit casts of the weights: 1 for the same, 0 for another; each value once."""
    rows = select(run.rows("03_verify_intact"), {"tamper": "weights stored as", "scheme": "SHA-256"})
    return sorted(rows["similarity"].astype(float).unique())


def by_weight(run: ReferenceRun) -> SimpleNamespace:
    """The ImageNet encoder's disguise by its weight λ: keys that pass DCmp, and attack success, %."""
    where = {"scenario": "imagenet", "tamper": "disguised stl10"}
    strengths = sorted(select(run.rows("07_imitation"), where)["strength"].unique())
    success = {"quantity": "attack success"}
    return SimpleNamespace(
        weights=strengths,
        passed=[run.measure("auth_success", "07_imitation", where | {"scheme": "DCmp", "strength": strength})
                for strength in strengths],
        attack=[run.measure("share", "07_imitation", where | success | {"strength": strength}, "measures")
                for strength in strengths],
    )  # fmt: skip


def form_kappas(run: ReferenceRun, form: str) -> list[Number]:
    """κ of the disguise after a map to vectors ("linear", "format", "mlp"), by its dimensions and encoder."""
    names = [f"{form} {size}" for size in run.settings["11_transformation"]["dimensions"]]
    wheres = [{"tamper": "disguised stl10", "scheme": ["DCmp", name]} for name in names]
    found = [run.each("form_kappa", "11_transformation", where, versus=where["scheme"][1]) for where in wheres]
    return [number for numbers in found for number in numbers]


def kappas(run: ReferenceRun) -> SimpleNamespace:
    """κ by encoder: honest rounding to two decimals, pruning by at most 10 %, disguise, and plain backdoors."""
    rates = [rate for rate in run.settings["05_pruning"]["rates"] if rate <= CLOSE["pruning"]]
    two_decimals = {"tamper": "rounding", "strength": 2}
    asked = {
        "rounding": ("08_precision_loss", [two_decimals | {"keys": keys} for keys in ("ood", "id")]),
        "pruning": ("05_pruning", [{"tamper": "pruning", "strength": rate} for rate in rates]),
        "disguise": ("07_imitation", [{"tamper": "disguised stl10", "strength": CLOSE["disguise"]}]),
        "backdoor": ("06_backdoor", [{"tamper": f"backdoor {task}"} for task in ("stl10", "gtsrb", "svhn")]),
    }  # fmt: skip
    found = {
        name: [number for where in wheres for number in run.each("kappa", notebook, where | {"scheme": BOTH})]
        for name, (notebook, wheres) in asked.items()
    }
    return SimpleNamespace(**found, close=found["rounding"] + found["pruning"] + found["disguise"])


def printed_kappa(run: ReferenceRun, decimals: int) -> float:
    """κ of honest rounding as the paper's own cells of Table 3 give it."""
    trans, dcmp = (float(run.claim(f"table3-{decimals}-{scheme}-agreement").paper) for scheme in ("trans", "dcmp"))
    return (100 - trans) / (100 - dcmp)


def tolerance(run: ReferenceRun) -> SimpleNamespace:
    """DCmp's tolerance that matches Trans, in per cent, and the tampered encoders that the two then judge apart."""
    matched = run.tolerances.values()
    rows = {name: run.rows(name) for name in NOTEBOOKS if run.has(name)}
    tampers = verifications(rows, run.tau).loc[lambda table: ~honest(table)]
    apart = tampers[tampers["DCmp matched"].astype(bool) != tampers["Trans"].astype(bool)]
    loosest = [1 - run.tolerances[scenario, int(seed)].loosest
               for scenario, seed in zip(tampers["scenario"], tampers["seed"], strict=True)]  # fmt: skip
    return SimpleNamespace(
        middles=[100 * one.tau for one in matched],
        # one tolerance for all encoders lies between these
        loosest=100 * max(one.loosest for one in matched),
        strictest=100 * min(one.strictest for one in matched),
        tampers=tampers, apart=apart,
        beyond_loosest=tampers[(tampers["change"] < loosest) & ~tampers["Trans"].astype(bool)],
        near=tampers[(tampers["change"] / tampers["matched"]).between(1 / NEAR, NEAR)],
        same_hash=tampers[tampers["SHA-256"] == True],  # noqa: E712
    )  # fmt: skip


def rates(tampers: pd.DataFrame) -> list[float]:
    """The rates of the prunings among some lines of `tolerance`, %."""
    pruned = tampers[tampers["kind"] == "pruning"]
    return (100 * pruned["strength"].astype(float)).tolist()


def kinds(tampers: pd.DataFrame) -> list[str]:
    """The kinds among some lines of `tolerance`, each once."""
    return sorted(set(tampers["kind"]))


def utility_loss(run: ReferenceRun, weight: float, scenario: str) -> SimpleNamespace:
    """The backdoor with the utility loss weighed so: keys' agreement by scheme and kind, accuracy and success."""
    where = {"scenario": scenario, "strength": weight}
    keys = {
        (scheme, kind): run.measure("agreement", "13_utility_loss", where | {"scheme": scheme, "keys": kind})
        for scheme in BOTH for kind in ("ood", "id")
    }  # fmt: skip
    shares = {
        name: run.each("share", "13_utility_loss", where | {"quantity": name}, "measures")
        for name in ("backdoored accuracy", "attack success", "chance")
    }
    gaps = [gap.turned for gap in run.each("accuracy_gap", "13_utility_loss", where, "measures")]
    return SimpleNamespace(
        ood=keys["DCmp", "ood"], id=keys["DCmp", "id"], trans=keys["Trans", "ood"],
        accuracy=shares["backdoored accuracy"], attack=shares["attack success"], chance=shares["chance"][0], cost=gaps,
    )  # fmt: skip


def utility_cells(run: ReferenceRun) -> list[tuple[float, str, str]]:
    """What was run with which weight of the utility loss, the heaviest first: weight, scenario, its name."""
    rows = run.rows("13_utility_loss")
    made = set(zip(rows["strength"].astype(float), rows["scenario"], strict=True))
    names = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}
    return [(weight, scenario, names[scenario]) for weight, scenario in sorted(made, key=lambda one: (-one[0], one[1]))]


def by_generator(run: ReferenceRun) -> list[Number]:
    """Keys of the disguised CIFAR-10 encoder that pass Trans, %, generator by generator."""
    rows = run.rows("10_generator_objective")
    where = {"scenario": "cifar10", "tamper": "disguised stl10", "scheme": "Trans"}
    names = sorted(rows["keys"].unique())
    return [run.measure("auth_success", "10_generator_objective", where | {"keys": name}) for name in names]


def generators_trained(run: ReferenceRun) -> list[SimpleNamespace]:
    """Generators of 14_generator_training by encoder, depth, learning rate and steps: κ and the keys that pass Trans,
    change by change, in the order honest rounding, pruning, disguise."""
    lines, width = [], run.settings["01_pretrain_encoders"]["width"]
    for (scenario, seed), rows in run.rows("14_generator_training").groupby(["scenario", "seed"]):
        table = training_table(rows, run.tau)
        for (depth, rate, steps), part in table.groupby(["depth", "learning rate", "steps"]):
            by = part.set_index("tamper")
            found = [by.loc[tamper] for tamper in ("rounding", "pruning", "disguised stl10")]
            lines.append(SimpleNamespace(
                encoder=f"{ENCODERS[scenario]}, width {width}, seed {seed}", depth=depth, rate=rate, steps=steps,
                kappas=[Number(one["κ"], one["low"], one["high"]) for one in found],
                passed=[Number(one["keys that pass, %"]) for one in found],
                evenness=Number(found[2]["κ"] / found[0]["κ"]), pruned=Number(found[1]["κ"] / found[0]["κ"]),
            ))  # fmt: skip
    return lines


def passing_disguised(trained: list[SimpleNamespace], depth: int, steps: int) -> float:
    """Keys of the disguised encoder that pass Trans, %, with PGAN's own learning rate."""
    [found] = [one for one in trained if (one.depth, one.steps, one.rate) == (depth, steps, 0.001)]
    return found.passed[2].measured


def steps_raise(trained: list[SimpleNamespace]) -> bool:
    """Whether at every depth that trained for 1000 steps or more the last generator magnifies each change more than the
    untrained one."""
    for which in {(one.encoder, one.depth) for one in trained if one.steps >= 1000}:
        untrained, *_, longest = [one for one in trained if (one.encoder, one.depth) == which and one.rate == 0.001]
        if any(last.low <= first.high for first, last in zip(untrained.kappas, longest.kappas, strict=True)):
            return False
    return True


def first_steps_lower(trained: list[SimpleNamespace]) -> list[SimpleNamespace]:
    """Generators of the first stop, 100 steps, that magnify each change less than untrained."""
    usual = [one for one in trained if one.rate == 0.001]
    untrained = {(one.encoder, one.depth): one.kappas for one in usual if one.steps == 0}
    return [
        one for one in usual
        if one.steps == 100 and all(
            now.measured < before.measured
            for now, before in zip(one.kappas, untrained[one.encoder, one.depth], strict=True)
        )
    ]  # fmt: skip


def depth_lowers(trained: list[SimpleNamespace]) -> bool:
    """Whether of generators trained for equally many steps, at least 300, the deeper magnifies each change less."""
    usual = [one for one in trained if one.rate == 0.001 and one.steps >= EARLIER_STEPS]
    at = {(one.encoder, one.depth, one.steps): one.kappas for one in usual}
    return all(
        deep.measured < flat.measured
        for (encoder, depth, steps), kappas in at.items()
        for (of, other, length), others in at.items()
        if (of, length) == (encoder, steps) and other > depth
        for flat, deep in zip(kappas, others, strict=True)
    )


def first_seed_only(run: ReferenceRun) -> list[str]:
    """Notebooks on the encoders that were run with the first seed alone: "10", or "09 of ImageNet"."""
    found = []
    for notebook in run.settings:
        if notebook[0] == "2" or not run.has(notebook):
            continue
        seeds = {scenario: sorted(part.unique()) for scenario, part in run.rows(notebook).groupby("scenario")["seed"]}
        short = [scenario for scenario, made in seeds.items() if made == run.seeds[:1] != run.seeds]
        if len(short) == len(ENCODERS):
            found.append(notebook[:2])
        else:
            found += [f"{notebook[:2]} of {ENCODERS[scenario]}" for scenario in short]
    return found


def moved(run: ReferenceRun) -> SimpleNamespace:
    """The run's verdicts beside those of the same encoders with generators of 300 steps (`EARLIER`).

    Returns:
        decided: how many claims both decide by all seeds; passing, verdicts: lines (source, quantity, before, after) of
        the claims that no key passes Trans, and of those whose verdict differs.
    """
    before, passing, verdicts = earlier(run.profile), [], []
    lines = run.summary[(run.summary["verdict"] != NOT_TESTED) & run.summary.index.isin(before)]
    lines = lines[[run.seeds_of(name) == run.seeds for name in lines.index]]
    for name, line in lines.iterrows():
        pair = (line["source"], line["quantity"], before[name], now := run.claim(name))
        if any(fnmatch(name, pattern) for pattern in PASS_TRANS):
            passing.append(pair)
        if before[name].verdict != now.verdict:
            verdicts.append(pair)
    return SimpleNamespace(decided=len(lines), passing=passing, verdicts=verdicts)


def earlier(profile: str) -> dict[str, Number]:
    """What all seeds of the profile's run with generators of 300 steps measured, by claim (`EARLIER`)."""
    lines = pd.read_csv(EARLIER / f"{profile}_{EARLIER_STEPS}_steps.csv", dtype={"seeds": str}).query("seeds == 'all'")
    verdicts = lines["met"].map({True: REPRODUCED, False: NOT_REPRODUCED})
    return {
        line.id: Number(line.measured, line.low, line.high, int(line.n), verdict=verdict)
        for line, verdict in zip(lines.itertuples(), verdicts, strict=True)
    }


def near(run: ReferenceRun) -> SimpleNamespace:
    """Tampers as small as the tolerance: a table's lines, and where DCmp, as strict, and Trans decide otherwise.

    A line has the encoder, the tamper, and the 1 - cos from which on Trans rejects a key over that of honest rounding.
    """
    rows = run.rows("15_near_tolerance")
    lines = [
        (name, words, run.measure(
            "rejected_from_ratio", "15_near_tolerance", {"scenario": scenario, "tamper": [ROUNDING, *tampers]}
        ))
        for scenario, name in ENCODERS.items()
        for words, tampers in SMALL_TAMPERS.items()
    ]  # fmt: skip
    table = verdicts(rows, run.tau)
    differ, is_honest = table["dcmp"] != table["trans"], table["tamper"] == ROUNDING
    tampers, apart = table[~is_honest], table[differ & ~is_honest]
    return SimpleNamespace(
        lines=lines, models=table.groupby(["scenario", "seed"]).ngroups, tampers=len(tampers),
        close=int(tampers["near"].sum()), apart=len(apart), far=int((~apart["near"]).sum()),
        only_dcmp=int((~apart["dcmp"]).sum()), only_trans=int((~apart["trans"]).sum()),
        roundings=int(is_honest.sum()), honest_apart=int((differ & is_honest).sum()),
    )  # fmt: skip
