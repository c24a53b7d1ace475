"""What the report shows: every table and every figure that the rows at hand allow."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import matplotlib
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_json, sha256_file, sha256_json, write_json
from sslauth_utils.base.fingerprint import combined, meanings
from sslauth_utils.base.leash import die_with
from sslauth_utils.claims import families
from sslauth_utils.claims.near import verdicts
from sslauth_utils.claims.tolerance import matched_tolerances
from sslauth_utils.claims.verifications import NOTEBOOKS, verifications
from sslauth_utils.report import (
    figures_attacks,
    figures_crossing,
    figures_deepauth,
    figures_enrolment,
    figures_generators,
    figures_honest,
    figures_keys,
    figures_near,
    figures_overview,
    figures_pairs,
    figures_pruning,
    figures_training,
    style,
    tables,
)
from sslauth_utils.report.notes import of_seeds

Rows = Mapping[str, pd.DataFrame]
OVERVIEW = (
    "Every honest change and every tamper: how far its worst key moved, since a verification passes only if every key "
    "does. Right of a tolerance's line DCmp rejects; filled marks are rejected by Trans. Where hollow marks end and "
    "filled ones begin at their seed's dotted line, the generator decides nothing that a stricter cosine would not. "
    "One mark a verification, the first seed above the next; the kinds nearest to the tolerance on top."
)


@dataclass(frozen=True)
class Drawing:
    """One figure that can be drawn.

    Attributes:
        name: of its files, without ending.
        draw: makes it.
        caption: what the reader sees.
        made_from: hash of the rows, the printed numbers and the code that it depends on.
        seeds: of how many it shows encoders (`notes.of_seeds`).
        of_models: whether it shows classifiers, not encoders.
    """

    name: str
    draw: Callable[[], Figure]
    caption: str
    made_from: str
    seeds: str
    of_models: bool = False


def all_tables(rows: Rows, measures: Rows, tau: float) -> list[tables.Table]:
    """(heading, how to read it, table) for whatever notebooks have left rows.

    Args:
        rows, measures: by notebook name.
        tau: the tolerance.
    """
    made = []
    if "08_precision_loss" in rows:
        made.append(tables.precision_table(rows["08_precision_loss"], tau))
    if "03_verify_intact" in rows:
        made.append(tables.null_table(rows["03_verify_intact"], tau))
    if "04_fine_tuning" in rows:
        made.append(tables.fine_tuning_table(rows["04_fine_tuning"], measures["04_fine_tuning"], tau))
    if "05_pruning" in rows:
        made.append(tables.pruning_table(rows["05_pruning"], tau))
        made.append(tables.kappa_table(rows["05_pruning"]))
    attacks = [name for name in ("06_backdoor", "07_imitation") if name in rows]
    if attacks:
        both = [pd.concat([part[name] for name in attacks], ignore_index=True) for part in (rows, measures)]
        made.append(tables.attack_table(*both, tau))
    if "13_utility_loss" in rows:
        made.append(tables.utility_table(rows["13_utility_loss"], measures["13_utility_loss"], tau))
    if "03_verify_intact" in rows and (attacks or {"04_fine_tuning", "05_pruning"} & set(rows)):
        made.append(tables.tolerance_table(rows, matched_tolerances(rows["03_verify_intact"], tau), tau))
    if "10_generator_objective" in rows:
        printed = families.printed_points("10_generator_objective")
        made.append(tables.objective_table(rows["10_generator_objective"], tau, printed))
    if "11_transformation" in rows:
        printed = families.printed_points("11_transformation")
        made.append(tables.transformation_table(rows["11_transformation"], tau, printed))
    if "21_sample_pairing" in rows:
        made.append(figures_pairs.pairing_table(rows["21_sample_pairing"]))
    if "23_deepauth" in rows:
        made += figures_deepauth.all_tables(rows["23_deepauth"], measures["23_deepauth"])
    if "24_classifier_schemes" in rows:
        made.append(figures_crossing.crossing_table(rows["24_classifier_schemes"]))
        made.append(figures_crossing.once_table(rows["24_classifier_schemes"]))
    return made


def _several_lambda(rows: pd.DataFrame | None) -> bool:
    """Whether some encoder was disguised with more than one lambda: the others are left out of Fig. 12."""
    if rows is None:
        return False
    weights = rows[rows["tamper"] == "disguised stl10"].groupby("scenario")["strength"].nunique()
    return bool((weights > 1).any())


def all_figures(rows: Rows, measures: Rows, tau: float) -> list[Drawing]:
    """Every figure that the rows allow: the overview, then in the paper's order.

    Args:
        rows, measures: by notebook name.
        tau: the tolerance.
    """
    printed = families.printed_points
    honest = rows.get("03_verify_intact")
    found: list[Drawing] = []
    own = {path: meaning for path, meaning in meanings([__name__]).items() if path.endswith("report/contents.py")}

    def add(
        name: str,
        notebook: str,
        module: ModuleType,
        draw: Callable[[pd.DataFrame], Figure],
        caption: str,
        needs: str = "",
    ) -> None:
        """Only where there are rows, and rows of the tamper that the figure `needs`: an attack may have failed."""
        if notebook in rows and len(rows[notebook]) and (not needs or needs in set(rows[notebook]["tamper"])):
            tables = [_hash(rows[notebook]), _hash(measures.get(notebook)), _hash(printed(notebook)), _hash(honest)]
            code = combined(own | meanings([module.__name__]))
            made_from = sha256_json([*tables, tau, code, matplotlib.__version__])
            of_models = module in (figures_pairs, figures_deepauth, figures_crossing)
            seeds = "" if of_models else of_seeds(rows[notebook])
            found.append(Drawing(name, lambda: draw(rows[notebook]), caption, made_from, seeds, of_models))

    if len(verified := verifications(rows, tau)):
        code = combined(own | meanings([figures_overview.__name__]))
        made_from = sha256_json([*(_hash(rows.get(name)) for name in NOTEBOOKS), tau, code, matplotlib.__version__])
        found.append(Drawing(
            "fig00_overview", lambda: figures_overview.fig_overview(verified, tau), OVERVIEW, made_from,
            of_seeds(verified),
        ))  # fmt: skip
    add(
        "fig01_pretraining",
        "01_pretrain_encoders",
        figures_enrolment,
        figures_enrolment.fig_pretraining,
        "SimCLR pre-training. Bars are means over seeds, dots the seeds.",
    )
    add(
        "fig02_generators",
        "02_enrol_keys",
        figures_enrolment,
        figures_enrolment.fig_generators,
        "Generator training: mean SSIM between the generated image and the key sample, one line a seed.",
    )
    add(
        "fig03_null",
        "03_verify_intact",
        figures_honest,
        lambda r: figures_honest.fig_null(r[r["kind"] != "floor"], tau),
        "Honest changes of an intact encoder: the worst key of each seed. Right of the dashed line is a "
        "false alarm; the left edge is a score of exactly 1.",
    )
    add(
        "fig04_fine_tuning",
        "04_fine_tuning",
        figures_attacks,
        lambda r: figures_attacks.fig_fine_tuning(r, tau),
        "Fig. 4 of the paper: agreement by fine-tuning epoch, for every way of fine-tuning. Bands: 95 % intervals.",
    )
    add(
        "fig05_pruning_agreement",
        "05_pruning",
        figures_pruning,
        lambda r: figures_pruning.fig_pruning_agreement(r, tau, printed("05_pruning"), honest),
        "Fig. 5 of the paper: agreement by pruning rate. Bands along the curves are 95 % bootstrap intervals, "
        "stars the paper's numbers. Level lines: the lowest agreement of honest changes, rounding to two decimals too.",
    )
    add(
        "fig05b_amplification",
        "05_pruning",
        figures_pruning,
        figures_pruning.fig_amplification,
        "How much larger a change looks after the generator, by training objective, with 95 % intervals.",
    )
    add(
        "fig05c_batch_norm",
        "05_pruning",
        figures_pruning,
        lambda r: figures_pruning.fig_batch_norm_ablation(r, tau),
        "Ablation: batch-norm scales pruned as well (dotted) or not (solid).",
    )
    add(
        "fig06_pruning_success",
        "05_pruning",
        figures_pruning,
        lambda r: figures_pruning.fig_pruning_success(r, tau, printed("05_pruning"), honest),
        "Fig. 6 of the paper: authentication success by pruning rate (log scale). Bands along the curves are exact "
        "95 % intervals. Level lines: the lowest success of honest changes. Trans's lies at the bottom: an honest user "
        "who rounds to two decimals keeps hardly a key above τ.",
    )
    add(
        "fig07_key_choice",
        "09_key_distribution",
        figures_keys,
        lambda r: figures_keys.fig_key_choice(r, tau),
        "Fig. 7 of the paper: agreement by tamper for the key choices K1, K2, K3 and random keys.",
    )
    add(
        "fig08_key_pruning",
        "09_key_distribution",
        figures_keys,
        lambda r: figures_keys.fig_key_pruning(r, tau, printed("09_key_distribution")),
        "Figs. 8 and 9 of the paper: agreement and success under pruning, in- against out-of-distribution keys.",
    )
    add(
        "fig10_key_shift",
        "09_key_distribution",
        figures_keys,
        lambda r: figures_keys.fig_key_shift(measures["09_key_distribution"], r),
        "Fig. 10 of the paper: features before and after pruning (principal components) and similarities of the keys.",
    )
    add(
        "fig11_by_epoch",
        "07_imitation",
        figures_attacks,
        lambda r: figures_attacks.fig_by_epoch(r, measures["07_imitation"], tau, "stl10", 10, honest),
        "Fig. 11 of the paper: the disguised backdoor epoch by epoch, target STL-10, λ = 10. Diamonds are means, "
        "dots the seeds, bands 95 % intervals. Level lines: the lowest authentication success of honest changes. "
        "Trans's lies at the bottom: an honest user who rounds to two decimals keeps hardly a key above τ.",
        needs="disguised stl10 10 by epoch",
    )
    if _several_lambda(rows.get("07_imitation")):
        add(
            "fig12_lambda",
            "07_imitation",
            figures_attacks,
            lambda r: figures_attacks.fig_lambda(r, measures["07_imitation"], tau, "stl10"),
            "Fig. 12 of the paper: the disguised backdoor over λ, target STL-10. Diamonds are means, dots the seeds, "
            "bands 95 % intervals.",
        )
    add(
        "table1_backdoor",
        "06_backdoor",
        figures_attacks,
        lambda r: figures_attacks.fig_backdoor(r, tau, printed("06_backdoor")),
        "Table 1 of the paper as a picture: every key, by target and scheme; bars are means, stars the paper's "
        "numbers.",
    )
    add(
        "table1_attack_success",
        "06_backdoor",
        figures_attacks,
        lambda r: figures_attacks.fig_attack_success(measures["06_backdoor"]),
        "What the plain backdoors do: clean and backdoored accuracy, attack success, and the same on the clean "
        "encoder.",
    )
    add(
        "table2_attack_success",
        "07_imitation",
        figures_attacks,
        lambda r: figures_attacks.fig_attack_success(measures["07_imitation"]),
        "What the disguised backdoors do.",
    )
    add(
        "table3_precision",
        "08_precision_loss",
        figures_honest,
        lambda r: figures_honest.fig_precision(r, tau),
        "Tables 3 and 6 as a picture: the worst key by decimal places kept. The encoder is intact: every point above "
        "the dashed line is a false alarm.",
    )
    add(
        "table5_objective",
        "10_generator_objective",
        figures_generators,
        lambda r: figures_generators.fig_objective(r, tau, printed("10_generator_objective")),
        "Table 5 as a picture: the disguised encoder by generator objective, one dot a generator, stars the paper's.",
    )
    add(
        "table5b_kappa",
        "10_generator_objective",
        figures_generators,
        figures_generators.fig_objective_kappa,
        "How much each generator magnifies, by objective and tamper.",
    )
    add(
        "table5c_negative",
        "10_generator_objective",
        figures_generators,
        lambda r: figures_generators.fig_correlation(measures["10_generator_objective"]),
        "Is the image of G_min the negative of the key? Correlation between the generated image and the key.",
    )
    add(
        "table8_transformation",
        "11_transformation",
        figures_generators,
        lambda r: figures_generators.fig_transformation(r, tau, printed("11_transformation")),
        "Table 8 as a picture: the disguised encoder after turning features into vectors and into images.",
    )
    add(
        "fig13_utility_loss",
        "13_utility_loss",
        figures_attacks,
        lambda r: figures_attacks.fig_utility_loss(r, measures["13_utility_loss"]),
        "An ablation: the plain backdoor with and without its utility loss. Lines are means, dots the seeds, bands "
        "95 % intervals.",
    )
    add(
        "fig14_generator_training",
        "14_generator_training",
        figures_training,
        lambda r: figures_training.fig_training(r, tau),
        "How much the generator magnifies, by the steps and the depth of its training. Dotted: the paper's 1000. "
        "Bands: 95 % intervals.",
    )
    add(
        "fig15_near_tolerance",
        "15_near_tolerance",
        figures_near,
        lambda r: figures_near.fig_near(verdicts(r, tau)),
        "Tampers as small as the tolerance. Filled: Trans rejects. Right of the line DCmp rejects, at the tolerance "
        "that accepts the same honest roundings. A filled mark left of it is a tamper that only Trans sees.",
    )
    null, pairing = "20_sensitive_samples", "21_sample_pairing"
    add("fig20_null", null, figures_pairs, figures_pairs.fig_null, figures_pairs.CAPTIONS["null"])
    add(
        "fig20b_noise",
        null,
        figures_pairs,
        lambda r: figures_pairs.fig_noise(measures[null]),
        figures_pairs.CAPTIONS["noise"],
    )
    add("fig21_fine_tuning", pairing, figures_pairs, figures_pairs.fig_fine_tuning, figures_pairs.CAPTIONS["tuning"])
    add("fig21b_pruning", pairing, figures_pairs, figures_pairs.fig_pruning, figures_pairs.CAPTIONS["pruning"])
    for name, notebook, draw, caption in figures_deepauth.all_figures(measures):
        add(name, notebook, figures_deepauth, draw, caption)
    crossing = "24_classifier_schemes"
    add("fig24_crossing", crossing, figures_crossing, figures_crossing.fig_crossing, figures_crossing.CAPTION)
    return found


def _hash(table: pd.DataFrame | None) -> str:
    """Of a table's columns and values."""
    if table is None or table.empty:
        return ""
    values = pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()
    return hashlib.sha256(",".join(table.columns).encode() + values).hexdigest()


