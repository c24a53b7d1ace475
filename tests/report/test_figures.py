"""Figures: what is drawn is what the rows say, and the same rows give the same files."""

import errno
import os
import re
import zlib

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from sslauth_utils.base import files
from sslauth_utils.base.errors import UserError
from sslauth_utils.claims.statistics import amplification, summarise
from sslauth_utils.report import figures_enrolment, figures_honest, figures_pruning, pictures, style

TAU = 0.995
RATES = (0.01, 0.1, 0.5)
TITLES = ["CIFAR-10 encoder, ImageNet keys", "ImageNet encoder, CIFAR-10 keys"]
SCENARIOS = ("cifar10", "imagenet")


@pytest.fixture(autouse=True)
def a_clean_desk():
    """Every figure closed after each test, and the style put back."""
    plt.switch_backend("agg")
    with mpl.rc_context():
        yield
        plt.close("all")


def sweep(tamper, strengths, loss, schemes, **more):
    """Rows of 2 scenarios x 2 seeds x 4 keys; `loss(scheme, strength)` is the mean 1 - similarity."""
    return [
        {"scenario": scenario, "seed": seed, "keys": "ood", "scheme": scheme, "tamper": tamper, "strength": strength,
         "key": key, "similarity": 1 - loss(scheme, strength) * (1 + 0.1 * (key - 1.5) + 0.05 * seed)
         * (2 if scenario == "imagenet" else 1)} | more
        for scenario in SCENARIOS for seed in (0, 1) for scheme in schemes for strength in strengths for key in range(4)
    ]  # fmt: skip


KAPPA = {"DCmp": 1, "Trans": 30, "Trans G_max": 10, "Trans G_ini": 5}


@pytest.fixture
def pruned():
    """Rows of 05_pruning, the ablation and the hash's rows among them."""
    rows = sweep("pruning", RATES, lambda scheme, rate: KAPPA[scheme] * rate / 100, KAPPA)
    rows += sweep("pruning with batch norm", (0.1, 0.5), lambda scheme, rate: KAPPA[scheme] * rate / 80, KAPPA)
    rows += [row | {"key": -1, "similarity": 0.0}
             for row in sweep("pruning", RATES, lambda scheme, rate: 0, ["SHA-256"]) if row["key"] == 0]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


@pytest.fixture
def intact():
    """Rows of 03_verify_intact: an exact rerun, a batch size, a cast, a rounding that fails."""
    rows = []
    changes = {"repeated run": ("1", 0), "batch size": ("7", 1e-8), "weights stored as": ("half", 1e-6),
               "rounded to decimals": ("2", 0.01)}  # fmt: skip
    for tamper, (strength, loss) in changes.items():
        rows += sweep(tamper, [strength], lambda scheme, _, loss=loss: loss * KAPPA[scheme], ["DCmp", "Trans"])
        rows += sweep(tamper, [strength], lambda scheme, _: 0.5, ["SHA-256", "Trans G_max"])
    return pd.DataFrame(rows)


@pytest.fixture
def rounded():
    """Rows of 08_precision_loss for both kinds of keys and the three readings."""
    rows = []
    for tamper, size in (("rounding", 1), ("truncation", 4), ("rounding raw", 0.1)):
        rows += sweep(tamper, (1, 2, 3), lambda scheme, d, size=size: size * KAPPA[scheme] * 100.0**-d, KAPPA)
        rows += sweep(tamper, (1, 2, 3), lambda scheme, d: 0.5, ["DCmp"], keys="id")
    return pd.DataFrame(rows)


