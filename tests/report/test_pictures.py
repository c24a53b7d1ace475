"""Contact sheets show each image in its place."""

import numpy as np
import torch

from sslauth_utils.report import pictures
from sslauth_utils.schemes.similarity import ssim


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
    assert figure.get_suptitle() == ""
    assert pictures.show_images([stored], ["keys"], title="STL-10").get_suptitle() == "STL-10"


def test_a_change_is_shown_with_its_difference_and_its_ssim():
    draw = torch.Generator().manual_seed(1)
    keys = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=draw)
    before, far = torch.rand(2, 3, 3, 16, 16, generator=draw)
    near = (before + 0.01).clamp(0, 1)
    figure = pictures.show_change(keys, before, {"same": before, "near": near, "far": far})
    lines = [figure.axes[start : start + 3] for start in range(0, len(figure.axes), 3)]
    assert len(lines) == 2 + 2 * 3
    for place, images in ((2, before), (4, near), (6, far)):
        wanted = ssim(before.double(), images.double(), data_range=1.0)
        assert [axis.get_xlabel() for axis in lines[place]] == [f"{value:.3f}" for value in wanted]
        difference = (5 * (images - before)).abs().clamp(0, 1)
        for axis, image in zip(lines[place + 1], difference, strict=True):
            assert np.array_equal(axis.images[0].get_array(), image.permute(1, 2, 0).numpy())
            assert axis.get_xlabel() == ""
