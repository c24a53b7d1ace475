"""Figures of the key sets: what is drawn is what the rows and measures say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from sslauth_utils.claims.statistics import summarise
from sslauth_utils.report import figures_keys, style

TAU = 0.995
RATES = (0.1, 0.3, 0.9)
SCENARIOS = ("cifar10", "imagenet")
KAPPA = {"DCmp": 1, "Trans": 20}
LOSS = {"ood": 2, "id": 1, "id:5": 0.8, "id:100": 3, "id:1": 1.2}  # relative to each other
TAMPERS = [("pruning", rate, rate / 50) for rate in RATES]
TAMPERS += [("backdoor stl10", 0.0, 0.02), ("fine-tuning supervised 0.0001", 4.0, 0.01)]


@pytest.fixture
def rows():
    """Rows of 09_key_distribution: two seeds of four keys; only the ImageNet encoder has K1 to K3."""
    lines = [
        {"scenario": scenario, "seed": seed, "keys": keys, "scheme": scheme, "tamper": tamper, "strength": strength,
         "key": key, "similarity": 1 - loss * LOSS[keys] * KAPPA[scheme] * (1 + 0.1 * (key - 1.5) + 0.05 * seed)}
        for scenario in SCENARIOS for keys in LOSS if scenario == "imagenet" or ":" not in keys
        for tamper, strength, loss in TAMPERS for seed in (0, 1) for scheme in KAPPA for key in range(4)
    ]  # fmt: skip
    return pd.DataFrame([*lines, *({**line, "scheme": "SHA-256", "key": -1, "similarity": 0.0} for line in lines[::8])])


@pytest.fixture
def measures():
    """Measures of 09_key_distribution: components of three keys of two seeds, and others that no figure draws."""
    lines = [
        {"scenario": scenario, "seed": seed, "tamper": tamper, "strength": strength, "quantity": f"pc{axis} {keys}",
         "value": 10 * seed + key + axis / 10 + (0.01 if tamper == "pruning" else 0) + (5 if keys == "ood" else 0),
         "n": key}
        for scenario in SCENARIOS for seed in (1, 2) for tamper, strength in (("clean", 0.0), ("pruning", 0.3))
        for keys in ("id", "ood") for axis in (1, 2) for key in range(3)
    ]  # fmt: skip
    other = {"tamper": "clean", "strength": 0.0, "quantity": "log density id", "value": 300.0, "n": 2000}
    return pd.DataFrame(lines + [{"scenario": name, "seed": 1, **other} for name in SCENARIOS])


def part(table, **where):
    """The rows whose columns have these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line(axis, label):
    [found] = [found for found in axis.get_lines() if found.get_label() == label]
    return found


@pytest.mark.parametrize(("row", "measure"), [(0, "agreement"), (1, "auth_success")])
def test_pruning_shows_both_key_origins_of_both_schemes(rows, row, measure):
    figure = figures_keys.fig_key_pruning(rows, TAU)
    axes = np.array(figure.axes).reshape(2, 2)
    assert [axis.get_title() for axis in axes[0]] == ["CIFAR-10 encoder", "ImageNet encoder"], "keys differ within"
    for axis, scenario in zip(axes[row], SCENARIOS, strict=True):
        for scheme in KAPPA:
            for keys, label, dash in (("ood", "OOD keys", "-"), ("id", "ID keys", "--")):
                found = line(axis, f"{scheme}, {label}")
                ours = part(rows, scenario=scenario, scheme=scheme, keys=keys, tamper="pruning")
                assert found.get_xdata() == pytest.approx([10, 30, 90])
                assert found.get_ydata() == pytest.approx(summarise(ours, ["strength"], TAU)[measure])
                assert (found.get_linestyle(), found.get_color()) == (dash, style.COLOURS[scheme])
        assert len(axis.collections) == 4, "a band for each line, none for K1 to K3"
    assert texts(figure) == ["DCmp, OOD keys", "DCmp, ID keys", "Trans, OOD keys", "Trans, ID keys"]


def test_pruning_says_where_tau_stands_and_what_the_axes_are(rows):
    figure = figures_keys.fig_key_pruning(rows, TAU)
    top, bottom = figure.axes[0], figure.axes[2]
    assert any(np.allclose(found.get_ydata(), 99.5) for found in top.get_lines())
    assert (top.get_ylabel(), bottom.get_ylabel()) == ("agreement, %", "keys above τ = 99.5 %, %")
    assert bottom.get_xlabel() == "pruning rate, %"


def test_the_papers_points_stand_in_their_own_panel(rows):
    points = [("cifar10", "agreement", 99.99), ("cifar10", "auth_success", 100), ("svhn", "agreement", 1)]
    reference = pd.DataFrame([{"scenario": scenario, "scheme": "DCmp", "strength": 0.1, "measure": measure,
                               "paper": paper} for scenario, measure, paper in points])  # fmt: skip
    figure = figures_keys.fig_key_pruning(rows, TAU, reference)
    stars = [[(found.get_xdata()[0], found.get_ydata()[0]) for found in axis.get_lines() if found.get_marker() == "*"]
             for axis in figure.axes]  # fmt: skip
    assert stars == [[(10, 99.99)], [], [(10, 100)], []]


def test_no_printed_points_are_no_obstacle(rows):
    assert len(figures_keys.fig_key_pruning(rows, TAU, pd.DataFrame()).axes) == 4


def points_of(axis):
    """Label to (places, agreement, low, high), read back from the axis of nines."""
    found = {}
    for container in axis.containers:
        assert isinstance(container, ErrorbarContainer)
        middle, _, [bars] = container.lines
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        heights = (np.asarray(middle.get_ydata(), float), *ends.T)
        found[container.get_label()] = (middle.get_xdata(), *(100 - 10.0**-y for y in heights))
    return found