@pytest.fixture
def pretrained():
    """Rows of 01_pretrain_encoders, as read from CSV: two seeds, three epochs."""
    rows = []
    for scenario in SCENARIOS:
        for seed in (0, 1):
            values = [("loss", epoch, 5 - epoch - seed / 10) for epoch in (1, 2, 3)]
            values += [("chance", 3, 0.1), ("random_knn_accuracy", 3, 0.3), ("knn_accuracy", 3, 0.6 + seed / 10),
                       ("linear_accuracy", 3, 0.8)]  # fmt: skip
            rows += [{"scenario": scenario, "seed": seed, "quantity": quantity, "epoch": epoch, "value": value}
                     for quantity, epoch, value in values]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def trained():
    """Rows of 02_enrol_keys."""
    return pd.DataFrame([
        {"scenario": scenario, "seed": seed, "keys": keys, "objective": objective, "step": step,
         "ssim": (sign * step / 10) + seed / 100}
        for scenario in SCENARIOS for seed in (0, 1) for keys in ("ood", "id")
        for objective, sign in (("max", 1), ("min", -1)) for step in (0, 1, 2)
    ])  # fmt: skip


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


PRUNING = {
    "agreement": (figures_pruning.fig_pruning_agreement, "agreement", "agreement_low", "agreement_high"),
    "success": (figures_pruning.fig_pruning_success, "auth_success", "success_low", "success_high"),
}


@pytest.mark.parametrize(("draw", "y", "low", "high"), PRUNING.values(), ids=PRUNING)
def test_pruning_curves_are_the_aggregates_of_the_rows(pruned, draw, y, low, high):
    figure = draw(pruned, TAU)
    assert [axis.get_title() for axis in figure.axes] == TITLES
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        for scheme, label in (("DCmp", "DCmp (cosine)"), ("Trans", "Trans (SSIM, $G_{min}$)")):
            rows = part(pruned, scenario=scenario, scheme=scheme, tamper="pruning")
            table = summarise(rows, ["strength"], TAU)
            x, drawn = line(axis, label)
            assert x == pytest.approx([1, 10, 50])
            assert drawn == pytest.approx(table[y])
            places, lows, highs = band(axis, style.COLOURS[scheme])
            assert places == pytest.approx(x)
            assert lows == pytest.approx(table[low]) and highs == pytest.approx(table[high])
        assert axis.get_xlabel() == "pruning rate, %"
        drawn = {found.get_label() for found in axis.get_lines() if not found.get_label().startswith("_")}
        assert drawn == {"DCmp (cosine)", "Trans (SSIM, $G_{min}$)"}, "the others have figures of their own"


def test_pruning_figures_say_where_tau_stands(pruned):
    agreement = figures_pruning.fig_pruning_agreement(pruned, TAU)
    assert agreement.axes[0].get_ylabel() == "agreement, %"
    assert all(any(np.allclose(y, 99.5) and len(y) == 2 for _, y in lines(axis)) for axis in agreement.axes)
    success = figures_pruning.fig_pruning_success(pruned, 0.9)
    assert success.axes[0].get_ylabel() == "keys above τ = 90 %, %"
    assert success.axes[0].get_xscale() == "log"
    assert legend(agreement.axes[0]) == legend(success) == ["DCmp (cosine)", "Trans (SSIM, $G_{min}$)"]


@pytest.mark.parametrize(("draw", "y", "low", "high"), PRUNING.values(), ids=PRUNING)
def test_the_papers_points_stand_in_their_own_panel_and_figure(pruned, draw, y, low, high):
    reference = pd.DataFrame([
        {"scenario": "imagenet", "scheme": "DCmp", "strength": 0.1, "measure": y, "paper": 99.89},
        {"scenario": "imagenet", "scheme": "Trans", "strength": 0.2, "measure": "other", "paper": 5},
        {"scenario": "svhn", "scheme": "Trans", "strength": 0.2, "measure": y, "paper": 6},
    ])  # fmt: skip
    figure = draw(pruned, TAU, reference)
    stars = [[(line.get_xdata()[0], line.get_ydata()[0], line.get_label()) for line in axis.get_lines()
              if line.get_marker() == "*"] for axis in figure.axes]  # fmt: skip
    assert stars == [[], [(10, 99.89, "paper, DCmp")]]


