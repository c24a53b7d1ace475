"""The report's figures: drawn by other processes as one by one, in the paper's order; what goes wrong is told."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from drawn import TAU

from sslauth_utils.base.errors import UserError
from sslauth_utils.report import contents, style


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
    [(name, draw, same_caption)] = contents.all_figures(rows, {}, TAU)
    assert png == tmp_path / "there" / "fig01_pretraining.png" and caption == same_caption
    style.use_style()
    for path in style.save_figure(draw(), tmp_path / "here", name, "demo: n = 8"):
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path / "there")) == ["fig01_pretraining.pdf", "fig01_pretraining.png"]


def test_figures_come_in_the_paper_s_order_with_their_captions(
    pretrained, trained, pruned, tmp_path, in_a_thread, monkeypatch
):
    monkeypatch.setattr(style, "save_figure", lambda figure, folder, name, note: [folder / f"{name}.png", folder])
    rows = {"05_pruning": pruned, "02_enrol_keys": trained, "01_pretrain_encoders": pretrained}
    shown = list(contents.draw_figures(rows, {}, TAU, tmp_path, "demo"))
    assert [(path.stem, caption) for path, caption in shown] == [
        (name, caption) for name, _, caption in contents.all_figures(rows, {}, TAU)
    ]
    assert [path.stem.split("_")[0] for path, _ in shown] == ["fig01", "fig02", "fig05", "fig05b", "fig05c", "fig06"]


def test_a_figure_that_cannot_be_written_is_told(pretrained, tmp_path, in_a_thread):
    (tmp_path / "fig01_pretraining.pdf" / "full").mkdir(parents=True)
    with pytest.raises(UserError, match=r"fig01_pretraining\.pdf"):
        list(contents.draw_figures({"01_pretrain_encoders": pretrained}, {}, TAU, tmp_path, "demo"))


def test_without_rows_there_is_nothing_to_draw(tmp_path):
    assert list(contents.draw_figures({}, {}, TAU, tmp_path, "demo")) == []
