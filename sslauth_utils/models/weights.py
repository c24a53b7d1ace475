"""The hash of an encoder's weights: the same whatever wraps them, and none where it would not see them all."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.models.hidden_weights import CHECKPOINTED, hidden_weights, may_be_weight

#: the name that a wrapper puts before those of the module that it holds, by the wrapper's class
WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}


def sha256_weights(encoder: nn.Module) -> str:
    """SHA-256 of all weights and buffers of `encoder`'s state in canonical form (`tensors.sha256_tensors`).

    Buffers of floats, or of 8 or 16 bits, that are kept out of the state (``persistent=False``) count, too.
    DataParallel and torch.compile around it or within do not count; pixel normalisation does. What is no weight, a
    stride or an activation, is not seen.

    Raises:
        UserError: there is nothing to hash but pixel normalisation, weights lie outside the state (a Python list of
            layers, a plain tensor, frozen TorchScript; `hidden_weights`), two have one name without their wrappers',
            or the state holds what has no canonical form.
    """
    state = dict(encoder.state_dict())
    names = {name: _canonical(name, encoder) for name in state}
    own = [name for name in names if names[name].split(".")[-1] not in ("mean", "std", "_extra_state")]
    if not own:
        raise UserError("The encoder has no weights to hash: its state dict is empty but for pixel normalisation.")
    hidden = next(hidden_weights(encoder, state), None)
    if hidden is not None:
        raise UserError(
            f"The encoder has weights outside its state dict ({hidden}), so there is no SHA-256 of all weights; "
            "register them: nn.ModuleList, nn.ParameterList, register_buffer."
        )
    for name, buffer in encoder.named_buffers():
        if may_be_weight(buffer) and (plain := name.replace(CHECKPOINTED, "")) not in state:
            state[plain], names[plain] = buffer, _canonical(name, encoder)
    if len(set(names.values())) < len(names):
        raise UserError("Two of the encoder's weights have one name once its wrappers' is taken off; rename one.")
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
        if part not in {WRAPPERS.get(kind.__name__) for kind in type(module).__mro__}:
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
