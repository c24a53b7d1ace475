"""Figures of the generator's objective and of other forms than images: pure functions of rows and measures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sslauth_utils.claims.statistics import amplification, summarise
from sslauth_utils.report.style import COLOURS, LABELS, MARKERS, PAGE, SCENARIOS, scenarios_of

OBJECTIVE_SCHEMES = ("DCmp", "Trans G_ini", "Trans G_max", "Trans")
_SCHEMES = {"ini": "Trans G_ini", "max": "Trans G_max", "min": "Trans"}
_SHORT = {"DCmp": "DCmp", "Trans G_ini": "$G_{ini}$", "Trans G_max": "$G_{max}$", "Trans": "$G_{min}$"}
#: colour, marker and label by the beginning of a tamper's name
_TAMPERS = {
    "disguised": ("#D55E00", "s", "disguised backdoor"),
    "pruning": ("#0072B2", "o", "10 % pruning"),
    "rounding": ("#009E73", "^", "honest: 2 decimals"),
}
_FAMILIES = {
    "centred": "feature less its mean",
    "linear": "random linear",
    "format": "format layer",
    "mlp": "trained MLP",
    "pixels": "pixels, cosine",
    "correlation": "pixels, correlation",
}


def disguised(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the disguised encoder, the suspect of Tables 5 and 8."""
    return rows[rows["tamper"].str.startswith("disguised")]


def generator_kappas(rows: pd.DataFrame) -> pd.DataFrame:
    """kappa of every generator by itself.

    Args:
        rows: of 10_generator_objective; column keys tells the generators' seeds apart.

    Returns:
        Columns scenario, seed, tamper, strength, keys, scheme, kappa, low, high, n (`amplification`).
    """
    return amplification(rows, ["scenario", "seed", "tamper", "strength", "keys"])


def fig_objective(rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None) -> Figure:
    """Table 5 as a picture: the disguised encoder by generator objective, a dot a generator, a star for the paper.

    Above 100 - agreement in points on a log axis, below the authentication success rate.

    Args:
        rows: of 10_generator_objective.
        tau: the tolerance.
        reference: the paper's printed points: scenario, measure, scheme, paper.
    """
    scenarios = scenarios_of(rows)
    table = _by_generator(disguised(rows), tau)
    figure, axes = _grid(2, len(scenarios), 4.2)
    for column, scenario in enumerate(scenarios):
        top, bottom = axes[:, column]
        for place, scheme in enumerate(OBJECTIVE_SCHEMES):
            part = table[(table["scenario"] == scenario) & (table["scheme"] == scheme)]
            part = part.groupby("seed").head(1) if scheme == "DCmp" else part  # DCmp knows no generator
            at = place + _spread(len(part))
            style = {"color": COLOURS[scheme], "linestyle": "", "marker": MARKERS[scheme], "alpha": 0.8}
            top.plot(at, (100 - part["agreement"]).clip(lower=1e-4), label=LABELS[scheme], **style)
            bottom.plot(at, part["auth_success"], **style)
            for axis, measure in ((top, "agreement"), (bottom, "auth_success")):
                for value in _printed(reference, scenario, scheme, measure):
                    shown = 100 - value if measure == "agreement" else value
                    axis.plot(place + 0.36, shown, "*", markersize=9, markerfacecolor="none", color="k")
        top.axhline(100 * (1 - tau), color="0.3", linewidth=0.8, linestyle="--")
        top.set(yscale="log", title=SCENARIOS.get(scenario, scenario))
        bottom.set(ylim=(-5, 108))
        for axis in (top, bottom):
            axis.set_xticks(range(len(OBJECTIVE_SCHEMES)), [_SHORT[scheme] for scheme in OBJECTIVE_SCHEMES])
            axis.set_xlim(-0.5, len(OBJECTIVE_SCHEMES) - 0.4)
    axes[0, 0].set_ylabel("100 − agreement, points")
    axes[1, 0].set_ylabel(f"keys above τ = {100 * tau:g} %, %")
    star = Line2D([], [], marker="*", linestyle="", color="k", markerfacecolor="none", markersize=9)
    dot = Line2D([], [], marker="o", linestyle="", color="0.5")
    line = Line2D([], [], color="0.3", linewidth=0.8, linestyle="--")
    return _key_below(figure, [dot, star, line], ["one generator seed", "paper, one run", "τ"])


