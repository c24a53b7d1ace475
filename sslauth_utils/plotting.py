"""Figures: pure functions of rows. The notebooks and 90_summary call the same ones."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from sslauth_utils.files import atomic
from sslauth_utils.leash import die_with
from sslauth_utils.results import amplification, summarise

if TYPE_CHECKING:
    from torch import Tensor  # of which the process that writes PDFs needs nothing

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


def save_figures(
    drawings: Iterable[tuple[str, Callable[[], Figure], str]], folder: Path, note: str
) -> Iterator[tuple[Path, str]]:
    """`save_figure` for all `drawings`, (name, function that draws, caption); yields (PNG, caption) one by one.

    A second process writes the PDFs meanwhile, because to embed their fonts takes longer than to draw. All
    are there when the last was yielded and the iteration ended.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), _start_writer, (os.getpid(),)) as writer:
        pending = []
        for name, draw, caption in drawings:
            figure = draw()
            box = _finish(figure, note)
            plt.close(figure)
            png = _write(figure, folder / f"{name}.png", box)
            pending.append(writer.submit(_write, figure, folder / f"{name}.pdf", box))
            yield png, caption
        for pdf in pending:
            pdf.result()  # raises what went wrong there


def _start_writer(parent: int) -> None:
    die_with(parent)
    use_style()


def _finish(figure: Figure, note: str) -> Bbox:
    """Add the note; returns what to save of the figure."""
    figure.text(0.995, 1.0, note, ha="right", va="bottom", fontsize=5.5, color="0.45")
    if note.startswith("SMOKE"):
        figure.text(0.5, 0.5, "SMOKE", fontsize=48, color="0.5", alpha=0.35, ha="center", va="center", rotation=20)
    box = _tight_box(figure)  # once: "tight" would find it for each file anew
    figure.set_layout_engine(None)  # all is laid out; what tight_layout leaves there has every file drawn twice
    return box


def _write(figure: Figure, path: Path, box: Bbox) -> Path:
    undated = {".png": {"Software": None}, ".pdf": {"CreationDate": None, "Producer": None}}
    with atomic(path) as temporary:
        figure.savefig(temporary, metadata=undated[path.suffix], bbox_inches=box)
    return path


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


