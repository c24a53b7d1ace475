"""The features before a classifier's last layer, and what gradients and margins of its logits need."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslauth_utils.base.device import strict_arithmetic
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.classifiers import BATCH
from sslauth_utils.models.features import encode, eval_mode

_REGISTERING = threading.Lock()


@contextlib.contextmanager
def own_hooks(*hooks: tuple[Callable[..., Any], Callable[..., None]]) -> Iterator[None]:
    """Context with hooks that see this thread's passes only: others may use the same modules meanwhile.

    Args:
        hooks: a module's method that registers a hook, and what is to be called.
    """
    mine = threading.get_ident()

    def only_mine(call: Callable[..., None]) -> Callable[..., None]:
        return lambda *given: call(*given) if threading.get_ident() == mine else None

    with _REGISTERING:  # PyTorch numbers its hooks without a lock
        handles = [register(only_mine(call)) for register, call in hooks]
    try:
        yield
    finally:
        with _REGISTERING:
            for handle in handles:
                handle.remove()


def penultimate(classifier: nn.Module, images: Tensor | np.ndarray, batch_size: int = BATCH) -> Tensor:
    """The input of the classifier's last linear layer, float32 (N, D), as `features.encode` computes.

    The last one is the one that runs last, not the one that was written last.

    Raises:
        UserError: as `features.encode`; no linear layer runs.
    """
    return encode(_Penultimate(classifier), images, batch_size)


class _Penultimate(nn.Module):
    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        entered: list[Tensor] = []
        linear = [module for module in self.classifier.modules() if isinstance(module, nn.Linear)]
        hooks = [(module.register_forward_pre_hook, lambda _, inputs: entered.append(inputs[0])) for module in linear]
        with own_hooks(*hooks):
            self.classifier(images)
        if not entered:
            raise UserError("The classifier has no linear layer, so none of its features come before the last one.")
        return entered[-1].flatten(1).clone()  # it may be a buffer that the next batch uses, too


def last_layer(classifier: nn.Module, images: Tensor) -> str:
    """Name of the linear layer that runs last, as `named_modules` has it.

    Raises:
        UserError: none runs.
    """
    ran: list[str] = []
    hooks = [
        (module.register_forward_pre_hook, lambda *_, name=name: ran.append(name))
        for name, module in classifier.named_modules()
        if isinstance(module, nn.Linear)
    ]
    with own_hooks(*hooks):
        encode(classifier, images[:1])
    if not ran:
        raise UserError("The classifier has no linear layer, so it has no last one.")
    return ran[-1]


@contextlib.contextmanager
def gradients(classifier: nn.Module) -> Iterator[None]:
    """Context in which gradients flow in strict float32, the classifier in eval mode: batch norm does not move.

    Modes and switches are as before afterwards; a weight's own ``.grad`` is nobody's business but the caller's, so
    take gradients by ``torch.autograd.grad``.
    """
    with eval_mode(classifier), strict_arithmetic(), torch.enable_grad():
        yield


def margin(scores: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Logit of class `first` minus logit of class `second`, (N,): at 0 lies the boundary between the two.

    Args:
        scores: logits (N, C).
        first, second: classes, int64 (N,).
    """
    return (scores.gather(1, first[:, None]) - scores.gather(1, second[:, None])).squeeze(1)


def lead(scores: Tensor, wanted: Tensor) -> Tensor:
    """Logit of the class `wanted`, int64 (N,), minus the largest logit of any other class, (N,)."""
    others = scores.scatter(1, wanted[:, None], -torch.inf)
    return scores.gather(1, wanted[:, None]).squeeze(1) - others.amax(dim=1)
