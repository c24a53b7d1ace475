"""Sensitive sample pairs (Gao et al. 2024): two images with a classifier's boundary between them.

Stage 0 puts a layer from a user's key behind the classifier, stage 1 moves random pixels to its boundary, stage 2 steps
over it; the images before and after the last step are the pair. "we define successful detection as a change in the
Top-1 label" of either (§IV-A).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sslauth_utils.base import tensors
from sslauth_utils.base.checks import check_choice, check_number, check_whole, is_whole, plain
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.classifiers import BATCH, as_answer, check_logits, logits, repeatable_logits
from sslauth_utils.models.features import as_floats, as_pixels, where_it_computes
from sslauth_utils.schemes.descent import check_differentiable, descend, differentiable, gradient, quick_copy

KEY_BYTES = 32


@dataclass(frozen=True)
class PairSettings:
    """How pairs are made.

    Attributes:
        count: samples to start from. "we consistently use 150 as the numerical base" (§IV-A).
        iterations, learning_rate: of stage 1, by Adam; 0 iterations leave it out. The paper: at most 10,000 at 1e-3.
        weight: lambda of eq. 6; the paper does not state it, its released code has 100.
        activity: with the second term of eq. 6; without, the variance alone, as the released code has it.
        steps: of stage 2, each a tenth of the one before, say; each finer pair is looked for from the coarser pair's
            first image. The paper: "1e-4 for the VGG16 model and 1e-6 for others".
        tries: most steps of each size.
        seed: of the random pixels.

    Raises:
        UserError: a value out of its range, or steps that do not get smaller.
    """

    count: int = 150
    iterations: int = 300
    learning_rate: float = 1e-2
    weight: float = 100.0
    activity: bool = True
    steps: Sequence[float] = (1e-3, 1e-4, 1e-5, 1e-6)
    tries: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"count": 1, "iterations": 0, "tries": 1, "seed": 0}.items():
            check_whole(f"The pairs' {name}", getattr(self, name), least)
        check_number("The pairs' learning_rate", self.learning_rate, 0, above=True)
        check_number("The pairs' weight (lambda)", self.weight, 0)
        check_choice("The pairs' activity", self.activity, (True, False))
        if not isinstance(self.steps, list | tuple):
            raise UserError(f"The steps over the boundary must be a list of numbers, not {self.steps!r}.")
        for step in self.steps:
            check_number("A step over the boundary", step, 0, 1, above=True)
        if not self.steps or list(self.steps) != sorted(set(self.steps), reverse=True):
            raise UserError(f"The steps over the boundary must get smaller, not {list(self.steps)}.")


# --- stage 0: the user's layer ----------------------------------------------------------------------------------------


def user_key(text: str) -> bytes:
    """A key of the right length from any text: its SHA-256."""
    return hashlib.sha256(text.encode()).digest()


@plain_tensors()
def keyed_layer(key: bytes, classes: int) -> nn.Linear:
    """The user's linear layer, C logits to 2: "we construct a linear layer of size N×2 for different users in stage 0".

    Weights are Kaiming-uniform and biases uniform, as a new layer's are, but come from SHA-256 of the key and a
    counter: the same on every machine.

    Args:
        key: 32 bytes (`user_key` makes them of any text).
        classes: C, from 2 on.

    Raises:
        UserError: a key of another length, or too few classes.
    """
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        what = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        raise UserError(f"A user's key must be {KEY_BYTES} bytes, not {what}; user_key makes one of any text.")
    check_whole("The number of classes", classes, 2)
    blocks = (hashlib.sha256(key + number.to_bytes(4, "big")).digest() for number in range(classes))
    stream = np.frombuffer(b"".join(blocks), dtype=">u4")[: 2 * classes + 2]  # eight numbers a block: more than enough
    uniform = torch.from_numpy(2 * (stream.astype(np.float64) / 2**32) - 1)
    layer = nn.utils.skip_init(nn.Linear, classes, 2)
    with torch.no_grad():
        layer.weight.copy_((6 / classes) ** 0.5 * uniform[: 2 * classes].view(2, classes))
        layer.bias.copy_(classes**-0.5 * uniform[2 * classes :])
    return layer.requires_grad_(False)


def outputs_of(layer: nn.Linear, answers: Tensor) -> Tensor:
    """The two outputs, float64 (N, 2), of the classifier's logits (N, C); whoever checks computes them, in float64.

    Raises:
        UserError: logits of another number of classes.
    """
    if answers.shape[1] != layer.in_features:
        raise UserError(
            f"The user's layer takes {layer.in_features} logits, but the classifier gives {answers.shape[1]}: "
            "the pairs are of another model."
        )
    weight, bias = (part.detach().to(answers.device, torch.float64) for part in (layer.weight, layer.bias))
    return answers.double() @ weight.T + bias


def margin_of(layer: nn.Linear, answers: Tensor) -> Tensor:
    """d, float64 (N,): the first output minus the second. Its sign is the Top-1 label."""
    outputs = outputs_of(layer, answers)
    return outputs[:, 0] - outputs[:, 1]


def margins(classifier: nn.Module, layer: nn.Linear, images: Tensor, batch_size: int = BATCH) -> Tensor:
    """`margin_of` the classifier's answers to images (`classifiers.logits`)."""
    return margin_of(layer, logits(classifier, images, batch_size))


