"""Rows for figures, and what a figure shows of them."""

import matplotlib as mpl
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

TAU = 0.995


RATES = (0.01, 0.1, 0.5)


TITLES = ["CIFAR-10 encoder, ImageNet keys", "ImageNet encoder, CIFAR-10 keys"]


SCENARIOS = ("cifar10", "imagenet")


KAPPA = {"DCmp": 1, "Trans": 30, "Trans G_max": 10, "Trans G_ini": 5}


def sweep(tamper, strengths, loss, schemes, **more):
    """Rows of 2 scenarios x 2 seeds x 4 keys; `loss(scheme, strength)` is the mean 1 - similarity."""
    return [
        {"scenario": scenario, "seed": seed, "keys": "ood", "scheme": scheme, "tamper": tamper, "strength": strength,
         "key": key, "similarity": 1 - loss(scheme, strength) * (1 + 0.1 * (key - 1.5) + 0.05 * seed)
         * (2 if scenario == "imagenet" else 1)} | more
        for scenario in SCENARIOS for seed in (0, 1) for scheme in schemes for strength in strengths for key in range(4)
    ]  # fmt: skip


def part(rows, **where):
    """The rows whose columns have these values."""
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def lines(axis, label=None, colour=None):
    """(x, y) of the lines with this label or this colour."""
    return [
        (np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float))
        for line in axis.get_lines()
        if (label is None or line.get_label() == label) and (colour is None or line.get_color() == colour)
    ]


def line(axis, label):
    [found] = lines(axis, label)
    return found


def legend(owner):
    """Labels of a panel's legend, or of a figure's own."""
    found = owner.legends[0] if isinstance(owner, Figure) else owner.get_legend()
    return [text.get_text() for text in found.get_texts()]


def band(axis, colour):
    """(x, low, high) of the filled band of this colour."""
    wanted = mpl.colors.to_rgb(colour)
    [found] = [c for c in axis.collections
               if isinstance(c, PolyCollection) and np.allclose(c.get_facecolor()[0][:3], wanted)]  # fmt: skip
    points = found.get_paths()[0].vertices
    places = np.unique(points[:, 0])
    return places, [points[points[:, 0] == x, 1].min() for x in places], [
        points[points[:, 0] == x, 1].max() for x in places]  # fmt: skip
