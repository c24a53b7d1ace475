"""A slider for DeepAuth's notebook; headless runs skip it."""

from collections.abc import Sequence

import ipywidgets
import numpy as np
from matplotlib import pyplot as plt


def lead_slider(leads: np.ndarray, hinge: float, names: Sequence[str]) -> ipywidgets.Widget:
    """Slide through the epochs of an embedding; see how far each key has gone over the boundary.

    Args:
        leads: logit of the true class minus that of the adversarial one, float (epochs, keys); the first row is before
            the embedding.
        hinge: the lead that the hinge asks for.
        names: of the keys, "c' to c*".
    """
    reach = 1.05 * np.abs(leads).max()

    def show(epoch: int) -> None:
        _, axis = plt.subplots(figsize=(7, 2.4))
        colours = np.where(leads[epoch] >= 0, "#0072B2", "#D55E00")
        axis.bar(range(leads.shape[1]), leads[epoch], color=colours)
        axis.axhline(0, color="0.3", linewidth=0.8)
        axis.axhline(hinge, color="0.6", linewidth=0.8, linestyle="--")
        axis.set(
            ylim=(-reach, reach), ylabel="f* − f'", title=f"epoch {epoch}: {(leads[epoch] >= 0).mean():.0%} changed"
        )
        axis.set_xticks(range(leads.shape[1]), names)
        plt.show()

    last = len(leads) - 1  # opens here: before the embedding the keys lie on the boundary, with nothing to see
    slider = ipywidgets.IntSlider(value=last, min=0, max=last, description="epoch", continuous_update=False)
    return ipywidgets.interactive(show, epoch=slider)
