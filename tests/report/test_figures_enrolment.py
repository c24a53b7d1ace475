"""Figures of pre-training and enrolment: what is drawn is what the rows say."""

import numpy as np
import pytest
from drawn import TITLES, legend, lines

from sslauth_utils.report import figures_enrolment, style


def test_pretraining_shows_every_seed_and_accuracies_beside_chance(pretrained):
    figure = figures_enrolment.fig_pretraining(pretrained)
    left, right = figure.axes
    assert legend(left) == ["CIFAR-10 encoder", "ImageNet encoder"]
    curves = sorted(tuple(y) for x, y in lines(left) if list(x) == [1, 2, 3])
    assert np.array(curves) == pytest.approx(np.array([(3.9, 2.9, 1.9)] * 2 + [(4, 3, 2)] * 2))
    heights = [bar.get_height() for bar in right.patches]
    assert heights == pytest.approx([10, 30, 65, 80] * 2), "means over seeds, chance first"
    dots = [sorted(y) for x, y in lines(right) if x[0] == 2]
    assert dots == [pytest.approx([60, 70])], "a dot for each seed"
    assert [text.get_text() for text in right.get_xticklabels()] == ["chance", "kNN,\nuntrained", "kNN", "linear"]
    assert [text.get_text() for text in right.texts] == ["10", "30", "65", "80"] * 2
    assert right.get_ylim()[0] == 0, "bars from zero"


def test_a_loaded_encoder_has_accuracies_but_no_loss(pretrained):
    figure = figures_enrolment.fig_pretraining(pretrained[pretrained["quantity"] != "loss"])
    assert len(figure.axes[1].patches) == 8 and not [y for _, y in lines(figure.axes[0]) if len(y)]


def test_generators_are_drawn_by_objective_for_ood_keys(trained):
    figure = figures_enrolment.fig_generators(trained)
    assert [axis.get_title() for axis in figure.axes] == TITLES
    for axis in figure.axes:
        for scheme, sign in (("Trans", -1), ("Trans G_max", 1)):
            curves = lines(axis, colour=style.COLOURS[scheme])
            assert [list(x) for x, _ in curves] == [[0, 1, 2]] * 2
            assert [y[2] for _, y in curves] == pytest.approx([sign * 0.2, sign * 0.2 + 0.01])
    assert legend(figure.axes[0]) == ["$G_{max}$", "$G_{min}$"]
    assert figure.axes[0].get_ylabel() == "SSIM to the key sample"
