"""Features of stored images, in strict arithmetic, and what every answer of an encoder must be."""

import contextlib
import itertools
import math
import threading
import weakref
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from sslauth_utils.base.checks import check_whole, plain
from sslauth_utils.base.device import strict_arithmetic
from sslauth_utils.base.errors import UserError


def encode(encoder: nn.Module, images: Tensor | np.ndarray, batch_size: int = 100) -> Tensor:
    """Features of stored images in strict float32 (no TF32, no autocast, eval mode).

    Several threads may encode with one encoder at once.

    Args:
        encoder: maps (N, 3, H, W) in [0, 1] to (N, D); it stays on its device, every module in its mode.
        images: uint8 (N, 3, H, W), whole numbers from 0 to 255, or float in [0, 1] (`as_pixels`).
        batch_size: images at once. Fixed by default, because kernels chosen by batch
            size differ in the last bits.

    Returns:
        float32 (N, D) on the CPU.

    Raises:
        UserError: no images, pixels of another range or type, an encoder that fails on them, or features that are
            not a finite (N, D) tensor; or no batch size.
    """
    images = as_pixels(images, "Images to encode")
    batch_size = check_batch_size(batch_size)
    device, dtype = where_it_computes(encoder)
    with eval_mode(encoder), strict_arithmetic():
        parts = []
        for batch in images.split(batch_size):
            pixels = batch.to(device)
            pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.clone()
            with failures_told(tuple(batch.shape)):
                part = encoder(pixels.to(dtype))
            parts.append(part.clone() if isinstance(part, Tensor) else part)  # it may use one buffer for all answers
        with failures_told(tuple(images.shape)):
            features = torch.cat(parts) if all(isinstance(part, Tensor) for part in parts) else parts[0]
        features = check_features(features, len(images)).float().cpu()
        return check_features(features, len(images))  # again: what 32 bits cannot hold is infinite only now


def check_batch_size(given: int | np.integer) -> int:
    """Images at once, as a plain number.

    Raises:
        UserError: no whole number from 1 on.
    """
    given = plain(given)
    check_whole("The batch size", given, 1)
    return given


def as_pixels(images: Tensor | np.ndarray, what: str = "Images") -> Tensor:
    """Images as every public function takes them: uint8, or float in [0, 1].

    Args:
        images: (N, 3, H, W), a tensor or a numpy array; uint8, another whole-number type with values from 0 to 255
            (a list from JSON becomes int64), or float in [0, 1].
        what: begins the sentence of an error.

    Returns:
        uint8 for whole numbers and for floats of 16 bits, which become the nearest of the 256 levels: bfloat16 has no
        room for k/255, and a fragile check would see the difference. Other floats stay as they are; a numpy array's
        numbers are copied.

    Raises:
        UserError: no images, another shape, type or range, or pixels that are not finite.
    """
    if isinstance(images, np.ndarray):
        try:
            images = as_tensor(images)
        except TypeError as error:
            raise UserError(f"{what} must be of type uint8 or float, not {images.dtype}.") from error
    if not isinstance(images, Tensor):
        raise UserError(f"{what} must be a tensor or a numpy array, not {type(images).__name__}.")
    if images.ndim != 4 or images.shape[1] != 3 or images.numel() == 0:
        raise UserError(f"{what} must have shape (N, 3, H, W) with N at least 1, not {tuple(images.shape)}.")
    if images.dtype == torch.uint8:
        return images
    kind = str(images.dtype).removeprefix("torch.")
    if images.dtype not in _WHOLE and images.dtype not in _FLOATS:
        raise UserError(f"{what} must be of type uint8 or float, not {kind}.")
    if images.dtype in _WHOLE:
        images = images.long()  # not every whole-number type can be compared
    low, high = (value.item() for value in images.aminmax())
    if images.dtype not in _FLOATS:
        if not 0 <= low <= high <= 255:
            raise UserError(f"{what} of whole numbers must lie in 0 to 255, but these go from {low} to {high}.")
        return images.to(torch.uint8)
    if not math.isfinite(low) or not math.isfinite(high):
        raise UserError(f"{what} have NaN or infinite pixels.")
    if not 0 <= low <= high <= 1:
        advice = "divide them by 255" if low >= 0 and high <= 255 else "normalisation is the encoder's own"
        raise UserError(
            f"{what} of type {kind} must lie in [0, 1], but these go from {low:g} to {high:g}: {advice}, or hand over "
            "uint8."
        )
    return images if images.dtype in (torch.float32, torch.float64) else (images.float() * 255).round().to(torch.uint8)


