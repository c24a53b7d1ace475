"""Weights that an encoder computes with and that its state dict does not have: a hash of the state would miss them."""

import dataclasses
import dis
import functools
import types
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: what every module has: its registered parameters and buffers, its hooks
_MODULE_OWN = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
#: first names of packages whose classes and functions keep no weights of a reader's in attributes or globals
_LIBRARIES = {"torch", "torchvision", "timm", "numpy", "functools", "builtins", "typing", "sslauth_utils"}
#: objects looked at from one module: a reader's module may hold a trainer, and this a whole program
_MOST = 10_000
#: what activation checkpointing puts into names, and takes out of those of the state
CHECKPOINTED = "_checkpoint_wrapped_module."


def hidden_weights(encoder: nn.Module, state: Mapping[str, Any]) -> Iterator[str]:
    """Names of places where weights lie that are neither in `state` nor buffers.

    Looked into are attributes, containers, functions with what they close over or name, a class's own attributes,
    hooks, and the constants of TorchScript. Of hooks only modules and parameters count: tensors there are captured.
    """
    for name, _ in encoder.named_parameters(remove_duplicate=False):
        if name.replace(CHECKPOINTED, "") not in state:
            yield name
    own = [*encoder.parameters(), *encoder.buffers(), *(value for value in state.values() if isinstance(value, Tensor))]
    known = {id(tensor) for tensor in own} | {_storage(tensor) for tensor in own}
    names = {name.rpartition(".")[2] for name in state}
    for place, module in encoder.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            if not hasattr(module, "training") or _script_holds_others(module, names):  # frozen: all are constants
                yield place or type(module).__name__
            continue
        plain = not _of_library(type(module).__module__)
        for name, value in vars(module).items():
            if name not in _MODULE_OWN and _holds_others(value, known, set(), plain):
                yield f"{place}.{name}".lstrip(".")
        if any(_holds_others(getattr(module, hooks), known, set(), False) for hooks in _HOOKS):
            yield f"{place}, a hook".lstrip(", ")
        if _class_holds_others(type(module), known):
            yield f"{place}, its class {type(module).__name__}".lstrip(", ")


def _of_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _LIBRARIES


def _storage(tensor: Tensor) -> tuple[str, int] | int:
    """The memory of a tensor, so that a view of a known one is known."""
    try:
        return "memory", tensor.untyped_storage().data_ptr()
    except RuntimeError:
        return id(tensor)


def _class_holds_others(kind: type, known: set[Any]) -> bool:
    """Whether a reader's class has weights among its attributes, or its ``forward`` names some elsewhere."""
    own = [one for one in kind.__mro__ if not _of_library(one.__module__)]
    values = [
        value for one in own for name, value in vars(one).items()
        if not name.startswith("__") and isinstance(value, Tensor | np.ndarray | nn.Module | Mapping | list | tuple)
    ]  # fmt: skip
    forward = kind.forward
    if isinstance(forward, types.FunctionType) and not _of_library(forward.__module__):
        values.append(forward)
    return any(_holds_others(value, known, set(), True) for value in values)


def _holds_others(value: Any, known: set[Any], seen: set[int], plain: bool) -> bool:
    """Whether weights that are not `known` can be reached from `value`, through containers, functions and objects.

    Args:
        plain: whether a tensor or an array of floats counts that is no parameter.
    """
    if id(value) in seen or len(seen) > _MOST:
        return False
    seen.add(id(value))
    if isinstance(value, Tensor):
        weight = isinstance(value, nn.Parameter) or (value.is_leaf and value.requires_grad)
        if plain and not weight:
            return (value.is_floating_point() or value.is_complex()) and _storage(value) not in known
        return weight and id(value) not in known
    if isinstance(value, np.ndarray):
        return plain and value.dtype.kind in "fc"
    if isinstance(value, nn.Module):
        inside: list[Any] = [*value.parameters(), *value.buffers()]
        return any(id(tensor) not in known for tensor in inside)
    inside, plain = _inside(value, plain)
    return any(_holds_others(content, known, seen, plain) for content in inside)


def _inside(value: Any, plain: bool) -> tuple[list[Any], bool]:
    """What `value` holds, and whether plain tensors count in it."""
    if isinstance(value, Mapping):
        return list(value.values()), plain
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value), plain
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()], plain
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__], plain
    if isinstance(value, types.FunctionType):
        return _used_by(value), plain
    if _of_library(type(value).__module__):
        return [], plain
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    inside = [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in slots)]
    return inside, plain and (isinstance(value, types.SimpleNamespace) or dataclasses.is_dataclass(value))


def _used_by(function: types.FunctionType) -> list[Any]:
    """What a function closes over, has as defaults and, if a reader wrote it, names among its module's globals."""
    used = [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
    if _of_library(function.__module__):
        return used
    used += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return used + [function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def _script_holds_others(module: torch.jit.ScriptModule, names: set[str]) -> bool:
    """Whether a TorchScript module computes with tensors of more than one number that are not among `names`."""
    try:
        nodes = list(module.graph.nodes())
    except RuntimeError:  # it has no forward method: a container
        return False
    while nodes:
        node = nodes.pop()
        nodes += [inner for block in node.blocks() for inner in block.nodes()]
        if node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t":
            constant = node.t("value")
            if constant.is_floating_point() and constant.numel() > 1:
                return True
        reads = node.kind() == "prim::GetAttr" and node.s("name") not in names
        if reads and node.output().type().isSubtypeOf(torch._C.TensorType.get()):
            return True
    return False
