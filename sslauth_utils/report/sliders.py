"""Sliders for a reader at the keyboard; headless runs skip them. Axes and legends stay where they are."""

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from sslauth_utils.attacks.prune import prune
from sslauth_utils.models.encoders import Encoder
from sslauth_utils.models.features import normalise
from sslauth_utils.report.pictures import show_change
from sslauth_utils.report.style import COLOURS, MARKERS
from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.verification import respond, verify
from sslauth_utils.study.enrolled import one_generator

LOSSES = (1e-7, 2)  # of 1 - similarity: what a slider's axis holds


def draw_losses(axis: plt.Axes, similarities: Mapping[str, Sequence[float]], tau: float) -> None:
    """Draw every key's 1 - similarity by scheme, best key first, with tau labelled, on an axis that never moves.

    Legend and label stand right of the axis: points may lie anywhere in it.
    """
    for scheme, values in similarities.items():
        loss = 1 - np.asarray(values, float)
        label = f"{scheme}: {(loss < 1 - tau).mean():.0%} pass"
        axis.plot(np.sort(loss).clip(LOSSES[0]), MARKERS[scheme], color=COLOURS[scheme], label=label)
    axis.axhline(1 - tau, color="0.3", linewidth=0.8, linestyle="--")
    axis.text(1.02, 1 - tau, f"τ = {100 * tau:g} %", fontsize=7, va="center", transform=axis.get_yaxis_transform())
    axis.set(yscale="log", ylim=LOSSES, xlabel="keys, best first", ylabel="1 − similarity")
    axis.legend(loc="lower left", bbox_to_anchor=(1, 0))


def pruning_slider(encoder: Encoder, record: Record, rates: Sequence[float]) -> ipywidgets.Widget:
    """Slide the pruning rate; see one key's feature, every key's similarity, the generated images and the verdict.

    Args:
        encoder: the intact encoder; every position is a pruned copy.
        record: its record, with the generator G_min.
        rates: the positions, shares in [0, 1]; the slider starts at the first.
    """
    record, keys = one_generator(record), record.challenge()
    before = normalise(record.features)
    pruned = {rate: prune(encoder, rate) for rate in rates}
    after = {rate: respond(suspect, keys) for rate, suspect in pruned.items()}
    highest = max(features[0].max().item() for features in (before, *after.values()))

    def show(rate: float) -> None:
        report = verify(record, after[rate], suspect_sha256=pruned[rate].sha256())
        _, (left, right) = plt.subplots(1, 2, figsize=(9, 2.2), width_ratios=(3, 2), layout="constrained")
        left.plot(before[0].numpy(), color="0.6", linewidth=1, label="intact")
        left.plot(after[rate][0].numpy(), color="#D55E00", linewidth=0.8, label="pruned")
        left.set(title="feature of the first key", xlabel="dimension", ylim=(0, 1.25 * highest))
        left.legend(loc="upper right", ncol=2)
        draw_losses(right, {scheme: report[scheme].similarity for scheme in ("DCmp", "Trans")}, record.tau)
        show_change(keys, record.reference_images["min"], {f"{rate:.0%}": record.images("min", after[rate])})
        plt.show()
        print(report)

    slider = ipywidgets.SelectionSlider(
        options=[(f"{rate:.0%}", rate) for rate in rates], description="pruned", continuous_update=False
    )
    return ipywidgets.interactive(show, rate=slider)


def epoch_slider(
    rows: pd.DataFrame, measures: pd.DataFrame, tau: float, target: str, weight: float
) -> ipywidgets.Widget:
    """Slide through the epochs of a disguised backdoor; see every key's similarity, and what passes.

    Args:
        rows, measures: of 07_imitation, one scenario and seed.
        tau: the tolerance.
        target, weight: which attack, and its lambda.
    """
    tamper = f"disguised {target} {weight:g} by epoch"
    rows, measures = rows[rows["tamper"] == tamper], measures[measures["tamper"] == tamper]

    def show(epoch: int) -> None:
        now = rows[rows["strength"] == epoch]
        success = measures[measures["strength"] == epoch]["value"].mean()
        _, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
        draw_losses(axis, {scheme: now[now["scheme"] == scheme]["similarity"] for scheme in ("DCmp", "Trans")}, tau)
        axis.set_title(f"epoch {epoch}: attack success {success:.0%}, clean encoder's classifier")
        plt.show()

    last = int(rows["strength"].max())
    slider = ipywidgets.IntSlider(value=1, min=1, max=last, description="epoch", continuous_update=False)
    return ipywidgets.interactive(show, epoch=slider)
