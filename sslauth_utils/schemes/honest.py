"""Honest changes: what a user may do to an untouched encoder without meaning any harm.

They are the null against which every tamper is read. Other batch sizes, threads and
memory layouts differ in the last bits; model files are often cast; features are often
rounded before they are sent.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.models.features import encode, normalise
from sslauth_utils.models.folding import can_be_folded, fold_batch_norm
from sslauth_utils.models.training import own_copy
from sslauth_utils.models.weights import known_sha256
from sslauth_utils.schemes.precision import round_features


@dataclass(frozen=True)
class HonestChange:
    """One way of answering a challenge with the intact encoder.

    Attributes:
        kind: "run" (same weights, run differently), "cast" (weights stored or computed in
            16 bits, or folded) or "upload" (features sent with fewer digits).
        name, strength: what and how much.
        respond: key samples uint8 (N, 3, H, W) to float features (N, D).
        weights_sha256: of the weights that were run; None if they cannot be hashed (`sha256_weights`).
    """

    kind: str
    name: str
    strength: str
    respond: Callable[[Tensor], Tensor]
    weights_sha256: str | None


def honest_changes(
    encoder: nn.Module, batch_sizes: Sequence[int], repeats: int, decimals: Sequence[int]
) -> Iterator[HonestChange]:
    """Every honest change of `encoder`, which is left untouched.

    Args:
        batch_sizes: key samples encoded at once.
        repeats: how often to simply run again.
        decimals: places to which L2-normalised features are rounded.
    """
    original = known_sha256(encoder)

    def change(kind: str, name: str, strength: object, respond: Callable[[Tensor], Tensor], sha: str | None = original):
        return HonestChange(kind, name, str(strength), respond, sha)

    for repeat in range(repeats):
        yield change("run", "repeated run", repeat + 1, lambda keys: encode(encoder, keys))
    for size in batch_sizes:
        yield change("run", "batch size", size, lambda keys, size=size: encode(encoder, keys, size))
    for threads in (1, 2):
        yield change(
            "run", "threads", threads, lambda keys, threads=threads: with_threads(threads, encode, encoder, keys)
        )
    channels_last = own_copy(encoder).to(memory_format=torch.channels_last)
    yield change("run", "channels_last", "", lambda keys: encode(channels_last, keys))
    if torch.cuda.is_available():
        other = "cpu" if next(encoder.parameters()).is_cuda else "cuda"
        moved = own_copy(encoder).to(other)
        yield change("run", "device", other, lambda keys: encode(moved, keys))

    for dtype in (torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        cast = own_copy(encoder).to(dtype)
        stored = own_copy(cast).float()
        sha = known_sha256(cast)
        yield change("cast", "weights stored as", name, lambda keys, stored=stored: encode(stored, keys), sha)
        yield change("cast", "computed in", name, lambda keys, cast=cast: encode(cast, keys), sha)
    if can_be_folded(encoder):
        folded = fold_batch_norm(encoder)
        sha = known_sha256(folded)
        yield change("cast", "batch norm folded", "", lambda keys: encode(folded, keys), sha)

    for places in decimals:
        yield change(
            "upload",
            "rounded to decimals",
            places,
            lambda keys, places=places: round_features(normalise(encode(encoder, keys)), places),
        )
    yield change("upload", "features sent as", "float16", lambda keys: normalise(encode(encoder, keys)).half().float())


def with_threads(threads: int, answer: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """What `answer` gives for these arguments on so many CPU threads; their number is as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return answer(*arguments)
    finally:
        torch.set_num_threads(before)
