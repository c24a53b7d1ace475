"""Figures of objectives and forms: what is drawn is what the rows say."""

import numpy as np
import pandas as pd
import pytest

from sslauth_utils.report.figures_generators import (
    OBJECTIVE_SCHEMES,
    fig_correlation,
    fig_objective,
    fig_objective_kappa,
    fig_transformation,
    form_name,
    generator_kappas,
    transformation_schemes,
)

TAU = 0.995
TITLES = ["CIFAR-10 encoder, ImageNet keys", "ImageNet encoder, CIFAR-10 keys"]
LOSS = {"disguised stl10": (10, 1e-4), "pruning": (0.1, 1e-3), "rounding": (2, 2e-3), "intact": (0, 0)}
KAPPA = {"DCmp": 1, "Trans": 30, "Trans G_max": 10, "Trans G_ini": 5}
FORMS = {"DCmp": 1, "centred": 8, "linear 512": 1.1, "linear 64": 0.9, "format 512": 1, "mlp 64": 2,
         "pixels G_ini": 0.5, "correlation G_ini": 4, "Trans G_ini": 12, "Trans G_max": 9,
         "pixels G_min": 3, "correlation G_min": 15, "Trans": 20}  # fmt: skip


def verified(kappas, generators, tampers=LOSS):
    """Rows of 2 scenarios, 4 keys; generator g magnifies 1 + g / 10 times as much as generator 0."""
    return pd.DataFrame([
        {"scenario": scenario, "seed": 0, "keys": keys, "scheme": scheme, "tamper": tamper, "strength": LOSS[tamper][0],
         "key": key, "similarity": 1 - LOSS[tamper][1] * kappa * (1 + 0.1 * (key - 1.5))
         * (1 + index / 10 if scheme != "DCmp" else 1)}
        for scenario in ("cifar10", "imagenet") for index, keys in enumerate(generators) for tamper in tampers
        for scheme, kappa in kappas.items() for key in range(4)
    ]).sample(frac=1, random_state=0)  # fmt: skip


@pytest.fixture
def objectives():
    """Rows of 10_generator_objective with three generator seeds, the hash's rows among them."""
    rows = verified(KAPPA, ["ood g0", "ood g1", "ood g2"])
    return pd.concat([rows, rows[rows["scheme"] == "DCmp"].assign(scheme="SHA-256", key=-1, similarity=0.0)])


@pytest.fixture
def forms():
    """Rows of 11_transformation."""
    rows = verified(FORMS, ["ood"])
    return pd.concat([rows, rows[rows["scheme"] == "DCmp"].assign(scheme="SHA-256", key=-1, similarity=0.0)])


@pytest.fixture
def printed():
    return pd.DataFrame([
        {"scenario": "imagenet", "scheme": "Trans", "strength": 10, "measure": "agreement", "paper": 98.2},
        {"scenario": "imagenet", "scheme": "Trans", "strength": 10, "measure": "auth_success", "paper": 0.0},
    ])  # fmt: skip


@pytest.fixture
def likeness():
    """Measures of 10_generator_objective, two generator seeds."""
    value = {"ini": 0.1, "max": 0.9, "min": -0.8}
    share = {"correlation with the key": 1, "correlation with other keys": 0.2, "ssim to the key": 0.5}
    return pd.DataFrame([
        {"scenario": scenario, "seed": 0, "tamper": objective, "strength": g, "quantity": quantity,
         "value": value[objective] * share[quantity] + 0.01 * g, "n": 4}
        for scenario in ("cifar10", "imagenet") for g in (0, 1) for objective in value for quantity in share
    ])  # fmt: skip


def stars(axis):
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() == "*"]


def dots(axis, marker):
    return sorted(y for line in axis.lines if line.get_marker() == marker for y in line.get_ydata())


def ticks(axis):
    return [label.get_text() for label in axis.get_xticklabels()]


