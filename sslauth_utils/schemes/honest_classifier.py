"""Honest changes of a classifier: what may be done to an intact one, or to the images on their way, without any harm.

They are the null of every fragile signature. A sample a millionth from the boundary must first stay where it is when
nothing was changed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslauth_utils.models.classifiers import logits
from sslauth_utils.models.encoders import Encoder
from sslauth_utils.models.folding import can_be_folded, fold_batch_norm
from sslauth_utils.models.training import own_copy
from sslauth_utils.schemes.honest import with_threads

#: (classifier, images, and perhaps how many of them at once) to its answer
Ask = Callable[..., Tensor]


@dataclass(frozen=True)
class HonestChange:
    """One way of answering with an intact classifier.

    Attributes:
        kind: "run" (same weights and images, run differently), "cast" (weights stored or computed otherwise) or "sent"
            (images with fewer bits).
        name, strength: what and how much.
        answer: float32 images (N, 3, H, W) in [0, 1] to what was asked, as a rule logits, float64 (N, C).
    """

    kind: str
    name: str
    strength: str
    answer: Callable[[Tensor], Tensor]


def honest_changes(
    classifier: nn.Module,
    batch_sizes: Sequence[int] = (1, 7),
    sent: Sequence[str] = ("float16", "8-bit PNG"),
    ask: Ask = logits,
) -> Iterator[HonestChange]:
    """Every honest change of `classifier`, which is left untouched.

    Args:
        batch_sizes: images at once, beside the fixed one.
        sent: forms in which images travel, of `SENT`.
        ask: what a classifier answers on images: `logits`, or the features before its last layer (`penultimate`).
    """
    yield HonestChange("run", "repeated run", "", lambda images: ask(classifier, images))
    for size in batch_sizes:
        yield HonestChange("run", "batch size", str(size), lambda images, size=size: ask(classifier, images, size))
    for threads in (1, 2):
        yield HonestChange(
            "run",
            "threads",
            str(threads),
            lambda images, threads=threads: with_threads(threads, ask, classifier, images),
        )
    laid_out = own_copy(classifier).to(memory_format=torch.channels_last)
    yield HonestChange("run", "channels_last", "", lambda images: ask(laid_out, images))
    yield HonestChange("run", "oneDNN off", "", lambda images: _without_onednn(ask, classifier, images))
    if torch.cuda.is_available():
        other = "cpu" if next(classifier.parameters()).is_cuda else "cuda"
        moved = own_copy(classifier).to(other)
        yield HonestChange("run", "device", other, lambda images: ask(moved, images))

    double = own_copy(classifier).double()
    yield HonestChange("cast", "computed in", "float64", lambda images: ask(double, images))
    if can_be_folded(classifier):
        folded = fold_batch_norm(classifier)
        yield HonestChange("cast", "batch norm folded", "", lambda images: ask(folded, images))
    for dtype in (torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        stored = stored_as(classifier, dtype)
        yield HonestChange("cast", "weights stored as", name, lambda images, stored=stored: ask(stored, images))
    if isinstance(classifier, Encoder) and not _plain_pixels(classifier):
        stored = stored_as(classifier, torch.float16, constants=True)
        yield HonestChange("cast", "normalisation, too, stored as", "float16", lambda images: ask(stored, images))

    for form in ("float32", *sent):
        yield HonestChange("sent", "images sent as", form, lambda images, f=form: ask(classifier, SENT[f](images)))


#: forms in which images may travel
SENT: dict[str, Callable[[Tensor], Tensor]] = {
    "float32": lambda images: images.float(),
    "float16": lambda images: images.half().float(),
    "8-bit PNG": lambda images: (images * 255).round().to(torch.uint8).float() / 255,
}


def stored_as(classifier: nn.Module, dtype: torch.dtype, constants: bool = False) -> nn.Module:
    """A copy whose weights were stored in `dtype` and are computed with as before.

    Args:
        constants: the pixels' mean and std, too: then every image is shifted.
    """
    cast = own_copy(classifier)
    kept = () if constants else ("mean", "std")
    with torch.no_grad():
        for name, value in cast.state_dict().items():
            if value.is_floating_point() and name not in kept:
                value.copy_(value.to(dtype))
    return cast


def _plain_pixels(classifier: Encoder) -> bool:
    return bool((classifier.mean == 0).all() and (classifier.std == 1).all())


def _without_onednn(ask: Ask, classifier: nn.Module, images: Tensor) -> Tensor:
    # Not `mkldnn.flags`, which warns about TF32 on the way.
    before, *_ = torch.backends.mkldnn.set_flags(_enabled=False, _fp32_precision=None)
    try:
        return ask(classifier, images)
    finally:
        torch.backends.mkldnn.set_flags(_enabled=before, _fp32_precision=None)


def noise(found: dict[tuple[str, str], Tensor], enrolled: Tensor) -> float:
    """Largest standard deviation of d's change over the honest changes.

    Args:
        found: d by change, float64, each of `enrolled`'s shape.
        enrolled: d at enrolment.
    """
    return max(((values - enrolled).square().mean().sqrt().item() for values in found.values()), default=0.0)