# --- stage 1: to the boundary -----------------------------------------------------------------------------------------


def combined_loss(outputs: Tensor, weight: float, activity: bool = True) -> Tensor:
    """Eq. 6, one number (N,) for each row of `outputs` (N, K): "λ × variance(output) − Σ abs(output_i)".

    The variance divides by K − 1, as the released code's does.
    """
    loss = weight * outputs.var(dim=1)
    return loss - outputs.abs().sum(dim=1) if activity else loss


def random_images(count: int, size: int, seed: int) -> Tensor:
    """Uniform random pixels, float32 (count, 3, size, size): "optimize random pixels"."""
    draw = torch.Generator("cpu").manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=draw, dtype=torch.float32, device="cpu")


@plain_tensors()
def approach(classifier: nn.Module, layer: nn.Linear, images: Tensor, settings: PairSettings) -> Tensor:
    """Stage 1: images near the boundary and highly active, float32 on the CPU.

    Args:
        images: float32 (N, 3, H, W) in [0, 1], to start from; left untouched.
    """
    images = as_floats(images, "Images to start from")
    margins(classifier, layer, images[:1])  # says what is wrong, if anything is
    check_differentiable(classifier, images)
    device, dtype = where_it_computes(classifier)
    answer = quick_copy(classifier)

    def loss(pixels: Tensor) -> Tensor:
        return combined_loss(outputs_of(layer, answer(pixels.to(dtype))), settings.weight, settings.activity)

    with differentiable(classifier):
        return descend(images.to(device), loss, settings.iterations, settings.learning_rate)[0].cpu()


# --- stage 2: over the boundary ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Crossing:
    """What stage 2 found with one step: images before and after, float32 (N, 3, H, W), and which crossed, bool (N,)."""

    step: float
    before: Tensor
    after: Tensor
    crossed: Tensor


