"""Figures of sample pairs and their rivals: pure functions of rows of 20_sensitive_samples and 21_sample_pairing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from sslauth_utils.claims.pair_rates import false_alarms, rates
from sslauth_utils.report.style import COLUMN, PAGE, panels, scenarios_of
from sslauth_utils.report.tables import Table

CAPTIONS = {
    "null": "The null of sensitive samples: labels that change under honest changes, %. White: none; grey: not asked. "
    "Lines part running otherwise, storing or computing otherwise, and sending images otherwise.",
    "noise": "The noise of the logit difference d by honest change (blue), and the pairs' gap of d (orange). A gap no "
    "larger than the noise is no pair.",
    "tuning": "Table III of the sample-pairing paper: detection by learning rate, optimiser and mode of batch norm. "
    "Dashed: the false alarms of the same samples. The step is 1e-6 everywhere; the paper's for its VGG16 is 1e-4.",
    "pruning": "Fig. 3 of the sample-pairing paper: detection by pruning rate. Dashed: the false alarms of the same "
    "samples. The step is 1e-6 everywhere; the paper's for its VGG16 is 1e-4.",
}
#: methods in the order and the colours in which they are drawn; the others are grey
_COLOURS = {
    "validation": "0.55", "DBI": "#56B4E9", "AID": "#009E73", "variance": "#0072B2", "AID as released": "#CC79A7",
    "sensitive samples": "#E69F00", "pairs": "#D55E00", "pairs, calibrated": "#000000",
}  # fmt: skip


def fig_by_hand(toy: Any, points: Any, ring: Any, path: Any, arrived: int) -> Figure:
    """The two-dimensional network's margin, the boundary, and one sample's way to its pair.

    Args:
        toy: from points float32 (N, 2) to two outputs (N, 2).
        points, ring: the data, (N, 2), and its classes, 0 or 1.
        path: (M, 2), the sample at every step; the last two are the pair.
        arrived: index in `path` at which stage 1 ends.
    """
    way = np.linspace(-1.1, 1.1, 80, dtype=np.float32)
    grid = np.stack(np.meshgrid(way, way), axis=-1).reshape(-1, 2)
    outputs = toy(points.new_tensor(grid)).detach().numpy()
    margin = (outputs[:, 0] - outputs[:, 1]).reshape(80, 80)
    figure, axes = plt.subplots(1, 2, figsize=(PAGE, PAGE * 0.5))
    for axis, size in zip(axes, (1, 3), strict=True):  # all, and larger: the pair alone
        axis.contourf(way, way, margin, levels=np.linspace(-8, 8, 17), cmap="RdBu", alpha=0.5, extend="both")
        axis.contour(way, way, margin, levels=[0], colors="k", linewidths=1)
        axis.scatter(*points.numpy().T, c=ring.numpy(), cmap="RdBu_r", s=1.5 * size, linewidths=0)
        axis.plot(*path[: arrived + 1].numpy().T, "-", color="#009E73", label="stage 1")
        axis.plot(*path[arrived:].numpy().T, ".-", color="#D55E00", markersize=2 * size, label="stage 2")
        axis.plot(*path[-2:].numpy().T, "o", color="k", fillstyle="none", markersize=3 + size, label="the pair")
        axis.set(aspect="equal", xticks=[], yticks=[])
    middle, reach = path[-2:].mean(dim=0).tolist(), 1.5 * float((path[arrived] - path[-1]).norm())
    axes[1].set(
        title="at the pair", xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach)
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, 0.08), ncol=3)
    return figure


def fig_samples(shown: Mapping[str, Any], count: int = 6) -> Figure:
    """The first images of every method, float (N, 3, H, W) in [0, 1], one line each."""
    figure, axes = plt.subplots(len(shown), count, figsize=(PAGE * 0.6, PAGE * 0.6 / count * len(shown)), squeeze=False)
    for line, (name, images) in zip(axes, shown.items(), strict=True):
        for number, axis in enumerate(line):
            axis.axis("off")
            if number < len(images):
                axis.imshow(images[number].permute(1, 2, 0).numpy(), interpolation="nearest")
        line[0].text(-0.1, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=8)
    return figure


def fig_planes(planes: Mapping[float, Any]) -> Figure:
    """d on planes through a pair, one panel a scale; black is the boundary. Values: float64 (side, side)."""
    figure, axes = plt.subplots(1, len(planes), figsize=(PAGE, PAGE / len(planes)), squeeze=False)
    for axis, (span, values) in zip(axes[0], planes.items(), strict=True):
        values = values.numpy()
        most = max(np.abs(values).max(), 1e-12)
        norm = SymLogNorm(most / 100, vmin=-most, vmax=most)
        axis.imshow(values, cmap="RdBu", norm=norm, origin="lower", extent=(-1, 1, -1, 1), interpolation="nearest")
        if values.min() < 0 < values.max():
            way = np.linspace(-1, 1, len(values))
            axis.contour(way, way, values, levels=[0], colors="k", linewidths=1)
        axis.set(title=f"± {span:g} a pixel, |d| to {most:.0e}", xticks=[], yticks=[], xlabel="along the step")
    axes[0, 0].set_ylabel("along random signs")
    figure.tight_layout()
    return figure


def fig_null(rows: pd.DataFrame) -> Figure:
    """Labels that change, %, by honest change and method, mean over the seeds of each classifier.

    Args:
        rows: of 20_sensitive_samples, or those of 21_sample_pairing that are no tamper.
    """
    rows = rows[rows["kind"] != "tamper"]
    scenarios = scenarios_of(rows)
    methods = ordered(rows["method"].unique())
    kinds = dict(zip(zip(rows["tamper"], rows["strength"].astype(str), strict=True), rows["kind"], strict=True))
    changes, parts = list(kinds), pd.factorize(np.array(list(kinds.values()), dtype=object))[0]
    figure, axes = plt.subplots(
        len(scenarios), figsize=(2.2 + 0.3 * len(methods), 1.6 + len(scenarios) * (1.0 + 0.2 * len(changes))),
        sharex=True, squeeze=False,
    )  # fmt: skip
    for axis, scenario in zip(axes[:, 0], scenarios, strict=True):
        found = rates(rows[rows["scenario"] == scenario])
        wide = found.pivot_table(index=["tamper", "strength"], columns="method", values="rate", sort=False)
        wide = wide.reindex(index=pd.MultiIndex.from_tuples(changes), columns=methods)
        colours = plt.get_cmap("Oranges").with_extremes(under="w", bad="0.85")  # no label: white; not asked: grey
        axis.imshow(wide.to_numpy(), cmap=colours, vmin=1e-9, vmax=100, aspect="auto")
        for line in np.flatnonzero(np.diff(parts)) + 0.5:
            axis.axhline(line, color="0.15", linewidth=0.8)
        for (line, column), value in np.ndenumerate(wide.to_numpy()):
            if np.isfinite(value) and value > 0:
                axis.text(column, line, f"{value:.0f}", ha="center", va="center", fontsize=6,
                          color="w" if value > 60 else "0.15")  # fmt: skip
        axis.set_xticks(range(len(methods)), methods, rotation=90)
        axis.set_yticks(range(len(changes)), [" ".join(change).strip() for change in changes])
        axis.set_title(f"{scenario}: labels that change, %")
    figure.tight_layout()
    return figure


_QUANTITIES = {"noise of d": "#0072B2", "gap of d": "#D55E00"}


def fig_noise(measures: pd.DataFrame) -> Figure:
    """The noise of d by honest change, and the gap of d of each form of pairs, in the same units; dots are seeds.

    Args:
        measures: of 20_sensitive_samples.
    """
    scenarios = scenarios_of(measures)
    figure, axes = panels(scenarios, 4.2)
    numbers = measures.loc[measures["quantity"].isin(["noise of d", "gap of d"]), "value"].astype(float)
    least = 10 ** np.floor(np.log10(numbers[numbers > 0].min())) if (numbers > 0).any() else 1e-10
    parts = measures[["quantity", "tamper", "strength"]].astype(str)
    named = pd.Series(list(parts.itertuples(index=False, name=None)))
    lines = [line for quantity in _QUANTITIES for line in named.unique() if line[0] == quantity]  # of all classifiers
    for axis, scenario in zip(axes, scenarios, strict=True):
        for place, line in enumerate(lines):
            asked = (named == line).to_numpy() & (measures["scenario"] == scenario).to_numpy()
            values, colour = measures.loc[asked, "value"].astype(float), _QUANTITIES[line[0]]
            if len(values):  # an empty line would count in the layout
                axis.plot(values, np.full(len(values), place), "o", color=colour, markersize=3.5, clip_on=False)
        axis.set_yticks(range(len(lines)), [" ".join(name).strip() for _, *name in lines], fontsize=6.5)
        axis.set_xscale("symlog", linthresh=least, linscale=0.5)  # has a place for 0, where many ways of running are
        highest = np.ceil(np.log10(max(numbers.max(), 10 * least)))
        decades = np.arange(np.log10(least) + 1, highest + 1, 2)
        axis.set_xticks([0, *10**decades], ["0", *(f"$10^{{{decade:.0f}}}$" for decade in decades)])
        axis.set_xticks([], minor=True)
        axis.set(xlim=(0, 10**highest), ylim=(len(lines) - 0.5, -0.5))
    figure.supxlabel("noise of d (blue), gap of d (orange)", fontsize=plt.rcParams["axes.labelsize"])
    figure.tight_layout()
    return figure


def fig_fine_tuning(rows: pd.DataFrame) -> Figure:
    """Table III: detection by learning rate, one panel an optimiser and mode of batch norm; dashed: false alarms.

    Args:
        rows: of 21_sample_pairing.
    """
    tuned = rows["tamper"].str.startswith("fine-tuning")
    parts = rows["tamper"].str.rsplit(n=1)
    named = rows.assign(
        tamper=rows["tamper"].where(~tuned, parts.str[0]), strength=rows["strength"].where(~tuned, parts.str[-1])
    )
    return _lines(named, list(dict.fromkeys(named.loc[tuned, "tamper"])), "learning rate")


def fig_pruning(rows: pd.DataFrame) -> Figure:
    """Fig. 3: detection by pruning rate; dashed: false alarms.

    Args:
        rows: of 21_sample_pairing.
    """
    return _lines(rows, ["pruning"], "share of each layer's weights")


def _in_words(tamper: str) -> str:
    """A panel's title: "SGD, batch norm frozen", in two lines, of "fine-tuning sgd frozen"."""
    if not tamper.startswith("fine-tuning"):
        return tamper
    _, optimiser, mode = tamper.split()
    name = {"sgd": "SGD", "adam": "Adam"}[optimiser]
    return f"{name},\nbatch norm {mode}"


