"""Turn a PyTorch checkpoint (.pth) into safetensors, once, so that the suite never has to read a pickle.

    python -m sslauth_utils.models.convert resnet50-1x.pth data/simclr_resnet50_1x.safetensors

Made for the public SimCLR ResNet-50 in its converted PyTorch form (``{"state_dict": ...}``
with torchvision's names), and for plain state dictionaries. This is the one place
where a checkpoint is read, with ``weights_only=True``: that reader builds tensors
and plain containers and refuses everything else.
"""

import argparse
import pickle
import sys
from pathlib import Path

import torch
from torch import Tensor

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import sha256_file


def convert(source: Path, target: Path) -> list[str]:
    """Write the tensors of the checkpoint `source` to `target` and a JSON beside it; returns their names.

    Prefixes that wrappers leave (``module.``) are taken off.

    Raises:
        UserError: no such file, not a checkpoint, one that holds more than tensors and
            plain containers, or no tensors in it.
    """
    if not source.is_file():
        raise UserError(f"There is no file {source}; check the name.")
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(
            f"{source} cannot be read as plain weights ({str(error).splitlines()[0]}); "
            "nothing in it was run. Get a checkpoint that holds only tensors."
        ) from error
    while isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise UserError(f"{source} holds a {type(content).__name__}, not a dictionary of weights.")
    weights = {str(name).removeprefix("module."): value for name, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        raise UserError(f"{source} holds no tensors; is it the right file?")
    tensors.save(target, weights, {"source": source.name, "source_sha256": sha256_file(source)})
    return list(weights)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="checkpoint, .pth or .pt")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    options = parser.parse_args()
    try:
        names = convert(options.source, options.target)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.target}: {len(names)} tensors, SHA-256 {sha256_file(options.target)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
