"""SimCLR's random views: every image with parameters of its own, a whole batch at once.

The list is the recipe's (BadEncoder's released code): RandomResizedCrop, horizontal
flip, ColorJitter with probability, grayscale with probability, no blur. Each
step is a deterministic function of explicit per-image parameters, equal to
torchvision's function on each image alone; the parameters come from samplers
with torchvision's distributions. Random numbers are drawn on the CPU from the
generator given, so one seed gives the same views on every device.
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

RATIO = (3 / 4, 4 / 3)  # aspect ratios of a crop, torchvision's default
TRIES = 10  # proposals for one crop before torchvision falls back to the centre
LUMA = (0.2989, 0.587, 0.114)  # grey = these times (R, G, B), as in torchvision
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # numbers of the jitter's operations
CHUNK = 128  # views worked on at once on a CPU: 1.5 MB at 32x32, which stays in its cache


class Parameters(NamedTuple):
    """What happens to each of N images; every field has N rows, all on the CPU."""

    boxes: Tensor  # int64 (N, 4): top, left, height, width in pixels
    flips: Tensor  # bool (N,): mirror left and right
    jittered: Tensor  # bool (N,): whether colours change at all
    factors: Tensor  # float32 (N, 4): brightness, contrast, saturation factors and hue shift
    order: Tensor  # int64 (N, 4): the operations 0..3 in the order of their use
    greyed: Tensor  # bool (N,): whether the image turns grey


# --- samplers -----------------------------------------------------------------------------------


def sample_boxes(count: int, height: int, width: int, scale_min: float, generator: Generator) -> Tensor:
    """Crop boxes with the distribution of torchvision's ``RandomResizedCrop.get_params``.

    Of ten proposals (area uniform in [scale_min, 1] of the image's, logarithm
    of the aspect ratio uniform between 3/4 and 4/3) the first that fits is
    taken; its place is uniform. If none fits, the largest centred box with an
    allowed ratio.

    Returns:
        int64 (count, 4) on the CPU: top, left, height, width, in pixels.
    """
    shape = (TRIES, count)
    area = height * width * _uniform(shape, scale_min, 1.0, generator)
    ratio = _uniform(shape, math.log(RATIO[0]), math.log(RATIO[1]), generator).exp()
    widths = (area * ratio).sqrt().round().long()
    heights = (area / ratio).sqrt().round().long()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.to(torch.uint8).argmax(dim=0, keepdim=True)  # argmax: the first of equals
    w, h = widths.gather(0, first)[0], heights.gather(0, first)[0]
    place = torch.rand(2, count, generator=generator, dtype=torch.float64)
    top = (place[0] * (height - h + 1)).floor().long()
    left = (place[1] * (width - w + 1)).floor().long()
    boxes = torch.stack([top, left, h, w], dim=1)
    boxes[~fits.any(dim=0)] = torch.tensor(_centre_box(height, width))
    return boxes


def _centre_box(height: int, width: int) -> tuple[int, int, int, int]:
    h, w = height, width
    if width / height < RATIO[0]:
        h = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        w = round(height * RATIO[1])
    return (height - h) // 2, (width - w) // 2, h, w


def sample_jitter(count: int, jitter: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Factors and order of ``ColorJitter(jitter, jitter, jitter, jitter / 4)``.

    Returns:
        factors, float32 (count, 4): brightness, contrast and saturation uniform
        in [max(0, 1 - jitter), 1 + jitter], hue shift uniform in +-jitter / 4
        (in turns); order, int64 (count, 4): a uniform permutation for every image.
    """
    low, high = max(0.0, 1 - jitter), 1 + jitter
    blends = _uniform((count, 3), low, high, generator)
    shifts = _uniform((count, 1), -jitter / 4, jitter / 4, generator)
    order = torch.rand(count, 4, generator=generator, dtype=torch.float64).argsort(dim=1)
    return torch.cat([blends, shifts], dim=1).float(), order


def sample(
    count: int,
    height: int,
    width: int,
    generator: Generator,
    *,
    crop_scale_min: float = 0.08,
    jitter: float = 0.4,
    jitter_probability: float = 0.8,
    grayscale_probability: float = 0.2,
) -> Parameters:
    """Draw independent parameters for `count` images; the defaults are the recipe's."""
    factors, order = sample_jitter(count, jitter, generator)
    return Parameters(
        boxes=sample_boxes(count, height, width, crop_scale_min, generator),
        flips=torch.rand(count, generator=generator) < 0.5,
        jittered=torch.rand(count, generator=generator) < jitter_probability,
        factors=factors,
        order=order,
        greyed=torch.rand(count, generator=generator) < grayscale_probability,
    )


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


