"""What the report says around the numbers: which run it was, and where its notebooks lie."""

import os
from pathlib import Path

import pandas as pd

from sslauth_utils.base.paths import RESULTS
from sslauth_utils.claims.rules import NOT_REPRODUCED, REPRODUCED
from sslauth_utils.study.profiles import profile_of_rows


def run_note(profile: str) -> str:
    """One line above every figure: profile, encoder, training, keys, seeds."""
    settings = profile_of_rows(profile)
    encoder = settings.notebooks["01_pretrain_encoders"]
    enrolment = settings.notebooks["02_enrol_keys"]
    seeds = len(settings.seeds)
    images = encoder["pretrain_images"]
    count = {0: "all images", "scenario": "images by scenario"}.get(images, f"{images} images")
    note = (
        f"{profile}: {encoder['arch']} of width {encoder['width']}, SimCLR on {count} for {encoder['epochs']} epochs; "
        f"generator depth {enrolment['generator_depth']}, {enrolment['generator_steps']} steps; "
        f"{enrolment['n_keys']} keys × {seeds} seed{'s' if seeds > 1 else ''}"
    )
    return f"SMOKE TEST, no meaning. {note}" if profile == "smoke" else note


def headline(profile: str, claims: pd.DataFrame) -> str:
    """The report's opening sentence, from the verdicts themselves."""
    ours = claims["source"].str.startswith("ours")
    decided = claims[~ours & claims["verdict"].isin([REPRODUCED, NOT_REPRODUCED])]
    held = int((decided["verdict"] == REPRODUCED).sum())
    sources = {
        "smoke": "It only shows that the machinery runs.",
        "demo": "It uses embedded images and a small encoder: it shows the paper's effects, not its numbers.",
        "lite": "It uses real images and a narrow encoder: orders and verdicts compare, printed numbers only roughly.",
        "paper": "It uses the paper's settings where the paper states them.",
    }.get(profile, "")
    return (
        f"Of the paper's {int((~ours).sum())} claims that the notebooks touch, this run can decide {len(decided)}: "
        f"{held} held and {len(decided) - held} did not. {int(ours.sum())} more questions are ours and marked so. "
        f"{sources}"
    )


def notebook_links(profile: str, page_folder: Path) -> list[tuple[str, str]]:
    """(name, link relative to the page) of every executed notebook of `profile`."""
    found = sorted((RESULTS / profile).glob("[0-9]*/**/executed.ipynb"))
    return [
        (path.parent.relative_to(RESULTS / profile).as_posix().replace("/", " · "), os.path.relpath(path, page_folder))
        for path in found
    ]
