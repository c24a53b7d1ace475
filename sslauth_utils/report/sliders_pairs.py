"""A slider for the notebooks on sample pairs; headless runs skip it."""

from collections.abc import Mapping

import ipywidgets
import numpy as np
from matplotlib import pyplot as plt
from torch import Tensor


def margin_slider(enrolled: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> ipywidgets.Widget:
    """Slide through changes, or steps; see on which side of the boundary each pair's two images lie.

    Args:
        enrolled: name of a position to d at enrolment, float64 (N, 2).
        found: name of a position to d now, of the same pairs.
        what: the slider's label.
    """
    reach = 3 * max(values.abs().max().item() for values in (*found.values(), *enrolled.values()))
    finest = min(values.abs().median().item() for values in enrolled.values())
    linear = max(finest / 10, 1e-12)
    decades = np.arange(np.floor(np.log10(linear)) + 1, np.log10(reach))
    decades = decades[:: -(-len(decades) // 4)]  # at most four either side of 0, or their labels collide

    def show(name: str) -> None:
        before, now = enrolled[name].numpy(), found[name].numpy()
        flipped = (now > 0) != (before > 0)
        _, axis = plt.subplots(figsize=(7, 2.6))
        place = np.arange(len(now))
        for side, marker in enumerate("o^"):
            colours = np.where(flipped[:, side], "#D55E00", "#0072B2")
            axis.scatter(place, now[:, side], c=colours, marker=marker, s=12)
            axis.plot([], [], marker, color="0.5", label=("first image", "second image")[side])
        for colour, label in (("#0072B2", "on its side"), ("#D55E00", "on the other side")):
            axis.plot([], [], "s", color=colour, label=label)
        axis.axhline(0, color="0.3", linewidth=0.8)
        axis.set_yscale("symlog", linthresh=linear)
        axis.set_yticks([*(-(10 ** decades[::-1])), 0, *10**decades])
        axis.set_yticks([], minor=True)
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        axis.set(
            ylim=(-reach, reach), xlabel="pairs", ylabel="d",
            title=f"{name}: {flipped.any(axis=1).mean():.0%} of the pairs have an image on the other side",
        )  # fmt: skip
        plt.show()

    slider = ipywidgets.SelectionSlider(options=list(found), description=what, continuous_update=False)
    return ipywidgets.interactive(show, name=slider)
