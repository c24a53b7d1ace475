"""The trigger is BadEncoder's white square, in its place, on copies of the images."""

import pytest
import torch

from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.errors import UserError


@pytest.mark.parametrize(("size", "first", "last"), [(32, 21, 30), (224, 173, 222)])
def test_place_and_size_are_the_released_triggers(size, first, last):
    stamped = Trigger.for_size(size).stamp(torch.zeros(1, 3, size, size, dtype=torch.uint8))[0]
    rows, columns = (stamped[0] > 0).nonzero().T
    for where in (rows, columns):
        assert (where.min().item(), where.max().item()) == (first, last), "inclusive; one pixel from the border"
    assert len(rows) == (last - first + 1) ** 2, "a full square"
    assert torch.equal(stamped[0], stamped[1]) and torch.equal(stamped[0], stamped[2]), "white: all channels"


@pytest.mark.parametrize(("size", "side"), [(16, 5), (64, 20), (3, 1), (2, 1)])
def test_other_sizes_get_the_same_share(size, side):
    assert Trigger.for_size(size) == Trigger(side, margin=1)


@pytest.mark.parametrize(("dtype", "white"), [(torch.uint8, 255), (torch.float32, 1.0), (torch.float64, 1.0)])
def test_only_the_square_changes_and_only_in_the_copy(dtype, white):
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (4, 3, 20, 14), dtype=torch.uint8, generator=draw)
    images = images if dtype == torch.uint8 else images.to(dtype) / 255
    before = images.clone()
    stamped = Trigger(side=4, margin=2).stamp(images)
    assert torch.equal(images, before) and stamped.data_ptr() != images.data_ptr()
    assert stamped.dtype == dtype and stamped.shape == images.shape
    square = torch.zeros(20, 14, dtype=torch.bool)
    square[14:18, 8:12] = True  # 20 x 14 pixels: lower right, two from either border
    assert (stamped[..., square] == white).all()
    assert torch.equal(stamped[..., ~square], images[..., ~square])


def test_a_trigger_may_fill_the_image_without_margin():
    assert (Trigger(5, 0).stamp(torch.zeros(1, 3, 5, 5)) == 1).all()


@pytest.mark.parametrize(
    ("trigger", "size"),
    [(Trigger(10, 1), (10, 32)), (Trigger(5, 0), (9, 4)), (Trigger(0), (9, 9)), (Trigger(3, -1), (9, 9))],
)
def test_a_trigger_that_does_not_fit_is_told(trigger, size):
    with pytest.raises(UserError) as caught:
        trigger.stamp(torch.zeros(2, 3, *size))
    assert str(caught.value) == (
        f"A trigger of {trigger.side} pixels with a margin of {trigger.margin} does not fit images of "
        f"{size[0]} x {size[1]}; make it smaller or take Trigger.for_size."
    )


def test_whole_numbers_of_any_type_are_stamped_as_stored_pixels_and_other_ranges_are_told():
    stored = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    wanted = Trigger().stamp(stored)
    for given in (stored.long(), stored.int(), stored.numpy(), stored.numpy().astype("int64")):
        assert torch.equal(Trigger().stamp(given), wanted)
    with pytest.raises(UserError, match="must lie in"):
        Trigger().stamp(stored.float())