def test_one_scenario_is_one_panel_and_an_unknown_one_keeps_its_name(pruned):
    one = figures_pruning.fig_pruning_agreement(pruned[pruned["scenario"] == "imagenet"], TAU)
    assert [axis.get_title() for axis in one.axes] == [TITLES[1]]
    three = figures_pruning.fig_pruning_agreement(pd.concat([pruned, pruned.assign(scenario="aerial")]), TAU)
    assert [axis.get_title() for axis in three.axes] == [*TITLES, "aerial"]


def test_amplification_is_drawn_for_the_three_objectives(pruned):
    figure = figures_pruning.fig_amplification(pruned)
    table = amplification(pruned[pruned["tamper"] == "pruning"], ["scenario", "strength"])
    labels = {"Trans": "Trans (SSIM, $G_{min}$)", "Trans G_max": "Trans, $G_{max}$", "Trans G_ini": "Trans, $G_{ini}$"}
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        for scheme, label in labels.items():
            x, drawn = line(axis, label)
            wanted = part(table, scenario=scenario, scheme=scheme)
            assert x == pytest.approx([1, 10, 50])
            assert drawn == pytest.approx(wanted["kappa"])
            assert drawn == pytest.approx([KAPPA[scheme]] * 3)
        assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
        assert any(np.allclose(y, 1) for _, y in lines(axis)), "the line of no amplification"
    assert legend(figure) == list(labels.values())
    assert figure.axes[0].get_ylabel() == "κ = (1 − SSIM) / (1 − cos)"


def test_the_batch_norm_ablation_tells_both_prunings_apart(pruned):
    figure = figures_pruning.fig_batch_norm_ablation(pruned, TAU)
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        for tamper, style, rates, note in (
            ("pruning", "-", [1, 10, 50], ""),
            ("pruning with batch norm", ":", [10, 50], ", batch norm too"),
        ):
            drawn = {found.get_label(): found for found in axis.get_lines() if found.get_linestyle() == style}
            trans = f"Trans (SSIM, $G_{{min}}$){note}"
            assert list(drawn) == [f"DCmp (cosine){note}", trans]
            rows = part(pruned, scenario=scenario, scheme="Trans", tamper=tamper)
            assert drawn[trans].get_xdata() == pytest.approx(rates)
            assert drawn[trans].get_ydata() == pytest.approx(summarise(rows, ["strength"], TAU)["agreement"])
    assert legend(figure) == [
        "DCmp (cosine)", "Trans (SSIM, $G_{min}$)",
        "DCmp (cosine), batch norm too", "Trans (SSIM, $G_{min}$), batch norm too",
    ]  # fmt: skip


def test_without_the_ablations_rows_only_the_pruning_is_drawn(pruned):
    figure = figures_pruning.fig_batch_norm_ablation(pruned[pruned["tamper"] == "pruning"], TAU)
    assert legend(figure) == ["DCmp (cosine)", "Trans (SSIM, $G_{min}$)"]