# --- deterministic functions --------------------------------------------------------------------


def crop(images: Tensor, boxes: Tensor, flips: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Each image's box, enlarged to the whole image's size, mirrored where `flips` says so.

    Bilinear, as ``torchvision.transforms.v2.functional.resized_crop``; a box is
    never larger than the image, so that function's antialiasing has no effect.
    Bilinear interpolation is separable: two products with small matrices.

    Args:
        images: (N, 3, H, W), uint8 or float in [0, 1].
        boxes: int64 (N, 4), top, left, height, width.
        flips: bool (N,), or None for no flip.
        out: where to write, if not to new memory.

    Returns:
        float32 (N, 3, H, W) in [0, 1].
    """
    count, channels, height, width = images.shape
    boxes = boxes.to(images.device, torch.float32)
    rows = _interpolation(height, boxes[:, 0], boxes[:, 2], None)
    columns = _interpolation(width, boxes[:, 1], boxes[:, 3], None if flips is None else flips.to(images.device))
    if images.dtype == torch.uint8:
        rows /= 255
    out = torch.empty(images.shape, device=images.device) if out is None else out
    rows = torch.matmul(rows[:, None], images.to(torch.float32))
    lines = (count, channels * height, width)
    torch.bmm(rows.view(lines), columns.transpose(1, 2), out=out.view(lines))
    return out.clamp_(0, 1)  # the weights sum to 1 only up to rounding


def _interpolation(size: int, start: Tensor, length: Tensor, reverse: Tensor | None) -> Tensor:
    """Matrices (N, size, size): output pixel = weights of its two neighbours inside the box."""
    steps = torch.arange(size, device=start.device, dtype=torch.float32)
    target = steps.expand(len(start), size)
    if reverse is not None:
        target = torch.where(reverse[:, None], size - 1 - target, target)
    source = (target + 0.5) * (length / size)[:, None] - 0.5
    source = source.clamp(min=0).minimum(length[:, None] - 1) + start[:, None]
    return (source[:, :, None] - steps).abs_().neg_().add_(1).clamp_(min=0)


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Blend each image with black: ``clamp(factor * x)``; factor 1 changes nothing.

    Args (here and below):
        images: float32 (N, 3, H, W) in [0, 1], contiguous.
        factors: (N,), from 0 on, on any device.
    """
    return _blend(images, *_blend_matrices(factors, torch.full((len(factors),), BRIGHTNESS)))


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Blend each image with its mean grey: ``clamp(factor * x + (1 - factor) * mean grey)``."""
    return _blend(images, *_blend_matrices(factors, torch.full((len(factors),), CONTRAST)))


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Blend each image with its own grey version: ``clamp(factor * x + (1 - factor) * grey)``."""
    return _blend(images, *_blend_matrices(factors, torch.full((len(factors),), SATURATION)))


def _blend_matrices(factors: Tensor, operation: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness, contrast or saturation, as `operation` says, as matrices for `_blend`.

    Each maps a pixel's colour x to clamp(M x + b): M = f I for brightness and contrast,
    M = f I + (1 - f) 1 luma' for saturation; b = (1 - f) times the mean grey for contrast.
    So one batched product serves a batch in which every image is at another operation.

    Args:
        factors: (...,), operation: int (...,) of the same shape.

    Returns:
        M (..., 3, 3) and luma's weights in b (..., 3), float32 on the CPU.
    """
    factors = factors.cpu().to(torch.float32)[..., None]
    luma = torch.tensor(LUMA)
    towards_grey = (1 - factors) * luma
    mixing = factors[..., None] * torch.eye(3)
    mixing = mixing + torch.where(operation[..., None] == SATURATION, towards_grey, 0.0)[..., None, :]
    return mixing, torch.where(operation[..., None] == CONTRAST, towards_grey, 0.0)


def _blend(images: Tensor, mixing: Tensor, mean_weights: Tensor) -> Tensor:
    """clamp(M x + b) for every pixel, with b from the image's mean colour."""
    mean = images.mean(dim=(2, 3))
    bias = (mean * mean_weights.to(images.device)).sum(dim=1)
    blended = torch.bmm(mixing.to(images.device), images.flatten(2))
    return blended.add_(bias[:, None, None]).clamp_(0, 1).view_as(images)


def adjust_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turn each image's hue by `shifts` (N,), in turns of the colour circle, in [-0.5, 0.5].

    In HSV with maximum M, minimum m and hue h in sixths of a turn, every channel is
    m + (M - m) * clamp(2 - d, 0, 1), d being the distance on the circle from h to
    that channel's pure colour (0 red, 2 green, 4 blue). The other way round, the
    distance to red is 1 + (g + b - r - m) / (M - m), on the green side where g > b.
    """
    red, green, blue = images.unbind(dim=1)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(low)
    sixths = (green + blue).sub_(red).sub_(low)
    sixths.div_(chroma.clamp(min=1e-12)).add_(1)  # a grey pixel has chroma 0 and any hue
    sixths.copysign_(green - blue)
    turns = torch.addcmul(shifts.to(images)[:, None, None] + 1, sixths, sixths.new_tensor(1 / 6))
    sixths = turns.frac_().mul_(6)  # the new hue, in [0, 6)
    turned = torch.empty_like(images)
    # Only red is met again at 6; 2 - min(h, 6 - h) = |h - 3| - 1. For the others a distance
    # beyond 2 gives weight 0 whichever way round the circle it is measured.
    for channel, weight in enumerate((
        (sixths - 3).abs_().sub_(1),
        (sixths - 2).abs_().neg_().add_(2),
        (sixths - 4).abs_().neg_().add_(2),
    )):  # fmt: skip
        torch.addcmul(low, chroma, weight.clamp_(0, 1), out=turned[:, channel])
    return turned


def grayscale(images: Tensor) -> Tensor:
    """Grey versions of (N, 3, H, W) images, with three equal channels."""
    red, green, blue = images.unbind(dim=1)
    grey = torch.add(red * LUMA[0], green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    return grey[:, None].expand_as(images)


def color_jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """The four colour operations, for every image in its own order.

    Args:
        images: float32 (N, 3, H, W) in [0, 1].
        factors: (N, 4) on the CPU, brightness, contrast, saturation factors and hue shift.
        order: int64 (N, 4) on the CPU, a permutation of 0..3 in each row.
    """
    turn = _hue_turn(order).argsort()
    where = turn.to(images.device)
    jittered = _jitter_in_hue_order(images.index_select(0, where), factors[turn], order[turn])
    return torch.empty_like(images).index_copy_(0, where, jittered)


def _hue_turn(order: Tensor) -> Tensor:
    """At which step, 0..3, each image's hue is turned."""
    return (order == HUE).to(torch.uint8).argmax(dim=1)


def _jitter_in_hue_order(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """`color_jitter` for images sorted by `_hue_turn`; `images` may be overwritten.

    Hue is the dear operation. Sorted, the images whose turn it is form one
    slice, while the other three operations run on the whole batch at once.
    """
    blends = order[order != HUE].view(-1, 3)
    mixing, mean_weights = _blend_matrices(factors.gather(1, blends), blends)
    mixing, mean_weights, shifts = (values.to(images.device) for values in (mixing, mean_weights, factors[:, HUE]))
    ends = [0, *torch.bincount(_hue_turn(order), minlength=4).cumsum(0).tolist()]
    for step in range(4):
        now = slice(ends[step], ends[step + 1])
        images[now] = adjust_hue(images[now], shifts[now])
        if step < 3:
            images = _blend(images, mixing[:, step], mean_weights[:, step])
    return images


def apply(images: Tensor, parameters: Parameters) -> Tensor:
    """One view of each image.

    Args:
        images: uint8 or float (N, 3, H, W), on any device.
        parameters: one row an image.

    Returns:
        float32 (N, 3, H, W) in [0, 1], on the images' device.
    """
    views = torch.empty(images.shape, device=images.device)
    chunk = CHUNK if images.device.type == "cpu" else len(images)
    for i in range(0, len(images), chunk):
        _apply(images[i : i + chunk], Parameters(*(field[i : i + chunk] for field in parameters)), views[i : i + chunk])
    return views


def _apply(images: Tensor, parameters: Parameters, views: Tensor) -> None:
    crop(images, parameters.boxes, parameters.flips, out=views)
    chosen = parameters.jittered.nonzero()[:, 0]
    chosen = chosen[_hue_turn(parameters.order[chosen]).argsort()]
    where = chosen.to(views.device)
    jittered = _jitter_in_hue_order(views.index_select(0, where), parameters.factors[chosen], parameters.order[chosen])
    views.index_copy_(0, where, jittered)
    where = parameters.greyed.nonzero()[:, 0].to(views.device)
    views.index_copy_(0, where, grayscale(views.index_select(0, where)))


def two_views(images: Tensor, generator: Generator, **settings: float) -> Tensor:
    """Two independent views of each image: (2 N, 3, H, W), all first views, then all second ones.

    Args:
        images: uint8 or float (N, 3, H, W).
        generator: source of all randomness, on the CPU.
        settings: as in `sample`.
    """
    height, width = images.shape[-2:]
    views = images.repeat(2, 1, 1, 1)
    return apply(views, sample(len(views), height, width, generator, **settings))