def test_key_choices_stand_beside_random_keys_for_every_tampering(rows):
    figure = figures_keys.fig_key_choice(rows, TAU)
    labels = {"random OOD": "ood", "random ID": "id", "K1: 5 a class": "id:5", "K2: 100 a class": "id:100",
              "K3: 1 a class": "id:1"}  # fmt: skip
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == [f"{encoder}, {style.LABELS[scheme]}"
                      for encoder in ("CIFAR-10 encoder", "ImageNet encoder") for scheme in KAPPA]  # fmt: skip
    for nth, axis in enumerate(figure.axes):
        found = points_of(axis)
        scenario, scheme = SCENARIOS[nth // 2], list(KAPPA)[nth % 2]
        assert list(found) == (list(labels) if scenario == "imagenet" else list(labels)[:2])
        ticks = [text.get_text() for text in axis.get_xticklabels()]
        assert ticks == ["10", "30", "90", "fine-\ntuned", "back-\ndoor"]
        for label, (places, middle, low, high) in found.items():
            ours = part(rows, scenario=scenario, scheme=scheme, keys=labels[label])
            table = summarise(ours, ["tamper", "strength"], TAU).set_index(["tamper", "strength"])
            table = table.loc[[*(("pruning", rate) for rate in RATES), ("fine-tuning supervised 0.0001", 4.0),
                               ("backdoor stl10", 0.0)]]  # fmt: skip
            assert np.rint(places).tolist() == [0, 1, 2, 3, 4], "each tampering's points stand around its own tick"
            assert middle == pytest.approx(table["agreement"])
            assert low == pytest.approx(table["agreement_low"]) and high == pytest.approx(table["agreement_high"])
        apart = np.array([places for places, *_ in found.values()])
        assert len(np.unique(apart)) == apart.size, "no point hides another"
    assert texts(figure) == list(labels)


def test_the_axis_of_nines_is_labelled_with_agreements(rows):
    axis = figures_keys.fig_key_choice(rows, TAU).axes[0]
    written = [float(text.get_text()) for text in axis.get_yticklabels()]
    assert written == pytest.approx(100 - 10.0 ** -axis.get_yticks())
    assert np.diff(axis.get_yticks()).max() < 0, "more agreement stands higher"
    assert any(np.allclose(100 - 10.0 ** -np.asarray(found.get_ydata()), 99.5) for found in axis.get_lines())
    assert "τ" in [text.get_text() for text in axis.texts]


def test_a_score_of_exactly_one_stays_on_the_axis(rows):
    figure = figures_keys.fig_key_choice(rows.assign(similarity=1.0), TAU)
    drawn = points_of(figure.axes[0])["random OOD"]
    assert np.isfinite(drawn[1]).all() and drawn[1].min() > 99.999


def test_a_scenario_without_key_choices_shows_random_keys_alone(rows):
    figure = figures_keys.fig_key_choice(part(rows, scenario="cifar10"), TAU)
    assert len(figure.axes) == 2 and texts(figure) == ["random OOD", "random ID"]


def test_the_shift_shows_every_key_before_and_after(rows, measures):
    figure = figures_keys.fig_key_shift(measures.sample(frac=1, random_state=0), rows)
    axes = np.array(figure.axes).reshape(2, 3)
    for encoder, panels in zip(("CIFAR-10 encoder", "ImageNet encoder"), axes, strict=True):
        for axis, origin, offset in ((panels[0], "ID keys", 0), (panels[1], "OOD keys", 5)):
            clean, after = axis.collections
            wanted = np.array([[key + 10.1 + offset, key + 10.2 + offset] for key in range(3)])
            assert np.asarray(clean.get_offsets()) == pytest.approx(wanted), "the first seed's"
            assert np.asarray(after.get_offsets()) == pytest.approx(wanted + 0.01)
            assert len(axis.get_lines()) == 3, "a line for each key"
            for key, found in enumerate(axis.get_lines()):
                assert found.get_xydata() == pytest.approx(np.stack([wanted[key], wanted[key] + 0.01]))
            assert (clean.get_label(), after.get_label()) == ("clean", f"pruned, {origin}")
            assert axis.get_title() == f"{encoder}, {origin}"
        assert panels[0].get_xlim() == panels[1].get_xlim() and panels[0].get_ylim() == panels[1].get_ylim()
    assert texts(figure) == ["clean", "pruned, ID keys", "pruned, OOD keys"]


def test_the_shifts_distribution_is_of_the_keys_of_the_same_rate_and_seed(rows, measures):
    rows = rows.assign(seed=rows["seed"] + 1)
    figure = figures_keys.fig_key_shift(measures, rows)
    for axis, scenario in zip(figure.axes[2::3], SCENARIOS, strict=True):
        assert axis.get_title() == "pruned by 30 %"
        drawn = {line.get_label(): line for line in axis.get_lines()}
        assert set(drawn) == {"OOD keys", "ID keys"}
        for keys, label in (("ood", "OOD keys"), ("id", "ID keys")):
            ours = part(rows, scenario=scenario, seed=1, scheme="DCmp", tamper="pruning", strength=0.3, keys=keys)
            x, share = drawn[label].get_data()
            assert x[1:] == pytest.approx(np.sort(ours["similarity"])) and len(ours) == 4
            assert share == pytest.approx([0, 0.25, 0.5, 0.75, 1])
            assert drawn[label].get_color() == figures_keys.KEY_COLOURS[keys]