@plain_tensors()
def cross(
    classifier: nn.Module, layer: nn.Linear, images: Tensor, steps: Sequence[float], tries: int
) -> list[Crossing]:
    """Stage 2, for each of `steps`: sign steps until the label changes (eq. 7), and the images before and after.

    The gradient is the margin's. The paper's J is a loss on the current label; its gradient points the same way, but
    vanishes in float32 where a cross entropy saturates. Steps that lead out of [0, 1] are clipped.

    Args:
        images: float32 (N, 3, H, W) in [0, 1].
        steps: falling; a finer one starts from the image before the coarser one's crossing, where there was one.
        tries: most steps of the coarsest size; of a finer one twice as many as lead as far as one coarser step.

    Raises:
        UserError: all images saturate, or no image reaches the boundary with the coarsest step.
    """
    images = as_floats(images, "Images to start from")
    margins(classifier, layer, images[:1])
    check_differentiable(classifier, images)
    device, _ = where_it_computes(classifier)
    start, found = images.to(device).clone(), []
    hopeful = torch.ones(len(images), dtype=torch.bool, device=device)
    with differentiable(classifier):
        for step in steps:
            most = round(2 * found[-1].step / step) if found else tries
            crossing = _cross(classifier, layer, start, step, most, hopeful)
            if not found and not crossing.crossed.any():
                if torch.equal(crossing.after, start):
                    raise UserError("The images saturate: a step changes none of their pixels; start from others.")
                raise UserError(
                    f"No image crosses the boundary within {tries} steps of {step:g}; take more steps, larger ones, or "
                    "more iterations before."
                )
            start = torch.where(crossing.crossed[:, None, None, None], crossing.before, start)
            hopeful &= crossing.crossed
            found.append(crossing)
    return [Crossing(c.step, c.before.cpu(), c.after.cpu(), c.crossed.cpu()) for c in found]


def _cross(
    classifier: nn.Module, layer: nn.Linear, images: Tensor, step: float, tries: int, hopeful: Tensor
) -> Crossing:
    _, dtype = where_it_computes(classifier)

    def margin(pixels: Tensor) -> Tensor:
        return margin_of(layer, classifier(pixels.to(dtype)))

    before, after = images.clone(), images.clone()
    crossed = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    now, slope = gradient(margin, images)
    side = now > 0
    for _ in range(tries):
        # Everything is computed for all: kernels chosen by batch size would move the boundary.
        towards = slope.sign() * torch.where(side, -1.0, 1.0)[:, None, None, None]
        following = (after + step * towards).clamp(0, 1)
        moving = ~crossed[:, None, None, None]
        before, after = torch.where(moving, after, before), torch.where(moving, following, after)
        now, slope = gradient(margin, after)
        crossed = (now > 0) != side
        if (crossed | ~hopeful).all() or torch.equal(before, after):
            break
    return Crossing(step, before, after, crossed)


