"""Figures of the attacks, by what is drawn: lines, bars, labels."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sslauth_utils.report import figures_attacks
from sslauth_utils.report.style import COLOURS, use_style

TAU = 0.995
SCENARIOS = ["cifar10", "imagenet"]


@pytest.fixture(autouse=True)
def style():
    use_style()


def keyed(tamper, strengths, base):
    """Four keys for every scenario, scheme and strength; means differ by all of them."""
    return [
        {"scenario": scenario, "seed": 0, "scheme": scheme, "tamper": tamper, "strength": strength, "key": key,
         "similarity": base - 0.1 * SCENARIOS.index(scenario) - 0.3 * (scheme == "Trans") - 0.01 * place + 0.002 * key}
        for scenario, scheme, (place, strength), key in itertools.product(
            SCENARIOS, ("DCmp", "Trans"), enumerate(strengths), range(4))
    ]  # fmt: skip


def measured(tamper, strengths, **values):
    return pd.DataFrame([
        {"scenario": scenario, "seed": 0, "tamper": tamper, "strength": strength, "quantity": name.replace("_", " "),
         "value": value + 0.01 * place, "n": 100}
        for scenario, (place, strength), (name, value) in itertools.product(
            SCENARIOS, enumerate(strengths), values.items())
    ])  # fmt: skip


def two_seeds(measures):
    """With the same mean."""
    return pd.concat([measures.assign(seed=seed, value=measures["value"] + off) for seed, off in ((0, -0.1), (1, 0.1))])


def mean(rows, **where):
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return 100 * rows.groupby("strength")["similarity"].mean()


def labelled(axis):
    return {line.get_label(): line for line in axis.get_lines() if not line.get_label().startswith("_")}


def test_fine_tuning_has_a_panel_a_scheme_and_encoder_and_a_line_a_way():
    rows = pd.DataFrame(
        keyed("fine-tuning supervised 0.0001", [1, 2, 3], 0.9) + keyed("fine-tuning batch norm", [1, 2, 3], 0.8)
    )
    figure = figures_attacks.fig_fine_tuning(rows, TAU)
    axes = np.array(figure.axes).reshape(2, 2)
    for line, scheme in zip(axes, ("DCmp", "Trans"), strict=True):
        assert line[0].get_ylabel() == f"{scheme} agreement, %"
        for axis, scenario in zip(line, SCENARIOS, strict=True):
            drawn = labelled(axis)
            assert set(drawn) == {"supervised 0.0001", "batch norm", "τ = 99.5 %"}
            assert drawn["τ = 99.5 %"].get_ydata()[0] == pytest.approx(99.5)
            for way in ("supervised 0.0001", "batch norm"):
                wanted = mean(rows, scenario=scenario, scheme=scheme, tamper=f"fine-tuning {way}")
                assert drawn[way].get_xydata() == pytest.approx(wanted.reset_index().to_numpy())
            assert len(axis.collections) == 2, "an interval for each"
    assert axes[0, 0].get_title() == "CIFAR-10 encoder, ImageNet keys" and axes[1, 0].get_xlabel() == "epoch"
    [legend] = figure.legends
    assert len(legend.get_texts()) == 3


def test_losses_are_drawn_as_the_cosines_that_they_are():
    history = [{"epoch": epoch, "effectiveness": -0.5 - 0.1 * epoch, "utility": -0.9} for epoch in (1, 2)]
    figure = figures_attacks.fig_attack_losses({"stl10": history, "svhn": history})
    assert [axis.get_title() for axis in figure.axes] == ["stl10", "svhn"]
    drawn = labelled(figure.axes[0])
    named = {"effectiveness: trigger → reference", "utility: shadow images stay"}
    assert set(drawn) == named, "no line for a loss that is not there"
    assert drawn["effectiveness: trigger → reference"].get_xydata() == pytest.approx(np.array([[1, 0.6], [2, 0.7]]))


def test_bars_of_attack_success_are_means_over_seeds():
    about = {"clean_accuracy": 0.5, "backdoored_accuracy": 0.4, "ASR-B": 0.1, "attack_success": 0.9, "chance": 0.3}
    measures = measured("backdoor stl10", [0], **about)
    measures = pd.concat([measures, measures.assign(seed=1, value=measures["value"] + 0.02)])
    for axis in figures_attacks.fig_attack_success(measures).axes:
        heights = [bar.get_height() for bar in axis.patches]
        assert heights == pytest.approx([51, 41, 11, 91]), "chance is none of them"
        assert [text.get_text() for text in axis.get_xticklabels()] == ["STL-10"]


def test_a_target_is_called_as_the_reader_knows_it_in_every_panel():
    names = {"stl10": "shapes (as STL-10)"}
    figures = [figures_attacks.fig_attack_success(measured("backdoor stl10", [0], attack_success=0.9), names)]
    figures.append(figures_attacks.fig_backdoor(pd.DataFrame(keyed("backdoor stl10", [0], 0.9)), TAU, names=names))
    for figure in figures:
        for axis in figure.axes:
            assert [text.get_text() for text in axis.get_xticklabels()] == ["shapes\n(as STL-10)"]
        assert len(figure.axes) == 2


def test_bars_name_lambda_where_there_are_several():
    figure = figures_attacks.fig_attack_success(measured("disguised svhn", [1, 10], attack_success=0.9))
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["SVHN\nλ = 1", "SVHN\nλ = 10"]


def test_backdoor_shows_every_key_its_mean_and_the_paper_s():
    rows = pd.DataFrame(keyed("backdoor stl10", [0], 0.9) + keyed("backdoor gtsrb", [0], 0.8))
    printed = pd.DataFrame([
        {"scenario": "imagenet", "scheme": "Trans", "tamper": "backdoor gtsrb", "measure": "agreement", "paper": 3.21},
    ])  # fmt: skip
    figure = figures_attacks.fig_backdoor(rows, TAU, printed)
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        clouds = [line for line in axis.get_lines() if line.get_marker() == "."]
        assert [len(cloud.get_xdata()) for cloud in clouds] == [4, 4, 4, 4]
        means = sorted(line.get_ydata()[0] for line in axis.get_lines() if line.get_linewidth() == 2.2)
        wanted = [
            mean(rows, scenario=scenario, scheme=scheme, tamper=f"backdoor {target}").iloc[0]
            for scheme, target in itertools.product(("DCmp", "Trans"), ("stl10", "gtsrb"))
        ]
        assert means == pytest.approx(sorted(wanted))
        stars = [line.get_ydata()[0] for line in axis.get_lines() if line.get_marker() == "*" and len(line.get_ydata())]
        assert stars == ([3.21] if scenario == "imagenet" else [])


@pytest.mark.parametrize("kind", ["by epoch", "over lambda"])
def test_the_disguise_is_drawn_against_its_success(kind):
    tamper, strengths = ("disguised stl10 10 by epoch", [1, 2]) if kind == "by epoch" else ("disguised stl10", [1, 10])
    rows = pd.DataFrame(keyed(tamper, strengths, 0.9))
    rows.loc[(rows["scheme"] == "DCmp") & (rows["key"] == 0), "similarity"] = 0.999  # one key of four passes
    if kind == "by epoch":
        measures = two_seeds(measured(tamper, strengths, attack_success_by_epoch=0.7))
        figure = figures_attacks.fig_by_epoch(rows, measures, TAU, "stl10", 10)
    else:
        measures = two_seeds(measured(tamper, strengths, attack_success=0.7, backdoored_accuracy=0.4))
        figure = figures_attacks.fig_lambda(rows, measures, TAU, "stl10")
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        drawn = labelled(axis)
        assert drawn["DCmp, authentication success"].get_ydata() == pytest.approx([25, 25])
        assert drawn["Trans, authentication success"].get_ydata() == pytest.approx([0, 0])
        agreement = mean(rows, scenario=scenario, scheme="Trans")
        assert drawn["Trans, agreement"].get_xydata() == pytest.approx(agreement.reset_index().to_numpy())
        assert drawn["DCmp, agreement"].get_color() == COLOURS["DCmp"]
        name = figures_attacks.BY_EPOCH if kind == "by epoch" else "attack success"
        assert drawn[name].get_ydata() == pytest.approx([70, 71])
        seeds = [line.get_ydata() for line in axis.get_lines() if line.get_marker() == "."]
        assert sorted(seeds[0]) == pytest.approx([60, 61, 80, 81])


def test_an_encoder_with_one_lambda_is_left_out_of_fig_12():
    rows = pd.DataFrame(keyed("disguised stl10", [1, 10], 0.9))
    rows = rows[(rows["scenario"] == "imagenet") | (rows["strength"] == 10)]
    figure = figures_attacks.fig_lambda(rows, measured("disguised stl10", [1, 10], attack_success=0.7), TAU, "stl10")
    assert [axis.get_title() for axis in figure.axes] == ["ImageNet encoder, CIFAR-10 keys"]


def test_the_ablation_shows_both_key_sets_and_the_task_over_lambda2():
    tamper = "backdoor stl10 by lambda2"
    rows = pd.concat([
        pd.DataFrame(keyed(tamper, [0.0, 1.0], base)).assign(keys=keys) for keys, base in (("ood", 0.9), ("id", 0.95))
    ])  # fmt: skip
    measures = measured(tamper, [0.0, 1.0], attack_success=0.7, backdoored_accuracy=0.4, clean_accuracy=0.6)
    figure = figures_attacks.fig_utility_loss(rows, measures)
    assert len(figure.axes) == 2
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        lines = labelled(axis)
        for keys in ("ood", "id"):
            wanted = mean(rows, scenario=scenario, scheme="DCmp", keys=keys)
            np.testing.assert_allclose(lines[f"DCmp agreement, {keys.upper()} keys"].get_ydata(), wanted)
        for quantity, value in (("attack success", 0.7), ("backdoored accuracy", 0.4), ("clean accuracy", 0.6)):
            np.testing.assert_allclose(lines[quantity].get_ydata(), [100 * value, 100 * value + 1])
        seeds = [line for line in axis.get_lines() if line.get_marker() == "."]
        assert sorted(np.concatenate([dots.get_ydata() for dots in seeds])) == pytest.approx([40, 41, 60, 61, 70, 71])
        assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "1"]


def test_an_attack_that_destroyed_its_encoder_is_shown_without_keys():
    """Its keys were not verified: the ablation has its scores, and no rows of it."""
    tamper = "backdoor stl10 by lambda2"
    rows = pd.DataFrame(keyed(tamper, [0.0, 1.0], 0.9)).assign(keys="ood")
    measures = measured(tamper, [0.0, 1.0], attack_success=0.7, backdoored_accuracy=0.4, clean_accuracy=0.6)
    figure = figures_attacks.fig_utility_loss(rows[rows["strength"] == 0], measures)
    lines = labelled(figure.axes[0])
    assert list(lines["DCmp agreement, OOD keys"].get_xdata()) == [0]
    assert list(lines["attack success"].get_xdata()) == [0, 1]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0", "1"]