def _lines(rows: pd.DataFrame, tampers: Sequence[str], label: str) -> Figure:
    scenarios = scenarios_of(rows)
    figure, axes = plt.subplots(
        len(scenarios), len(tampers), figsize=(max(COLUMN * 1.2, PAGE * len(tampers) / 4), 2.3 * len(scenarios)),
        sharex=True, sharey=True, squeeze=False,
    )  # fmt: skip
    methods = [name for name in ordered(rows["method"].unique()) if name in _COLOURS or _is_papers(name)]
    for line, scenario in zip(axes, scenarios, strict=True):
        own = rows[rows["scenario"] == scenario]
        alarms = false_alarms(own)
        for axis, tamper in zip(line, tampers, strict=True):
            part = own[own["tamper"] == tamper]
            found = rates(part.assign(strength=part["strength"].astype(float)))
            for method in methods:
                points = found[(found["method"] == method) & (found["strength"] > 0)].groupby("strength")["rate"].mean()
                colour = _COLOURS["pairs"] if _is_papers(method) else _COLOURS[method]
                axis.plot(points.index, points, "-o", markersize=2.5, linewidth=1, color=colour, label=method)
                axis.axhline(alarms.get(method, np.nan), linestyle="--", linewidth=0.8, color=colour)
            axis.set(xscale="log", ylim=(-3, 103), title=_in_words(tamper) if scenario == scenarios[0] else "")
        line[0].set_ylabel(f"{scenario}\ndetected, %" if len(scenarios) > 1 else "detected, %")
    for axis in axes[-1]:
        axis.set_xlabel(label)
    figure.tight_layout()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncol=4)
    return figure


