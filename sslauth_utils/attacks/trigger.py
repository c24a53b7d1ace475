"""The backdoor's trigger: a white square near the lower right corner (BadEncoder)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import as_pixels


@dataclass(frozen=True)
class Trigger:
    """A white square.

    BadEncoder's released trigger covers rows and columns 21 to 30 of 32: ten pixels wide,
    one pixel away from the border; of 224, rows and columns 173 to 222.

    Attributes:
        side: of the square, in pixels.
        margin: pixels between the square and the lower and right border.
    """

    side: int = 10
    margin: int = 1

    @staticmethod
    def for_size(size: int) -> "Trigger":
        """BadEncoder's trigger for square images: 10 of 32 pixels, 50 of 224, the same share elsewhere."""
        return Trigger({32: 10, 224: 50}.get(size, max(1, round(size * 10 / 32))))

    def place(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns that the trigger covers.

        Raises:
            UserError: it does not fit the image.
        """
        if self.side < 1 or self.margin < 0 or self.side + self.margin > min(height, width):
            raise UserError(
                f"A trigger of {self.side} pixels with a margin of {self.margin} does not fit images of "
                f"{height} x {width}; make it smaller or take Trigger.for_size."
            )
        return tuple(slice(end - self.margin - self.side, end - self.margin) for end in (height, width))

    def stamp(self, images: Tensor) -> Tensor:
        """Copies of `images` with the trigger on them.

        Args:
            images: (N, 3, H, W), uint8, other whole numbers from 0 to 255, or float in [0, 1] (`as_pixels`).

        Raises:
            UserError: the trigger does not fit, or as `as_pixels`.
        """
        images = as_pixels(images, "Images to stamp")
        rows, columns = self.place(*images.shape[-2:])
        stamped = images.clone()
        stamped[..., rows, columns] = 255 if images.dtype == torch.uint8 else 1
        return stamped
