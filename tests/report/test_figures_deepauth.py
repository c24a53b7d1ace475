"""Figures and tables of DeepAuth: what is drawn is what the rows say."""

import numpy as np
import pandas as pd
import pytest
from claims_world import world
from drawn import line
from matplotlib import pyplot as plt

from sslauth_utils.claims.signatures import chance
from sslauth_utils.report import figures_deepauth
from sslauth_utils.report.contents import all_figures, all_tables
from sslauth_utils.report.sliders_deepauth import lead_slider

ROWS, MEASURES = (world("paper")["23_deepauth", table] for table in ("rows", "measures"))
NETWORKS = ["cifar10_vgg16", "imagenet_resnet50", "mnist_lenet5"]


@pytest.fixture
def leverages():
    draw = np.random.default_rng(0)
    natural = pd.DataFrame({"scenario": "digits", "rule": "", "kind": "natural", "leverage": draw.random(40)})
    keys = pd.DataFrame({"scenario": "digits", "rule": "upper half", "kind": "key", "leverage": draw.random(30)})
    return pd.concat([natural, keys], ignore_index=True)


def test_leverage_is_shown_of_images_and_keys(leverages):
    figure = figures_deepauth.fig_leverage(leverages)
    [axis] = figure.axes
    heights = [sum(patch.get_xy()[1:-1:2, 1]) for patch in axis.patches]
    assert heights == pytest.approx([100, 100]), "each in per cent of its own"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["natural images", "keys, upper half"]


def test_acceptance_falls_with_the_tolerance_and_chance_is_dotted():
    rows = ROWS.assign(strength=ROWS["strength"].astype(str))
    figure = figures_deepauth.fig_acceptance(rows, ["pruning"], "share")
    assert [axis.get_title() for axis in figure.axes] == [f"{name.replace('_', ', ')}:\npruning" for name in NETWORKS]
    mnist = figure.axes[2]
    x, share = line(mnist, "$\\varepsilon_a$ = 30 %")
    assert list(x) == [0.5, 0.9] and share == pytest.approx([25, 25])
    assert line(mnist, "$\\varepsilon_a$ = 0 %")[1] == pytest.approx([0, 0])
    dotted = [found.get_ydata()[0] for found in mnist.get_lines() if found.get_linestyle() == ":"]
    assert dotted == pytest.approx([100 * chance(10, t) for t in (0.4, 0.3, 0.2, 0.1, 0)])


def test_progress_is_the_mean_over_models():
    figure = figures_deepauth.fig_progress(MEASURES)
    assert [axis.get_title() for axis in figure.axes] == [name.replace("_", ", ") for name in NETWORKS]
    assert line(figure.axes[0], "keys as intended")[1] == pytest.approx([50, 100], abs=1e-3)
    assert line(figure.axes[0], "unchanged")[1] == pytest.approx([100, 98], abs=1e-3)


def test_other_honest_models_have_a_bar_for_each_scheme_and_tolerance():
    figure = figures_deepauth.fig_others(ROWS)
    assert len(figure.axes) == 3 * 2
    for axis in figure.axes:
        assert len(axis.patches) == 2 * 5 and all(bar.get_height() == 0 for bar in axis.patches)
    assert figure.axes[0].get_title() == "cifar10, vgg16: independent"


def test_uniqueness_counts_models():
    figure = figures_deepauth.fig_uniqueness(MEASURES)
    for axis in figure.axes:
        selected = axis.patches[:11]
        assert sum(bar.get_height() for bar in selected) == pytest.approx(100)


def test_the_boundary_s_panels_name_their_classes():
    grid = np.array([[3, 3, 7], [3, 3, 7], [3, 7, 7]])
    figure = figures_deepauth.fig_boundary({"before": grid, "protected": grid.T}, 0.5, list("abcdefghij"))
    assert [axis.get_title() for axis in figure.axes] == ["before", "protected"]
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["d", "h"]


def test_table_1_has_the_papers_columns_and_numbers():
    table = figures_deepauth.table_effectiveness(MEASURES)
    [one] = table[(table["network"] == "mnist_lenet5") & (table["learning rate"] == "0.0001")].to_dict("records")
    assert [one[name] for name in ("success", "epochs", "unchanged", "C2W", "W2C", "W2W", "models")] == [
        100, 123.4, 99.51, 0.24, 0.22, 0.03, 4,
    ]  # fmt: skip


def test_acceptance_ends_with_the_chance_of_coins():
    table = figures_deepauth.table_acceptance(ROWS)
    assert table.iloc[-1][["kind", "40 %", "30 %", "0 %"]].tolist() == ["chance", 37.7, 17.2, 0.1]
    backdoor = table[(table["tamper"] == "backdoor") & (table["network"] == "mnist_lenet5")]
    assert backdoor[["40 %", "30 %", "20 %", "10 %", "0 %"]].to_numpy().tolist() == [[25, 22.5, 12.5, 5, 2.5]]


def test_the_report_shows_them(leverages):
    rows = {"22_deepauth_keys": leverages, "23_deepauth": ROWS}
    measures = {"23_deepauth": MEASURES}
    names = [drawing.name for drawing in all_figures(rows, measures, 0.995)]
    assert names == ["deepauth_leverage", "deepauth_fig3_uniqueness", "deepauth_fig4_progress",
                     "deepauth_fig5_fine_tuning", "deepauth_fig6_pruning", "deepauth_others"]  # fmt: skip
    for drawing in all_figures(rows, measures, 0.995):
        drawing.draw()
    headings = [heading for heading, _, _ in all_tables(rows, measures, 0.995)]
    assert headings[0] == "DeepAuth: effectiveness (Tables 1 and 3)" and len(headings) == 3


def test_the_slider_shows_how_far_each_key_has_gone(monkeypatch):
    drawn = []
    monkeypatch.setattr(plt, "show", lambda: drawn.append(plt.gcf().axes[0]))
    widget = lead_slider(np.array([[-0.1, -0.2], [0.3, -0.1]]), 0.01, ["9→0", "3→2"])
    [slider] = widget.children[:1]
    assert (slider.min, slider.max, slider.value) == (0, 1, 1)
    widget.f(epoch=1)
    assert [bar.get_height() for bar in drawn[-1].patches] == [0.3, -0.1]
    assert drawn[-1].get_title() == "epoch 1: 50% changed"
    assert [text.get_text() for text in drawn[-1].get_xticklabels()] == ["9→0", "3→2"]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")
