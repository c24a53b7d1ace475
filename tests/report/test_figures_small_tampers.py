"""Figures of the generator's training and of tampers near the tolerance: what is drawn is what the rows say."""

import numpy as np
import pandas as pd
import pytest
from claims_world import TAU, world

from sslauth_utils.claims import near
from sslauth_utils.report.figures_near import fig_near, near_table
from sslauth_utils.report.figures_training import fig_training, training_table


@pytest.fixture(scope="module")
def trained():
    return world("paper")["14_generator_training", "rows"]


@pytest.fixture(scope="module")
def cases():
    return near.verdicts(world("paper")["15_near_tolerance", "rows"], TAU)


def test_the_table_reads_depth_steps_and_rate_from_the_generator_s_name(trained):
    table = training_table(trained, TAU)
    assert len(table) == 2 * 3 * 4 and set(table["depth"]) == {32, 64} and set(table["learning rate"]) == {0.001}
    assert table.loc[table["steps"] == 300, "κ"].to_numpy() == pytest.approx(23)
    assert table.loc[table["steps"] == 1000, "κ"].to_numpy() == pytest.approx(30)
    passing = trained[(trained["scheme"] == "Trans") & (trained["similarity"] > TAU)]
    assert (table["keys that pass, %"] > 0).any() == (len(passing) > 0)


def test_a_line_a_depth_and_a_panel_a_tamper_with_the_untrained_at_the_left_end(trained):
    untrained = trained.assign(keys=trained["keys"].str.replace("s300", "s0"))
    figure = fig_training(untrained, TAU)
    assert len(figure.axes) == 6, "two encoders, three tampers"
    for axis in figure.axes:
        lines = {line.get_label(): line for line in axis.lines if line.get_label().startswith("depth")}
        assert set(lines) == {"depth 32", "depth 64"}
        for line in lines.values():
            assert line.get_xdata() == pytest.approx([1000 / 3, 1000])
            assert line.get_ydata() == pytest.approx([23, 30])


def test_other_learning_rates_stay_out_of_the_figure(trained):
    other = trained[trained["keys"] == "ood d32 s1000 lr0.001"].assign(keys="ood d32 s1000 lr0.01", similarity=0.5)
    drawn = [list(line.get_ydata()) for axis in fig_training(pd.concat([trained, other]), TAU).axes
             for line in axis.lines]  # fmt: skip
    assert drawn == [list(line.get_ydata()) for axis in fig_training(trained, TAU).axes for line in axis.lines]


def test_near_cases_are_counted_by_family_and_by_who_rejects(cases):
    table = near_table(cases)
    close = cases[cases["near"]]
    tampers = close[close["tamper"] != near.ROUNDING]
    total = table.loc["all tampers"]
    assert total["near cases"] == len(tampers) > 0
    assert total["only Trans rejects"] == (tampers["dcmp"] & ~tampers["trans"]).sum() > 0
    assert (table.drop(columns="near cases").sum(axis=1) == table["near cases"]).all()
    assert table.loc["honest rounding", ["only Trans rejects", "only DCmp rejects"]].tolist() == [0, 0]
    assert table.loc["noise on the weights", "near cases"] == tampers["tamper"].str.startswith("weight noise").sum()


def test_every_case_is_drawn_at_its_distance_filled_where_trans_rejects(cases):
    figure = fig_near(cases)
    for axis, scenario in zip(figure.axes, ("cifar10", "imagenet"), strict=True):
        of = cases[cases["scenario"] == scenario]
        for accepted, faces in ((True, {"none"}), (False, {"#009E73", "#D55E00"})):
            lines = [line for line in axis.lines if line.get_marker() == "o" and line.get_markerfacecolor() in faces]
            drawn = np.sort(np.concatenate([line.get_xdata() for line in lines]))
            part = of[of["trans"] == accepted]
            assert drawn == pytest.approx(np.sort(part["worst"] / part["tolerance"]))
    assert figure.axes[0].get_yticklabels()[0].get_text() == "honest rounding"


def test_a_family_without_a_case_within_the_span_has_no_row(cases):
    far = cases["tamper"].str.startswith("weight noise")
    figure = fig_near(cases.assign(worst=cases["worst"].where(~far, cases["tolerance"] * 1000)))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert far.any() and "noise on the weights" not in names
    assert names[0] == "honest rounding" and len(names) == len(fig_near(cases).axes[0].get_yticklabels()) - 1
