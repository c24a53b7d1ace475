"""The rivals of sample pairs: single images whose label is to change when the classifier does.

Validation images, DBI (Yin et al. 2023), AID (Aramoon et al. 2021) and He et al.'s sensitive samples (2019). Each takes
float32 images (N, 3, H, W) in [0, 1], returns such images on the CPU, all made at once, and raises UserError where the
classifier gives no logits, or others when asked again or in another batch, or a setting is out of range.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional as F

from sslauth_utils.base.checks import check_number, check_whole
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.classifiers import as_answer, as_scores, repeatable_logits
from sslauth_utils.models.features import as_floats, where_it_computes
from sslauth_utils.models.penultimate import own_hooks
from sslauth_utils.schemes.descent import check_differentiable, descend, differentiable, gradient, quick_copy
from sslauth_utils.schemes.pairs import outputs_of

#: AID's weight of the term that activates neurons: its own code's, and that of the pairs' released comparison
AID_WEIGHT, RELEASED_AID_WEIGHT = 0.20, 0.25


def dbi_loss(answers: Tensor) -> Tensor:
    """DBI's, (N,) of logits (N, C): the variance of the predicted probabilities."""
    return answers.softmax(dim=1).var(dim=1)


def dbi(
    classifier: nn.Module, images: Tensor, iterations: int, learning_rate: float = 1e-3, optimiser: str = "adam"
) -> Tensor:
    """DBI: natural images moved until the classifier gives all classes the same probability."""
    return _descend(classifier, images, dbi_loss, iterations, learning_rate, optimiser)


def pure_variance(
    classifier: nn.Module, layer: nn.Linear, images: Tensor, iterations: int, learning_rate: float = 1e-3,
    optimiser: str = "adam", weight: float = 100.0,
) -> Tensor:  # fmt: skip
    """The variance of the two outputs of a user's layer alone: what the pairs' released code has as its own loss."""
    return _descend(
        classifier, images, lambda answers: weight * outputs_of(layer, answers).var(dim=1), iterations, learning_rate,
        optimiser,
    )  # fmt: skip


def aid_loss(answers: Tensor, inactive: Tensor, weight: float = AID_WEIGHT) -> Tensor:
    """AID's, (N,) of logits (N, C): the sum over labels of (max logit − logit)², and `weight` times `inactive` (N,)."""
    return (answers.amax(dim=1, keepdim=True) - answers).square().sum(dim=1) + weight * inactive


def aid(
    classifier: nn.Module, images: Tensor, iterations: int, learning_rate: float = 1e-4, optimiser: str = "sgd"
) -> Tensor:
    """AID as its paper describes it and its own code does it: random images that activate neurons, at the boundary.

    The second term is, for each convolution, the mean of relu(−output), with its gradient. The rate is halved after a
    third and two thirds of the iterations, as AID's code does in its 15,000.
    """
    with _inactivity(classifier) as inactive:
        return _descend(
            classifier, images, lambda answers: aid_loss(answers, inactive()), iterations, learning_rate, optimiser,
            hooked=True, halve_at=(1 / 3, 2 / 3),
        )  # fmt: skip


def released_aid(
    classifier: nn.Module, layer: nn.Linear, images: Tensor, iterations: int, learning_rate: float = 1e-3,
    optimiser: str = "adam",
) -> Tensor:  # fmt: skip
    """AID as the pairs' released code compares with it: the second term is a plain number, and has no gradient.

    What is minimised is the variance of the user's layer alone; the hooks only take time.
    """

    def loss(answers: Tensor) -> Tensor:
        term = RELEASED_AID_WEIGHT * sum(float(part) for part in inactive.sums())
        return outputs_of(layer, answers).var(dim=1) + term

    with _inactivity(classifier) as inactive:
        return _descend(classifier, images, loss, iterations, learning_rate, optimiser, hooked=True)


class _Inactive:
    """relu(−output) of every convolution in the last pass."""

    def __init__(self) -> None:
        self.parts: list[Tensor] = []

    def __call__(self) -> Tensor:
        """Its mean in each layer, summed over layers, (N,)."""
        return torch.stack([F.relu(-part).flatten(1).mean(dim=1) for part in self.parts]).sum(dim=0)

    def sums(self) -> list[float]:
        """Its sum in each layer over all images, as numbers: each waits for the device."""
        return [F.relu(-part).sum().item() for part in self.parts]


@contextmanager
def _inactivity(classifier: nn.Module) -> Iterator[_Inactive]:
    layers = [module for module in classifier.modules() if isinstance(module, nn.Conv2d)]
    if not layers:
        raise UserError("AID activates the neurons of convolutions, and this classifier has none.")
    inactive = _Inactive()
    hooks = [(layer.register_forward_hook, lambda m, x, out: inactive.parts.append(out.clone())) for layer in layers]
    with own_hooks(*hooks, (classifier.register_forward_pre_hook, lambda m, x: inactive.parts.clear())):
        yield inactive


