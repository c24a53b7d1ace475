"""The record: what the trusted party keeps of one encoder, and its file."""

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from sslauth_utils.base import tensors
from sslauth_utils.base.device import strict_arithmetic
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import normalise
from sslauth_utils.schemes.generator import Generator


@dataclass(frozen=True)
class Record:
    """What the trusted party keeps of one encoder.

    Attributes:
        keys: key samples as exact pixels, uint8 (N, 3, H, W).
        features: E(K), float32 (N, D), as the encoder gave them.
        generators: objective ("min", "max", "ini") to trained G; may be empty (DCmp only).
        tau: similarity that a key must exceed.
        encoder_sha256: hash of the enrolled weights in canonical form.
        device: where `verify` runs the generators; they and everything else stay on the CPU.
    """

    keys: Tensor
    features: Tensor
    generators: dict[str, Generator]
    tau: float
    encoder_sha256: str
    device: torch.device | str = "cpu"

    def challenge(self) -> Tensor:
        """The key samples to send to the user: uint8 (N, 3, H, W). "the platform transmits the relevant key sample" """
        return self.keys.clone()

    @cached_property
    def _at_work(self) -> dict[str, Generator]:
        """The generators on `device`: moved once, however many responses are verified."""
        if torch.device(self.device).type == "cpu":
            return self.generators
        return {name: copy.deepcopy(generator).to(self.device) for name, generator in self.generators.items()}

    def images(self, objective: str, features: Tensor) -> Tensor:
        """G(features / |features|), computed on `device` in strict float32: (N, 3, size, size), on the CPU.

        Args:
            objective: which generator.
            features: float (N, D), of any positive scale.
        """
        with strict_arithmetic():
            return self._at_work[objective](normalise(features.float()).to(self.device)).cpu()

    @cached_property
    def reference_images(self) -> dict[str, Tensor]:
        """G(E(K)) of every generator, (N, 3, size, size): made once, however many responses are verified."""
        return {objective: self.images(objective, self.features) for objective in self.generators}

    def save(self, path: Path) -> None:
        """Write the record to `path` (.safetensors) and the JSON beside it."""
        content = {"keys": self.keys, "features": self.features}
        for objective, generator in self.generators.items():
            content |= {f"G_{objective}.{name}": value for name, value in generator.state_dict().items()}
        meta = {
            "tau": self.tau,
            "encoder_sha256": self.encoder_sha256,
            "generators": {objective: generator.config for objective, generator in self.generators.items()},
        }
        tensors.save(path, content, meta)

    @staticmethod
    def load(path: Path) -> "Record":
        """Read a record back, bit for bit.

        Raises:
            UserError: missing, damaged or tampered file.
        """
        content, meta = tensors.load(path)
        generators = {}
        try:
            for objective, config in meta["generators"].items():
                generator = Generator(**config).eval()
                prefix = f"G_{objective}."
                generator.load_state_dict({n[len(prefix) :]: t for n, t in content.items() if n.startswith(prefix)})
                generators[objective] = generator
            return Record(content["keys"], content["features"], generators, meta["tau"], meta["encoder_sha256"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise UserError(f"{path} is not an SSL-Auth record ({error}); enrol the encoder again.") from error
