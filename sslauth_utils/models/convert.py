"""Turn a PyTorch checkpoint (.pth) into safetensors, once, so that the suite never has to read a pickle.

    python -m sslauth_utils.models.convert resnet50-1x.pth data/simclr_resnet50_1x.safetensors
    python -m sslauth_utils.models.convert dino.pth data/dino.safetensors --key teacher
    python -m sslauth_utils.models.convert moco.pth data/moco.safetensors --key encoder_q

Made for checkpoints as people have them: a plain state dictionary, or one in a larger dictionary under any name
(``{"state_dict": ...}`` of the public SimCLR ResNet-50, ``{"model": ..., "loss": ...}``, ``{"student": ..., "teacher":
...}``). This is the one place where a checkpoint is read, with ``weights_only=True``: that reader builds tensors
and plain containers and refuses everything else. Allowed besides is ``argparse.Namespace``, under which many keep their
options: it only holds values, and it is left out.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError, command
from sslauth_utils.base.files import sha256_file
from sslauth_utils.base.paths import at_home, is_file
from sslauth_utils.models.checkpoint_kinds import UNREADABLE, listed, refuse_other_kinds, refused_content

#: the key of the checkpoint's outermost dictionary
OUTERMOST = "."
#: dictionaries in dictionaries that are looked into
_DEPTH = 6


class _Chosen(NamedTuple):
    key: str
    content: dict[Any, Any]
    #: of the names that are meant; all, if it is empty
    prefix: str = ""


def convert(source: Path, target: Path, key: str | None = None) -> list[str]:
    """Write the weights of the checkpoint `source` to `target` (.safetensors); returns their names.

    Prefixes that wrappers leave are taken off: ``module.`` (DataParallel), ``_orig_mod.`` (``torch.compile``), one
    in the other, too. Where a backbone lies beside its heads (``backbone.*``, as DINO and solo-learn save it), it
    alone is written. An `Encoder`'s own names stay. What was left out stands in the file's description.

    Args:
        source: checkpoint, .pth or .pt.
        target: file to write.
        key: which dictionary of the checkpoint holds the weights: ``teacher``, ``ema.model``, ``.`` for the outermost;
            or a prefix of names in one (``encoder_q`` of ``module.encoder_q.*``), which alone is written then,
            without it. None if there is but one dictionary, and all of it is meant.

    Raises:
        UserError: no such file, not a checkpoint, one that holds more than tensors and plain containers, no weights
            or several sets of them without `key`, nothing under `key`, names that become equal, tensors that
            safetensors cannot hold, or a `target` that cannot be written (`tensors.save`).
    """
    source, target = at_home(source), at_home(target)
    if not is_file(source):
        raise UserError(f"There is no file {source}; check the name.")
    content = _read(source)
    if not isinstance(content, dict):
        raise UserError(f"{source} holds a {type(content).__name__}, not a dictionary of weights.")
    chosen = _choose(source, content, key)
    weights, left_out = _without_wrappers(source, chosen.content, chosen.prefix)
    _refuse_odd_tensors(source, weights)
    facts = {"source": source.name, "source_sha256": sha256_file(source), "key": chosen.key, "left_out": left_out}
    tensors.save(target, weights, facts)
    return list(weights)


def _read(source: Path) -> object:
    try:
        refuse_other_kinds(source)
        return _load(source)
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror or error}.") from error


def _load(source: Path) -> object:
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(source, map_location="cpu", weights_only=True)
        except UNREADABLE:
            # Without PyTorch's own text, which advises to unpickle.
            raise UserError(refused_content(source)) from None


def _refuse_odd_tensors(source: Path, weights: dict[str, Tensor]) -> None:
    if odd := [
        name
        for name, value in weights.items()
        if value.layout != torch.strided or value.is_quantized or value.is_complex()
    ]:
        raise UserError(
            f"{source} holds sparse, quantised or complex weights ({listed(odd)}), which cannot be converted."
        )
    if empty := [name for name, value in weights.items() if value.is_meta]:
        raise UserError(
            f"{source} holds names and shapes without values ({listed(empty)}, on PyTorch's meta device); "
            "get a checkpoint that was saved after the weights were there."
        )


def _choose(source: Path, content: dict[Any, Any], key: str | None) -> _Chosen:
    """The dictionary under `key`, or the one with names that begin so, or the only one that holds weights."""
    found = dict(_find(content, OUTERMOST, _DEPTH))
    if key is None:
        return _only(source, content, found)
    chosen = _at(content, key)
    if isinstance(chosen, dict) and any(isinstance(value, Tensor) for value in chosen.values()):
        return _Chosen(key, chosen)
    inside = list(_inside(found, key))
    if len(inside) > 1:
        raise UserError(f"{source} holds several {key!r}; choose one of {listed(one.key for one in inside)}.")
    if not inside:
        other = f"choose one of {listed(found)}, or a prefix of names in it" if found else f"it holds {_names(content)}"
        raise UserError(f"{source} holds no dictionary of tensors under {key!r}; {other}.")
    return inside[0]


def _only(source: Path, content: dict[Any, Any], found: dict[str, dict[Any, Any]]) -> _Chosen:
    if not found:
        raise UserError(f"{source} holds no dictionary of weights, only {_names(content)}; is it the right file?")
    if len(found) > 1:
        raise UserError(
            f"{source} holds {len(found)} dictionaries of tensors ({listed(found)}), and which one is the weights is "
            f"not plain; choose one by its key, on the command line: --key {listed(list(found)[:1])}"
        )
    return _Chosen(*next(iter(found.items())))


def _names(content: dict[Any, Any]) -> str:
    return listed(content) or "nothing"


def _inside(found: dict[str, dict[Any, Any]], key: str) -> Iterable[_Chosen]:
    """Every dictionary of `found` with names that begin with `key`, or with what of it follows its own key."""
    for where, weights in found.items():
        names = [_unwrapped(str(name)) for name, value in weights.items() if isinstance(value, Tensor)]
        for rest in dict.fromkeys([key, key.removeprefix(f"{where}.")]):
            inner = _unwrapped(rest)
            if any(name.startswith(f"{inner}.") for name in names):
                yield _Chosen(inner if where == OUTERMOST else f"{where}.{inner}", weights, f"{inner}.")


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
        if isinstance(name, str) and depth:
            inner = name if key == OUTERMOST else f"{key}.{name}"
            several = _numbered(value) if isinstance(value, list | tuple) else {"": value}
            for place, one in several.items():
                if isinstance(one, dict):
                    yield from _find(one, f"{inner}.{place}".rstrip("."), depth - 1)


def _numbered(values: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    return {str(place): value for place, value in enumerate(values)}


def _at(content: object, key: str) -> object:
    """What lies under `key`; names may hold dots themselves."""
    if isinstance(content, list | tuple):
        content = _numbered(content)
    if key == OUTERMOST or not isinstance(content, dict):
        return content if key == OUTERMOST else None
    if key in content:
        return content[key]
    inner = [(value, key.removeprefix(f"{name}.")) for name, value in content.items() if key.startswith(f"{name}.")]
    return next((found for value, rest in inner if (found := _at(value, rest)) is not None), None)


def _without_wrappers(source: Path, content: dict[Any, Any], prefix: str) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under `prefix` by the names that the network itself gives, and the names of what was left out."""
    left_out = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    weights = _under(source, "", ((str(name), value) for name, value in content.items() if isinstance(value, Tensor)))
    left_out += [name for name in weights if not name.startswith(prefix)]
    weights = _under(source, prefix, weights.items())
    beside = [name for name in weights if not name.startswith("backbone.")]
    if len(beside) == len(weights) or {"mean", "std"} <= set(beside):  # the latter is an `Encoder`
        return weights, left_out
    return _under(source, "backbone.", weights.items()), left_out + beside


def _under(source: Path, prefix: str, named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """What lies under `prefix`, without it and the wrappers' prefixes behind it."""
    weights: dict[str, Tensor] = {}
    for name, value in named:
        if name.startswith(prefix):
            plain = _unwrapped(name.removeprefix(prefix))
            if plain in weights:
                raise UserError(f"{source} holds two tensors that both are {plain} without their wrappers' prefixes.")
            weights[plain] = value
    return weights


def _unwrapped(name: str) -> str:
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="checkpoint, .pth or .pt")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    parser.add_argument("--key", help="dictionary (teacher, say) or prefix of names (encoder_q), if there are several")
    options = parser.parse_args()
    target = at_home(options.target)
    names = convert(options.source, target, options.key)
    facts = tensors.describe(target)
    print(f"{target}: {len(names)} tensors, SHA-256 {sha256_file(target)}")
    if facts["left_out"]:
        print(f"Left out, as no part of the encoder: {listed(facts['left_out'])}")


if __name__ == "__main__":
    sys.exit(main())
