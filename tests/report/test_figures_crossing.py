"""The crossing's figure and table, by what they show."""

import pandas as pd
import pytest
from crossing_world import SEES, STRENGTHS, crossed
from matplotlib import pyplot as plt

from sslauth_utils.report import figures_crossing


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_dark_is_detected():
    figure = figures_crossing.fig_crossing(pd.DataFrame(crossed()))
    first = figure.axes[0]
    assert [axis.get_title() for axis in figure.axes] == ["weight noise", "fine-tuning", "pruning"]
    methods = [label.get_text() for label in first.get_yticklabels()]
    assert methods == ["pairs, calibrated", "DeepAuth", "DCmp on features at tau", "DCmp on features"]
    shown = dict(zip(methods, first.images[0].get_array().tolist(), strict=True))
    assert shown["pairs, calibrated"] == [1, 1, 1, 1] and shown["DeepAuth"] == [0, 0, 0, 1]
    drawn, patches = first.images[0], figure.legends[0].legend_handles
    for share, patch in zip((1.0, 0.5, 0.0), patches, strict=True):  # the legend's shades are the figure's
        assert patch.get_facecolor() == pytest.approx(drawn.cmap(drawn.norm(share)), abs=0.02)
    assert [patch.get_label() for patch in patches] == ["detected in every model", "in some", "in none"]


def test_of_two_models_of_which_one_detects_the_shade_is_half():
    rows = pd.DataFrame(crossed(sees={"DBI": 1e-6}))
    rows.loc[(rows["seed"] == 1) & (rows["kind"] == "tamper"), "value"] = 0.0
    [line] = figures_crossing.fig_crossing(rows).axes[0].images[0].get_array().tolist()
    assert line == [0.5] * 4


def test_the_table_gives_the_smallest_at_both_rates_and_says_what_is_missed():
    _, text, table = figures_crossing.crossing_table(pd.DataFrame(crossed()))
    assert "in 3 other ways" in text and "at most 25 % chance" in text and "all 4 honest changes" in text
    by_method = table.set_index("method")
    shown = {name: f"{'≤ ' if smallest == STRENGTHS[0] else ''}{smallest:g}" for name, smallest in SEES.items()}
    assert by_method["weight noise"].to_dict() == shown and "≤ 1e-06" in shown.values()
    assert by_method.loc["pairs, calibrated", "pruning, fewer bits allowed"] == "1e-05"
    assert by_method.loc["DeepAuth", "pruning, fewer bits allowed"] == "> 0.001"


def test_of_two_models_that_see_unequally_the_table_has_what_one_of_them_was_tried_with():
    rows = pd.DataFrame(crossed(sees={"DBI": 1e-6}))
    rows.loc[(rows["seed"] == 1) & (rows["kind"] == "tamper") & (rows["strength"].isin([1e-6, 1e-5])), "value"] = 0.0
    [shown] = figures_crossing.crossing_table(rows)[2]["pruning"]
    assert shown == "0.0001", "and not half-way between 1e-06 and 1e-04"


def test_tampers_of_one_strength_are_counted_by_models():
    rows = pd.DataFrame(crossed(sees={"DBI": 1e-6, "AID": 1e-3}))
    once = rows[(rows["kind"] == "tamper") & (rows["tamper"] == "pruning") & (rows["strength"] == 1e-5)]
    rows = pd.concat([rows, once.assign(tamper="backdoor", strength=0.001)], ignore_index=True)
    rows.loc[(rows["tamper"] == "backdoor") & (rows["method"] == "DBI") & (rows["seed"] == 0), "value"] = 0.25
    table = figures_crossing.once_table(rows)[2].set_index("method")
    assert table["backdoor"].to_dict() == {"DBI": "1 of 2", "AID": "0 of 2"} and "pruning" not in table
