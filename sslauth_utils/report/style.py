"""Figures: pure functions of rows. The notebooks and 90_summary call the same ones."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from sslauth_utils.base.files import atomic

COLUMN, PAGE = 3.4, 7.0  # inches: one column, both columns

#: Okabe and Ito's palette, which colour-blind readers can tell apart
COLOURS = {"DCmp": "#0072B2", "Trans": "#D55E00", "Trans G_max": "#009E73", "Trans G_ini": "#CC79A7"}
MARKERS = {"DCmp": "o", "Trans": "s", "Trans G_max": "^", "Trans G_ini": "v"}
LABELS = {
    "DCmp": "DCmp (cosine)",
    "Trans": "Trans (SSIM, $G_{min}$)",
    "Trans G_max": "Trans, $G_{max}$",
    "Trans G_ini": "Trans, $G_{ini}$",
}
SCENARIOS = {"cifar10": "CIFAR-10 encoder, ImageNet keys", "imagenet": "ImageNet encoder, CIFAR-10 keys"}


def use_style() -> None:
    """Set the suite's look: small sans type, embedded fonts, quiet axes."""
    plt.rcdefaults()  # nothing of the reader's own matplotlibrc
    plt.rcParams.update(
        {
            "font.family": "DejaVu Sans",
            "font.size": 9.6,
            "text.color": ".15",
            "axes.labelcolor": ".15",
            "axes.edgecolor": ".15",
            "axes.linewidth": 1.0,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 9,
            "axes.labelsize": 8.5,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "xtick.color": ".15",
            "ytick.color": ".15",
            "xtick.major.size": 4.8,
            "ytick.major.size": 4.8,
            "xtick.major.width": 1.0,
            "ytick.major.width": 1.0,
            "xtick.minor.size": 3.2,
            "ytick.minor.size": 3.2,
            "xtick.minor.width": 0.8,
            "ytick.minor.width": 0.8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "lines.linewidth": 1.4,
            "lines.markersize": 4,
            "lines.solid_capstyle": "round",
            "patch.edgecolor": "w",
            "patch.force_edgecolor": True,
            "patch.linewidth": 0.8,
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "pdf.fonttype": 42,  # TrueType, so that journals accept the fonts
        }
    )


def save_figure(figure: Figure, folder: Path, name: str, note: str) -> list[Path]:
    """Write `figure` as PNG and PDF into `folder`, with `note` (profile, encoder, n) above it.

    No dates or paths inside, so that the same rows give the same files. With a note that
    begins with SMOKE the word stands large across the figure: its numbers mean nothing.
    """
    box = _finish(figure, note)
    return [_write(figure, folder / f"{name}{suffix}", box) for suffix in (".png", ".pdf")]


def _finish(figure: Figure, note: str) -> Bbox:
    """Add the note; returns what to save of the figure."""
    above = figure.text(0.995, 1.0, note, ha="right", va="bottom", fontsize=5.5, color="0.45")
    # A note wider than the figure goes on in a second line: the saved picture would else grow, with nothing below.
    lines = above.get_window_extent().width / figure.bbox.width
    if lines > 1:
        alike = len(note) // math.ceil(lines) + 12  # letters; no single word is left for the last line
        above.set_text(textwrap.fill(note, min(alike, int(len(note) / lines))))
    if note.startswith("SMOKE"):
        figure.text(0.5, 0.5, "SMOKE", fontsize=48, color="0.5", alpha=0.35, ha="center", va="center", rotation=20)
    box = _tight_box(figure)  # once: "tight" would find it for each file anew
    figure.set_layout_engine(None)  # all is laid out; what tight_layout leaves there has every file drawn twice
    return box


def _write(figure: Figure, path: Path, box: Bbox) -> Path:
    undated = {".png": {"Software": None}, ".pdf": {"CreationDate": None, "Producer": None}}
    with atomic(path) as temporary:
        figure.savefig(temporary, metadata=undated[path.suffix], bbox_inches=box)
        if path.suffix == ".png":
            _in_few_colours(temporary)
    return path


def _in_few_colours(path: Path) -> None:
    """128 colours are all that a drawing has, at a third of the bytes: the report holds every figure.

    Chosen to cover what is there: the usual choice, by how much of each there is, gives a legend's rare line the
    colour of another.
    """
    with Image.open(path) as picture:
        drawn, dpi = picture.convert("RGB"), picture.info["dpi"]
    few = drawn.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, "PNG", optimize=True, dpi=dpi)


def _tight_box(figure: Figure) -> Bbox:
    """What holds everything drawn, in inches, at the resolution of the file: letters' widths depend on it."""
    shown, figure.dpi = figure.dpi, plt.rcParams["savefig.dpi"]
    figure.draw_without_rendering()
    box = figure.get_tightbbox().padded(plt.rcParams["savefig.pad_inches"])
    figure.dpi = shown
    return box


def panels(scenarios: Sequence[str], height: float = 2.5, sharey: bool = True) -> tuple[Figure, list[plt.Axes]]:
    """A figure `height` inches high with a titled panel for each scenario."""
    figure, axes = plt.subplots(
        1, len(scenarios), figsize=(PAGE if len(scenarios) > 1 else PAGE * 0.55, height), sharey=sharey, squeeze=False
    )
    for axis, scenario in zip(axes[0], scenarios, strict=True):
        axis.set_title(SCENARIOS.get(scenario, scenario))
    return figure, list(axes[0])


def draw_paper_points(
    axis: plt.Axes, claims: pd.DataFrame | None, scenario: str, measure: str, labelled: bool = True
) -> None:
    """Draw the paper's printed values of `measure` in this scenario as stars, named in the legend if `labelled`.

    The stars lie behind the curves: a star is larger than the mark that is compared with it.
    """
    if claims is None or claims.empty:
        return
    points = claims[(claims["scenario"] == scenario) & (claims["measure"] == measure)]
    for point in points.itertuples():
        axis.plot(
            100 * point.strength,
            point.paper,
            "*",
            markersize=13,
            markerfacecolor="none",
            markeredgewidth=0.8,
            color=COLOURS[point.scheme],
            zorder=1.5,
            label=f"paper, {point.scheme}" if labelled else None,
        )


def legend_below(figure: Figure, columns: int = 2) -> Figure:
    """One legend for all panels, outside them: for figures whose lines fill the panels."""
    figure.tight_layout()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncol=columns, handlelength=3)
    return figure


def scenarios_of(rows: pd.DataFrame) -> list[str]:
    """The scenarios in `rows`, the paper's first."""
    present = set(rows["scenario"])
    return [name for name in SCENARIOS if name in present] + sorted(present - set(SCENARIOS))
