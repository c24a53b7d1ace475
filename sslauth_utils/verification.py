"""The protocol of SSL-Auth (§4, Fig. 3): enrol, challenge, respond, verify.

    record = enrol(encoder, keys)              # the trusted party, once
    keys = record.challenge()                  # sent to the user
    response = respond(suspect, keys)          # the user
    report = verify(record, response)          # the trusted party
    report.passed                              # True only if every key passes
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from sslauth_utils import tensors
from sslauth_utils.device import strict_arithmetic
from sslauth_utils.encoders import check_features, encode
from sslauth_utils.errors import UserError
from sslauth_utils.generator import Generator, train_generator
from sslauth_utils.similarity import cosine, normalise, ssim

#: "we have established a stringent similarity threshold of 99.5%" (§5.1)
PAPER_TAU = 0.995


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


def enrol(
    encoder: nn.Module,
    keys: Tensor,
    objectives: Iterable[str] = ("min",),
    tau: float = PAPER_TAU,
    size: int = 32,
    depth: int = 64,
    steps: int = 300,
    learning_rate: float = 1e-3,
    seed: int = 0,
    history: list[dict[str, Any]] | None = None,
) -> Record:
    """Make the trusted party's record: "the selection of key samples", E(K), G and tau.

    Args:
        encoder: the original, trusted encoder.
        keys: uint8 (N, 3, H, W), or float in [0, 1] that is then stored as uint8.
        objectives: which generators to train; () for DCmp alone, which takes no training.
        tau: similarity in (0, 1) that every key must exceed.
        size, depth, steps, learning_rate, seed: of the generators (`train_generator`).
        history: if given, the generators' training rows are appended.

    Raises:
        UserError: no keys, keys of another shape, tau out of range, or an encoder
            that gives NaN or no (N, D) tensor.
    """
    if keys.ndim != 4 or keys.shape[1] != 3 or len(keys) == 0:
        raise UserError(f"Key samples must have shape (N, 3, H, W) with N at least 1, not {tuple(keys.shape)}.")
    if not 0 < tau < 1:
        raise UserError(f"tau is a similarity strictly between 0 and 1, not {tau}; the paper's 99.5 % is 0.995.")
    if keys.dtype != torch.uint8:
        keys = (keys.clamp(0, 1) * 255).round().to(torch.uint8)
    features = encode(encoder, keys)
    targets = keys.float() / 255
    if targets.shape[-2:] != (size, size):
        targets = functional.interpolate(targets, (size, size), mode="bilinear", antialias=True, align_corners=False)
    device = next(encoder.parameters(), features).device
    generators = {}
    for objective in objectives:
        generators[objective], rows = train_generator(
            normalise(features), targets, objective, steps, size, depth, learning_rate, seed, device
        )
        if history is not None:
            history += rows
    return Record(keys.cpu(), features, generators, tau, tensors.sha256_tensors(encoder.state_dict()), device)


def respond(encoder: nn.Module, keys: Tensor, decimals: int | None = None, normalised: bool = True) -> Tensor:
    """The user's answer: features of the key samples, "uploads the corresponding output".

    Args:
        encoder: the encoder to be verified.
        keys: the challenge, uint8 (N, 3, H, W).
        decimals: round each number to so many decimal places (§5.4), None for not at all.
        normalised: divide each feature by its L2 norm before rounding. Irrelevant for
            the cosine, decisive for rounding: raw features of large norm make "2
            digits" harmless.

    Returns:
        float32 (N, D).
    """
    features = encode(encoder, keys)
    features = normalise(features) if normalised else features
    return features if decimals is None else torch.round(features, decimals=decimals)


@dataclass(frozen=True)
class SchemeResult:
    """One scheme's view of one response.

    Attributes:
        scheme: "DCmp", "Trans" (with G_min, the paper's choice), "Trans G_max" or "Trans G_ini".
        similarity: float64 (N,), one a key; cosine or SSIM.
        tau: the tolerance used.
    """

    scheme: str
    similarity: Tensor
    tau: float

    @property
    def agreement(self) -> float:
        """Eq. 4, in per cent: the mean similarity. "only used to reflect the overall similarity"."""
        return 100 * self.similarity.mean().item()

    @property
    def auth_success(self) -> float:
        """Eq. 5, in per cent: the share of keys whose similarity exceeds tau."""
        return 100 * (self.similarity > self.tau).double().mean().item()

    @property
    def passed(self) -> bool:
        """The verdict: "When the authentication success rate reaches 100%, the verification is ... successful"."""
        return bool((self.similarity > self.tau).all())


@dataclass(frozen=True)
class Report:
    """What the trusted party returns: every scheme's result and the hash baseline.

    Attributes:
        results: DCmp first, then one a generator.
        weights_equal: whether the suspect's weights have the enrolled SHA-256; None if
            its weights were not shown (black box).
    """

    results: list[SchemeResult]
    weights_equal: bool | None = None
    _by_name: dict[str, SchemeResult] = field(init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "_by_name", {result.scheme: result for result in self.results})

    def __getitem__(self, scheme: str) -> SchemeResult:
        return self._by_name[scheme]

    @property
    def passed(self) -> bool:
        """True only if every scheme passes at 100 %."""
        return all(result.passed for result in self.results)

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows {scheme, key, similarity}, one a scheme and key.

        The hash row has key -1 and similarity 1 (equal) or 0.
        """
        rows = [
            {"scheme": result.scheme, "key": key, "similarity": value}
            for result in self.results
            for key, value in enumerate(result.similarity.tolist())
        ]
        if self.weights_equal is not None:
            rows.append({"scheme": "SHA-256", "key": -1, "similarity": float(self.weights_equal)})
        return rows

    def table(self) -> pd.DataFrame:
        """One line a scheme: agreement, worst key, authentication success rate, verdict."""
        lines = [
            {
                "scheme": result.scheme,
                "tau": f"{100 * result.tau:g} %",
                "agreement %": f"{result.agreement:.3f}",
                "worst key %": f"{100 * result.similarity.min().item():.3f}",
                "auth. success %": f"{result.auth_success:g}",
                "verdict": "pass" if result.passed else "FAIL",
            }
            for result in self.results
        ]
        if self.weights_equal is not None:
            lines.append({"scheme": "SHA-256", "verdict": "pass" if self.weights_equal else "FAIL"})
        return pd.DataFrame(lines).fillna("").set_index("scheme")

    def __str__(self) -> str:
        return self.table().to_string()


def scheme_name(objective: str) -> str:
    """The scheme of a generator objective; the paper's Trans is G_min's ("finally chose", A.1)."""
    return "Trans" if objective == "min" else f"Trans G_{objective}"


def verify(record: Record, response: Tensor, tau: float | None = None, suspect_sha256: str | None = None) -> Report:
    """Compare a response with the record by DCmp and by Trans with each generator.

    DCmp scores cos(E(x), E'(x)) (eq. 1), Trans SSIM(G(E(x)), G(E'(x))) (eq. 3). Pure:
    no I/O, no randomness; cosine in float64, G in strict float32, SSIM in float64.

    Args:
        response: the user's features, float (N, D), any positive scale.
        tau: another tolerance than the record's.
        suspect_sha256: hash of the suspect's weights where they can be read
            (`Encoder.sha256`); adds the SHA-256 line.

    Raises:
        UserError: a short, wide or non-finite response.
    """
    response = check_features(response, len(record.keys), record.features.shape[1], "The response").cpu()
    tau = record.tau if tau is None else tau
    results = [SchemeResult("DCmp", cosine(record.features, response), tau)]
    for objective, before in record.reference_images.items():
        after = record.images(objective, response)
        similarity = ssim(before.double(), after.double(), data_range=1.0)
        results.append(SchemeResult(scheme_name(objective), similarity, tau))
    equal = None if suspect_sha256 is None else suspect_sha256 == record.encoder_sha256
    return Report(results, equal)
