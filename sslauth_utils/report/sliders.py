"""Sliders for a reader at the keyboard; headless runs skip them."""

from collections.abc import Sequence

import ipywidgets
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from sslauth_utils.attacks.prune import prune
from sslauth_utils.base.device import strict_arithmetic
from sslauth_utils.models.encoders import Encoder
from sslauth_utils.models.features import normalise
from sslauth_utils.report.pictures import show_images
from sslauth_utils.report.style import COLOURS, MARKERS
from sslauth_utils.schemes.record import Record
from sslauth_utils.schemes.verification import respond, verify


def pruning_slider(encoder: Encoder, record: Record, rates: Sequence[float]) -> ipywidgets.Widget:
    """Slide the pruning rate; see one key's feature, the generated images and the verdict.

    Args:
        encoder: the intact encoder; every position prunes a fresh copy.
        record: its record, with the generator G_min.
        rates: the positions, shares in [0, 1].
    """
    keys = record.challenge()
    generator = record.generators["min"]
    before = normalise(record.features)
    with strict_arithmetic():
        images_before = generator(before)

    def show(rate: float) -> None:
        pruned = prune(encoder, rate)
        after = respond(pruned, keys)
        with strict_arithmetic():
            images_after = generator(after)
        _, axis = plt.subplots(figsize=(7, 1.6))
        axis.plot(before[0].numpy(), color="0.6", linewidth=1, label="intact")
        axis.plot(after[0].numpy(), color="#D55E00", linewidth=0.8, label="pruned")
        axis.set(title="feature of the first key", xlabel="dimension")
        axis.legend()
        show_images(
            [keys, images_before, images_after, (5 * (images_after - images_before)).abs().clamp(0, 1)],
            ["key x", "G(E(x))", "G(E'(x))", "5 × |difference|"],
        )
        plt.show()
        print(verify(record, after, suspect_sha256=pruned.sha256()))

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
        _, axis = plt.subplots(figsize=(7, 2.2))
        for scheme in ("DCmp", "Trans"):
            loss = 1 - rows[(rows["strength"] == epoch) & (rows["scheme"] == scheme)]["similarity"]
            passing = (loss < 1 - tau).mean()
            axis.plot(np.sort(loss), MARKERS[scheme], color=COLOURS[scheme], label=f"{scheme}: {passing:.0%} pass")
        axis.axhline(1 - tau, color="0.3", linewidth=0.8, linestyle="--")
        success = measures[measures["strength"] == epoch]["value"].mean()
        axis.set(yscale="log", xlabel="keys, best first", ylabel="1 − similarity",
                 title=f"epoch {epoch}: attack success {success:.0%}")  # fmt: skip
        axis.legend()
        plt.show()

    last = int(rows["strength"].max())
    slider = ipywidgets.IntSlider(value=last, min=1, max=last, description="epoch", continuous_update=False)
    return ipywidgets.interactive(show, epoch=slider)
