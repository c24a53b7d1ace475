"""Contact sheets of images, as the notebooks show them."""

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from sslauth_utils.schemes.similarity import ssim

MAGNIFIED = 5  # differences are shown so many times larger: most cannot be seen otherwise


def show_images(
    rows: Sequence[Tensor],
    names: Sequence[str],
    columns: int = 10,
    under: Mapping[int, Tensor] | None = None,
    title: str = "",
) -> Figure:
    """A contact sheet: one line of images a tensor.

    Args:
        rows: tensors (N, 3, H, W), uint8 or float in [0, 1]; the first `columns` are shown.
        names: a label for each line.
        under: by the line's place, a number for each of its images, written under it.
        title: of the sheet; several of one cell are else hard to tell apart.
    """
    under = under or {}
    columns = min(columns, *(len(images) for images in rows))
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(columns * 0.68 + 1.0, len(rows) * 0.72 + len(under) * 0.2),
        squeeze=False,
        gridspec_kw={"wspace": 0.05, "hspace": 0.3 if under else 0.08},
    )
    for place, (line, images, name) in enumerate(zip(axes, rows, names, strict=True)):
        for axis, image in zip(line, images[:columns], strict=True):
            axis.imshow(image.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        if place in under:
            for axis, value in zip(line, under[place].tolist(), strict=False):
                axis.set_xlabel(f"{value:.3f}", fontsize=7, labelpad=1)
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


def show_change(keys: Tensor, before: Tensor, after: Mapping[str, Tensor]) -> Figure:
    """What a generator makes of the features of an encoder and of suspects: image, difference, SSIM.

    Args:
        keys: the key samples, uint8 (N, 3, H, W).
        before: G(E(x)), float (N, 3, size, size).
        after: G(E'(x)) by the suspect's name. Under each stands its SSIM to `before`, and below that the
            difference to it, magnified.
    """
    rows, names, under = [keys, before], ["key x", "G(E(x))"], {}
    for name, images in after.items():
        under[len(rows)] = ssim(before.double(), images.double(), data_range=1.0)
        rows += [images, (MAGNIFIED * (images - before)).abs().clamp(0, 1)]
        names += [f"{name}: G(E'(x))\nSSIM below", f"{MAGNIFIED} × |difference|"]
    return show_images(rows, names, under=under)
