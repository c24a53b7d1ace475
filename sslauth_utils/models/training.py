"""What pre-training and attacks share: a copy to change, and the loop of epochs over shuffled batches.

The loop can be resumed, and stops when it diverges.
"""

import copy
import itertools
import json
import math
import pickle
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from tqdm.auto import tqdm

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import atomic
from sslauth_utils.base.paths import at_home
from sslauth_utils.base.seeds import seeded
from sslauth_utils.models.features import encode

CHECKPOINT_SECONDS = 30.0

#: (indices of a batch's images, number of the step, source of randomness) to {"loss": ..., part: ...}: scalars,
#: gradients set, nothing waited for
Step = Callable[[Tensor, int, torch.Generator], dict[str, Tensor]]


def own_copy(model: nn.Module) -> nn.Module:
    """A copy that shares nothing with `model`.

    Raises:
        UserError: it cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, RuntimeError, TypeError, ValueError, pickle.PickleError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
        raise UserError(
            f"The model cannot be copied ({reason}); remove weight_norm, torch's pruning and computed tensors in "
            "attributes first."
        ) from error


def check_trainable(model: nn.Module) -> None:
    """See that `model` has weights that can be trained.

    Raises:
        UserError: it has none, is TorchScript, or has weights of 16 bits, in which small steps are lost, or made in
            inference mode.
    """
    weights = list(model.parameters())
    if not weights or any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise UserError("The model has no weights to train, or is TorchScript; give the network as it was before.")
    for weight in weights:
        if weight.dtype in (torch.float16, torch.bfloat16):
            kind = str(weight.dtype).removeprefix("torch.")
            raise UserError(f"Training needs weights of type float32, not {kind}; hand over a copy made by .float().")
        if weight.is_inference():
            raise UserError("The model was made in inference mode and cannot be trained; hand over a deep copy of it.")
        if is_lazy(weight):
            raise UserError("The model has weights that are not there yet; run it on an image first.")


def check_not_frozen(model: nn.Module) -> None:
    """See that a model that is trained in place has a weight that may change.

    Raises:
        UserError: all are frozen.
    """
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UserError("All weights of the model are frozen: nothing would be trained; call requires_grad_() first.")


def copy_to_train(model: nn.Module) -> nn.Module:
    """`own_copy`, all weights of which can be trained, those of a user's "frozen" model too.

    Raises:
        UserError: as `own_copy` and `check_trainable`.
    """
    copied = own_copy(model)
    check_trainable(copied)
    return copied.requires_grad_()


def width_of(encoder: nn.Module, images: Tensor) -> int:
    """D, the length of `encoder`'s feature vectors: as it says itself, else as it gives them.

    Raises:
        UserError: as `features.encode`.
    """
    stated = getattr(encoder, "feature_dim", None)
    return stated if isinstance(stated, int) else encode(encoder, images[:2]).shape[1]


def devices_of(model: nn.Module) -> set[torch.device]:
    """Where `model`'s weights lie, and so where its dropout draws."""
    return {weight.device for weight in model.parameters()}