def sensitivity(classifier: nn.Module, images: Tensor, layer: str) -> Tensor:
    """He et al.'s, (N,): the sum over outputs of the squared gradient by the weights and bias of `layer`.

    Raises:
        UserError: there is no such layer, or torch.func cannot have the slopes image by image: DataParallel around the
            classifier, or branches on what is in the pixels.
    """
    own = {name: value for name, value in classifier.named_parameters() if name.rpartition(".")[0] == layer}
    if not own:
        raise UserError(f"The classifier has no layer {layer!r} with weights.")

    def answer(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(classifier, weights, (image[None],))[0]

    try:
        slopes = vmap(jacrev(answer), in_dims=(None, 0))(own, images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UserError(
            f"torch.func cannot have the slopes by the weights of {layer!r} image by image "
            f"({str(error).splitlines()[0][:120]}); hand over the network itself, without DataParallel, and without "
            "branches on what is in the images."
        ) from error
    return sum(slope.flatten(1).square().sum(dim=1) for slope in slopes.values())


@plain_tensors()
def sensitive_samples(
    classifier: nn.Module, images: Tensor, iterations: int, learning_rate: float = 1e-2, radius: float = 0.25,
    layer: str | None = None, chunk: int = 50,
) -> Tensor:  # fmt: skip
    """He et al.'s sensitive samples: natural images moved so that the outputs depend more on the weights of one layer.

    Args:
        learning_rate: length of a step, in the l2 norm.
        radius: of the l2 ball around each image that it stays in.
        layer: whose weights; None for the last linear map.
        chunk: images at once; the slopes of all weights are kept for each.
    """
    check_whole("The number of iterations", iterations, 0)
    check_number("The learning rate on images", learning_rate, 0, above=True)
    check_number("The radius", radius, 0, above=True)
    check_whole("The chunk", chunk, 1)
    linear = [name for name, module in classifier.named_modules() if isinstance(module, nn.Linear)]
    if layer is None and not linear:
        raise UserError("The classifier has no linear map; name the layer whose weights are to count.")
    layer, made = linear[-1] if layer is None else layer, []
    images = as_floats(images, "Images to start from")
    repeatable_logits(classifier, images)
    check_differentiable(classifier, images)
    device, dtype = where_it_computes(classifier)
    for part in images.split(chunk):
        moved = start = part.to(device).clone()
        with differentiable(classifier):
            for _ in range(iterations):
                _, slope = gradient(lambda x: sensitivity(classifier, x.to(dtype), layer), moved)
                length = slope.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
                away = (moved + learning_rate * slope / length - start).flatten(1)
                shorter = (radius / away.norm(dim=1).clamp_min(1e-12)).clamp_max(1)
                moved = (start + (away * shorter[:, None]).view_as(moved)).clamp(0, 1)
        made.append(moved.cpu())
    return torch.cat(made)


@plain_tensors()
def _descend(
    classifier: nn.Module, images: Tensor, loss, iterations: int, rate: float, optimiser: str, hooked: bool = False,
    **more,
) -> Tensor:  # fmt: skip
    """`descend` with a loss (N,) of the logits (N, C); `hooked` if it reads what the classifier's own layers give."""
    images = as_floats(images, "Images to start from")
    repeatable_logits(classifier, images)  # says what is wrong, if anything is
    check_differentiable(classifier, images)
    device, dtype = where_it_computes(classifier)
    answer = classifier if hooked else quick_copy(classifier)
    with differentiable(classifier):
        moved, _ = descend(images.to(device), lambda x: loss(answer(x.to(dtype))), iterations, rate, optimiser, **more)
    return moved.cpu()


@dataclass(frozen=True, eq=False)
class Singles:
    """Single images, each with the label that it had at enrolment.

    Attributes:
        images: float32 (N, 3, H, W) in [0, 1].
        labels: int64 (N,), the Top-1 class, or of a user's layer the Top-1 of its two outputs.
        layer: the user's, or None.
    """

    images: Tensor
    labels: Tensor
    layer: nn.Linear | None = None

    @staticmethod
    def enrol(classifier: nn.Module, images: Tensor, layer: nn.Linear | None = None) -> "Singles":
        """Images with the labels that `classifier` gives them now.

        Raises:
            UserError: as `classifiers.repeatable_logits`.
        """
        images = as_floats(images, "Images to enrol")
        return Singles(images, _top1(repeatable_logits(classifier, images), layer), layer)

    def changed(self, answer: Callable[[Tensor], Tensor]) -> Tensor:
        """Whether each label changed, bool (N,); `answer` gives logits (N, C), a tensor, an array or lists, for images.

        Raises:
            UserError: as `classifiers.as_scores`.
        """
        return _top1(as_scores(answer(self.images.clone()), len(self.images)), self.layer) != self.labels


def _top1(answers: Tensor, layer: nn.Linear | None) -> Tensor:
    return (answers if layer is None else outputs_of(layer, answers)).argmax(dim=1)


# --- random pairs of single images ------------------------------------------------------------------------------------


def random_pair_rate(changed: Tensor) -> float:
    """Share of all pairs of images of which at least one changed its label; 0 to 1.

    "we form sample pairs for other methods, where a change in the Top-1 label in either sample indicates successful
    detection" (§IV-A): the mean over all random pairings.

    Args:
        changed: bool (N,), N at least 2.

    Raises:
        UserError: something else, numbers or a column for each image, say.
    """
    changed = as_answer(changed)
    if changed.ndim != 1 or changed.dtype != torch.bool:
        kind = str(changed.dtype).removeprefix("torch.")
        raise UserError(f"Whether each image changed must be bool, shape (N,), not {kind} {tuple(changed.shape)}.")
    count, calm = len(changed), int((~changed).sum())
    if count < 2:
        raise UserError("Pairs need at least two images.")
    return 1 - calm * (calm - 1) / (count * (count - 1))


def independent_pair_rate(rate: float) -> float:
    """1 − (1 − p)²: how often one of two independent images changes, if one alone does with probability p.

    Raises:
        UserError: a rate outside [0, 1].
    """
    check_number("The rate of changes", rate, 0, 1)
    return 1 - (1 - rate) ** 2