def detection_table(rows: pd.DataFrame, tampers: Sequence[tuple[str, Any]]) -> pd.DataFrame:
    """Detection by method, %: of single images and of random pairs of them, of pairs, and the false alarms beside.

    Args:
        rows: of 21_sample_pairing.
        tampers: (tamper, strength), each a block of columns.
    """
    blocks, columns = {"false alarms": false_alarms(rows)}, rows["strength"].astype(str)
    for tamper, strength in tampers:
        found = rates(rows[(rows["tamper"] == tamper) & (columns == str(strength))])
        for column in ("first image", "rate", "random pair", "independent pair"):
            blocks[f"{tamper} {strength}: {column}"] = found.groupby("method")[column].mean()
    table = pd.DataFrame(blocks).reindex(ordered(rows["method"].unique())).round(1)
    return table.dropna(axis=1, how="all")


def pairing_table(rows: pd.DataFrame) -> Table:
    """Tables II and IV: detection of the backdoor and of 8-bit weights by model and method, and the false alarms.

    Args:
        rows: of 21_sample_pairing.
    """
    chosen = rows[rows["tamper"].isin(["backdoor", "8-bit weights"])]
    tampers = list(dict.fromkeys(zip(chosen["tamper"], chosen["strength"].astype(str), strict=True)))
    parts = []
    for scenario in scenarios_of(rows):
        found = detection_table(rows[rows["scenario"] == scenario], tampers).reset_index(names="method")
        parts.append(found.loc[:, [not name.endswith(("first image", "independent pair")) for name in found]])
        parts[-1].insert(0, "model", scenario)
    text = (
        "Share of samples whose label changed, %: of single images, of random pairs of them, of sample pairs by either "
        "image. False alarms: the worst way of running the untouched model. Means over seeds."
    )
    return "Sample pairing: backdoor and 8-bit weights (Tables II and IV)", text, pd.concat(parts, ignore_index=True)


def ordered(methods: Sequence[str]) -> list[str]:
    """Methods as they are shown: validation images, rivals, pairs from coarse to fine, ours."""
    known = list(_COLOURS)
    return sorted(methods, key=lambda name: (known.index(name) if name in known else 6, name == known[-1]))


def _is_papers(method: str) -> bool:
    return method == "pairs 1e-06"
