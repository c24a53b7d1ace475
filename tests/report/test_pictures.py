"""Contact sheets show each image in its place."""

import numpy as np
import torch

from sslauth_utils.report import pictures


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
