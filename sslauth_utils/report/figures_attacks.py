"""Figures of the attacks: fine-tuning, backdoor, imitation. Pure functions of rows and measures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from sslauth_utils.claims.statistics import summarise
from sslauth_utils.report.figures_honest import draw_honest_edge
from sslauth_utils.report.style import COLOURS, LABELS, MARKERS, PAGE, SCENARIOS, legend_below, panels, scenarios_of
from sslauth_utils.study.rows import select

BY_EPOCH = "attack success, clean encoder's classifier"  # nobody trains one an epoch
SUCCESS = "#009E73"  # attack success: neither DCmp's nor Trans's colour
_STYLES = ("-", "--", ":", "-.", (0, (1, 3)))
_WAYS = ("#56B4E9", "#0072B2", "#D55E00", "#009E73", "#CC79A7")  # of fine-tuning
_MARKS = ("o", "s", "^", "v", "D")
_TARGETS = {"stl10": "STL-10", "gtsrb": "GTSRB", "svhn": "SVHN"}
_BARS = {
    "clean accuracy": "#56B4E9",
    "backdoored accuracy": "#0072B2",
    "ASR-B": "#F0E442",
    "attack success": SUCCESS,
}


def fig_fine_tuning(rows: pd.DataFrame, tau: float) -> Figure:
    """Fig. 4: agreement by fine-tuning epoch, DCmp above, Trans below, a line a way of fine-tuning.

    Bands are 95 % intervals.

    Args:
        rows: of 04_fine_tuning; strength is the epoch.
        tau: the tolerance, for the line that shows where a mean key would fail.
    """
    table = summarise(rows[rows["scheme"].isin(["DCmp", "Trans"])], ["scenario", "tamper", "scheme", "strength"], tau)
    scenarios = scenarios_of(rows)
    figure, axes = plt.subplots(
        2, len(scenarios), figsize=(PAGE if len(scenarios) > 1 else PAGE * 0.55, 4.2), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    for line, scheme in zip(axes, ("DCmp", "Trans"), strict=True):
        for axis, scenario in zip(line, scenarios, strict=True):
            for index, tamper in enumerate(dict.fromkeys(rows["tamper"])):
                part = select(table, {"scenario": scenario, "tamper": tamper, "scheme": scheme})
                way, look = tamper.removeprefix("fine-tuning "), index % len(_WAYS)
                _band(axis, part, "agreement", _WAYS[look], label=way, marker=_MARKS[look])
            _tolerance(axis, tau)
            axis.xaxis.get_major_locator().set_params(integer=True)
            if scheme == "DCmp":
                axis.set_title(SCENARIOS.get(scenario, scenario))
            else:
                axis.set_xlabel("epoch")
        line[0].set_ylabel(f"{scheme} agreement, %")
    return legend_below(figure, columns=3)


def fig_attack_losses(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """The backdoor's losses by epoch, as the cosines that they are the negatives of.

    Args:
        histories: by the attack's name, the rows that `attacks.backdoor.backdoor` returns.
    """
    figure, axes = plt.subplots(1, len(histories), figsize=(PAGE, 2.2), sharey=True, squeeze=False)
    parts = {
        "effectiveness": "effectiveness: trigger → reference", "reference": "reference: stays where it was",
        "utility": "utility: shadow images stay", "imitation": "imitation: keys stay",
    }  # fmt: skip
    for axis, (name, history) in zip(axes[0], histories.items(), strict=True):
        for (part, label), style in zip(parts.items(), _STYLES, strict=False):
            if part in history[0]:
                axis.plot([row["epoch"] for row in history], [-row[part] for row in history], linestyle=style,
                          marker=".", label=label)  # fmt: skip
        axis.set(title=name, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0][0].set_ylabel("mean cosine")
    return legend_below(figure)


def fig_attack_success(measures: pd.DataFrame, names: Mapping[str, str] | None = None) -> Figure:
    """Utility and attack success by attack: bars are means over seeds, dots the seeds.

    Args:
        measures: of 06_backdoor or 07_imitation: scenario, seed, tamper, strength, quantity, value.
        names: what to call a target, where a data set plays its role.
    """
    measures = measures[measures["quantity"].isin(_BARS)]
    figure, axes = panels(scenarios_of(measures), 2.4)
    for axis, scenario in zip(axes, scenarios_of(measures), strict=True):
        part = measures[measures["scenario"] == scenario]
        order = list(dict.fromkeys(part["tamper"]))
        attacks = set(zip(part["tamper"], part["strength"], strict=True))
        attacks = sorted(attacks, key=lambda attack: (order.index(attack[0]), attack[1]))
        for offset, (quantity, colour) in enumerate(_BARS.items()):
            for place, (tamper, strength) in enumerate(attacks):
                chosen = select(part, {"tamper": tamper, "strength": strength, "quantity": quantity})["value"]
                x = place + 0.2 * (offset - 1.5)
                axis.bar(x, 100 * chosen.mean(), 0.19, color=colour, label=quantity if place == 0 else None)
                if len(chosen) > 1:
                    axis.plot([x] * len(chosen), 100 * chosen, "k.", markersize=3,
                              label=None if place or offset else "one seed")  # fmt: skip
        several = len({strength for _, strength in attacks}) > 1
        ticks = [_target(tamper, names) + (f"\nλ = {strength:g}" if several else "") for tamper, strength in attacks]
        axis.set_xticks(range(len(attacks)), ticks, fontsize=7)
        axis.set(ylim=(0, 105))
    axes[0].set_ylabel("%")
    return legend_below(figure, columns=4)


def fig_backdoor(
    rows: pd.DataFrame, tau: float, printed: pd.DataFrame | None = None, names: Mapping[str, str] | None = None
) -> Figure:
    """Table 1 as a picture: every key's similarity by target and scheme, with the mean; stars are the paper's.

    Args:
        rows: of 06_backdoor.
        printed: the paper's numbers, as `families.printed_points` gives them.
        names: what to call a target, where a data set plays its role.
    """
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    tampers = list(dict.fromkeys(rows["tamper"]))
    figure, axes = panels(scenarios_of(rows), 2.5)
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        for place, tamper in enumerate(tampers):
            for scheme, shift in (("DCmp", -0.18), ("Trans", 0.18)):
                values = select(rows, {"scenario": scenario, "tamper": tamper, "scheme": scheme})["similarity"]
                jitter = np.random.default_rng(0).uniform(-0.1, 0.1, len(values))
                axis.plot(place + shift + jitter, 100 * values, ".", color=COLOURS[scheme], alpha=0.3, markersize=3)
                label = f"{LABELS[scheme]}, mean" if place == 0 else None
                axis.plot([place + shift - 0.14, place + shift + 0.14], [100 * values.mean()] * 2,
                          color=COLOURS[scheme], linewidth=2.2, label=label)  # fmt: skip
                _stars(axis, printed, place + shift, scenario=scenario, tamper=tamper, scheme=scheme)
        _tolerance(axis, tau)
        axis.set_xticks(range(len(tampers)), [_target(tamper, names) for tamper in tampers])
        axis.set(ylim=(min(0, 100 * rows["similarity"].min()) - 4, 104))
    axes[0].set_ylabel("similarity of a key, %")
    return legend_below(figure, columns=3)


def fig_utility_loss(rows: pd.DataFrame, measures: pd.DataFrame) -> Figure:
    """The ablation of the backdoor's utility loss: what stays of the keys and of the encoder, over lambda2.

    Agreement by DCmp with its 95 % interval for either key set; accuracy and attack success are means over seeds,
    dots the seeds.

    Args:
        rows, measures: of 13_utility_loss.
    """
    rows = rows[rows["scheme"] == "DCmp"]
    table = summarise(rows, ["scenario", "keys", "strength"], tau=1.0)  # agreement needs none
    weights = sorted({*rows["strength"], *measures["strength"]})  # a destroyed encoder has scores and no rows of keys
    figure, axes = panels(scenarios_of(rows), 2.5)
    for axis, scenario in zip(axes, scenarios_of(rows), strict=True):
        for keys, colour, marker in (("ood", COLOURS["DCmp"], "o"), ("id", "#56B4E9", "^")):
            line = select(table, {"scenario": scenario, "keys": keys})
            line = line.assign(strength=line["strength"].map(weights.index))
            _band(axis, line, "agreement", colour, label=f"DCmp agreement, {keys.upper()} keys", marker=marker)
        for quantity, style in (("attack success", "-"), ("backdoored accuracy", "--"), ("clean accuracy", ":")):
            of_seeds = select(measures, {"scenario": scenario, "quantity": quantity})
            of_seeds = of_seeds.assign(strength=of_seeds["strength"].map(weights.index))
            _seeds_and_mean(axis, of_seeds, linestyle=style, label=quantity)
        axis.set(xlabel="$λ_2$ of the utility loss", ylim=(-3, 104), xlim=(-0.2, len(weights) - 0.8))
        axis.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
    axes[0].set_ylabel("%")
    return legend_below(figure, columns=3 if len(axes) > 1 else 2)


def fig_by_epoch(
    rows: pd.DataFrame,
    measures: pd.DataFrame,
    tau: float,
    target: str,
    weight: float,
    honest: pd.DataFrame | None = None,
) -> Figure:
    """Fig. 11: attack success and authentication success by epoch of the disguised backdoor; dots: the seeds.

    Attack success by epoch is that of the classifier trained on the clean encoder, as the legend says.

    Args:
        rows, measures: of 07_imitation.
        target, weight: which attack, and its lambda.
        honest: rows of 03_verify_intact, for the lowest authentication success of honest changes.
    """
    tamper = f"disguised {target} {weight:g} by epoch"
    part = rows[(rows["tamper"] == tamper) & rows["scheme"].isin(["DCmp", "Trans"])]
    success = measures[measures["tamper"] == tamper]
    table = summarise(part, ["scenario", "scheme", "strength"], tau)
    figure, axes = panels(scenarios_of(part), 2.5)
    for axis, scenario in zip(axes, scenarios_of(part), strict=True):
        _schemes(axis, select(table, {"scenario": scenario}))
        _seeds_and_mean(axis, select(success, {"scenario": scenario}), label=BY_EPOCH)
        draw_honest_edge(axis, honest, scenario, "auth_success", tau)
        axis.set(xlabel="epoch", ylim=(-3, 104))
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("%")
    return legend_below(figure, columns=3 if len(axes) > 1 else 2)


def fig_lambda(rows: pd.DataFrame, measures: pd.DataFrame, tau: float, target: str) -> Figure:
    """Fig. 12: attack success, utility and authentication success over lambda; dots: the seeds.

    Args:
        rows, measures: of 07_imitation; scenarios with a single lambda are left out.
    """
    part = rows[(rows["tamper"] == f"disguised {target}") & rows["scheme"].isin(["DCmp", "Trans"])]
    part = part[part.groupby("scenario")["strength"].transform("nunique") > 1]
    numbers = measures[measures["tamper"] == f"disguised {target}"]
    table = summarise(part, ["scenario", "scheme", "strength"], tau)
    figure, axes = panels(scenarios_of(part), 2.6)
    for axis, scenario in zip(axes, scenarios_of(part), strict=True):
        _schemes(axis, select(table, {"scenario": scenario}))
        for quantity, style in (("attack success", "-"), ("backdoored accuracy", "--")):
            of_seeds = select(numbers, {"scenario": scenario, "quantity": quantity})
            _seeds_and_mean(axis, of_seeds, linestyle=style, label=quantity)
        axis.set(xlabel="λ of the imitation loss", xscale="log", ylim=(-3, 104))
        weights = sorted(set(part["strength"]))
        axis.set_xticks(weights, [f"{weight:g}" for weight in weights])
        axis.minorticks_off()
    axes[0].set_ylabel("%")
    return legend_below(figure, columns=3 if len(axes) > 1 else 2)


def _seeds_and_mean(axis: plt.Axes, measures: pd.DataFrame, **style: Any) -> None:
    """Scores of the task over strength: their mean as a line, each seed as a dot."""
    mean = 100 * measures.groupby("strength")["value"].mean()
    axis.plot(mean.index, mean, color=SUCCESS, marker="D", **style)
    axis.plot(measures["strength"], 100 * measures["value"], "k.", markersize=3)


def _schemes(axis: plt.Axes, table: pd.DataFrame) -> None:
    """Authentication success with its interval, and agreement dotted, of both schemes over strength."""
    for scheme in ("DCmp", "Trans"):
        line = select(table, {"scheme": scheme})
        name = f"{scheme}, authentication success"
        _band(axis, line, "auth_success", COLOURS[scheme], label=name, marker=MARKERS[scheme])
        axis.plot(line["strength"], line["agreement"], ":", color=COLOURS[scheme], label=f"{scheme}, agreement")


def _band(axis: plt.Axes, line: pd.DataFrame, quantity: str, colour: str, **style: Any) -> None:
    line = line.sort_values("strength")
    low, high = {"agreement": ("agreement_low", "agreement_high"), "auth_success": ("success_low", "success_high")}[
        quantity
    ]
    axis.fill_between(line["strength"], line[low], line[high], color=colour, alpha=0.15, linewidth=0)
    axis.plot(line["strength"], line[quantity], color=colour, **style)


def _tolerance(axis: plt.Axes, tau: float) -> None:
    axis.axhline(100 * tau, color="0.3", linewidth=0.8, linestyle="--", label=f"τ = {100 * tau:g} %")


def _target(tamper: str, names: Mapping[str, str] | None = None) -> str:
    """The target of "backdoor stl10", say, by its name, or as the paper writes it."""
    target = tamper.split()[-1]
    return (names or _TARGETS).get(target, target).replace(" (", "\n(")


def _stars(axis: plt.Axes, printed: pd.DataFrame | None, x: float, **where: str) -> None:
    if printed is None or printed.empty:
        return
    printed = select(printed, {**where, "measure": "agreement"})
    known = axis.get_legend_handles_labels()[1]
    label = f"paper, {where['scheme']}"
    axis.plot([x] * len(printed), printed["paper"], "*", markersize=10, markerfacecolor="none", zorder=5,
              markeredgewidth=1, color=COLOURS[where["scheme"]], label=None if label in known else label)  # fmt: skip