def fig_objective_kappa(rows: pd.DataFrame) -> Figure:
    """kappa = (1 - SSIM) / (1 - cos) by tamper and objective, a dot a generator.

    Args:
        rows: of 10_generator_objective.
    """
    scenarios = scenarios_of(rows)
    table = generator_kappas(rows)
    figure, axes = _grid(1, len(scenarios), 2.6)
    for axis, scenario in zip(axes[0], scenarios, strict=True):
        for place, start in enumerate(_TAMPERS):
            for shift, scheme in zip((-0.25, 0, 0.25), OBJECTIVE_SCHEMES[1:], strict=True):
                of = (table["scenario"] == scenario) & (table["scheme"] == scheme)
                part = table[of & table["tamper"].str.startswith(start)]
                axis.plot(
                    place + shift + 0.5 * _spread(len(part)), part["kappa"], linestyle="", color=COLOURS[scheme],
                    marker=MARKERS[scheme], alpha=0.8, label=LABELS[scheme] if place == 0 else None,
                )  # fmt: skip
        axis.axhline(1, color="0.3", linewidth=0.8, linestyle="--")
        axis.set(yscale="log", title=SCENARIOS.get(scenario, scenario))
        axis.set_xticks(range(len(_TAMPERS)), ["\n".join(name.rsplit(" ", 1)) for _, _, name in _TAMPERS.values()])
        axis.set_xlim(-0.5, len(_TAMPERS) - 0.5)
    axes[0, 0].set_ylabel("κ = (1 − SSIM) / (1 − cos)")
    return _key_below(figure, *axes[0, 0].get_legend_handles_labels())


def fig_correlation(measures: pd.DataFrame) -> Figure:
    """Are G's images the keys' negatives? Correlation with the own key and with other keys, a dot a generator.

    Args:
        measures: of 10_generator_objective; tamper is the objective, strength the generator's seed.
    """
    scenarios = scenarios_of(measures)
    figure, axes = _grid(1, len(scenarios), 2.5)
    quantities = {"correlation with the key": (-0.15, None), "correlation with other keys": (0.15, "none")}
    for axis, scenario in zip(axes[0], scenarios, strict=True):
        for place, (objective, scheme) in enumerate(_SCHEMES.items()):
            for quantity, (shift, face) in quantities.items():
                of = (measures["scenario"] == scenario) & (measures["tamper"] == objective)
                values = measures.loc[of & (measures["quantity"] == quantity), "value"]
                axis.plot(
                    place + shift + 0.5 * _spread(len(values)), values, linestyle="", marker=MARKERS[scheme],
                    color=COLOURS[scheme], markerfacecolor=face or COLOURS[scheme], label=quantity,
                )  # fmt: skip
        for value in (-1, 0, 1):
            axis.axhline(value, color="0.75", linewidth=0.8, linestyle=":" if value else "-", zorder=0)
        axis.set(ylim=(-1.08, 1.08), xlim=(-0.5, 2.5), title=SCENARIOS.get(scenario, scenario))
        axis.set_xticks(range(3), [_SHORT[scheme] for scheme in _SCHEMES.values()])
    axes[0, 0].set_ylabel("Pearson correlation of G(E(x))")
    names = ["with its own key (−1: the exact negative)", "with the other keys, mean"]
    marks = [Line2D([], [], marker="o", linestyle="", color="0.4", markerfacecolor=face) for face in ("0.4", "none")]
    return _key_below(figure, marks, names)


