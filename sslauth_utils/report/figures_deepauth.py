"""Figures of DeepAuth: pure functions of the rows of 22_deepauth_keys and 23_deepauth."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sslauth_utils.claims.signatures import TOLERANCES, acceptance, accepted, chance, verifications
from sslauth_utils.claims.statistics import share_interval
from sslauth_utils.report.style import PAGE

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_SHADES = dict(zip(TOLERANCES, ("#9ecae1", "#6baed6", "#3182bd", "#08519c", "#D55E00"), strict=True))


#: Table 4: change of the accuracy by other methods, points, as the paper prints them
OTHER_METHODS = {"Adi et al.": "~0.3", "Uchida et al.": "~0.3", "Rouhani et al.": "~0.5",
                  "Le Merrer et al.": "~0.2 (MNIST)", "DeepAuth": "< 0.1"}  # fmt: skip


def all_figures(
    measures: Mapping[str, pd.DataFrame],
) -> Iterator[tuple[str, str, Callable[[pd.DataFrame], Figure], str]]:
    """(name, notebook, how it is drawn from the notebook's rows, caption) of every figure of the report.

    Args:
        measures: by notebook name.
    """
    book = "23_deepauth"
    yield (
        "deepauth_leverage", "22_deepauth_keys", lambda r: fig_leverage(r.assign(leverage=_numbers(r["leverage"]))),
        "DeepAuth: leverage (eq. 2) of key samples and of natural images that the matrix has not seen.",
    )  # fmt: skip
    yield (
        "deepauth_fig3_uniqueness", book, lambda r: fig_uniqueness(measures[book]),
        "Fig. 3 of DeepAuth: keys with the original class after an embedding, those embedded and a second set.",
    )  # fmt: skip
    yield (
        "deepauth_fig4_progress", book, lambda r: fig_progress(measures[book]),
        "Fig. 4 of DeepAuth: an embedding that does not stop. Lines are means, bands the range.",
    )  # fmt: skip
    yield (
        "deepauth_fig5_fine_tuning", book,
        lambda r: fig_acceptance(r, sorted({t for t in r["tamper"] if t.startswith("last layer")}), "epochs"),
        "Figs. 5 and 8 of DeepAuth: authentication success by epochs of the last layer. Dotted: coins.",
    )  # fmt: skip
    yield (
        "deepauth_fig6_pruning", book, lambda r: fig_acceptance(r, ["pruning"], "share of weights pruned"),
        "Fig. 6 of DeepAuth: authentication success by pruning rate, with retraining. Dotted: fair coins.",
    )  # fmt: skip
    yield (
        "deepauth_others", book, fig_others,
        "What DeepAuth's paper does not ask: other honest models. Bars: shares of verifications with exact 95 % "
        "intervals; marks: ten fair coins.",
    )  # fmt: skip


def all_tables(rows: pd.DataFrame, measures: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """(heading, how to read it, table) of the report, from the rows and measures of 23_deepauth."""
    effect = table_effectiveness(measures)
    changes = (effect["C2W"] - effect["W2C"]).abs().round(2).map("{:g}".format)
    of_methods = effect["scheme"] + ", " + effect["network"] + ", " + effect["learning rate"]
    fidelity = pd.DataFrame(
        {"method": [f"{name} (paper)" for name in OTHER_METHODS] + of_methods.tolist(),
         "change of the accuracy, points": [*OTHER_METHODS.values(), *changes]}
    )  # fmt: skip
    return [
        ("DeepAuth: effectiveness (Tables 1 and 3)", "Means over protected models, in per cent but for the epochs. "
         "The other schemes are remedies: a hinge loss, half of the keys keeping their label, anchor keys.", effect),
        ("DeepAuth: fidelity (Table 4)", "|C2W − W2C| of the means; the paper's numbers are of its own networks.",
         fidelity),
        ("DeepAuth: who passes (Table 2, the null, other honest models)", "Authentication success in per cent by "
         "tolerance. The last line is what fair coins have: whoever passes no more often than they do knows nothing "
         "of the signature.", table_acceptance(rows)),
    ]  # fmt: skip


def _numbers(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column)


def _panels(rows: pd.DataFrame, height: float = 2.6, sharey: bool = True) -> tuple[Figure, list[tuple[plt.Axes, str]]]:
    networks = sorted(set(rows["scenario"]))
    width = PAGE if len(networks) > 1 else PAGE * 0.6
    figure, axes = plt.subplots(1, len(networks), figsize=(width, height), sharey=sharey, squeeze=False)
    for axis, network in zip(axes[0], networks, strict=True):
        axis.set_title(network.replace("_", ", "))
    return figure, list(zip(axes[0], networks, strict=True))


def _shared_legend(figure: Figure, columns: int = 3) -> Figure:
    figure.tight_layout()
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncol=columns)
    return figure


def fig_leverage(rows: pd.DataFrame) -> Figure:
    """Leverage of natural held-out images and of key samples, as distributions, one panel a network.

    Args:
        rows: of 22_deepauth_keys.
    """
    figure, panels = _panels(rows, sharey=False)
    for axis, network in panels:
        part = rows[rows["scenario"] == network]
        edges = np.linspace(0, max(part["leverage"].max(), 1e-9), 25)
        groups = [("natural images", part[part["kind"] == "natural"], "0.6")]
        groups += [
            (f"keys, {rule}", group, colour)
            for (rule, group), colour in zip(part[part["kind"] == "key"].groupby("rule"), _COLOURS, strict=False)
        ]
        for name, group, colour in groups:
            weights = np.full(len(group), 100 / max(1, len(group)))
            axis.hist(
                group["leverage"], edges, weights=weights, histtype="step", linewidth=1.4, color=colour, label=name
            )
        axis.set(xlabel="leverage score (eq. 2)", ylabel="%" if axis is panels[0][0] else "")
    return _shared_legend(figure)


def fig_uniqueness(measures: pd.DataFrame) -> Figure:
    """Fig. 3: of each protected model the selected keys that answer as intended and the others that changed."""
    figure, panels = _panels(measures)
    part = measures[measures["tamper"] == "DeepAuth"]
    for axis, network in panels:
        of = part[part["scenario"] == network]
        of = of[of["strength"].astype(float) == of["strength"].astype(float).max()]
        for name, words, colour in (
            ("success", "selected keys", _COLOURS[0]), ("others changed", "a second set", _COLOURS[1]),
        ):  # fmt: skip
            values = 100 * of.loc[of["quantity"] == name, "value"].to_numpy()
            axis.hist(values, np.arange(-5, 106, 10), weights=np.full(len(values), 100 / max(1, len(values))),
                      color=colour, alpha=0.65, label=words)  # fmt: skip
        axis.set(xlabel="keys with the original class, %", ylim=(0, 102))
    panels[0][0].set_ylabel("protected models, %")
    return _shared_legend(figure)


def fig_progress(measures: pd.DataFrame) -> Figure:
    """Fig. 4: success and unchanged predictions by epoch of an embedding that does not stop; one line a model."""
    part = measures[measures["tamper"] == "progress"]
    figure, panels = _panels(part)
    for axis, network in panels:
        for name, colour in (("success", _COLOURS[0]), ("unchanged", _COLOURS[2])):
            of = part[(part["scenario"] == network) & (part["quantity"] == name)]
            of = of.assign(epoch=of["strength"].astype(float))
            mean = 100 * of.groupby("epoch")["value"].mean()
            low, high = (100 * of.groupby("epoch")["value"].agg(side) for side in ("min", "max"))
            axis.plot(mean.index, mean, color=colour, label={"success": "keys as intended"}.get(name, name))
            axis.fill_between(mean.index, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.set(xlabel="epochs of the embedding", ylim=(-2, 102))
    panels[0][0].set_ylabel("%")
    return _shared_legend(figure)


def fig_acceptance(rows: pd.DataFrame, tampers: Sequence[str], xlabel: str, scheme: str = "DeepAuth") -> Figure:
    """Figs. 5, 6 and 8: authentication success by strength, one line a tolerance; dotted: what fair coins have.

    Args:
        rows: of 23_deepauth.
        tampers: one row of panels each.
        xlabel: what the strength is.
    """
    rows = rows[(rows["scheme"] == scheme) & rows["tamper"].isin(list(tampers))]
    networks = sorted(set(rows["scenario"]))
    figure, axes = plt.subplots(
        len(tampers), len(networks), figsize=(PAGE if len(networks) > 1 else PAGE * 0.6, 2.5 * len(tampers)),
        sharey=True, squeeze=False,
    )  # fmt: skip
    for line, tamper in zip(axes, tampers, strict=True):
        for axis, network in zip(line, networks, strict=True):
            part = rows[(rows["scenario"] == network) & (rows["tamper"] == tamper)]
            table = verifications(part).assign(strength=lambda t: t["strength"].astype(float))
            for tolerance in TOLERANCES:
                share = 100 * accepted(table, tolerance).groupby(table["strength"]).mean()
                colour, name = _SHADES[tolerance], f"$\\varepsilon_a$ = {100 * tolerance:g} %"
                axis.plot(share.index, share, marker="o", color=colour, label=name)
                if len(table):
                    axis.axhline(100 * chance(int(table["n"].min()), tolerance), color=colour, ls=":", lw=0.9)
            axis.set(title=f"{network.replace('_', ', ')}:\n{tamper}", ylim=(-3, 103), xlabel=xlabel)
            if table["strength"].gt(1).any():
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        line[0].set_ylabel("authentication success, %")
    return _shared_legend(figure, 5)


def fig_others(rows: pd.DataFrame) -> Figure:
    """What other honest models answer: acceptance by tolerance and scheme, with the chance of fair coins.

    Bars are shares of verifications with exact 95 % intervals.
    """
    rows = rows[rows["kind"] == "honest"]
    networks, schemes = sorted(set(rows["scenario"])), list(dict.fromkeys(rows["scheme"]))
    kinds = list(dict.fromkeys(rows["tamper"]))
    figure, axes = plt.subplots(
        len(networks), len(kinds), figsize=(PAGE, 2.4 * len(networks)), sharey=True, squeeze=False
    )
    places = np.arange(len(TOLERANCES))
    for line, network in zip(axes, networks, strict=True):
        for axis, kind in zip(line, kinds, strict=True):
            part = rows[(rows["scenario"] == network) & (rows["tamper"] == kind)]
            for nth, scheme in enumerate(schemes):
                table = verifications(part[part["scheme"] == scheme])
                if table.empty:
                    continue
                hits = [int(accepted(table, tolerance).sum()) for tolerance in TOLERANCES]
                shares = np.array([100 * hit / len(table) for hit in hits])
                bounds = 100 * np.array([share_interval(hit, len(table)) for hit in hits]).T
                errors = np.abs(bounds - shares)
                x = places + 0.8 * (nth - (len(schemes) - 1) / 2) / len(schemes)
                axis.bar(x, shares, 0.8 / len(schemes), color=_COLOURS[nth], label=scheme, yerr=errors,
                         error_kw={"elinewidth": 0.8})  # fmt: skip
            coins = [100 * chance(10, tolerance) for tolerance in TOLERANCES]
            axis.plot(places, coins, "k_", markersize=22, label="fair coins, 10 keys")
            axis.set(title=f"{network.replace('_', ', ')}: {kind}", ylim=(0, 102))
            axis.set_xticks(places, [f"{100 * tolerance:g}" for tolerance in TOLERANCES])
            axis.set_xlabel("$\\varepsilon_a$, %")
        line[0].set_ylabel("accepted, %")
    return _shared_legend(figure, 5)


def fig_boundary(grids: dict[str, np.ndarray], reach: float, names: Sequence[str]) -> Figure:
    """Predicted classes in a plane through one key, one panel a model; the key is the cross in the middle.

    Args:
        grids: title to classes, int (n, n).
        reach: half the plane's side, in pixels of [0, 1] (l2).
        names: of the classes.
    """
    figure, axes = plt.subplots(1, len(grids), figsize=(PAGE * 0.8, 2.8), squeeze=False, sharey=True)
    shown = sorted({int(label) for grid in grids.values() for label in np.unique(grid)})
    for axis, (title, grid) in zip(axes[0], grids.items(), strict=True):
        places = np.searchsorted(shown, grid)
        axis.imshow(places, origin="lower", extent=(-reach, reach, -reach, reach), cmap="Pastel1", vmin=0, vmax=8)
        axis.plot(0, 0, "kx")
        axis.set(title=title, xlabel="along the walk")
        for nth, label in enumerate(shown):
            if (grid == label).any():
                row, column = (int(np.median(side)) for side in np.nonzero(grid == label))
                at = [(2 * place / (len(grid) - 1) - 1) * reach for place in (column, row)]
                axis.text(*at, names[shown[nth]], ha="center", va="center", fontsize=8)
    axes[0][0].set_ylabel("across it")
    figure.tight_layout()
    return figure


def table_effectiveness(measures: pd.DataFrame) -> pd.DataFrame:
    """Table 1: means over protected models, in per cent, by network, scheme and learning rate."""
    quantities = ["success", "epochs", "unchanged", "C2W", "W2C", "W2W", "others changed"]
    part = measures[measures["quantity"].isin(quantities) & (measures["tamper"] != "progress")]
    keys = ["scenario", "tamper", "strength"]
    table = part.pivot_table(index=keys, columns="quantity", values="value", sort=False)[quantities]
    table = table * np.where(np.array(quantities) == "epochs", 1, 100)
    count = part[part["quantity"] == "success"].groupby(keys)["value"].size().rename("models")
    names = {"scenario": "network", "tamper": "scheme", "strength": "learning rate"}
    table = table.round(2).join(count).reset_index().rename(columns=names).rename_axis(columns=None)
    return table.assign(**{"learning rate": table["learning rate"].map("{:g}".format)})


def table_acceptance(rows: pd.DataFrame) -> pd.DataFrame:
    """Authentication success in per cent by tolerance, of every kind of answer; the last line is fair coins'."""
    found = acceptance(rows, ["scenario", "kind", "scheme", "tamper"]).rename(columns={"scenario": "network"})
    coins = {f"{100 * t:g} %": 100 * chance(10, t) for t in TOLERANCES}
    line = {"network": "", "kind": "chance", "scheme": "", "tamper": "fair coins, 10 keys"} | coins | {"keys": 10}
    table = pd.concat([found, pd.DataFrame([line])], ignore_index=True)
    return table.astype({"n": "Int64", "keys": "Int64"}).round(1)
