"""Figures and tables of sample pairs, by what is drawn."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from pairs_world import of_samples, paired

from sslauth_utils.report import figures_pairs


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    return pd.DataFrame(paired()["21_sample_pairing"][0])


def test_the_null_shows_every_honest_change_and_its_false_alarms(rows):
    loud = of_samples(12, method="pairs 1e-06", scenario="gtsrb_vgg16", kind="run", tamper="threads", strength="1")
    figure = figures_pairs.fig_null(pd.concat([rows, pd.DataFrame(loud)], ignore_index=True))
    assert [axis.get_title() for axis in figure.axes] == [
        f"{name}: labels that change, %" for name in ("cifar10_resnet18", "flowers102_resnet152", "gtsrb_vgg16")
    ]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["repeated run", "batch size 7", "oneDNN off", "threads 1"]
    assert [text.get_text() for text in figure.axes[2].texts] == ["12"]
    assert [text.get_text() for text in figure.axes[0].texts] == []
    drawn = figure.axes[2].images[0]
    assert drawn.cmap(drawn.norm(0.0)) == (1, 1, 1, 1) != drawn.cmap(drawn.norm(0.1))  # no label that changes is white


def test_the_null_parts_running_otherwise_from_storing_otherwise():
    kinds = [("run", "oneDNN off"), ("cast", "weights stored as"), ("cast", "computed in"), ("sent", "images sent as")]
    rows = [row for kind, name in kinds
            for row in of_samples(1, method="DBI", scenario="m", kind=kind, tamper=name, strength="")]  # fmt: skip
    lines = figures_pairs.fig_null(pd.DataFrame(rows)).axes[0].lines
    assert [line.get_ydata()[0] for line in lines] == [0.5, 2.5]


def test_noise_and_gap_are_drawn_in_one_unit():
    lines = [
        {"scenario": "m", "seed": seed, "tamper": tamper, "strength": "", "quantity": quantity, "value": value, "n": 1}
        for seed in (0, 1)
        for tamper, quantity, value in (("oneDNN off", "noise of d", 1e-6), ("pairs 1e-06", "gap of d", 1e-4))
    ]
    figure = figures_pairs.fig_noise(pd.DataFrame(lines))
    noise, gap = figure.axes[0].lines
    assert noise.get_xdata().tolist() == [1e-6] * 2 and gap.get_xdata().tolist() == [1e-4] * 2


def test_no_noise_is_drawn_at_a_zero_of_its_own():
    lines = [{"scenario": "m", "seed": 0, "tamper": "a", "strength": n, "quantity": "noise of d", "value": value}
             for n, value in enumerate((0.0, 2e-6))]  # fmt: skip
    [axis] = figures_pairs.fig_noise(pd.DataFrame(lines)).axes
    assert axis.lines[0].get_xdata().tolist() == [0.0]
    assert axis.get_xlim()[0] == 0 and axis.get_xticks()[0] == 0 and axis.get_xticklabels()[0].get_text() == "0"
    assert figures_pairs.fig_noise(pd.DataFrame(lines[:1])).axes[0].lines[0].get_xdata().tolist() == [0.0]


def test_a_line_of_noise_is_the_same_for_classifiers_that_were_run_otherwise():
    lines = [
        {"scenario": name, "seed": 0, "tamper": tamper, "strength": "", "quantity": quantity, "value": value}
        for name, tamper, quantity, value in (
            ("a", "one", "noise of d", 1e-6), ("a", "pairs", "gap of d", 1e-3),
            ("b", "one", "noise of d", 2e-6), ("b", "two", "noise of d", 3e-6), ("b", "pairs", "gap of d", 2e-3),
        )
    ]  # fmt: skip
    axes = figures_pairs.fig_noise(pd.DataFrame(lines)).axes
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["one", "two", "pairs"]
    places = [{tuple(line.get_ydata()): line.get_xdata().tolist() for line in axis.lines} for axis in axes]
    widths = [axis.get_position().width for axis in axes]
    assert min(widths) > 0.3, "a line that a classifier lacks takes no room"
    assert places == [{(0,): [1e-6], (2,): [1e-3]}, {(0,): [2e-6], (1,): [3e-6], (2,): [2e-3]}]


def test_fine_tuning_is_drawn_by_rate_with_its_false_alarms(rows):
    figure = figures_pairs.fig_fine_tuning(rows)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:2] == ["SGD,\nbatch norm train", "SGD,\nbatch norm frozen"]
    assert figure.axes[0].get_ylabel() == "cifar10_resnet18\ndetected, %"
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["DBI"].get_xdata()[0] == pytest.approx(1e-10) and lines["DBI"].get_ydata()[0] == pytest.approx(20)
    assert lines["pairs 1e-06"].get_ydata()[0] == pytest.approx(50)
    assert "pairs, no stage 1 1e-06" not in lines


def test_pruning_is_drawn_for_every_model(rows):
    assert len(figures_pairs.fig_pruning(rows).axes) == 3


def test_the_table_puts_false_alarms_beside_detection(rows):
    heading, text, table = figures_pairs.pairing_table(rows)
    assert "Tables II and IV" in heading and "False alarms" in text
    of = table[(table["model"] == "cifar10_resnet18") & (table["method"] == "DBI")].iloc[0]
    assert of["false alarms"] == 0 and of["backdoor 1e-05: rate"] == 62
    assert of["backdoor 1e-05: random pair"] == pytest.approx(100 * (1 - 38 * 37 / (100 * 99)), abs=0.1)
    assert table["model"].nunique() == 3


def test_methods_come_in_one_order():
    given = ["pairs, calibrated", "pairs 1e-06", "validation", "pairs 0.001", "DBI"]
    assert figures_pairs.ordered(given)[:2] == ["validation", "DBI"]
    assert figures_pairs.ordered(given)[-1] == "pairs, calibrated"


def test_pictures_of_samples_planes_and_the_way_by_hand():
    shown = {"a": torch.rand(2, 3, 8, 8), "b": torch.rand(9, 3, 8, 8)}
    figure = figures_pairs.fig_samples(shown)
    assert sum(len(axis.images) for axis in figure.axes) == 2 + 6
    planes = {1e-2: torch.linspace(-1, 1, 25, dtype=torch.float64).view(5, 5), 1e-7: torch.ones(5, 5)}
    figure = figures_pairs.fig_planes(planes)
    assert [len(axis.images) for axis in figure.axes] == [1, 1]
    assert "± 0.01 a pixel" in figure.axes[0].get_title()
    path = torch.tensor([[0.0, 0.0], [0.1, 0.2], [0.2, 0.2], [0.3, 0.2]])
    figure = figures_pairs.fig_by_hand(torch.nn.Linear(2, 2), torch.rand(6, 2), torch.arange(6) % 2, path, 1)
    pair = figure.axes[0].lines[-1]
    assert pair.get_label() == "the pair"
    assert np.allclose(pair.get_xydata(), [[0.2, 0.2], [0.3, 0.2]])
    assert np.isclose(sum(figure.axes[1].get_xlim()) / 2, 0.25)  # the second panel is about the pair


def test_a_tamper_that_there_is_not_has_no_column(rows):
    table = figures_pairs.detection_table(rows, [("backdoor", 1e-5), ("backdoor", 0.5)])
    assert any(name.startswith("backdoor 1e-05") for name in table) and not any("0.5" in name for name in table)
