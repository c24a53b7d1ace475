"""Gradients with respect to images, all of them at once: the classifier stays as it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import strict_arithmetic
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.layout import fast_layout
from sslauth_utils.models.features import eval_mode, where_it_computes
from sslauth_utils.models.folding import fold_frozen_batch_norm
from sslauth_utils.models.training import own_copy

#: images (N, 3, H, W) to one loss an image (N,)
Loss = Callable[[Tensor], Tensor]


@contextmanager
def differentiable(classifier: nn.Module) -> Iterator[None]:
    """Context for gradients with respect to images: eval mode, and the arithmetic in which labels are read."""
    with eval_mode(classifier), strict_arithmetic(), torch.enable_grad():
        yield


def check_differentiable(classifier: nn.Module, images: Tensor) -> None:
    """See that gradients flow from the classifier's answers back to the images (N, 3, H, W), floats.

    Raises:
        UserError: they do not.
    """
    device, dtype = where_it_computes(classifier)
    pixels, reason = images[:1].detach().to(device, dtype).clone().requires_grad_(), ""
    with differentiable(classifier):
        try:
            answer = classifier(pixels)
        except RuntimeError as error:
            answer, reason = None, f" ({str(error).splitlines()[0]})"
    if not isinstance(answer, Tensor) or not answer.requires_grad:
        raise UserError(
            f"The classifier's answers have no gradient with respect to its images{reason}; take torch.no_grad, "
            "inference mode and numpy out of its forward."
        )


def quick_copy(classifier: nn.Module) -> Callable[[Tensor], Tensor]:
    """The same function but for the last bits, for many gradients with respect to images: batch norms folded where that
    is safe, weights in the fastest layout. What is found with it is settled with the classifier itself afterwards.
    TorchScript, which can be neither folded nor frozen, stands for itself.

    Raises:
        UserError: the classifier cannot be copied.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in classifier.modules()):
        return classifier
    folded = fold_frozen_batch_norm(own_copy(classifier).requires_grad_(False))
    layout = fast_layout(folded)
    folded.to(memory_format=layout)
    return lambda images: folded(images.contiguous(memory_format=layout))


def gradient(loss: Loss, images: Tensor) -> tuple[Tensor, Tensor]:
    """(loss of every image (N,), its gradient with respect to that image (N, 3, H, W)); both detached.

    Images do not influence each other in eval mode, so the sum's gradient is each one's own.
    """
    images = images.detach().requires_grad_()
    values = loss(images)
    (slope,) = torch.autograd.grad(values.sum(), images)
    return values.detach(), slope


def descend(
    images: Tensor,
    loss: Loss,
    iterations: int,
    learning_rate: float,
    optimiser: str = "adam",
    halve_at: tuple[float, ...] = (),
) -> tuple[Tensor, list[float]]:
    """Images with a smaller `loss` each, clipped to [0, 1] after every step.

    Args:
        images: float32 (N, 3, H, W) in [0, 1], left untouched, whatever the type that the loss computes in.
        optimiser: adam, or sgd (plain gradient descent).
        halve_at: shares of the iterations at which the rate is halved.

    Returns:
        The images, and the mean loss before each iteration.

    Raises:
        UserError: a number out of range or an unknown optimiser.
    """
    check_whole("The number of iterations", iterations, 0)
    check_number("The learning rate on images", learning_rate, 0, above=True)
    check_choice("The optimiser on images", optimiser, ("adam", "sgd"))
    moved = images.clone()
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    steps = kinds[optimiser]([moved], lr=learning_rate)
    halvings, history = [round(share * iterations) for share in halve_at], []
    for number in range(iterations):
        steps.param_groups[0]["lr"] *= 0.5 ** halvings.count(number)
        values, moved.grad = gradient(loss, moved)
        with torch.no_grad():
            steps.step()
            moved.clamp_(0, 1)
        history.append(values.mean())
    moved.grad = None
    return moved, [value.item() for value in history]
