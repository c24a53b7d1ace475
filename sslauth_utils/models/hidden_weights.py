"""Weights that an encoder computes with and that its state dict does not have: a hash of the state would miss them."""

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

    Looked into are attributes, containers, objects, functions with what they close over or name, a class's own
    attributes and whatever of it ``forward`` calls, hooks, and the constants of TorchScript. Of hooks only modules and
    parameters count: tensors there are captured. Single numbers and lists of numbers are no weights.
    """
    for name, _ in encoder.named_parameters(remove_duplicate=False):
        if name.replace(CHECKPOINTED, "") not in state:
            yield name
    own = [*encoder.parameters(), *encoder.buffers(), *(value for value in state.values() if isinstance(value, Tensor))]
    known = _Known(own)
    names = {*state, *(name for name, _ in encoder.named_buffers())}
    for place, module in encoder.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            # Frozen, it has no mode: all of it are constants.
            if not hasattr(module, "training") or _script_holds_others(module, place, names):
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


class _Known:
    """Tensors that the hash sees, and the memory that they fill, so that a view of some of it is known, too."""

    def __init__(self, tensors: list[Tensor]):
        self._ids = {id(tensor) for tensor in tensors}
        self._spans: list[tuple[int, int]] = []
        for start, end in sorted(filter(None, map(_span, tensors))):
            if self._spans and start <= self._spans[-1][1]:
                self._spans[-1] = self._spans[-1][0], max(end, self._spans[-1][1])
            else:
                self._spans.append((start, end))

    def has(self, tensor: Tensor) -> bool:
        return id(tensor) in self._ids

    def sees(self, tensor: Tensor) -> bool:
        span = _span(tensor)
        inside = span is not None and any(start <= span[0] and span[1] <= end for start, end in self._spans)
        return inside or self.has(tensor)


def _span(tensor: Tensor) -> tuple[int, int] | None:
    """The first address of the tensor's memory and the one behind it; None if it has none of its own."""
    try:
        start = tensor.data_ptr()
    except RuntimeError:
        return None
    if not start or not tensor.numel():
        return None
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (last + 1) * tensor.element_size()


def may_be_weight(tensor: Tensor) -> bool:
    """Floats, and whole numbers of 8 or 16 bits, which quantised weights are; longer ones are counts and indices."""
    whole = not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool
    return tensor.is_floating_point() or tensor.is_complex() or (whole and tensor.element_size() <= 2)


def _class_holds_others(kind: type, known: _Known) -> bool:
    """Whether a reader's class has weights among its attributes, or what its ``forward`` calls names some elsewhere."""
    own = [one for one in kind.__mro__ if not _of_library(one.__module__)]
    values = [
        value for one in own for name, value in vars(one).items()
        if not name.startswith("__") and isinstance(value, Tensor | np.ndarray | nn.Module | Mapping | list | tuple)
    ]  # fmt: skip
    return any(_holds_others(value, known, set(), True) for value in [*values, *_called(kind)])


def _called(kind: type) -> list[types.FunctionType]:
    """A reader's methods and properties that ``forward`` may call, by the names of attributes in what is called."""
    waiting, seen, found = ["forward"], set(), []
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for one in kind.__mro__:
            function = _function(vars(one).get(name))
            if function is None or one in (nn.Module, object):
                continue
            names = list(_attributes(function.__code__))
            waiting += names
            found += [] if _of_library(function.__module__) else [function]
            if "super" not in names:  # the others of this name are overridden
                break
    return found


def _function(value: Any) -> types.FunctionType | None:
    """The function of a method, a property, a class method or what else holds one."""
    for name in ("fget", "func", "__func__", "__wrapped__"):
        value = getattr(value, name, value)
    return value if isinstance(value, types.FunctionType) else None


def _attributes(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _attributes(constant)


def _holds_others(value: Any, known: _Known, seen: set[int], plain: bool) -> bool:
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
            return may_be_weight(value) and not known.sees(value)
        return weight and not known.has(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return plain and (value.dtype.kind in "fc" or (value.dtype.kind in "iu" and value.itemsize <= 2))
    if isinstance(value, nn.Module):
        inside: list[Any] = [*value.parameters(), *value.buffers()]
        return any(not known.has(tensor) for tensor in inside)
    inside, plain = _inside(value, plain)
    return any(_holds_others(content, known, seen, plain) for content in inside)


def _inside(value: Any, plain: bool) -> tuple[list[Any], bool]:
    """What `value` holds, and whether plain tensors count in it."""
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()], plain
    if isinstance(value, np.ndarray):
        return list(value.flat), plain
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value), plain
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()], plain
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__], plain
    if isinstance(value, types.FunctionType):
        return _used_by(value), plain
    if isinstance(value, functools._lru_cache_wrapper):
        return [value.__wrapped__], plain
    if isinstance(value, type):  # a class as a place for values
        inside = [] if _of_library(value.__module__) else [one for name, one in vars(value).items() if name[:2] != "__"]
        return inside, plain
    if _of_library(type(value).__module__) and not isinstance(value, types.SimpleNamespace):
        return [], plain
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in slots)], plain


def _used_by(function: types.FunctionType) -> list[Any]:
    """What a function closes over, has as defaults and, if a reader wrote it, names among its module's globals."""
    used = [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
    if _of_library(function.__module__):
        return used
    used += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    names = [function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__]
    for module in [one for one in names if isinstance(one, types.ModuleType) and not _of_library(one.__name__)]:
        names += [vars(module)[name] for name in _attributes(function.__code__) if name in vars(module)]
    return used + names


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


def _script_holds_others(module: torch.jit.ScriptModule, place: str, names: set[str]) -> bool:
    """Whether a TorchScript module at `place` computes with tensors of more than one number that are not in `names`."""
    content = module._c
    return any(
        _graph_holds_others(content._get_method(method).graph, content, place, names)
        for method in content._method_names()
    )


def _graph_holds_others(graph: torch._C.Graph, content: torch._C.ScriptModule, place: str, names: set[str]) -> bool:
    read = {next(graph.inputs()).debugName(): (place, content)}  # name and content, by the graph's names
    for node in _nodes(graph):
        if node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t":
            constant = node.t("value")
            if may_be_weight(constant) and constant.numel() > 1:
                return True
        if node.kind() == "prim::GetAttr" and node.input().debugName() in read:
            holder, content = read[node.input().debugName()]
            name, value = f"{holder}.{node.s('name')}".lstrip("."), content.getattr(node.s("name"))
            if isinstance(value, torch._C.ScriptModule | torch._C.ScriptObject):
                read[node.output().debugName()] = name, value
            elif name not in names and _has_tensors(value):
                return True
    return False


def _nodes(block: torch._C.Graph | torch._C.Block) -> Iterator[torch._C.Node]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _has_tensors(value: Any) -> bool:
    """Whether an attribute of TorchScript is a tensor or a container of some."""
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, Tensor) or any(map(_has_tensors, values))
