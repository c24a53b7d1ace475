"""The record: what the trusted party keeps of one encoder, and its file."""

import copy
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslauth_utils.base import tensors
from sslauth_utils.base.checks import check_choice, check_whole, is_number, is_whole, plain
from sslauth_utils.base.device import strict_arithmetic
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.seeds import SEEDS
from sslauth_utils.models.features import check_features, near_one, normalise
from sslauth_utils.schemes.generator import OBJECTIVES, Generator
from sslauth_utils.schemes.similarity import cosine, ssim

#: of the file: 1 was safetensors and a JSON beside it, 2 has its meaning in the header, under a digest
FORMAT = 2
SCHEME = "SSL-Auth"


@dataclass(frozen=True, eq=False)
class Record:
    """What the trusted party keeps of one encoder.

    Attributes:
        keys: key samples as exact pixels, uint8 (N, 3, H, W).
        features: E(K), float32 (N, D), as the encoder gave them.
        generators: objective ("min", "max", "ini") to trained G; may be empty (DCmp only).
        tau: similarity in (0, 1) that a key must exceed.
        encoder_sha256: hash of the enrolled weights in canonical form.
        device: where `verify` runs the generators; they and everything else stay on the CPU.
    """

    keys: Tensor
    features: Tensor
    generators: dict[str, Generator]
    tau: float
    encoder_sha256: str | None
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
            return self._at_work[objective](normalise(near_one(features).float()).to(self.device)).cpu()

    @cached_property
    def reference_images(self) -> dict[str, Tensor]:
        """G(E(K)) of every generator, (N, 3, size, size): made once, however many responses are verified."""
        return {objective: self.images(objective, self.features) for objective in self.generators}

    def similarities(self, features: Tensor) -> dict[str | None, Tensor]:
        """How alike `features` and the enrolled ones are for each key, by the generator's objective; None is DCmp.

        DCmp scores cos(E(x), E'(x)) (eq. 1), Trans SSIM(G(E(x)), G(E'(x))) (eq. 3): float64 (N,) each.

        Args:
            features: float (N, D), finite, on the CPU, of any positive scale.
        """
        scores: dict[str | None, Tensor] = {None: cosine(self.features, features)}
        for objective, before in self.reference_images.items():
            after = self.images(objective, features)
            scores[objective] = ssim(before.double(), after.double(), data_range=1.0)
        return scores

    def digest(self) -> str:
        """SHA-256 of all that the record holds, tensors and meaning: 64 hexadecimal digits, as in its file's header.

        The same for a record made, saved and loaded, also from a file of format 1. Kept elsewhere, it shows that a
        record was exchanged for another one that is whole in itself.
        """
        return tensors.digest(*self._content())

    def _content(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and meaning, as they are written and as the digest covers them."""
        content = {"keys": self.keys, "features": self.features}
        for objective, generator in self.generators.items():
            content |= {f"G_{objective}.{name}": value for name, value in generator.state_dict().items()}
        meaning = {
            "format": FORMAT,
            "scheme": SCHEME,
            "tau": self.tau,
            "encoder_sha256": self.encoder_sha256,
            "generators": {objective: generator.config for objective, generator in self.generators.items()},
        }
        return content, meaning

    def save(self, path: Path) -> None:
        """Write the record to the one file `path`, by convention ``*.safetensors``; its meaning lies in the header.

        Raises:
            UserError: as `tensors.save`, or a value that `load` would refuse; an earlier record at `path` then stays
                as it was.
        """
        content, meaning = self._content()
        try:
            _record(dict(content), meaning)
        except UserError as error:
            raise UserError(f"The record cannot be saved, because it could not be read back: {error}") from error
        tensors.save(path, content, meaning)

    @staticmethod
    def load(path: Path) -> "Record":
        """Read a record back, bit for bit; also one of format 1, with its JSON beside it.

        Raises:
            UserError: a file that is missing, damaged or changed anywhere, of a newer format or no record; or a value
                out of its range: tau in (0, 1), keys uint8 (N, 3, H, W), features finite float32 (N, D), generators'
                settings whole numbers that fit the tensors.
        """
        content, meaning = tensors.load(path)
        try:
            return _record(content, meaning)
        except UserError as error:
            raise UserError(f"{path} is not an SSL-Auth record that can be used: {error}") from error


def check_tau(tau: float) -> float:
    """Return `tau` as a plain number if it is one in (0, 1): a similarity.

    Raises:
        UserError: it is text, a percentage, or at an end of the range.
    """
    tau = plain(tau)
    if not is_number(tau) or not 0 < tau < 1:
        raise UserError(f"tau is a similarity strictly between 0 and 1, not {tau!r}; the paper's 99.5 % is 0.995.")
    return tau


def _record(content: dict[str, Tensor], meaning: dict[str, Any]) -> Record:
    """A record of what lay in its file, every part of it checked."""
    version = meaning.get("format", 1)  # format 1: a JSON beside the file, with the file's sha256 and no format
    if not is_whole(version) or not 1 <= version <= FORMAT:
        raise UserError(f"its format is {version!r} and this version reads up to {FORMAT}; update the suite.")
    expected = {"tau", "encoder_sha256", "generators"} | ({"sha256"} if version == 1 else {"format", "scheme"})
    if unlike := sorted(expected ^ meaning.keys()):
        raise UserError(f"its description lacks or should not have {', '.join(unlike)}; enrol the encoder again.")
    if meaning.get("scheme", SCHEME) != SCHEME:
        raise UserError(f"it is of the scheme {meaning['scheme']!r}, not {SCHEME}.")
    tau, encoder_sha256 = check_tau(meaning["tau"]), meaning["encoder_sha256"]
    digits = isinstance(encoder_sha256, str) and re.fullmatch("[0-9a-f]{64}", encoder_sha256)
    if encoder_sha256 is not None and not digits:
        raise UserError(f"encoder_sha256 must be 64 hexadecimal digits, or none, not {encoder_sha256!r}.")
    if not isinstance(meaning["generators"], dict):
        raise UserError(f"generators must map objectives to settings, not be {meaning['generators']!r}.")
    keys, features = (content.pop(name, torch.empty(0)) for name in ("keys", "features"))
    if keys.dtype != torch.uint8 or keys.ndim != 4 or keys.shape[1] != 3 or keys.numel() == 0:
        raise UserError(f"keys must be uint8 of shape (N, 3, H, W), not {_kind(keys)}.")
    if features.dtype != torch.float32 or features.ndim != 2 or len(features) != len(keys) or not features.numel():
        raise UserError(f"features must be float32 of shape ({len(keys)}, D), not {_kind(features)}.")
    check_features(features, len(keys), whose="It says that the encoder")
    generators = {}
    for objective, config in meaning["generators"].items():
        check_choice("A generator's objective", objective, OBJECTIVES)
        prefix = f"G_{objective}."
        weights = {name: content.pop(name) for name in list(content) if name.startswith(prefix)}
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
        generators[objective] = _generator(objective, config, weights, features.shape[1])
    if content:
        raise UserError(f"it holds {', '.join(sorted(content))}, which belongs to no record; enrol the encoder again.")
    return Record(keys, features, generators, tau, encoder_sha256)


def _generator(objective: str, config: object, weights: dict[str, Tensor], latent: int) -> Generator:
    """The generator of these settings and weights, in eval mode; nothing is allocated before they are known to fit."""
    what = f"G_{objective}'s"
    if not isinstance(config, dict) or config.keys() != {"latent", "size", "depth", "seed"}:
        raise UserError(f"{what} settings must be latent, size, depth and seed, not {config!r}.")
    check_whole(f"{what} latent", config["latent"], latent, latent)
    check_whole(f"{what} size", config["size"], 4, 4096)
    check_whole(f"{what} depth", config["depth"], 1, 65536)
    check_whole(f"{what} seed", config["seed"], *SEEDS)
    unlike = f"{what} weights are not those of its settings {config}; enrol the encoder again."
    depth = config["depth"]  # before anything is built: the file cannot ask for much more than it holds
    largest = {"format": (16 * depth, latent), "first": (depth, depth, 3, 3)}
    if any(weights.get(f"{name}.module.weight", torch.empty(0)).shape != shape for name, shape in largest.items()):
        raise UserError(unlike)
    generator = Generator(**config)
    kinds = {name: _kind(value) for name, value in generator.state_dict().items()}
    if kinds != {name: _kind(value) for name, value in weights.items()}:
        raise UserError(unlike)
    if not all(value.isfinite().all() for value in weights.values()):
        raise UserError(f"{what} weights are NaN or infinite; enrol the encoder again.")
    generator.load_state_dict({name: value.clone() for name, value in weights.items()}, assign=True)
    return generator.eval()


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
