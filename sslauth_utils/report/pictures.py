"""Contact sheets of images, as the notebooks show them."""

from collections.abc import Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor


def show_images(rows: Sequence[Tensor], names: Sequence[str], columns: int = 10) -> Figure:
    """A contact sheet: one line of images a tensor.

    Args:
        rows: tensors (N, 3, H, W), uint8 or float in [0, 1]; the first `columns` are shown.
        names: a label for each line.
    """
    columns = min(columns, *(len(images) for images in rows))
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(columns * 0.68 + 1.0, len(rows) * 0.72),
        squeeze=False,
        gridspec_kw={"wspace": 0.05, "hspace": 0.08},
    )
    for line, images, name in zip(axes, rows, names, strict=True):
        for axis, image in zip(line, images[:columns], strict=True):
            axis.imshow(image.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    return figure