def as_floats(images: Tensor | np.ndarray, what: str = "Images") -> Tensor:
    """Images as pixels that can be moved: float32 (N, 3, H, W) in [0, 1] on the CPU, a copy; errors as `as_pixels`."""
    pixels = as_pixels(images, what)
    return (pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.detach().float()).cpu().clone()


_WHOLE = {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64}
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def where_it_computes(encoder: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and type of the encoder's first float parameter, or buffer; the CPU and float32 if there is none.

    Raises:
        UserError: it is no torch.nn.Module.
    """
    if not isinstance(encoder, nn.Module):
        raise UserError(f"The encoder must be a torch.nn.Module, not {type(encoder).__name__}; make a module of it.")
    for tensor in itertools.chain(encoder.parameters(), encoder.buffers()):
        if tensor.dtype in _FLOATS:
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32


@contextlib.contextmanager
def failures_told(shape: tuple[int, ...]) -> Iterator[None]:
    """Turns what an encoder raises on images of `shape` into one sentence; out of memory stays what it is."""
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a reader's own network may raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".;, ")
        raise UserError(
            f"The encoder fails on images of shape {shape} ({reason}); does it take images of this size, and batches "
            "of this many?"
        ) from error


_MODES_LOCK = threading.Lock()
#: how many are encoding with a module just now, and the mode that it goes back to
_modes: weakref.WeakKeyDictionary[nn.Module, tuple[int, bool]] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def eval_mode(encoder: nn.Module) -> Iterator[None]:
    """Context with every module of `encoder` in eval mode; each goes back to its own mode afterwards.

    A reader may have frozen some of them, and other threads may be encoding with some: the first one in switches
    a module, the last one out switches it back. A module's own ``train`` or ``eval`` is called, because some do more
    there than to set a flag: they empty a cache, build a filter or exchange a graph.
    """
    modules = [module for module in encoder.modules() if hasattr(module, "training")]  # frozen TorchScript has none
    with _MODES_LOCK:
        for module in modules:
            users, mode = _modes.get(module, (0, module.training))
            _modes[module] = users + 1, mode
    try:
        with _MODES_LOCK:
            for module in modules:  # only now: a wrapper may show the mode of what it wraps
                if module.training:
                    _set_mode(module, False)
        yield
    finally:
        with _MODES_LOCK:
            for module in modules:
                users, mode = _modes.pop(module)
                if users > 1:
                    _modes[module] = users - 1, mode
                wanted = mode if users == 1 else False
                if module.training != wanted:
                    _set_mode(module, wanted)


def _set_mode(module: nn.Module, mode: bool) -> None:
    """Sets the module's mode; what its own ``train`` does to those within is set right after it, one by one."""
    if _has_own(module, "train") or (not mode and _has_own(module, "eval")):
        with contextlib.suppress(Exception):  # an exported program, for one, has no other mode, and raises
            module.train() if mode else module.eval()
    try:
        module.training = mode
    except Exception as error:
        raise UserError(
            f"The encoder's {type(module).__name__} does not change its mode ({error}); take one whose mode can be set."
        ) from error


def _has_own(module: nn.Module, method: str) -> bool:
    """Whether the module has another ``train`` or ``eval`` than every module."""
    own = getattr(getattr(module, method, None), "__func__", None)
    return own is not getattr(nn.Module, method) and not isinstance(module, torch.jit.ScriptModule)


@contextlib.contextmanager
def put_back(encoder: nn.Module) -> Iterator[list[str]]:
    """Context in which the encoder runs; parameters and buffers that it changes, or adds, are put back afterwards.

    Some layers are made up from the first images that they see, and some keep statistics in eval mode, too.

    Yields:
        a list, in the end with the names of what was changed.

    Raises:
        UserError: it is no module, or has parameters that get their shape at the first run.
    """
    where_it_computes(encoder)
    own = _by_name(encoder)
    if lazy := [name for name, tensor in own.items() if is_lazy(tensor)]:
        raise UserError(f"The encoder's {lazy[0]} gets its shape at the first run; run it once on your images before.")
    before = {name: tensor.detach().clone() for name, tensor in own.items() if not tensor.is_meta}
    places = [module for module in encoder.modules() if not isinstance(module, torch.jit.ScriptModule)]
    kept = [(module, dict(module._parameters), dict(module._buffers), {*module._non_persistent_buffers_set})
            for module in places]  # fmt: skip
    changed: list[str] = []
    try:
        yield changed
    finally:
        now = _by_name(encoder)
        changed += [name for name, was in before.items() if name not in now or not _same(was, now[name].detach())]
        with torch.no_grad():
            for name in changed:
                _put(encoder, name, own[name], before[name])
        if added := [name for name in now if name not in own]:
            changed += added
            for module, parameters, buffers, passing in kept:
                module._parameters.clear()
                module._parameters.update(parameters)
                module._buffers.clear()
                module._buffers.update(buffers)
                module._non_persistent_buffers_set = passing


def _by_name(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those that are shared by all their names."""
    found = itertools.chain(
        module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)
    )
    return dict(found)


def _put(module: nn.Module, name: str, tensor: Tensor, values: Tensor) -> None:
    """`tensor`, with `values`, under `name` again: a module may have put another tensor in its place."""
    place, _, own = name.rpartition(".")
    holder = module.get_submodule(place)
    if isinstance(holder, torch.jit.ScriptModule):
        getattr(holder, own).copy_(values)
        return
    kind = holder._buffers if own in holder._buffers else holder._parameters
    tensor.copy_(values)
    kind[own] = tensor


def _same(a: Tensor, b: Tensor) -> bool:
    return (a.shape, a.dtype) == (b.shape, b.dtype) and bool(((a == b) | ((a != a) & (b != b))).all())


def check_features(features: Tensor, count: int, width: int | None = None, whose: str = "The encoder") -> Tensor:
    """Return `features`, whole numbers as float64, if they are a finite tensor (count, width) of real numbers.

    Raises:
        UserError: wrong rank, number, width, kind, or values that are not finite.
    """
    if not isinstance(features, Tensor) or features.ndim != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(f"{whose} gave {shape}; expected one vector an image, shape ({count}, D).")
    if features.layout != torch.strided or features.is_complex() or features.is_quantized or features.is_meta:
        kind = "meta" if features.is_meta else f"{features.layout}, {features.dtype}".replace("torch.", "")
        raise UserError(f"{whose} gave features of the kind {kind}; expected plain real numbers.")
    if features.dtype not in _FLOATS:  # a table of integers from JSON, say: its halves would be cut off
        features = features.double()
    if len(features) != count:
        raise UserError(f"{whose} gave {len(features)} feature vectors for {count} key samples; send one for each.")
    if width is not None and features.shape[1] != width:
        found = features.shape[1]
        raise UserError(f"{whose} gave features of width {found}, but the record was enrolled with {width}.")
    finite = torch.isfinite(features).all(dim=1)
    if not finite.all():
        bad = int((~finite).sum())
        raise UserError(f"{whose} gave NaN or infinite features for {bad} of {count} images; it cannot be verified.")
    return features


def as_features(given: object, whose: str) -> Tensor:
    """Feature vectors as files hold them, a tensor, a numpy array or nested lists (JSON), as a tensor on the CPU.

    Raises:
        UserError: they are not numbers in rows of one length.
    """
    try:
        return as_tensor(given)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{whose} is a {type(given).__name__} that is no table of numbers ({str(error).splitlines()[0]}); send a "
            "tensor, a numpy array or a list of lists, one row an image."
        ) from error


def as_tensor(given: object) -> Tensor:
    """A tensor, a numpy array of any byte order, or nested lists, as a tensor on the CPU; arrays are copied.

    Raises:
        TypeError, ValueError: they are no numbers, or the lists are not of one length.
    """
    if isinstance(given, Tensor):
        return given.detach() if given.is_meta else given.detach().cpu()
    try:
        if isinstance(given, list | tuple) and given and all(isinstance(part, Tensor) for part in given):
            return torch.stack([part.detach().cpu() for part in given])
        array = np.asarray(given)
    except RuntimeError as error:  # tensors of several shapes, or among numbers, with a gradient
        raise ValueError(str(error)) from error
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def normalise(features: Tensor) -> Tensor:
    """Features divided by their L2 norm (row-wise), a zero row left zero."""
    return functional.normalize(near_one(features), dim=1)


def near_one(features: Tensor) -> Tensor:
    """Each row (N, D) times a power of two, which is exact, so that its largest magnitude lies from a half to one.

    Squares of very large or small features would overflow or vanish. A zero row stays zero.
    """
    largest = features.detach().abs().amax(dim=1, keepdim=True).double()
    exponent = torch.frexp(largest).exponent.clamp(-1000, 1000)
    return (features.double() * torch.exp2(-exponent.double())).to(features.dtype)
