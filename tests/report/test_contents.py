"""The report's figures: drawn by other processes as one by one, in the paper's order; what goes wrong is told."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from claims_world import world
from drawn import TAU

from sslauth_utils.base.errors import UserError
from sslauth_utils.report import contents, style
from sslauth_utils.report.notes import models_note, of_seeds


@pytest.fixture
def in_a_thread(monkeypatch):
    """Figures are drawn in a thread instead of processes, which take a while to start."""
    monkeypatch.setattr(contents, "die_with", lambda parent: None)
    monkeypatch.setattr(contents, "_drawings", [])

    def pool(_processes, _context, start, arguments):
        return ThreadPoolExecutor(1, initializer=start, initargs=arguments)

    monkeypatch.setattr(contents, "ProcessPoolExecutor", pool)


def test_another_process_draws_the_same_files(pretrained, tmp_path):
    rows = {"01_pretrain_encoders": pretrained}
    [(png, caption)] = contents.draw_figures(rows, {}, TAU, tmp_path / "there", "demo: n = 8")
    [drawing] = contents.all_figures(rows, {}, TAU)
    assert png == tmp_path / "there" / "fig01_pretraining.png" and caption == drawing.caption
    style.use_style()
    for path in style.save_figure(drawing.draw(), tmp_path / "here", drawing.name, f"demo: n = 8{drawing.seeds}"):
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path / "there")) == [
        "drawn.json", "fig01_pretraining.pdf", "fig01_pretraining.png",
    ]  # fmt: skip


@pytest.fixture
def drawn_once(pretrained, trained, tmp_path, in_a_thread, monkeypatch):
    """Two figures that were drawn; `again(...)` gives the names of those that are drawn anew."""
    saved = []

    def save(figure, folder, name, note):
        saved.append(name)
        for ending in ("png", "pdf"):
            (folder / f"{name}.{ending}").write_text(f"{name} {note}")

    monkeypatch.setattr(style, "save_figure", save)
    rows = {"01_pretrain_encoders": pretrained, "02_enrol_keys": trained}

    def again(note="demo", **changed):
        contents._drawings.clear()
        saved.clear()
        assert len(list(contents.draw_figures(rows | changed, {}, TAU, tmp_path, note))) == 2
        return saved.copy()

    assert again() == ["fig01_pretraining", "fig02_generators"]
    return again


def test_what_lies_there_as_it_was_drawn_is_kept(drawn_once):
    assert drawn_once() == []


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_a_figure_that_was_edited_or_removed_is_drawn_again(drawn_once, tmp_path, ending):
    (tmp_path / f"fig02_generators.{ending}").write_text("edited")
    assert drawn_once() == ["fig02_generators"]
    (tmp_path / f"fig01_pretraining.{ending}").unlink()
    assert drawn_once() == ["fig01_pretraining"]


def test_other_rows_another_note_and_other_code_draw_again(drawn_once, pretrained, monkeypatch):
    assert drawn_once(**{"01_pretrain_encoders": pretrained.assign(value=pretrained["value"] / 2)}) == [
        "fig01_pretraining"
    ]
    assert drawn_once() == ["fig01_pretraining"], "and back"
    assert drawn_once(note="SMOKE") == ["fig01_pretraining", "fig02_generators"]
    monkeypatch.setattr(contents, "combined", lambda code: "edited")
    assert drawn_once(note="SMOKE") == ["fig01_pretraining", "fig02_generators"]


def test_a_broken_list_of_what_was_drawn_draws_all(drawn_once, tmp_path):
    (tmp_path / "drawn.json").write_text("{")
    assert drawn_once() == ["fig01_pretraining", "fig02_generators"]


def test_figures_come_in_the_paper_s_order_with_their_captions(
    pretrained, trained, pruned, tmp_path, in_a_thread, monkeypatch
):
    monkeypatch.setattr(style, "save_figure", lambda figure, folder, name, note: [folder / f"{name}.png", folder])
    rows = {"05_pruning": pruned, "02_enrol_keys": trained, "01_pretrain_encoders": pretrained}
    shown = list(contents.draw_figures(rows, {}, TAU, tmp_path, "demo"))
    assert [(path.stem, caption) for path, caption in shown] == [
        (drawing.name, drawing.caption) for drawing in contents.all_figures(rows, {}, TAU)
    ]
    assert [path.stem.split("_")[0] for path, _ in shown] == ["fig01", "fig02", "fig05", "fig05b", "fig05c", "fig06"]


def test_a_figure_that_cannot_be_written_is_told(pretrained, tmp_path, in_a_thread):
    (tmp_path / "fig01_pretraining.pdf" / "full").mkdir(parents=True)
    with pytest.raises(UserError, match=r"fig01_pretraining\.pdf"):
        list(contents.draw_figures({"01_pretrain_encoders": pretrained}, {}, TAU, tmp_path, "demo"))


def test_figures_of_classifiers_say_which_classifiers(pretrained, tmp_path, in_a_thread, monkeypatch):
    noted = {}

    def save(figure, folder, name, note):
        noted[name] = note
        for ending in ("png", "pdf"):
            (folder / f"{name}.{ending}").write_text(note)

    monkeypatch.setattr(style, "save_figure", save)
    pairs = world("paper")["21_sample_pairing", "rows"]
    rows = {"01_pretrain_encoders": pretrained, "21_sample_pairing": pairs}
    list(contents.draw_figures(rows, {}, TAU, tmp_path, "demo: an encoder", "demo: digits"))
    assert noted.pop("fig01_pretraining") == "demo: an encoder × 2 seeds" and set(noted.values()) == {"demo: digits"}
    assert models_note("demo").startswith("demo: digits (small_cnn of width 8, 8 epochs) × 2 seeds")
    assert models_note("smoke").startswith("SMOKE"), "the mark that is drawn across"


def test_a_figure_s_note_has_the_seeds_of_its_own_rows(pretrained):
    few = pretrained[(pretrained["seed"] == 0) | (pretrained["scenario"] == "cifar10")]
    assert [of_seeds(rows) for rows in (pretrained, few, few[few["seed"] == 0])] == [
        " × 2 seeds", " × 1 to 2 seeds", " × 1 seed",
    ]  # fmt: skip


def test_without_rows_there_is_nothing_to_draw(tmp_path):
    assert list(contents.draw_figures({}, {}, TAU, tmp_path, "demo")) == []
