"""What stands above the answers: which paper, how much smaller this run is, and what its words mean."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sslauth_utils.claims.cuts import read_stated, stated_for
from sslauth_utils.report.sections import PAPERS, paper_of
from sslauth_utils.study.profiles import BACKDOOR, CLASSIFIERS, ENROL, PRETRAIN, Profile
from sslauth_utils.study.roles import ROLES

#: each paper: authors, title, where it stands
CITED = {
    "SSL-Auth": "Li et al., “An Authentication Framework by Fragile Watermarking for Pre-trained Encoders in "
    "Self-supervised Learning”, arXiv:2308.04673",
    "Sample pairs": "Gao et al. 2024, on sensitive sample-pairing",
    "DeepAuth": "Lao et al., AAAI 2022",
}
NAMES = ROLES | {"tiny_imagenet": "Tiny-ImageNet", "mnist": "MNIST", "cifar10_lossless": "CIFAR-10"}
TARGETS = ("stl10", "gtsrb", "svhn")
#: notebooks (ours) whose rows may turn the answer on Trans, and what they bring
MAY_TURN = {
    "15_near_tolerance": "more tampers near the tolerance",
    "14_generator_training": "generators of {steps:,} steps",
}


@dataclass(frozen=True)
class Opening:
    """What a page says before its answers.

    Attributes:
        cited: the papers, and where the rows come from, in a line.
        sizes: (what, here, in the paper), a line each; (what, text, "") where there is nothing to compare.
        words: (word, what it means).
        played: role of the paper ("STL-10") to the set that plays it here, if another one does.
    """

    cited: str = ""
    sizes: Sequence[tuple[str, str, str]] = ()
    words: Sequence[tuple[str, str]] = ()
    played: Mapping[str, str] = field(default_factory=dict)


def opening(
    profile: Profile, rows: Mapping[str, pd.DataFrame], summary: pd.DataFrame, runs: pd.DataFrame, tau: float
) -> Opening:
    """Everything above the answers.

    Args:
        profile: with which the rows were made.
        rows: by notebook name.
        summary: as `judge.evaluate` gives it.
        runs: as `provenance.provenance` gives them.
        tau: both schemes' tolerance.
    """
    played = played_by(profile)
    return Opening(cited(summary, runs), sizes(profile, rows), words(tau, played), played)


def cited(summary: pd.DataFrame, runs: pd.DataFrame) -> str:
    """The first paper and each further one of which something was measured; date and commits, if all rows know."""
    measured = set(summary.loc[summary["measured"].notna(), "source"].map(paper_of))
    parts = [CITED[paper] for paper in PAPERS if paper == PAPERS[0] or paper in measured]
    if "finished" in runs and len(runs) and runs["finished"].notna().all():
        parts.append(f"rows of {max(runs['finished'].astype(str))[:10]}")
    if "commit" in runs and len(runs) and runs["commit"].notna().all():
        commits = list(dict.fromkeys(runs["commit"]))
        parts.append(f"commit {', '.join(commits)}" if len(commits) < 4 else f"{len(commits)} commits (at the end)")
    return "; ".join(parts) + "."


def played_by(profile: Profile) -> dict[str, str]:
    """Role of the paper to the set that plays it in this profile, roles that play themselves left out."""
    pairs = []
    for scenario in profile.scenarios:
        settings = profile.parameters(PRETRAIN, scenario)
        if not settings.get("weights_file"):
            pairs.append((settings["pretrain_data"], scenario))
        if BACKDOOR in profile.notebooks:
            attack = profile.parameters(BACKDOOR, scenario)
            pairs += zip(attack["target_data"], attack["targets"], strict=True)
    return {ROLES.get(role, role): _set_name(data) for data, role in pairs if data != role}


def sizes(profile: Profile, rows: Mapping[str, pd.DataFrame]) -> list[tuple[str, str, str]]:
    """Encoders, their training and quality, and the generator, here and in the paper; what may turn the answer."""
    stated, scenarios = read_stated(), list(profile.scenarios)
    ours = {scenario: profile.parameters(PRETRAIN, scenario) for scenario in scenarios}
    key = profile.parameters(ENROL, scenarios[0])

    def paper(notebook: str, setting: str, scenario: str = "") -> dict[str, Any]:
        asked = [one for one in stated[notebook] if one["setting"] == setting]
        return next(one for one in asked if not scenario or stated_for(one, scenario))

    kinds = _once(f"{one['arch']} of width {one['width']}" for one in ours.values())
    asked = paper(PRETRAIN, "arch")["is"], paper(PRETRAIN, "width")["is"]
    number = len(scenarios) * len(profile.seeds)
    lines = [("Encoders", f"{number}, {kinds}", f"{asked[0]} of width {asked[1]}")]
    training = {
        scenario: "public weights"
        if one.get("weights_file")
        else f"{one['epochs']} epochs on {_images(one['pretrain_images'])}"
        for scenario, one in ours.items()
    }
    images = [re.sub(r".* of ", "", paper(PRETRAIN, "pretrain_images", scenario)["says"]) for scenario in scenarios]
    epochs = paper(PRETRAIN, "epochs")["is"]
    lines.append(("SimCLR", _once(training.values()), f"{epochs:,} epochs on {' and '.join(images)}"))
    if quality := _quality(ours, rows.get(PRETRAIN)):
        lines.append(("kNN accuracy", quality, ""))
    steps = paper(ENROL, "generator_steps")["is"]
    here = f"depth {key['generator_depth']}, {key['generator_steps']:,} steps"
    lines.append(("Generator", here, f"depth {paper(ENROL, 'generator_depth')['is']}, {steps:,} steps"))
    if classifiers := _classifiers(profile, rows):
        lines.append(("Classifiers", classifiers, ""))
    enough = {"14_generator_training"} if key["generator_steps"] >= steps else set()
    missing = [text.format(steps=steps) for name, text in MAY_TURN.items() if name not in {*rows, *enough}]
    if missing:
        lines.append(("May turn the answer on Trans", f"{' and '.join(missing)}: no rows here", ""))
    return lines


def _quality(ours: Mapping[str, Mapping[str, Any]], rows: pd.DataFrame | None) -> str:
    """kNN accuracy, encoder by encoder, with chance."""
    parts = []
    for scenario, one in ours.items() if rows is not None else ():
        mine = rows[rows["scenario"] == scenario].groupby("quantity")["value"]
        if "knn_accuracy" in mine.groups:
            values = [f"{100 * value:.0f}" for value in mine.get_group("knn_accuracy")]
            chance = 100 * mine.get_group("chance").mean()
            name = _set_name(one["pretrain_data"]) + f", {one['size']} px"
            parts.append(f"{name}: {' and '.join(values)} % (chance {chance:g} %)")
    return "; ".join(parts)


def _classifiers(profile: Profile, rows: Mapping[str, pd.DataFrame]) -> str:
    """The classifiers of which there are rows: how many of which kind, trained how long."""
    seen = pd.concat([pd.DataFrame({"scenario": [], "seed": []}), *(table[["scenario", "seed"]] for name, table in
                      rows.items() if name >= CLASSIFIERS and {"scenario", "seed"} <= set(table))])  # fmt: skip
    seeds = seen.groupby("scenario")["seed"].nunique()
    return "; ".join(
        f"{seeds[name]} {of['arch']} of {_set_name(of['train_data'])}, {of['epochs']} epochs"
        for name, of in profile.models.items()
        if name in seeds.index
    )


def words(tau: float, played: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the page's words mean, those that it uses before all else first."""
    sets = "; ".join(f"{player} plays {role}" for role, player in played.items())
    return [
        ("DCmp, Trans", "DCmp compares the key images' features by their cosine, Trans the images that a generator "
         "makes of them, by SSIM."),
        ("agreement, τ", f"Mean similarity of the keys. A key passes above the tolerance τ = {100 * tau:g} %, an "
         "encoder if every key does."),
        ("equally strict", "DCmp with the tolerance at which it accepts the honest changes that Trans accepts, and no "
         "others."),
        ("success", "Authentication success: keys that pass. Attack success: triggered images read as the target. "
         "ASR-B: the same with the clean encoder."),
        ("G_min, G_max, G_ini", "A generator trained to be unlike the key, like it, or not trained. Trans has G_min. "
         "κ is how many times larger a change is behind it."),
        ("ID, OOD keys", "Key images from the encoder's own training set, or from another. K1, K2, K3: 5, 100 and 1 a "
         "class, ID."),
        ("honest change", "An untouched encoder run again, cast to other arithmetic, or its answer uploaded with fewer "
         "digits."),
        *([("other sets", f"{sets}. The claims keep the paper's names.")] if sets else []),
    ]  # fmt: skip


def _set_name(data: str) -> str:
    return NAMES.get(data, data.replace("_", " "))


def _images(count: int) -> str:
    return f"{count:,} images" if count else "all images"


def _once(texts: Any) -> str:
    return " and ".join(dict.fromkeys(texts))