def draw_figures(
    rows: Rows, measures: Rows, tau: float, folder: Path, note: str, models_note: str = ""
) -> Iterator[tuple[Path, str]]:
    """See that every figure (`all_figures`) lies in `folder` as the code draws it, as PNG and PDF.

    Those that lie there already are kept: ``drawn.json`` says what each was made from and its files' SHA-256. The
    others are drawn two at a time, in processes of their own, which are at work as soon as this returns.

    Args:
        note, models_note: what was run, above the figures of encoders, where the number of seeds joins it, and of
            classifiers (`notes`).

    Returns:
        An iterator over (PNG, caption), in the paper's order; it raises what went wrong there.
    """
    drawings = all_figures(rows, measures, tau)
    notes = {drawing.name: models_note if drawing.of_models else note + drawing.seeds for drawing in drawings}
    known = _read_drawn(folder)
    made_from = {drawing.name: sha256_json([drawing.made_from, notes[drawing.name]]) for drawing in drawings}
    wanted = {name: {"made_from": made, **_files(folder, name)} for name, made in made_from.items()}
    missing = [n for n, drawing in enumerate(drawings) if known.get(drawing.name) != wanted[drawing.name]]
    pool = None
    if missing:
        pool = ProcessPoolExecutor(2, get_context("spawn"), _start_drawing, (os.getpid(), rows, measures, tau))
    pending = {n: pool.submit(_draw, n, folder, notes[drawings[n].name]) for n in missing}

    def drawn() -> Iterator[tuple[Path, str]]:
        with pool or nullcontext():
            for n, drawing in enumerate(drawings):
                if n in pending:
                    pending[n].result()
                yield folder / f"{drawing.name}.png", drawing.caption
        now = {name: {"made_from": made, **_files(folder, name)} for name, made in made_from.items()}
        write_json(folder / DRAWN, now)

    return drawn()


DRAWN = "drawn.json"


def _read_drawn(folder: Path) -> dict[str, dict[str, str | None]]:
    try:
        return read_json(folder / DRAWN)
    except UserError:  # none yet, or not readable: all are drawn
        return {}


def _files(folder: Path, name: str) -> dict[str, str | None]:
    """SHA-256 of a figure's files; None for one that is not there."""
    paths = {ending: folder / f"{name}.{ending}" for ending in ("png", "pdf")}
    return {ending: sha256_file(path) if path.is_file() else None for ending, path in paths.items()}


_drawings: list[Drawing] = []  # of a process that draws


def _start_drawing(parent: int, rows: Rows, measures: Rows, tau: float) -> None:
    die_with(parent)
    style.use_style()
    _drawings.extend(all_figures(rows, measures, tau))


def _draw(number: int, folder: Path, note: str) -> None:
    drawing = _drawings[number]
    figure = drawing.draw()
    style.save_figure(figure, folder, drawing.name, note)
    pyplot.close(figure)
