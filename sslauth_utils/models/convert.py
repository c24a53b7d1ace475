"""Turn a PyTorch checkpoint (.pth) into safetensors, once, so that the suite never has to read a pickle.

    python -m sslauth_utils.models.convert resnet50-1x.pth data/simclr_resnet50_1x.safetensors
    python -m sslauth_utils.models.convert dino.pth data/dino.safetensors --key teacher

Made for checkpoints as people have them: a plain state dictionary, or one in a larger dictionary under any name
(``{"state_dict": ...}`` of the public SimCLR ResNet-50, ``{"model": ..., "loss": ...}``, ``{"student": ..., "teacher":
...}``). This is the one place where a checkpoint is read, with ``weights_only=True``: that reader builds tensors
and plain containers and refuses everything else.
"""

import argparse
import pickle
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError, command
from sslauth_utils.base.files import sha256_file

#: the key of the checkpoint's outermost dictionary
OUTERMOST = "."
#: dictionaries in dictionaries that are looked into
_DEPTH = 6


def convert(source: Path, target: Path, key: str | None = None) -> list[str]:
    """Write the weights of the checkpoint `source` to `target` (.safetensors); returns their names.

    Prefixes that wrappers leave are taken off: ``module.`` (DataParallel), ``_orig_mod.`` (``torch.compile``), one
    in the other, too. Where a backbone lies beside its heads (``backbone.*``, as DINO and solo-learn save it), it
    alone is written. An `Encoder`'s own names stay. What was left out stands in the file's description.

    Args:
        source: checkpoint, .pth or .pt.
        target: file to write.
        key: which dictionary of the checkpoint holds the weights: ``teacher``, ``ema.model``, ``.`` for the outermost.
            None if there is but one.

    Raises:
        UserError: no such file, not a checkpoint, one that holds more than tensors and plain containers, no weights
            or several sets of them without `key`, nothing under `key`, names that become equal, or a `target` that
            cannot be written (`tensors.save`).
    """
    source = Path(source)
    if not source.is_file():
        raise UserError(f"There is no file {source}; check the name.")
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror or error}.") from error
    except (
        pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    ) as error:  # fmt: skip
        told = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{source} cannot be read as plain weights ({told}); "
            "nothing in it was run. Get a checkpoint that holds only tensors."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{source} holds a {type(content).__name__}, not a dictionary of weights.")
    key, chosen = _choose(source, content, key)
    weights, left_out = _without_wrappers(source, chosen)
    if odd := [
        name
        for name, value in weights.items()
        if value.layout != torch.strided or value.is_quantized or value.is_complex()
    ]:
        raise UserError(
            f"{source} holds sparse, quantised or complex weights ({_listed(odd)}), which cannot be converted."
        )
    facts = {"source": source.name, "source_sha256": sha256_file(source), "key": key, "left_out": left_out}
    tensors.save(target, weights, facts)
    return list(weights)


def _choose(source: Path, content: dict[Any, Any], key: str | None) -> tuple[str, dict[Any, Any]]:
    """The dictionary under `key`, or the only one that holds weights, and its key."""
    found = dict(_find(content, OUTERMOST, _DEPTH))
    if key is None and len(found) == 1:
        return next(iter(found.items()))
    if key is None and found:
        raise UserError(
            f"{source} holds {len(found)} dictionaries of tensors ({_listed(found)}), and which one is the weights is "
            f"not plain; choose one by its key, on the command line: --key {next(iter(found))}"
        )
    if key is None:
        raise UserError(
            f"{source} holds no dictionary of weights, only {_listed(content) or 'nothing'}; is it the right file?"
        )
    chosen = _at(content, key)
    if not isinstance(chosen, dict) or not any(isinstance(value, Tensor) for value in chosen.values()):
        raise UserError(
            f"{source} holds no dictionary of tensors under {key!r}; "
            + (f"choose one of {_listed(found)}." if found else f"it holds {_listed(content) or 'nothing'}.")
        )
    return key, chosen


def _find(content: dict[Any, Any], key: str, depth: int) -> Iterable[tuple[str, dict[Any, Any]]]:
    """Every dictionary of weights in `content`, and its key.

    A loss, a queue or a counter makes no weights: there must be a floating-point tensor that is no single number, and
    either nothing but tensors or a name with a dot, as modules give. Nor does an optimiser's state, which lies
    under numbers.
    """
    values = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if any(value.is_floating_point() and value.ndim for value in values.values()) and (
        len(values) == len(content) or any("." in str(name) for name in values)
    ):
        yield key, content
    for name, value in content.items():
        if isinstance(value, dict) and isinstance(name, str) and depth:
            yield from _find(value, name if key == OUTERMOST else f"{key}.{name}", depth - 1)


def _at(content: object, key: str) -> object:
    """What lies under `key`; names may hold dots themselves."""
    if key == OUTERMOST or not isinstance(content, dict):
        return content if key == OUTERMOST else None
    if key in content:
        return content[key]
    inner = [(value, key.removeprefix(f"{name}.")) for name, value in content.items() if key.startswith(f"{name}.")]
    return next((found for value, rest in inner if (found := _at(value, rest)) is not None), None)


def _without_wrappers(source: Path, content: dict[Any, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under the names that the network itself gives them, and the names of what was left out."""
    weights: dict[str, Tensor] = {}
    for name, value in content.items():
        if isinstance(value, Tensor):
            plain = _unwrapped(str(name))
            if plain in weights:
                raise UserError(f"{source} holds two tensors that both are {plain} without their wrappers' prefixes.")
            weights[plain] = value
    left_out = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    beside = [name for name in weights if not name.startswith("backbone.")]
    if len(beside) == len(weights) or {"mean", "std"} <= set(beside):  # the latter is an `Encoder`
        return weights, left_out
    backbone = {
        _unwrapped(name.removeprefix("backbone.")): value for name, value in weights.items() if name not in beside
    }
    return backbone, left_out + beside


def _unwrapped(name: str) -> str:
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


def _listed(names: Iterable[object]) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="checkpoint, .pth or .pt")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    parser.add_argument("--key", help="which dictionary of the checkpoint, if it holds several: teacher, say")
    options = parser.parse_args()
    names = convert(options.source, options.target, options.key)
    facts = tensors.describe(options.target)
    print(f"{options.target}: {len(names)} tensors, SHA-256 {sha256_file(options.target)}")
    if facts["left_out"]:
        print(f"Left out, as no part of the encoder: {_listed(facts['left_out'])}")


if __name__ == "__main__":
    sys.exit(main())
