"""Which device computes, and in which arithmetic.

Training may be fast (bfloat16, TF32); scoring is float32 strict, because a
fragile check must not be broken by its own arithmetic.
"""

import contextlib
import os
from collections.abc import Iterator

import torch

from sslauth_utils.base.errors import UserError


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


def use_threads() -> int:
    """Set PyTorch's CPU threads to ``$SSLAUTH_THREADS`` (else half the cores) and return the number.

    The order of float additions depends on the number of threads, so it is
    fixed for a machine, whatever the number of jobs at once.
    """
    threads = int(os.environ.get("SSLAUTH_THREADS") or max(1, (os.cpu_count() or 2) // 2))
    torch.set_num_threads(threads)
    return threads


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
    """Context in which training runs: bfloat16 autocast where that is fast, else float32."""
    with torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16(device)):
        yield


@contextlib.contextmanager
def strict_arithmetic() -> Iterator[None]:
    """Context in which features and scores are computed: float32, no TF32, deterministic kernels.

    No gradients either. The previous settings come back at the end.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic)
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic = False, False, False, True
    try:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False) if torch.cuda.is_available() else contextlib.nullcontext(),
        ):
            yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic = before