def train(
    name: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: Step,
    count: int,
    batch_size: int,
    epochs: int,
    seed: int,
    run: str = "",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    after_epoch: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Train `model` in place for `epochs`, each over floor(count / batch_size) batches of a new permutation.

    Interrupted and started again with the same arguments and `checkpoint`, it continues
    after the last saved epoch and ends bit for bit as if uninterrupted.

    Args:
        name: what is trained, for the progress bar and messages.
        step: computes a batch's gradients; see `Step`.
        count: images to take batches from.
        run: hash of all that the result depends on; a checkpoint of another run is not taken.
        checkpoint: file to continue from, written at an epoch's end at most every
            `checkpoint_seconds`. Remove it when the result is stored. What lies there and is no checkpoint is kept
            beside it, by another name.
        after_epoch: called with an epoch's row; what it returns joins the row. May raise.

    Returns:
        One row an epoch: epoch (from 1), loss and its parts (means over the epoch's
        steps), images_per_second (a measurement, so not reproducible), and `after_epoch`'s.

    Raises:
        UserError: the loss is not finite, or `after_epoch` stops the run. `model` is then
            as it was after the last good epoch, and so is the checkpoint.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    checkpoint = None if checkpoint is None else at_home(checkpoint)
    history = [] if checkpoint is None else _resume(name, checkpoint, run, model, optimiser, generator)
    batches = count // batch_size
    saved = time.monotonic()
    progress = tqdm(total=epochs * batches, initial=len(history) * batches, desc=name, unit="batch", leave=False)
    with progress:
        for epoch in range(len(history) + 1, epochs + 1):
            good = _state(model, optimiser, generator)
            try:
                with seeded(seed + epoch, devices_of(model)):
                    row = _epoch(name, epoch, step, optimiser, count, batch_size, generator, progress)
                row |= after_epoch(row) if after_epoch else {}
            except UserError:
                model.load_state_dict(_part(good, "model."))
                if checkpoint is not None and history:
                    _save(checkpoint, run, good, history)
                raise
            history.append(row)
            if checkpoint is not None and time.monotonic() - saved >= checkpoint_seconds:
                _save(checkpoint, run, _state(model, optimiser, generator), history)
                saved = time.monotonic()
    return history


def _epoch(
    name: str,
    epoch: int,
    step: Step,
    optimiser: torch.optim.Optimizer,
    count: int,
    batch_size: int,
    generator: torch.Generator,
    progress: tqdm,
) -> dict[str, Any]:
    batches = count // batch_size
    order = torch.randperm(count, generator=generator)
    totals: dict[str, float] = {}
    start = time.perf_counter()
    for batch in range(batches):
        indices = order[batch * batch_size : (batch + 1) * batch_size]
        parts = step(indices, (epoch - 1) * batches + batch, generator)
        # after the backward pass was started, so a GPU hardly waits
        values = dict(zip(parts, torch.stack(list(parts.values())).tolist(), strict=True))
        if not all(math.isfinite(value) for value in values.values()):
            bad = ", ".join(f"{part} {value}" for part, value in values.items())
            rate = optimiser.param_groups[0]["lr"]
            raise UserError(
                f"{name} diverged in epoch {epoch}: {bad}; lower its learning rate ({rate:g}). "
                f"The state after epoch {epoch - 1} is kept."
            )
        optimiser.step()
        for part, value in values.items():
            totals[part] = totals.get(part, 0.0) + value
        speed = (batch + 1) * batch_size / (time.perf_counter() - start)
        progress.set_postfix(epoch=epoch, loss=f"{values['loss']:.3f}", images_s=f"{speed:.0f}", refresh=False)
        progress.update()
    return {"epoch": epoch} | {part: total / batches for part, total in totals.items()} | {"images_per_second": speed}


def reproducible(device: torch.device) -> Any:
    """Context: on a GPU, kernels that give equal bits for equal input; a CPU's do."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)


# --- checkpoint: one safetensors file, with the small facts as JSON in its header -----------------


def _state(model: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator) -> dict[str, Tensor]:
    """A copy of everything that the next epoch depends on, on the CPU."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": v for name, v in values.items() if isinstance(v, Tensor)}
    return {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()} | {
        "generator": generator.get_state()
    }


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _save(path: Path, run: str, tensors: dict[str, Tensor], history: list[dict[str, Any]]) -> None:
    if path.is_file() and not {"run", "history"} <= _facts(path).keys():
        kept = next(name for number in itertools.count(1) if not (name := Path(f"{path}.kept{number}")).exists())
        path.rename(kept)
        tqdm.write(f"{path} was no checkpoint; it is kept as {kept.name}.")
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"run": run, "history": json.dumps(history)})


def _facts(path: Path) -> dict[str, str]:
    """What stands in a checkpoint's header; nothing if it is no safetensors file."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}


def _resume(
    name: str,
    path: Path,
    run: str,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> list[dict[str, Any]]:
    """Load `path` if it is a checkpoint of this run; returns the epochs done, [] if none."""
    if path.is_dir():
        raise UserError(f"The checkpoint {path} is a folder; name a file in it, by convention *.safetensors.")
    if not path.is_file():
        return []
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        tqdm.write(f"{path} is not a readable checkpoint ({error}); {name} starts anew.")
        return []
    if facts.get("run") != run:
        tqdm.write(f"{path} is of a run with other settings, weights or images; {name} starts anew.")
        return []
    model.load_state_dict(_part(tensors, "model."))
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, what = key.split(".")
            # The fused kernel walks raw memory: its moments must lie as the weights do.
            like = parameters[int(index)]
            laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            state.setdefault(int(index), {})[what] = laid_out
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    generator.set_state(tensors["generator"])
    history = json.loads(facts["history"])
    tqdm.write(f"{name} continues after epoch {len(history)} from {path.name}.")
    return history
