"""The hash of an encoder's weights: the same whatever wraps them, and none where it would not see them all."""

import functools
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import sha256_tensors

#: the name that a wrapper puts before those of the module that it holds, by the wrapper's class
WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}


def sha256_weights(encoder: nn.Module) -> str:
    """SHA-256 of all weights and buffers of `encoder`'s state in canonical form (`tensors.sha256_tensors`).

    DataParallel and torch.compile around it or within do not count; pixel normalisation does. Buffers that are kept
    out of the state (``persistent=False``) and plain tensors in attributes are not seen.

    Raises:
        UserError: there is nothing to hash but pixel normalisation, parameters lie outside the state (a Python list
            of layers, frozen TorchScript), or the state holds what has no canonical form.
    """
    state = encoder.state_dict()
    names = {name: _canonical(name, encoder) for name in state}
    own = [name for name in names if names[name].split(".")[-1] not in ("mean", "std", "_extra_state")]
    if not own:
        raise UserError("The encoder has no weights to hash: its state dict is empty but for pixel normalisation.")
    hidden = next(_hidden(encoder, state), None)
    if hidden is not None:
        raise UserError(
            f"The encoder has weights outside its state dict ({hidden}), so there is no SHA-256 of all weights; "
            "register them: nn.ModuleList, nn.ParameterList."
        )
    flat: dict[str, Tensor] = {}
    for name, value in state.items():
        flat |= _leaves(names[name], value)
    try:
        return sha256_tensors(flat)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"The encoder's weights cannot be hashed ({str(error).splitlines()[0]}).") from error


def known_sha256(encoder: nn.Module) -> str | None:
    """`sha256_weights`, or None where there is none."""
    try:
        return sha256_weights(encoder)
    except UserError:
        return None


def _canonical(name: str, encoder: nn.Module) -> str:
    """`name` without what wrappers put into it."""
    module: nn.Module | None = encoder
    kept = []
    for part in name.split("."):
        if WRAPPERS.get(type(module).__name__) != part:
            kept.append(part)
        inside = isinstance(module, nn.Module) and part in module._modules
        module = module._modules[part] if inside else None
    return ".".join(kept)


def _leaves(name: str, value: Any) -> dict[str, Tensor]:
    """Plain tensors that say all of `value`: a tensor, or what quantised modules and extra state hold."""
    if isinstance(value, Tensor) and value.is_quantized:
        leaves = {name: value.int_repr(), **_leaves(f"{name}.scheme", str(value.qscheme()))}
        if value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            return leaves | _leaves(f"{name}.grid", [value.q_scale(), value.q_zero_point()])
        grid = [value.q_per_channel_scales(), value.q_per_channel_zero_points(), value.q_per_channel_axis()]
        return leaves | _leaves(f"{name}.grid", grid)
    if isinstance(value, Tensor):
        return {name: value}
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        leaves = {name: torch.tensor(len(value))}
        for key, content in value.items():
            leaves |= _leaves(f"{name}.{key}", content)
        return leaves
    if not isinstance(value, None | bool | int | float | str | bytes | torch.dtype):
        raise UserError(f"The encoder's state holds a {type(value).__name__} ({name}), which has no SHA-256.")
    return {name: torch.tensor(list(f"{type(value).__name__} {value!r}".encode()), dtype=torch.uint8)}


def _hidden(encoder: nn.Module, state: Mapping[str, Any]) -> Iterator[str]:
    """Names of places where parameters lie that `state` does not have."""
    for name, _ in encoder.named_parameters(remove_duplicate=False):
        if name not in state:
            yield name
    known = {id(tensor) for tensor in (*encoder.parameters(), *encoder.buffers())}
    for place, module in encoder.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            if not hasattr(module, "training"):  # frozen: weights are constants of its code
                yield place or type(module).__name__
            continue
        for name, value in vars(module).items():
            if name not in _MODULE_OWN and _holds_others(value, known, set()):
                yield f"{place}.{name}".lstrip(".")


#: what every module has: its registered parameters, its hooks
_MODULE_OWN = frozenset(vars(nn.Module()))


def _holds_others(value: Any, known: set[int], seen: set[int]) -> bool:
    """Whether parameters that are not `known` can be reached from `value`, through containers and functions."""
    if id(value) in seen:
        return False
    seen.add(id(value))
    if isinstance(value, Tensor):
        return id(value) not in known and (isinstance(value, nn.Parameter) or (value.is_leaf and value.requires_grad))
    if isinstance(value, nn.Module):
        inside: list[Any] = [*value.parameters(), *value.buffers()]
        return any(id(tensor) not in known for tensor in inside)
    if isinstance(value, Mapping):
        inside = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        inside = list(value)
    elif isinstance(value, functools.partial):
        inside = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, MethodType):
        inside = [value.__self__]
    elif isinstance(value, FunctionType):
        inside = [cell.cell_contents for cell in value.__closure__ or () if not _is_empty(cell)]
    else:
        return False
    return any(_holds_others(content, known, seen) for content in inside)


def _is_empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False