def test_objective_draws_a_dot_for_every_generator_and_the_paper_s_stars(objectives, printed):
    figure = fig_objective(objectives, TAU, printed)
    top, bottom = figure.axes[:2], figure.axes[2:]
    assert [axis.get_title() for axis in top] == TITLES
    assert ticks(top[0]) == ["DCmp", "$G_{ini}$", "$G_{max}$", "$G_{min}$"]
    # mean over keys of 100 (1 - similarity): 0.01 points times kappa times the generator's factor
    assert dots(top[0], "s") == pytest.approx([0.3, 0.33, 0.36])
    assert dots(top[0], "v") == pytest.approx([0.05, 0.055, 0.06])
    assert dots(top[0], "o") == pytest.approx([0.01]), "DCmp does not know generators: one dot"
    assert dots(bottom[0], "s") == [100, 100, 100]
    assert stars(top[0]) == [] and stars(top[1]) == [(pytest.approx(3.36), pytest.approx(1.8))]
    assert stars(bottom[1]) == [(pytest.approx(3.36), 0)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one generator seed", "paper, one run", "τ"]


def test_objective_counts_keys_above_tau(objectives):
    loud = objectives.assign(similarity=1 - 15 * (1 - objectives["similarity"]))
    figure = fig_objective(loud, TAU)
    # 1 - cos is 15e-4, below 1 - tau = 5e-3 for every key; G_min makes at least 30 x 0.85 of it
    assert dots(figure.axes[2], "s") == [0, 0, 0]
    assert dots(figure.axes[2], "o") == [100]


def test_figures_stand_without_a_disguised_encoder(objectives, forms, printed):
    # it is left out where the attack destroyed it
    some = objectives[objectives["tamper"] != "disguised stl10"]
    figure = fig_objective(some, TAU, printed)
    assert dots(figure.axes[0], "s") == [] and len(stars(figure.axes[1])) == 1
    assert fig_objective_kappa(some).axes[0].lines
    assert len(fig_transformation(forms[forms["tamper"] != "disguised stl10"], TAU).axes) == 4


def test_kappas_are_those_of_single_generators(objectives):
    table = generator_kappas(objectives)
    assert len(table) == 2 * 3 * 3 * 3, "scenarios, tampers (the intact has none), generators, objectives"
    trans = table[(table["scheme"] == "Trans") & (table["tamper"] == "pruning") & (table["scenario"] == "cifar10")]
    assert dict(zip(trans["keys"], trans["kappa"], strict=True)) == pytest.approx(
        {"ood g0": 30, "ood g1": 33, "ood g2": 36}
    )


def test_objective_kappa_by_tamper(objectives):
    left, right = fig_objective_kappa(objectives).axes
    assert [left.get_title(), right.get_title()] == TITLES
    assert ticks(left) == ["disguised\nbackdoor", "10 %\npruning", "honest: 2\ndecimals"]
    assert dots(left, "s") == pytest.approx(sorted([30, 33, 36] * 3))
    assert dots(left, "^") == pytest.approx(sorted([10, 11, 12] * 3))


def test_correlation_tells_own_keys_from_others(likeness):
    left, _ = fig_correlation(likeness).axes
    filled = {line.get_marker(): line for line in left.lines if line.get_label() == "correlation with the key"}
    hollow = {line.get_marker(): line for line in left.lines if line.get_label() == "correlation with other keys"}
    assert filled["s"].get_ydata() == pytest.approx([-0.8, -0.79])
    assert hollow["s"].get_ydata() == pytest.approx([-0.16, -0.15]) and hollow["s"].get_markerfacecolor() == "none"
    assert filled["^"].get_ydata() == pytest.approx([0.9, 0.91])
    assert left.get_ylim() == (-1.08, 1.08)


def test_forms_stand_in_the_order_of_the_table(forms):
    assert transformation_schemes(forms) == list(FORMS), "vectors, widest first, then images; SHA-256 is no form"


def test_forms_in_words():
    assert form_name("DCmp") == "feature itself (DCmp)" and form_name("centred") == "feature less its mean"
    assert form_name("mlp 512") == "trained MLP 512" and form_name("Trans G_ini") == "image of $G_{ini}$, SSIM"
    assert form_name("pixels G_min") == "image of $G_{min}$, cosine"
    assert form_name("correlation G_min") == "image of $G_{min}$, correlation"


def test_transformation_draws_agreement_and_kappa(forms, printed):
    figure = fig_transformation(forms, TAU, printed)
    left, right = figure.axes[:2]
    assert [axis.get_title() for axis in figure.axes[::2]] == TITLES
    place = list(FORMS).index("centred")
    drawn = {line.get_ydata()[0]: line.get_xdata()[0] for line in left.lines if line.get_marker() == "s"}
    assert drawn[place] == pytest.approx(0.01 * 8) and len(drawn) == len(FORMS)
    pruned = {line.get_ydata()[0]: line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"}
    assert pruned[place] == pytest.approx(8)
    assert stars(left) == [] and stars(figure.axes[2]) == [(pytest.approx(1.8), list(FORMS).index("Trans"))]
    assert [label.get_text() for label in left.get_yticklabels()] == [form_name(scheme) for scheme in FORMS]
    assert not any(label.get_visible() and label.get_text() for label in right.get_yticklabels())
    assert left.get_xscale() == right.get_xscale() == "log"


def test_one_scenario_makes_a_narrower_figure(objectives, likeness):
    one = objectives[objectives["scenario"] == "imagenet"]
    assert [axis.get_title() for axis in fig_objective_kappa(one).axes] == TITLES[1:]
    assert len(fig_objective(one, TAU).axes) == 2
    assert len(fig_correlation(likeness[likeness["scenario"] == "cifar10"]).axes) == 1


def test_legends_stand_outside_the_panels(objectives, forms, likeness):
    for figure in (fig_objective(objectives, TAU), fig_objective_kappa(objectives), fig_correlation(likeness),
                   fig_transformation(forms, TAU)):  # fmt: skip
        figure.canvas.draw()
        legend = figure.legends[0].get_window_extent()
        assert all(legend.y1 <= axis.get_window_extent().y0 for axis in figure.axes)
        assert np.isfinite(legend.y0)
    assert set(OBJECTIVE_SCHEMES) == set(KAPPA)