def fig_transformation(rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None) -> Figure:
    """Table 8 as a picture: what each form makes of the disguised encoder, and by how much it magnifies any change.

    Left 100 - agreement of the disguised encoder with 95 % intervals, a star for the paper; right
    kappa = (1 - similarity) / (1 - cos) by tamper.

    Args:
        rows: of 11_transformation.
        tau: the tolerance.
        reference: as in `fig_objective`.
    """
    schemes = transformation_schemes(rows)
    scenarios = scenarios_of(rows)
    kappas = amplification(rows[rows["scheme"].isin(schemes)], ["scenario", "tamper"])
    figure, axes = _grid(len(scenarios), 2, len(scenarios) * (0.19 * len(schemes) + 0.5) + 0.5)
    for (left, right), scenario in zip(axes, scenarios, strict=True):
        suspect = disguised(rows[(rows["scenario"] == scenario) & rows["scheme"].isin(schemes)])
        table = summarise(suspect, ["scheme"], tau)
        colour, marker, _ = _TAMPERS["disguised"]
        for line in table.itertuples():
            ends = np.clip([100 - line.agreement_high, 100 - line.agreement_low], 1e-4, None)
            left.plot(ends, [schemes.index(line.scheme)] * 2, color=colour, linewidth=1)
            left.plot(max(100 - line.agreement, 1e-4), schemes.index(line.scheme), marker, color=colour)
        for place, scheme in enumerate(schemes):
            for value in _printed(reference, scenario, scheme, "agreement"):
                left.plot(100 - value, place, "*", markersize=9, markerfacecolor="none", color="k")
        for start, (colour, marker, _) in _TAMPERS.items():
            of = (kappas["scenario"] == scenario) & kappas["tamper"].str.startswith(start)
            for line in kappas[of].itertuples():
                place = schemes.index(line.scheme)
                right.plot(np.clip([line.low, line.high], 1e-2, None), [place, place], color=colour, linewidth=1)
                right.plot(max(line.kappa, 1e-2), place, marker, color=colour)
        left.axvline(100 * (1 - tau), color="0.3", linewidth=0.8, linestyle="--")
        right.axvline(1, color="0.3", linewidth=0.8, linestyle="--")
        for axis in (left, right):
            axis.set(xscale="log", ylim=(len(schemes) - 0.4, -0.6))
            axis.grid(axis="y", color="0.93")
        left.set_title(SCENARIOS.get(scenario, scenario))
        left.set_yticks(range(len(schemes)), [form_name(scheme) for scheme in schemes])
        right.tick_params(labelleft=False)
    axes[-1, 0].set_xlabel("100 − agreement, points (disguised encoder)")
    axes[-1, 1].set_xlabel("κ = (1 − similarity) / (1 − cos)")
    marks = [Line2D([], [], marker=m, color=c) for c, m, _ in _TAMPERS.values()]
    marks += [Line2D([], [], marker="*", linestyle="", color="k", markerfacecolor="none", markersize=9)]
    marks += [Line2D([], [], color="0.3", linewidth=0.8, linestyle="--")]
    return _key_below(figure, marks, [*(name for _, _, name in _TAMPERS.values()), "paper", "τ (left), κ = 1 (right)"])


def transformation_schemes(rows: pd.DataFrame) -> list[str]:
    """The schemes of 11_transformation in the order in which they are shown: vectors first, images last."""
    order = ["DCmp", *_FAMILIES, "Trans"]

    def place(scheme: str) -> tuple[int, int, str]:
        start, _, rest = scheme.partition(" ")
        image = start in ("pixels", "correlation", "Trans")
        group = 100 + 10 * ["G_ini", "G_max", "G_min"].index(rest or "G_min") if image else 0
        return group + order.index(start), -int(rest) if rest.isdigit() else 0, rest

    return sorted({scheme for scheme in rows["scheme"] if scheme.partition(" ")[0] in order}, key=place)


def form_name(scheme: str) -> str:
    """A scheme of 11_transformation in words."""
    start, _, rest = scheme.partition(" ")
    if start == "Trans":
        return f"image of {_SHORT[scheme]}, SSIM"
    if start in ("pixels", "correlation"):
        return f"image of $G_{{{rest.removeprefix('G_')}}}$, {_FAMILIES[start].removeprefix('pixels, ')}"
    if start == "DCmp":
        return "feature itself (DCmp)"
    return f"{_FAMILIES[start]} {rest}".strip()


def _by_generator(rows: pd.DataFrame, tau: float) -> pd.DataFrame:
    """Agreement and success, per cent, of each generator by itself."""
    by = ["scenario", "scheme", "seed", "keys"]
    values = rows.assign(passes=rows["similarity"] > tau).groupby(by)[["similarity", "passes"]].mean() * 100
    return values.rename(columns={"similarity": "agreement", "passes": "auth_success"}).reset_index()


def _printed(reference: pd.DataFrame | None, scenario: str, scheme: str, measure: str) -> Sequence[float]:
    if reference is None or reference.empty:
        return []
    of = (reference["scenario"] == scenario) & (reference["scheme"] == scheme)
    return reference.loc[of & (reference["measure"] == measure), "paper"].tolist()


def _grid(lines: int, columns: int, height: float) -> tuple[Figure, np.ndarray]:
    width = PAGE if columns > 1 else PAGE * 0.55
    return plt.subplots(lines, columns, figsize=(width, height), sharey="row", squeeze=False)


def _spread(count: int) -> np.ndarray:
    """Places side by side, so that equal values stay visible."""
    return np.linspace(-0.18, 0.18, count) if count > 1 else np.zeros(count)


def _key_below(figure: Figure, handles: list, labels: list) -> Figure:
    """A legend outside the panels."""
    figure.tight_layout()
    columns = 3 if figure.get_figwidth() > 5 else 1
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.01), ncol=columns)
    return figure
