"""PyTorch's global generator, seeded for a while: what layers and dropout draw from."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

#: the least and the largest that PyTorch takes
SEEDS = (-(2**63), 2**64 - 1)

_LOCK = threading.RLock()


@contextmanager
def seeded(seed: int, devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Context in which PyTorch's global draws come from `seed`; the caller's own go on as before afterwards.

    There is one generator for all threads: a second one that wants to be here waits.

    Args:
        devices: those on which something is drawn; of them GPUs are seeded beside the CPU.
    """
    cards = {device for device in devices if device.type == "cuda"}
    with _LOCK, torch.random.fork_rng(devices=list(cards)):
        torch.random.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed all GPUs, for good
        for card in cards:
            with torch.cuda.device(card):
                torch.cuda.manual_seed(seed)
        yield
