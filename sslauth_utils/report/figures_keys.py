"""Figures of 09_key_distribution (the paper's Figs. 7 to 10): pure functions of rows and measures."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from sslauth_utils.claims.statistics import summarise
from sslauth_utils.report.style import COLOURS, LABELS, MARKERS, PAGE, SCENARIOS, draw_paper_points, scenarios_of

SCHEMES = ("DCmp", "Trans")
ORIGINS = {"ood": ("OOD keys", "-"), "id": ("ID keys", "--")}
#: of key sets where no scheme is drawn; Okabe and Ito's too
KEY_COLOURS = {"ood": "#E69F00", "id": "#56B4E9"}
_CHOICES = (("#000000", "D"), ("#CC79A7", "^"), ("#009E73", "v"))  # K1, K2, K3
_TAMPERS = {"pruning": "", "fine-tuning": "fine-\ntuned", "backdoor": "back-\ndoor"}  # first word to name on an axis
_NINES = (99.999, 99.99, 99.9, 99, 90, 0)  # ticks of an agreement axis on which 99.9 and 99.99 can be told apart


def _encoder(scenario: str) -> str:
    """The encoder alone: the keys are what differs within these figures."""
    return SCENARIOS.get(scenario, scenario).split(",")[0]


def _legend_below(figure: Figure, axis: plt.Axes, columns: int) -> None:
    figure.tight_layout()
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.01), ncol=columns, handlelength=3, columnspacing=1.5
    )


def fig_key_pruning(rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None) -> Figure:
    """Figs. 8 and 9: agreement and authentication success by pruning rate, ID against OOD keys.

    "the impact of key samples on the verification process when applying encoder pruning" (A.2). Bands
    are 95 % intervals, bootstrapped for agreement and exact for success.

    Args:
        rows: of 09_key_distribution.
        tau: the tolerance.
        reference: the paper's printed points, all with OOD keys: scenario, measure, scheme, strength, paper.
    """
    rows = rows[(rows["tamper"] == "pruning") & rows["scheme"].isin(SCHEMES) & rows["keys"].isin(ORIGINS)]
    table = summarise(rows, ["scenario", "keys", "scheme", "strength"], tau)
    scenarios = scenarios_of(table)
    width = PAGE if len(scenarios) > 1 else PAGE * 0.6
    figure, axes = plt.subplots(2, len(scenarios), figsize=(width, 4.2), sharex=True, sharey="row", squeeze=False)
    measures = (("agreement", "agreement_low", "agreement_high"), ("auth_success", "success_low", "success_high"))
    for line, (measure, low, high) in zip(axes, measures, strict=True):
        for axis, scenario in zip(line, scenarios, strict=True):
            for scheme in SCHEMES:
                for keys, (origin, style) in ORIGINS.items():
                    names = (table["scenario"] == scenario) & (table["scheme"] == scheme) & (table["keys"] == keys)
                    part = table[names].sort_values("strength")
                    x = 100 * part["strength"]
                    axis.fill_between(x, part[low], part[high], color=COLOURS[scheme], alpha=0.13, linewidth=0)
                    axis.plot(
                        x,
                        part[measure],
                        style,
                        color=COLOURS[scheme],
                        marker=MARKERS[scheme],
                        markerfacecolor=COLOURS[scheme] if keys == "ood" else "white",
                        label=f"{scheme}, {origin}",
                    )
            needed = 100 * tau if measure == "agreement" else 100
            axis.axhline(needed, color="0.3", linewidth=0.8, linestyle=":")
            draw_paper_points(axis, reference, scenario, measure, labelled=False)
    for axis, scenario in zip(axes[0], scenarios, strict=True):
        axis.set_title(_encoder(scenario))
    for axis in axes[1]:
        axis.set(xlabel="pruning rate, %", ylim=(-4, 106))
    axes[0, 0].set_ylabel("agreement, %")
    axes[1, 0].set_ylabel(f"keys above τ = {100 * tau:g} %, %")
    _legend_below(figure, axes[0, 0], 4 if len(scenarios) > 1 else 2)
    return figure


def _nines(agreement: pd.Series | float) -> pd.Series | float:
    """Agreement in % to the place on an axis of nines: 99.9 lies as far above 99 as 99 above 90."""
    return -np.log10(np.clip(100 - agreement, 1e-4, 200))


def fig_key_choice(rows: pd.DataFrame, tau: float) -> Figure:
    """Fig. 7: agreement by tampering for K1, K2, K3 and for randomly chosen ID and OOD keys.

    "The effectiveness of different key samples on the ImageNet pre-trained encoder is evaluated in
    Figure 7." (A.2) The axis is one of nines, so that small and large losses can be told apart.

    Args:
        rows: of 09_key_distribution; key sets "ood", "id" and any "id:N".
        tau: the tolerance, for the line that shows where a mean key would fail.
    """
    rows = rows[rows["scheme"].isin(SCHEMES)]
    table = summarise(rows, ["scenario", "keys", "scheme", "tamper", "strength"], tau)
    scenarios = scenarios_of(table)
    size = (PAGE, 3.5 * len(scenarios) + 0.3)
    figure, axes = plt.subplots(2 * len(scenarios), 1, figsize=size, sharey=True)
    named: dict[str, object] = {}
    for pair, scenario in zip(axes.reshape(-1, 2), scenarios, strict=True):
        of_scenario = table[table["scenario"] == scenario]
        looks = _looks(rows.loc[rows["scenario"] == scenario, "keys"].drop_duplicates())
        tampers = _tampers(of_scenario)
        for axis, scheme in zip(pair, SCHEMES, strict=True):
            for nth, (keys, (label, colour, marker)) in enumerate(looks.items()):
                part = of_scenario[(of_scenario["scheme"] == scheme) & (of_scenario["keys"] == keys)]
                part = part.set_index(["tamper", "strength"]).reindex(tampers)
                places = np.arange(len(tampers)) + 0.15 * (nth - (len(looks) - 1) / 2)
                middle, low, high = (_nines(part[name]) for name in ("agreement", "agreement_low", "agreement_high"))
                named[label] = axis.errorbar(
                    places,
                    middle,
                    yerr=[(middle - low).clip(0), (high - middle).clip(0)],
                    fmt=marker,
                    color=colour,
                    markersize=3.5,
                    elinewidth=0.8,
                    label=label,
                )
            axis.axhline(_nines(100 * tau), color="0.3", linewidth=0.8, linestyle=":")
            axis.text(1.01, _nines(100 * tau), "τ", transform=axis.get_yaxis_transform(), fontsize=8, va="center")
            axis.set_title(f"{_encoder(scenario)}, {LABELS[scheme]}")
            axis.set_ylabel("agreement, %")
            axis.set_xticks(range(len(tampers)), [_tick(*tamper) for tamper in tampers])
            axis.set_xlim(-0.6, len(tampers) - 0.4)
            axis.yaxis.set_major_locator(FixedLocator([_nines(nine) for nine in _NINES]))
            axis.yaxis.set_minor_locator(NullLocator())
            axis.set_yticklabels([f"{nine:g}" for nine in _NINES])
            for edge in range(len(tampers) - 1):
                axis.axvline(edge + 0.5, color="0.93", linewidth=0.8, zorder=0)
    axes[-1].set_xlabel("pruned by, %; other tampering")
    figure.tight_layout()
    figure.legend(named.values(), named.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.01), ncol=len(named))
    return figure


def _looks(key_sets: pd.Series) -> dict[str, tuple[str, str, str]]:
    """Label, colour and marker of each key set: random ones first, then K1, K2, K3 in the order of the rows."""
    looks = {"ood": ("random OOD", KEY_COLOURS["ood"], "s"), "id": ("random ID", KEY_COLOURS["id"], "o")}
    looks = {keys: look for keys, look in looks.items() if keys in set(key_sets)}
    choices = [keys for keys in key_sets if keys.startswith("id:")]
    for number, (keys, (colour, marker)) in enumerate(zip(choices, _CHOICES, strict=False), start=1):
        looks[keys] = (f"K{number}: {keys[3:]} a class", colour, marker)
    return looks


def _tampers(table: pd.DataFrame) -> list[tuple[str, float]]:
    """(tamper, strength) in order: pruning by rate, then fine-tuning, then backdoors."""
    found = set(zip(table["tamper"], table["strength"], strict=True))
    return sorted(found, key=lambda pair: (list(_TAMPERS).index(pair[0].split(" ")[0]), pair))


def _tick(tamper: str, strength: float) -> str:
    return _TAMPERS[tamper.split(" ")[0]] or f"{100 * strength:g}"


def fig_key_shift(measures: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    """Fig. 10: "the changes in distributions after pruning", ID against OOD keys.

    Left and middle, features before and after on common axes (the first two principal components of the
    clean features of both kinds of keys), a line for each key; right, the share of keys below each cosine at the
    same rate.
    Of several seeds the first is shown: each encoder has axes of its own.

    Args:
        measures: of 09_key_distribution: quantities "pc1 id", "pc2 id", "pc1 ood", "pc2 ood" with tamper
            clean or pruning, strength the rate, n the key.
        rows: of the same notebook, for the similarities.
    """
    import seaborn as sns  # here, because it takes seconds to import

    measures = measures[measures["quantity"].str.match(r"pc[12] (id|ood)$")]
    scenarios = scenarios_of(measures)
    figure, axes = plt.subplots(len(scenarios), 3, figsize=(PAGE, 2.3 * len(scenarios) + 0.3), squeeze=False)
    for line, scenario in zip(axes, scenarios, strict=True):
        part = measures[measures["scenario"] == scenario]
        seed = part["seed"].min()
        part = part[part["seed"] == seed]
        rate = part.loc[part["tamper"] == "pruning", "strength"].astype(float).iloc[0]
        for axis, (keys, (origin, _)) in zip(line, reversed(ORIGINS.items()), strict=False):
            before, after = (_points(part[part["tamper"] == tamper], keys) for tamper in ("clean", "pruning"))
            axis.plot([before[:, 0], after[:, 0]], [before[:, 1], after[:, 1]], color="0.8", linewidth=0.6, zorder=1)
            axis.scatter(*before.T, s=10, color="0.55", label="clean", zorder=2)
            axis.scatter(*after.T, s=10, color=KEY_COLOURS[keys], marker="^", label=f"pruned, {origin}", zorder=3)
            axis.set(title=f"{_encoder(scenario)}, {origin}", xlabel="first component")
        line[0].set_ylabel("second component")
        _share_limits(line[0], line[1])
        chosen = rows[(rows["scenario"] == scenario) & (rows["seed"] == seed) & (rows["scheme"] == "DCmp")]
        chosen = chosen[(chosen["tamper"] == "pruning") & np.isclose(pd.to_numeric(chosen["strength"]), rate)]
        for keys, (origin, style) in ORIGINS.items():
            sns.ecdfplot(
                x=chosen.loc[chosen["keys"] == keys, "similarity"],
                ax=line[2],
                linestyle=style,
                color=KEY_COLOURS[keys],
                label=origin,
            )
        line[2].set(title=f"pruned by {100 * rate:g} %", xlabel="cosine to the clean feature", ylabel="share of keys")
    figure.tight_layout()
    marks = [axis.get_legend_handles_labels() for axis in axes[0, :2]]
    named = {label: handle for handles, labels in marks for handle, label in zip(handles, labels, strict=True)}
    figure.legend(named.values(), named.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.01), ncol=len(named))
    return figure


def _points(part: pd.DataFrame, keys: str) -> np.ndarray:
    """(keys, 2): the two components, sorted by key."""
    wide = part.pivot(index="n", columns="quantity", values="value")
    return wide[[f"pc1 {keys}", f"pc2 {keys}"]].to_numpy(float)


def _share_limits(left: plt.Axes, right: plt.Axes) -> None:
    """The same scale in both panels, so that the shifts can be compared."""
    for get, put in (("get_xlim", "set_xlim"), ("get_ylim", "set_ylim")):
        limits = [*getattr(left, get)(), *getattr(right, get)()]
        for axis in (left, right):
            getattr(axis, put)(min(limits), max(limits))
