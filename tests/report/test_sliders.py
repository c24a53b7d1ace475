"""Sliders start at their beginning, and their axes and legends do not move."""

import pandas as pd
import pytest
import torch
from drawn import TAU, sweep
from matplotlib import pyplot as plt

from sslauth_utils.models.encoders import build_encoder
from sslauth_utils.report import sliders
from sslauth_utils.schemes.enrolment import enrol


@pytest.fixture
def figures(monkeypatch):
    """What the sliders have shown, figure by figure."""
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.figure(number) for number in plt.get_fignums()))
    return shown


def moved(widget, *positions):
    """Show each position as a reader's hand would."""
    for position in positions:
        widget.children[0].value = position
        widget.update()


def limits(figure):
    return [(axis.get_xlim(), axis.get_ylim()) for axis in figure.axes]


def test_losses_say_where_tau_stands_and_how_many_pass():
    _, axis = plt.subplots()
    sliders.draw_losses(axis, {"DCmp": [1.0, 0.999, 0.9], "Trans": [0.5, 0.4, 0.3]}, TAU)
    assert [text.get_text() for text in axis.texts] == ["τ = 99.5 %"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["DCmp: 67% pass", "Trans: 0% pass"]
    axis.figure.draw_without_rendering()
    right = axis.get_window_extent().x1
    assert all(part.get_window_extent().x0 > right for part in (*axis.texts, *axis.get_legend().get_texts())), (
        "points may lie anywhere in the axes"
    )
    assert axis.get_ylim() == sliders.LOSSES
    assert axis.get_lines()[0].get_ydata() == pytest.approx([sliders.LOSSES[0], 0.001, 0.1]), (
        "a loss of 0 stays in view"
    )


def test_the_epochs_start_with_the_first_and_keep_their_axes(figures):
    tamper = "disguised stl10 10 by epoch"
    rows = pd.DataFrame(sweep(tamper, (1, 2, 3), lambda scheme, epoch: 0.01 / epoch, ["DCmp", "Trans"]))
    measures = pd.DataFrame([{"tamper": tamper, "strength": epoch, "value": epoch / 10} for epoch in (1, 2, 3)])
    slider = sliders.epoch_slider(rows, measures, TAU, "stl10", 10)
    assert slider.children[0].value == 1
    moved(slider, 1, 3)
    assert "epoch 1: attack success 10%" in figures[0].axes[0].get_title()
    assert "epoch 3: attack success 30%" in figures[-1].axes[0].get_title()
    assert limits(figures[0]) == limits(figures[-1])


def test_pruning_starts_with_the_first_rate_and_keeps_its_axes(figures, capsys):
    encoder = build_encoder("resnet18", 2, "strided")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    record = enrol(encoder, images, ("min", "ini"), size=16, depth=2, steps=1)
    slider = sliders.pruning_slider(encoder, record, [0.1, 0.9])
    assert slider.children[0].value == 0.1
    moved(slider, 0.1, 0.9)
    with_feature = [figure for figure in figures if figure.axes[0].get_title() == "feature of the first key"]
    assert limits(with_feature[0]) == limits(with_feature[-1])
    assert with_feature[0].axes[0].get_lines()[1].get_ydata().max() <= with_feature[0].axes[0].get_ylim()[1]