def test_the_null_shows_each_seeds_worst_key(intact):
    figure = figures_honest.fig_null(intact, TAU)
    changes = ["repeated run 1", "batch size 7", "weights stored as half", "rounded to decimals 2"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == changes
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        for scheme, shift in (("DCmp", 0.16), ("Trans", -0.16)):
            points = sorted((y, x) for xs, ys in lines(axis, colour=style.COLOURS[scheme])
                            for x, y in zip(xs, ys, strict=True))  # fmt: skip
            ours = part(intact, scenario=scenario, scheme=scheme)
            worst = ours.groupby(["tamper", "seed"])["similarity"].min()
            wanted = [(place + shift, max(1 - worst[change.rsplit(" ", 1)[0], seed], 1e-12))
                      for place, change in enumerate(changes) for seed in (0, 1)]  # fmt: skip
            assert np.array(points) == pytest.approx(np.array(sorted(wanted)), rel=1e-6)
        assert axis.get_xscale() == "log"
        assert any(len(x) == 2 and np.allclose(x, 1 - TAU) for x, _ in lines(axis)), "the line of tau"
        assert "τ" in [text.get_text() for text in axis.texts]
        assert axis.get_xlim()[0] < 1e-12 and axis.get_xlim()[1] > 1 - intact["similarity"].min()
        assert axis.get_ylim()[0] > axis.get_ylim()[1], "the first change stands on top"
    assert legend(figure) == ["DCmp (cosine)", "Trans (SSIM, $G_{min}$)"]


def test_precision_shows_the_worst_out_of_distribution_key(rounded):
    figure = figures_honest.fig_precision(rounded, TAU)
    wanted = {f"{scheme}, {tamper}" for scheme in ("DCmp", "Trans") for tamper in rounded["tamper"].unique()}
    styles = {"rounding": "-", "truncation": "--", "rounding raw": ":"}
    for axis, scenario in zip(figure.axes, SCENARIOS, strict=True):
        curves = {found.get_label(): found for found in axis.get_lines() if found.get_label() in wanted}
        assert set(curves) == wanted
        for label, curve in curves.items():
            scheme, tamper = label.split(", ")
            rows = part(rounded, scenario=scenario, scheme=scheme, tamper=tamper, keys="ood")
            assert curve.get_xdata() == pytest.approx([1, 2, 3])
            assert curve.get_ydata() == pytest.approx(1 - rows.groupby("strength")["similarity"].min().to_numpy())
            assert (curve.get_linestyle(), curve.get_color()) == (styles[tamper], style.COLOURS[scheme])
        assert any(np.allclose(y, 1 - TAU) for _, y in lines(axis))
        assert "τ = 99.5 %" in [text.get_text() for text in axis.texts]
        assert (axis.get_xlabel(), axis.get_yscale()) == ("decimal places kept", "log")
    assert set(legend(figure)) == wanted


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


def test_a_contact_sheet_shows_each_image_in_its_place():
    draw = torch.Generator().manual_seed(0)
    stored = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8, generator=draw)
    floats = torch.rand(3, 3, 4, 4, generator=draw)
    figure = pictures.show_images([stored, floats], ["keys", "made"], columns=10)
    assert len(figure.axes) == 6, "as many columns as the shortest line has images"
    for place, axis in enumerate(figure.axes):
        image = (stored if place < 3 else floats)[place % 3]
        assert np.array_equal(axis.images[0].get_array(), image.permute(1, 2, 0).numpy())
        assert not axis.get_xticks().size and not axis.get_yticks().size
    assert [axis.get_ylabel() for axis in figure.axes] == ["keys", "", "", "made", "", ""]


def test_schemes_are_told_apart_by_colour_marker_and_label():
    for look in (style.COLOURS, style.MARKERS, style.LABELS):
        assert set(look) == set(KAPPA) and len(set(look.values())) == len(look)


# --- files ------------------------------------------------------------------------------------------------------------


def drawing():
    style.use_style()
    figure, axis = plt.subplots(figsize=(style.COLUMN, 2))
    axis.plot([1, 2], [3, 4], label="κ")
    axis.legend()
    return figure


def test_the_same_rows_give_the_same_files(pruned, tmp_path):
    style.use_style()
    for folder in ("first", "second"):
        written = style.save_figure(figures_pruning.fig_amplification(pruned), tmp_path / folder, "fig05b", "demo: n = 8")
        assert written == [tmp_path / folder / "fig05b.png", tmp_path / folder / "fig05b.pdf"]
    for suffix in ("png", "pdf"):
        first, second = ((tmp_path / folder / f"fig05b.{suffix}").read_bytes() for folder in ("first", "second"))
        assert first == second
    assert sorted(os.listdir(tmp_path / "first")) == ["fig05b.pdf", "fig05b.png"]


