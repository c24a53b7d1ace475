"""What the report says around the numbers: which run it was, and how it came out."""

import pandas as pd

from sslauth_utils.claims.rules import NOT_REPRODUCED, REPRODUCED
from sslauth_utils.study.profiles import profile_of_rows


def run_note(profile: str, seeds: int | None = None) -> str:
    """One line above every figure: profile, encoder, training, keys, seeds.

    Args:
        seeds: how many the rows at hand are of; the profile's if None.
    """
    settings = profile_of_rows(profile)
    encoder = settings.notebooks["01_pretrain_encoders"]
    enrolment = settings.notebooks["02_enrol_keys"]
    seeds = seeds or len(settings.seeds)
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
    held, missed = (int((~ours & (claims["verdict"] == verdict)).sum()) for verdict in (REPRODUCED, NOT_REPRODUCED))
    papers = int((~ours).sum())
    sources = {
        "smoke": "It only shows that the machinery runs.",
        "demo": "It uses embedded images and a small encoder: it shows the paper's effects, not its numbers.",
        "lite": "It uses real images and a narrow encoder: orders and verdicts compare, printed numbers only roughly.",
        "paper": "It uses the paper's settings where the paper states them.",
    }.get(profile, "")
    return (
        f"Of the paper's {papers} claims {held} held and {missed} did not, and {papers - held - missed} of {papers} "
        f"cannot be decided here; {int(ours.sum())} more questions are ours and marked so. {sources}"
    ).strip()
