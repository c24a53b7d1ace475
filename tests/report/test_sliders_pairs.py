"""The slider of sample pairs, by what it draws."""

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba

from sslauth_utils.report.sliders_pairs import margin_slider

RED, BLUE = to_rgba("#D55E00"), to_rgba("#0072B2")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def pairs(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_an_image_on_the_other_side_is_red_and_the_axis_stays(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    enrolled = pairs((-1e-6, 1e-6), (-1e-6, 1e-6))
    widget = margin_slider(
        dict.fromkeys(("0.1", "0.5"), enrolled), {"0.1": enrolled, "0.5": pairs((2e-6, 3e-6), (-1e-6, 1e-6))}, "rate"
    )
    limits = set()
    for name, share, colours in (("0.1", "0%", [BLUE, BLUE]), ("0.5", "50%", [RED, BLUE])):
        plt.close("all")
        widget.f(name)
        [axis] = plt.gcf().axes
        assert axis.get_title().startswith(f"{name}: {share} of the pairs")
        assert [tuple(colour) for colour in axis.collections[0].get_facecolors()] == colours
        limits.add(axis.get_ylim())
        assert [text.get_text() for text in axis.get_legend().get_texts()] == [
            "first image", "second image", "on its side", "on the other side",
        ]  # fmt: skip
        assert 0 in axis.get_yticks() and len(axis.get_yticks()) <= 9
    assert len(limits) == 1


def test_steps_have_enrolments_of_their_own(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    coarse, fine = pairs((-1e-3, 1e-3)), pairs((-1e-7, 1e-7))
    noise = torch.full_like(fine, 2e-7)
    enrolled = {"0.001": coarse, "1e-07": fine}
    widget = margin_slider(enrolled, {name: values + noise for name, values in enrolled.items()}, "step")
    for name, share in (("0.001", "0%"), ("1e-07", "100%")):
        plt.close("all")
        widget.f(name)
        assert f"{share} of the pairs" in plt.gcf().axes[0].get_title()