def test_a_report_s_figures_are_those_that_are_saved_one_by_one(pruned, tmp_path):
    style.use_style()
    drawings = [("small", drawing, "A line."), ("fig05b", lambda: figures_pruning.fig_amplification(pruned), "Magnified.")]
    shown = list(style.save_figures(drawings, tmp_path / "many", "demo: n = 8"))
    assert shown == [(tmp_path / "many" / "small.png", "A line."), (tmp_path / "many" / "fig05b.png", "Magnified.")]
    for name, draw, _ in drawings:
        for path in style.save_figure(draw(), tmp_path / "one", name, "demo: n = 8"):
            assert (tmp_path / "many" / path.name).read_bytes() == path.read_bytes()
    assert len(os.listdir(tmp_path / "many")) == 4


def test_a_pdf_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "small.pdf").mkdir()
    (tmp_path / "small.pdf" / "full").touch()
    with pytest.raises(UserError, match=r"small\.pdf"):
        list(style.save_figures([("small", drawing, "A line.")], tmp_path, "demo"))


def test_files_hold_neither_date_nor_path_and_embed_their_fonts(tmp_path):
    png, pdf = style.save_figure(drawing(), tmp_path, "small", "demo")
    content = pdf.read_bytes()
    streams = [zlib.decompress(found) for found in re.findall(rb"stream\n(.*?)\nendstream", content, re.DOTALL)
               if found.startswith(b"\x78")]  # fmt: skip
    for text in (content, png.read_bytes(), *streams):
        assert b"Date" not in text and str(tmp_path).encode() not in text
        assert re.search(rb"/(home|root|Users)/", text) is None
    assert b"/FontFile2" in content and b"/Type3" not in content, "TrueType fonts, which journals accept"
    assert b"tEXt" not in png.read_bytes()


def test_the_note_stands_on_the_figure_and_smoke_is_marked(tmp_path):
    demo, smoke = drawing(), drawing()
    style.save_figure(demo, tmp_path, "demo", "demo: 100 keys")
    style.save_figure(smoke, tmp_path, "smoke", "SMOKE TEST, no meaning. smoke: 12 keys")
    assert [text.get_text() for text in demo.texts] == ["demo: 100 keys"]
    assert [text.get_text() for text in smoke.texts] == ["SMOKE TEST, no meaning. smoke: 12 keys", "SMOKE"]
    assert smoke.texts[1].get_fontsize() > 40
    assert (tmp_path / "smoke.png").read_bytes() != (tmp_path / "demo.png").read_bytes()


def test_nothing_is_cut_off_even_a_note_longer_than_the_figure_is_wide(tmp_path):
    style.use_style()
    figure = drawing()
    figure.set_size_inches(2, 1.5)
    png, _ = style.save_figure(figure, tmp_path, "narrow", "a note that is longer than the figure is wide " * 3)
    ink = plt.imread(png)[..., :3].min(axis=2) < 0.9
    margin = round(0.05 * plt.rcParams["savefig.dpi"])
    assert ink.any() and ink.shape[1] > 2.5 * plt.rcParams["savefig.dpi"]
    for edge in (ink[:margin], ink[-margin:], ink[:, :margin], ink[:, -margin:]):
        assert not edge.any()


def test_a_full_disk_leaves_the_old_figure(tmp_path, monkeypatch):
    png, _ = style.save_figure(drawing(), tmp_path, "small", "demo")
    before = png.read_bytes()

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match=r"Cannot write .*small\.png; the disk is full"):
        style.save_figure(drawing(), tmp_path, "small", "another")
    assert png.read_bytes() == before and sorted(os.listdir(tmp_path)) == ["small.pdf", "small.png"]


def test_style_is_small_sans_type_with_open_axes():
    style.use_style()
    assert plt.rcParams["font.family"] == ["DejaVu Sans"], "a font that matplotlib brings along"
    assert not plt.rcParams["axes.spines.top"] and not plt.rcParams["legend.frameon"]
    assert plt.rcParams["pdf.fonttype"] == 42
