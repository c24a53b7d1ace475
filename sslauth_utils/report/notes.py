"""What the report says around the numbers: which run it was, and how it came out."""

import pandas as pd

from sslauth_utils.report.sections import totals
from sslauth_utils.study.profiles import profile_of_rows


def run_note(profile: str) -> str:
    """One line above every figure: profile, encoder, training, keys; `of_seeds` ends it."""
    settings = profile_of_rows(profile)
    encoder = settings.notebooks["01_pretrain_encoders"]
    enrolment = settings.notebooks["02_enrol_keys"]
    images = encoder["pretrain_images"]
    count = {0: "all images", "scenario": "images by scenario"}.get(images, f"{images} images")
    note = (
        f"{profile}: {encoder['arch']} of width {encoder['width']}, SimCLR on {count} for {encoder['epochs']} epochs; "
        f"generator depth {enrolment['generator_depth']}, {enrolment['generator_steps']} steps; "
        f"{enrolment['n_keys']} keys"
    )
    return _marked(profile, note)


def of_seeds(rows: pd.DataFrame) -> str:
    """Of how many seeds these rows are: " × 2 seeds", or " × 1 to 2 seeds" where scenarios have different ones."""
    counts = rows.groupby("scenario")["seed"].nunique()
    least, most = counts.min(), counts.max()
    return f" × {least if least == most else f'{least} to {most}'} seed{'s' if most > 1 else ''}"


def models_note(profile: str) -> str:
    """One line above every figure of classifiers: profile, networks, training, seeds."""
    models = [
        f"{name} ({of['arch']} of {_width(of['width'])}, {of['epochs']} epochs) "
        f"× {len(of['seeds'])} "
        f"seed{'s' if len(of['seeds']) > 1 else ''}{_only_in(of.get('notebooks', []))}"
        for name, of in profile_of_rows(profile).models.items()
    ]
    return _marked(profile, f"{profile}: {'; '.join(models)}")


def _only_in(notebooks: list[str]) -> str:
    return f" in {' and '.join(sorted(name[:2] for name in notebooks))} alone" if notebooks else ""


def _width(channels: int) -> str:
    return f"width {channels}" if channels else "full width"


def _marked(profile: str, note: str) -> str:
    return f"SMOKE TEST, no meaning. {note}" if profile == "smoke" else note


def headline(profile: str, claims: pd.DataFrame) -> str:
    """The report's opening sentence, from the verdicts themselves."""
    sources = {
        "smoke": "It only shows that the machinery runs.",
        "demo": "It uses embedded images and a small encoder: it shows effects, not the papers' numbers.",
        "lite": "It uses real images and a narrow encoder: orders and verdicts compare, printed numbers only roughly.",
        "paper": "It uses the papers' settings where they state them.",
    }.get(profile, "")
    return f"{totals(zip(claims['source'], claims['verdict'], strict=True))} {sources}".strip()
