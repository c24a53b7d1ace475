"""Which device computes, and in which arithmetic.

Training may be fast (bfloat16, TF32); scoring is float32 strict, because a
fragile check must not be broken by its own arithmetic.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

import torch

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.threads import threads


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.

    Raises:
        UserError: unknown name, or ``cuda`` where there is no GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"Unknown device {name!r}; use auto, cpu or cuda.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("A GPU is asked for (device: cuda), but PyTorch sees none; set device to auto or cpu.")
    return torch.device(name)


def as_device(given: torch.device | str) -> torch.device:
    """The device that a caller names, "cpu", "cuda", "cuda:1" or a torch.device, seen to be there.

    Raises:
        UserError: there is none of that name here.
    """
    try:
        device = torch.device(given)
        torch.empty(0, device=device)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise UserError(f"There is no device {given!r} to compute on here ({reason}); take cpu or cuda.") from error
    if device.type == "meta":
        raise UserError("On the device meta nothing is computed; take cpu or cuda.")
    return device


def use_threads() -> int:
    """Set PyTorch's CPU threads to the number of `threads`, for all that follows, and return it."""
    number = threads()
    torch.set_num_threads(number)
    return number


def fast_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 matrices faster than float32 ones.

    A CPU without AMX tiles or AVX-512 BF16 emulates bfloat16, slowly.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


@contextlib.contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """Context in which training runs: bfloat16 autocast where that is fast, else float32.

    PyTorch keeps weights that it has cast until the outermost autocast is left. Within another one, `plain_tensors`,
    every later step would then compute with the first step's weights; so nothing is kept.
    """
    with torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16(device), cache_enabled=False):
        yield


@contextlib.contextmanager
def strict_arithmetic() -> Iterator[None]:
    """Context in which features and scores are computed: float32, no TF32, deterministic kernels.

    No gradients either, and no inference mode: what a module caches meanwhile can be trained with afterwards. The
    switches are PyTorch's own, for all threads: they come back, exactly, when the last thread has left.
    """
    with (
        _strict_switches(),
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False) if torch.cuda.is_available() else contextlib.nullcontext(),
    ):
        yield


@contextlib.contextmanager
def plain_tensors() -> Iterator[None]:
    """Context in which new tensors are ordinary float32 ones on the CPU that gradients may flow through.

    Whatever the caller has chosen: inference mode, no gradients, autocast, another default type or device.
    """
    elsewhere = torch.get_default_device().type != "cpu"  # a default device slows every call: none where not needed
    with (
        _float32_by_default(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False) if torch.cuda.is_available() else contextlib.nullcontext(),
        torch.device("cpu") if elsewhere else contextlib.nullcontext(),
    ):
        yield


_LOCK = threading.Lock()
_inside, _before = 0, None
_float32_users, _dtype_before = 0, torch.float32


@contextlib.contextmanager
def _float32_by_default() -> Iterator[None]:
    """The default type is for all threads: it comes back when the last thread has left."""
    global _float32_users, _dtype_before
    with _LOCK:
        if _float32_users == 0:
            _dtype_before = torch.get_default_dtype()
        _float32_users += 1
        if torch.get_default_dtype() != torch.float32:
            torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        with _LOCK:
            _float32_users -= 1
            if _float32_users == 0 and _dtype_before != torch.float32:
                torch.set_default_dtype(_dtype_before)


@contextlib.contextmanager
def _strict_switches() -> Iterator[None]:
    global _inside, _before
    with _LOCK:
        before = _read_switches()
        _before = before if _inside == 0 else _before
        _inside += 1
        _put_switches(_STRICT)
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                _put_switches(_before)


class _Switches(NamedTuple):
    """PyTorch's switches: the two of cuDNN, the old ones for TF32, and the new precisions by place."""

    benchmark: bool
    deterministic: bool
    matmul: str
    cudnn_tf32: bool
    everywhere: str
    cuda: str
    mkldnn: str
    operations: tuple[str, ...]


def _operations() -> tuple[object, ...]:
    backends = torch.backends
    return (
        backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn,
        backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn,
    )  # fmt: skip


_STRICT = _Switches(False, True, "highest", False, "none", "none", "none", ("ieee",) * 6)


def _put_precisions(switches: _Switches) -> None:
    torch.backends.mkldnn.set_flags(_fp32_precision=switches.mkldnn)  # its attribute would set `everywhere`
    torch.backends.cudnn.fp32_precision = switches.cuda
    torch.backends.fp32_precision = switches.everywhere
    for operation, precision in zip(_operations(), switches.operations, strict=True):
        operation.fp32_precision = precision


def _put_switches(switches: _Switches) -> None:
    cudnn = torch.backends.cudnn
    cudnn.benchmark, cudnn.deterministic = switches.benchmark, switches.deterministic
    torch.set_float32_matmul_precision(switches.matmul)  # the old switches set new ones too, so they go first
    cudnn.allow_tf32 = switches.cudnn_tf32
    _put_precisions(switches)


def _read_switches() -> _Switches:
    """The switches as they are; reading changes the precisions.

    An operation without a precision of its own shows the one of its place, and the old switches refuse to be read
    where the new ones say something else: so the new ones are set aside in turn.
    """
    backends = torch.backends
    everywhere, backends.fp32_precision = backends.fp32_precision, "none"
    cuda, backends.cudnn.fp32_precision = backends.cudnn.fp32_precision, "none"
    mkldnn = backends.mkldnn.fp32_precision
    backends.mkldnn.set_flags(_fp32_precision="none")
    operations = tuple(operation.fp32_precision for operation in _operations())
    _put_precisions(_STRICT)
    try:
        cudnn_tf32 = backends.cudnn.allow_tf32
    except RuntimeError:  # it says yes, and the precisions just set say no
        cudnn_tf32 = True
    matmul = torch.get_float32_matmul_precision()
    return _Switches(
        backends.cudnn.benchmark, backends.cudnn.deterministic, matmul, cudnn_tf32, everywhere, cuda, mkldnn, operations
    )