# --- enrolment and detection ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Pairs:
    """A user's pairs, as they are kept and sent.

    Attributes:
        before, after: float32 (N, 3, H, W) in [0, 1]. Fewer bits move them over the boundary.
        margins: float64 (N, 2), d of both images at enrolment; their signs are the labels, one of each.
        key: the user's.
        classes: C of the classifier.
        dropped: how many were no pairs at enrolment, by reason.
    """

    before: Tensor
    after: Tensor
    margins: Tensor
    key: bytes
    classes: int
    dropped: dict[str, int]

    def __len__(self) -> int:
        return len(self.before)

    @property
    def layer(self) -> nn.Linear:
        """The user's layer."""
        return keyed_layer(self.key, self.classes)

    def respond(self, classifier: nn.Module, batch_size: int = BATCH) -> Tensor:
        """d of both images of every pair, float64 (N, 2), as `classifier` gives it now.

        Raises:
            UserError: as `classifiers.logits`, or a classifier with another number of classes.
        """
        return self.margins_of(lambda images: logits(classifier, images, batch_size))

    def margins_of(self, answer) -> Tensor:
        """The same of any function from images to logits (N, C), a tensor, an array or lists: an API, say.

        Logits as the classifier gave them at enrolment: of log-probabilities in their place no label can be read.

        Raises:
            UserError: as `classifiers.logits`, or logits of another number of classes.
        """
        answers = [  # of copies, for a function may work in place
            check_logits([as_answer(answer(images.clone()))], len(images)) for images in (self.before, self.after)
        ]
        return torch.stack([margin_of(self.layer, given) for given in answers], dim=1)

    def changed(self, found: Tensor) -> Tensor:
        """Whether each image's label changed, bool (N, 2); a pair detects where either did.

        Args:
            found: d now, float64 (N, 2), from `respond`; an array or lists will do.

        Raises:
            UserError: another shape, or numbers that are not finite.
        """
        found = as_answer(found)
        if found.shape != self.margins.shape or not torch.isfinite(found).all():
            raise UserError(f"An answer to {len(self)} pairs is two finite numbers for each, not {tuple(found.shape)}.")
        return (found > 0) != (self.margins > 0)

    def confirm(self, classifier: nn.Module) -> None:
        """See that these are pairs of this very classifier.

        Raises:
            UserError: they are not, or not all.
        """
        intact = int((~self.changed(self.respond(classifier)).any(dim=1)).sum())
        if intact < len(self):
            raise UserError(
                f"Only {intact} of the {len(self)} pairs are pairs of this classifier: they were made for another "
                "model, or on a machine that computes otherwise."
            )

    def save(self, path: Path) -> None:
        """Write to one safetensors file, the key with them.

        Raises:
            UserError: what `load` would refuse, or as `tensors.save`.
        """
        found = {"before": self.before, "after": self.after, "margins": self.margins}
        if wrong := _no_pairs(**found, classes=self.classes):
            raise UserError(f"These pairs cannot be saved, because they could not be read back: {wrong}.")
        facts = {"format": "pairs 1", "key": self.key.hex(), "classes": self.classes, "dropped": self.dropped}
        tensors.save(path, found, facts)

    @staticmethod
    def load(path: Path) -> "Pairs":
        """Read back what `save` wrote.

        Raises:
            UserError: missing or damaged file, or no pairs.
        """
        found, facts = tensors.load(path)
        if facts.get("format") != "pairs 1" or found.keys() != {"before", "after", "margins"}:
            raise UserError(f"{path} holds no pairs; get or make it again.")
        try:
            pairs = Pairs(**found, key=bytes.fromhex(facts["key"]), classes=facts["classes"], dropped=facts["dropped"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} does not say what its pairs are ({error}); get or make it again.") from error
        if wrong := _no_pairs(**found, classes=pairs.classes):
            raise UserError(f"{path} holds no pairs that can be used: {wrong}; get or make it again.")
        return pairs


def _no_pairs(before: Tensor, after: Tensor, margins: Tensor, classes: object) -> str:
    """What keeps these from being pairs; empty if nothing does."""
    if before.ndim != 4 or before.shape[1] != 3 or not before.numel() or before.shape != after.shape:
        return f"their images are of shapes {tuple(before.shape)} and {tuple(after.shape)}"
    if before.dtype != torch.float32 or after.dtype != torch.float32:
        return "their images are not float32"
    low, high = torch.cat([before, after]).aminmax()
    if not 0 <= low <= high <= 1:
        return "their pixels are not all in [0, 1]"
    if margins.shape != (len(before), 2) or not margins.is_floating_point() or not margins.isfinite().all():
        return "their margins are not two finite numbers each"
    if not ((margins[:, 0] > 0) != (margins[:, 1] > 0)).all():
        return "both images of a pair have one label"
    return "" if is_whole(classes) and classes >= 2 else f"their number of classes is {classes!r}"


@plain_tensors()
def enrol(classifier: nn.Module, key: bytes, before: Tensor, after: Tensor, crossed: Tensor | None = None) -> Pairs:
    """Keep those of the images that are pairs, in one fixed batch configuration, and count the others.

    Args:
        before, after: float32 (N, 3, H, W) in [0, 1].
        crossed: bool (N,), which were found to cross; None for all.

    Raises:
        UserError: none is a pair, or a classifier that does not answer alike when asked again or in another batch.
    """
    crossed = torch.ones(len(before), dtype=torch.bool) if crossed is None else crossed
    images = [as_pixels(part, "Pairs") for part in (before, after)]
    images = [part.float() / 255 if part.dtype == torch.uint8 else part.float() for part in images]
    first = repeatable_logits(classifier, images[0])
    layer = keyed_layer(key, first.shape[1])
    found = torch.stack([margin_of(layer, first), margins(classifier, layer, images[1])], dim=1)
    apart = (found[:, 0] > 0) != (found[:, 1] > 0)
    kept = crossed & apart
    if not kept.any():
        raise UserError(f"None of the {len(before)} candidates is a pair: both images have the same label.")
    dropped = {"not crossed": int((~crossed).sum()), "no pair at enrolment": int((crossed & ~apart).sum())}
    return Pairs(images[0][kept], images[1][kept], found[kept], key, layer.in_features, dropped)


@plain_tensors()
def make_pairs(classifier: nn.Module, key: bytes, size: int, settings: PairSettings) -> dict[float, Pairs]:
    """Stages 0 to 2 and enrolment: the pairs for each of `settings.steps`.

    Args:
        size: side of the images, in pixels.

    Raises:
        UserError: as the stages and `enrol`; a step at which no pair is left is left out, unless it is the first.
    """
    size = plain(size)
    check_whole("The side of the images, in pixels,", size, 1)
    images = random_images(settings.count, size, settings.seed)
    layer = keyed_layer(key, repeatable_logits(classifier, images).shape[1])
    found: dict[float, Pairs] = {}
    images = approach(classifier, layer, images, settings)
    for crossing in cross(classifier, layer, images, settings.steps, settings.tries):
        try:
            found[crossing.step] = enrol(classifier, key, crossing.before, crossing.after, crossing.crossed)
        except UserError:
            if not found:
                raise
    return found


@plain_tensors()
def calibrate(classifier: nn.Module, pairs: Pairs, least: float, halvings: int = 24) -> Pairs:
    """Ours: pairs whose |d| is `least`, or just above, on both sides, whatever the step.

    Both images are found between the old ones, by bisection.

    Args:
        pairs: far apart (a coarse step); those with a smaller |d| are dropped and counted.
        least: above 0; some tens of standard deviations of d's noise (`honest_classifier.noise`).

    Raises:
        UserError: a margin that is not above 0, or that no pair has.
    """
    check_number("The pairs' margin", least, 0, above=True)
    wide = (pairs.margins.abs() >= least).all(dim=1)
    if not wide.any():
        raise UserError(f"No pair has a margin of {least:g} on both sides; start from a larger step.")
    ends = pairs.before[wide], pairs.after[wide]
    sides = pairs.margins[wide].sign()
    moved = []
    for own, other, side in ((*ends, sides[:, 0]), (*reversed(ends), sides[:, 1])):
        near, far = torch.zeros(len(own), dtype=torch.float64), torch.ones(len(own), dtype=torch.float64)
        for _ in range(halvings):
            middle = (near + far) / 2
            enough = side * margins(classifier, pairs.layer, _between(own, other, middle)) >= least
            near, far = torch.where(enough, middle, near), torch.where(enough, far, middle)
        moved.append(_between(own, other, near))
    found = enrol(classifier, pairs.key, *moved)
    dropped = pairs.dropped | {"margin too small": int((~wide).sum())} | {"no pair after": len(moved[0]) - len(found)}
    return Pairs(found.before, found.after, found.margins, found.key, found.classes, dropped)


def _between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """The image that share (N,) of the way from `start` to `end`, float32."""
    share = share[:, None, None, None]
    return (start.double() * (1 - share) + end.double() * share).float()


# --- to look at -------------------------------------------------------------------------------------------------------


@plain_tensors()
def margin_plane(classifier: nn.Module, layer: nn.Linear, pairs: Pairs, number: int, span: float, side: int) -> Tensor:
    """d on a plane of images, float64 (side, side): along the pair's own step, and along random signs of pixels.

    Args:
        number: which of the pairs; the plane's middle lies half-way between its images.
        span: how far a pixel moves from the plane's middle to its edge.
        side: images along either direction.
    """
    own = (pairs.after[number] - pairs.before[number]).sign().double()
    draw = torch.Generator().manual_seed(number)
    across = torch.randint(0, 2, own.shape, generator=draw).double() * 2 - 1
    middle = (pairs.after[number].double() + pairs.before[number].double()) / 2
    way = torch.linspace(-span, span, side, dtype=torch.float64)
    images = middle + way[None, :, None, None, None] * own + way[:, None, None, None, None] * across
    return margins(classifier, layer, images.flatten(0, 1).float().clamp(0, 1)).view(side, side)
