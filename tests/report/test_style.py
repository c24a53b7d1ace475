"""The look of figures and their files: the same rows give the same bytes."""

import errno
import os
import re
import zlib

import numpy as np
import pytest
from drawn import KAPPA
from matplotlib import pyplot as plt
from PIL import Image

from sslauth_utils.base import files
from sslauth_utils.base.errors import UserError
from sslauth_utils.report import figures_pruning, style


def test_schemes_are_told_apart_by_colour_marker_and_label():
    for look in (style.COLOURS, style.MARKERS, style.LABELS):
        assert set(look) == set(KAPPA) and len(set(look.values())) == len(look)


def test_nothing_of_the_readers_own_style_remains():
    plt.rcParams.update({"text.usetex": True, "axes.facecolor": "black", "xtick.direction": "in"})
    style.use_style()
    assert not plt.rcParams["text.usetex"]
    assert (plt.rcParams["axes.facecolor"], plt.rcParams["xtick.direction"]) == ("white", "out")


def test_style_is_small_sans_type_with_open_axes():
    style.use_style()
    assert plt.rcParams["font.family"] == ["DejaVu Sans"], "a font that matplotlib brings along"
    assert not plt.rcParams["axes.spines.top"] and not plt.rcParams["legend.frameon"]
    assert plt.rcParams["pdf.fonttype"] == 42


# --- files ------------------------------------------------------------------------------------------------------------


def drawing():
    style.use_style()
    figure, axis = plt.subplots(figsize=(style.COLUMN, 2))
    axis.plot([1, 2], [3, 4], label="κ")
    axis.legend()
    return figure


def test_the_same_rows_give_the_same_files(pruned, tmp_path):
    style.use_style()
    pruned = pruned[pruned["scenario"] == "cifar10"]
    for folder in ("first", "second"):
        written = style.save_figure(
            figures_pruning.fig_amplification(pruned), tmp_path / folder, "fig05b", "demo: n = 8"
        )
        assert written == [tmp_path / folder / "fig05b.png", tmp_path / folder / "fig05b.pdf"]
    for suffix in ("png", "pdf"):
        first, second = ((tmp_path / folder / f"fig05b.{suffix}").read_bytes() for folder in ("first", "second"))
        assert first == second
    assert sorted(os.listdir(tmp_path / "first")) == ["fig05b.pdf", "fig05b.png"]


def test_a_pdf_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "small.pdf").mkdir()
    (tmp_path / "small.pdf" / "full").touch()
    with pytest.raises(UserError, match=r"small\.pdf"):
        style.save_figure(drawing(), tmp_path, "small", "demo")


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


def test_a_rare_colour_in_the_file_is_the_one_that_was_drawn(tmp_path):
    style.use_style()
    figure, axis = plt.subplots(figsize=(7, 3))
    common = ["0.55", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#D55E00", "#000000"]
    for place, colour in enumerate(common):
        axis.plot(np.arange(40), np.sin(np.arange(40)) + place, "-o", color=colour)
    axis.plot([0, 0.5], [7.5, 7.5], color="#0072B2")  # as a line of a legend whose curve another hides
    style.save_figure(figure, tmp_path, "rare", "demo")
    with Image.open(tmp_path / "rare.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    for colour in [*common[1:], "#0072B2"]:
        wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
        assert np.abs(pixels - wanted).max(axis=2).min() < 16, colour


def test_the_note_stands_on_the_figure_and_smoke_is_marked(tmp_path):
    demo, smoke = drawing(), drawing()
    style.save_figure(demo, tmp_path, "demo", "demo: 100 keys")
    style.save_figure(smoke, tmp_path, "smoke", "SMOKE TEST, no meaning. smoke: 12 keys")
    assert [text.get_text() for text in demo.texts] == ["demo: 100 keys"]
    assert [text.get_text() for text in smoke.texts] == ["SMOKE TEST, no meaning. smoke: 12 keys", "SMOKE"]
    assert smoke.texts[1].get_fontsize() > 40
    assert (tmp_path / "smoke.png").read_bytes() != (tmp_path / "demo.png").read_bytes()


def test_a_note_longer_than_the_figure_is_wide_is_broken_and_nothing_is_cut_off(tmp_path):
    style.use_style()
    inks = {}
    for name, note in (("short", "demo"), ("long", "a note that is longer than the figure is wide " * 3)):
        figure = drawing()
        figure.set_size_inches(2, 1.5)
        png, _ = style.save_figure(figure, tmp_path, name, note)
        inks[name] = plt.imread(png)[..., :3].min(axis=2) < 0.9
    inch, ink = plt.rcParams["savefig.dpi"], inks["long"]
    assert ink.shape[1] < inks["short"].shape[1] + 0.1 * inch and ink.shape[0] > inks["short"].shape[0]
    margin = round(0.05 * inch)
    assert ink.any()
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