def fig_pretraining(rows: pd.DataFrame) -> Figure:
    """SimCLR's loss by epoch, and kNN and linear accuracy against chance and the untrained network.

    Args:
        rows: of 01_pretrain_encoders: scenario, seed, quantity, epoch, value.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.4), width_ratios=(1.1, 1))
    loss = rows[rows["quantity"] == "loss"].assign(epoch=lambda r: pd.to_numeric(r["epoch"]))
    for scenario, style in zip(scenarios_of(rows), ("-", "--"), strict=False):
        colour = "#0072B2" if style == "-" else "#D55E00"
        for index, (_, curve) in enumerate(loss[loss["scenario"] == scenario].groupby("seed")):
            label = SCENARIOS.get(scenario, scenario).split(",")[0] if index == 0 else None
            left.plot(curve["epoch"], curve["value"], style, color=colour, label=label)
    left.set(xlabel="epoch", ylabel="NT-Xent loss", title="SimCLR pre-training")
    if left.lines:  # an encoder taken from a file has no loss to show
        left.legend()
    bars = ["chance", "random_knn_accuracy", "knn_accuracy", "linear_accuracy"]
    names = ["chance", "kNN,\nuntrained", "kNN", "linear"]
    for offset, (scenario, colour) in enumerate(zip(scenarios_of(rows), ("#0072B2", "#D55E00"), strict=False)):
        part = rows[rows["scenario"] == scenario]
        values = [100 * part.loc[part["quantity"] == bar, "value"] for bar in bars]
        places = np.arange(len(bars)) + 0.38 * offset
        right.bar(places, [v.mean() for v in values], 0.36, color=colour)
        for place, value in zip(places, values, strict=True):
            right.plot([place] * len(value), value, "k.", markersize=3)
            right.text(place, value.mean() + 2, f"{value.mean():.2g}", ha="center", fontsize=7)
    right.set_xticks(np.arange(len(bars)) + 0.19, names)
    right.set(ylabel="accuracy, %", ylim=(0, 105), title="What the encoder learned")
    figure.tight_layout()
    return figure


def fig_generators(rows: pd.DataFrame) -> Figure:
    """SSIM between G(E(x)) and the key x during the generators' training, by objective.

    Args:
        rows: of 02_enrol_keys: scenario, seed, keys, objective, step, ssim.
    """
    figure, axes = panels(scenarios_of(rows), 2.2)
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        part = rows[(rows["scenario"] == scenario) & (rows["keys"] == "ood")]
        for objective, label in (("max", "$G_{max}$"), ("min", "$G_{min}$")):
            colour = COLOURS["Trans" if objective == "min" else "Trans G_max"]
            for index, (_, curve) in enumerate(part[part["objective"] == objective].groupby("seed")):
                axis.plot(curve["step"], curve["ssim"], color=colour, label=label if index == 0 else None)
        axis.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axis.set(xlabel="full-batch step")
    axes[0].set_ylabel("SSIM to the key sample")
    axes[0].legend()
    figure.tight_layout()
    return figure


def fig_null(rows: pd.DataFrame, tau: float) -> Figure:
    """Honest changes only: 1 - similarity of the worst key, by scheme, with tau.

    Args:
        rows: of 03_verify_intact.
        tau: the tolerance; a point to the right of its line is a false alarm.
    """
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    order = list(dict.fromkeys(zip(rows["tamper"], rows["strength"].astype(str), strict=True)))
    names = [f"{tamper} {strength}".strip() for tamper, strength in order]
    figure, axes = panels(scenarios_of(rows), 0.19 * len(order) + 1.0)
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        for scheme, shift in (("DCmp", 0.16), ("Trans", -0.16)):
            part = rows[(rows["scenario"] == scenario) & (rows["scheme"] == scheme)]
            for place, (tamper, strength) in enumerate(order):
                group = part[(part["tamper"] == tamper) & (part["strength"].astype(str) == strength)]
                # several strengths of one change (repeats, say) share a line; each seed's worst key is a point
                worst = (1 - group.groupby("seed")["similarity"].min()).clip(lower=1e-12)
                axis.plot(
                    worst, [place + shift] * len(worst), MARKERS[scheme], color=COLOURS[scheme],
                    label=LABELS[scheme] if place == 0 else None, markersize=4,
                )
        axis.axvline(1 - tau, color="0.3", linewidth=1, linestyle="--")
        axis.text(1.5 * (1 - tau), -0.2, "τ", fontsize=9, va="center")
        axis.set(xscale="log", xlim=(4e-13, 2), xlabel="1 − similarity of the worst key", ylim=(len(order) - 0.4, -0.6))
        axis.grid(axis="y", color="0.93")
        # zero cannot stand on a log axis: the left edge means "bit-identical score"
        axis.set_xticks([1e-12, 1e-9, 1e-6, 1e-3, 1], ["0", "$10^{-9}$", "$10^{-6}$", "$10^{-3}$", "1"])
        axis.minorticks_off()
    axes[0].set_yticks(range(len(order)), names)
    return legend_below(figure)


def _curves(
    axis: plt.Axes,
    table: pd.DataFrame,
    y: str,
    low: str,
    high: str,
    schemes: Sequence[str],
    labels: Mapping[str, str] = LABELS,
    **style,
) -> None:
    for scheme in schemes:
        line = table[table["scheme"] == scheme].sort_values("strength")
        x = 100 * line["strength"]
        axis.fill_between(x, line[low], line[high], color=COLOURS[scheme], alpha=0.18, linewidth=0)
        axis.plot(x, line[y], color=COLOURS[scheme], marker=MARKERS[scheme], label=labels[scheme], **style)


def _paper_points(axis: plt.Axes, claims: pd.DataFrame | None, scenario: str, measure: str) -> None:
    if claims is None:
        return
    points = claims[(claims["scenario"] == scenario) & (claims["measure"] == measure)]
    for point in points.itertuples():
        axis.plot(
            100 * point.strength, point.paper, "*", markersize=10, markerfacecolor="none", markeredgewidth=1,
            color=COLOURS[point.scheme], zorder=5, label=f"paper, {point.scheme}",
        )


def fig_pruning_agreement(rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None) -> Figure:
    """Fig. 5: agreement by pruning rate, DCmp and Trans, both scenarios; bands are 95 % intervals.

    Args:
        rows: of 05_pruning.
        tau: the tolerance, for the line that shows where a mean key would fail.
        reference: the paper's printed points: scenario, measure, scheme, strength, paper.
    """
    table = summarise(rows[rows["tamper"] == "pruning"], ["scenario", "scheme", "strength"], tau)
    figure, axes = panels(scenarios_of(rows))
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        part = table[table["scenario"] == scenario]
        _curves(axis, part, "agreement", "agreement_low", "agreement_high", ["DCmp", "Trans"])
        _paper_points(axis, reference, scenario, "agreement")
        axis.axhline(100 * tau, color="0.3", linewidth=0.8, linestyle="--")
        axis.set(xlabel="pruning rate, %")
    axes[0].set_ylabel("agreement, %")
    axes[0].legend(loc="lower left")
    figure.tight_layout()
    return figure


def fig_pruning_success(rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None) -> Figure:
    """Fig. 6: authentication success rate by pruning rate; bands are exact 95 % intervals.

    Args:
        rows, tau, reference: as in `fig_pruning_agreement`.
    """
    table = summarise(rows[rows["tamper"] == "pruning"], ["scenario", "scheme", "strength"], tau)
    figure, axes = panels(scenarios_of(rows))
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        part = table[table["scenario"] == scenario]
        _curves(axis, part, "auth_success", "success_low", "success_high", ["DCmp", "Trans"])
        _paper_points(axis, reference, scenario, "auth_success")
        axis.axhline(100, color="0.3", linewidth=0.8, linestyle="--")
        axis.set(xlabel="pruning rate, %", xscale="log", ylim=(-4, 106))
        axis.set_xticks([1, 2, 5, 10, 20, 50, 90], ["1", "2", "5", "10", "20", "50", "90"])
        axis.minorticks_off()
    axes[0].set_ylabel(f"keys above τ = {100 * tau:g} %, %")
    return legend_below(figure, 3)


def fig_batch_norm_ablation(rows: pd.DataFrame, tau: float) -> Figure:
    """Agreement with convolutions pruned only (solid) and batch-norm scales pruned too (dotted).

    Args:
        rows, tau: as in `fig_pruning_agreement`.
    """
    figure, axes = panels(scenarios_of(rows))
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        for tamper, style, note in (("pruning", "-", ""), ("pruning with batch norm", ":", ", batch norm too")):
            part = rows[(rows["scenario"] == scenario) & (rows["tamper"] == tamper)]
            if part.empty:  # the ablation may be left out
                continue
            table = summarise(part, ["scheme", "strength"], tau)
            labels = {scheme: f"{label}{note}" for scheme, label in LABELS.items()}
            _curves(
                axis, table, "agreement", "agreement_low", "agreement_high", ["DCmp", "Trans"], labels, linestyle=style
            )
        axis.set(xlabel="pruning rate, %")
    axes[0].set_ylabel("agreement, %")
    return legend_below(figure)


def fig_amplification(rows: pd.DataFrame) -> Figure:
    """kappa = (1 - SSIM) / (1 - cos) by pruning rate for the three generator objectives.

    Args:
        rows: of 05_pruning.
    """
    table = amplification(rows[rows["tamper"] == "pruning"], ["scenario", "strength"])
    figure, axes = panels(scenarios_of(rows))
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        schemes = ["Trans", "Trans G_max", "Trans G_ini"]
        _curves(axis, table[table["scenario"] == scenario], "kappa", "low", "high", schemes)
        axis.set(xlabel="pruning rate, %", yscale="log", xscale="log")
        axis.set_xticks([1, 2, 5, 10, 20, 50, 90], ["1", "2", "5", "10", "20", "50", "90"])
        axis.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axis.minorticks_off()
        axis.axhline(1, color="0.3", linewidth=0.8, linestyle="--")
    axes[0].set_ylabel("κ = (1 − SSIM) / (1 − cos)")
    return legend_below(figure)


def fig_precision(rows: pd.DataFrame, tau: float) -> Figure:
    """Tables 3 and 6 as a picture: the worst key's 1 - similarity by decimal places kept.

    Args:
        rows: of 08_precision_loss; tampers rounding, truncation, rounding raw.
        tau: the tolerance.
    """
    rows = rows[(rows["keys"] == "ood") & rows["scheme"].isin(["DCmp", "Trans"])]
    figure, axes = panels(scenarios_of(rows), 2.7)
    styles = {"rounding": "-", "truncation": "--", "rounding raw": ":"}
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        part = rows[rows["scenario"] == scenario]
        for (scheme, tamper), group in part.groupby(["scheme", "tamper"]):
            worst = (1 - group.groupby("strength")["similarity"].min()).clip(lower=1e-12)
            axis.plot(
                worst.index, worst, styles[tamper], marker=MARKERS[scheme], color=COLOURS[scheme], markersize=3.5,
                label=f"{scheme}, {tamper}",
            )
        axis.axhline(1 - tau, color="0.3", linewidth=0.8, linestyle="--")
        axis.text(part["strength"].max(), 1 - tau, f"τ = {100 * tau:g} %", fontsize=7, va="bottom", ha="right")
        axis.set(xlabel="decimal places kept", yscale="log")
    axes[0].set_ylabel("1 − similarity, worst key")
    return legend_below(figure)


def show_images(rows: Sequence["Tensor"], names: Sequence[str], columns: int = 10) -> Figure:
    """A contact sheet: one line of images a tensor.

    Args:
        rows: tensors (N, 3, H, W), uint8 or float in [0, 1]; the first `columns` are shown.
        names: a label for each line.
    """
    columns = min(columns, *(len(images) for images in rows))
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(columns * 0.68 + 1.0, len(rows) * 0.72), squeeze=False,
        gridspec_kw={"wspace": 0.05, "hspace": 0.08},
    )
    for line, images, name in zip(axes, rows, names, strict=True):
        for axis, image in zip(line, images[:columns], strict=True):
            axis.imshow(image.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    return figure


