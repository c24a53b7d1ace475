"""Figures of 01_pretrain_encoders and 02_enrol_keys: pure functions of rows."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from sslauth_utils.report.style import COLOURS, PAGE, SCENARIOS, panels, scenarios_of


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
