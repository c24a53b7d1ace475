"""The protocol of SSL-Auth (§4, Fig. 3): enrol, challenge, respond, verify.

record = enrol(encoder, keys)              # the trusted party, once (schemes.enrolment)
keys = record.challenge()                  # sent to the user
response = respond(suspect, keys)          # the user
report = verify(record, response)          # the trusted party
report.passed                              # True only if every key passes
"""

import re

import numpy as np
from torch import Tensor, nn

from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import as_features, check_features, encode, normalise, put_back
from sslauth_utils.schemes.precision import round_features
from sslauth_utils.schemes.record import Record, check_tau
from sslauth_utils.schemes.report import Report, SchemeResult, scheme_name


def respond(encoder: nn.Module, keys: Tensor, decimals: int | None = None, normalised: bool = True) -> Tensor:
    """The user's answer: features of the key samples, "uploads the corresponding output".

    Args:
        encoder: the encoder to be verified.
        keys: the challenge, uint8 (N, 3, H, W); other whole numbers from 0 to 255 or floats in [0, 1] will do.
        decimals: round each number to so many decimal places (§5.4), None for not at all.
        normalised: divide each feature by its L2 norm before rounding. Irrelevant for
            the cosine, decisive for rounding: raw features of large norm make "2
            digits" harmless.

    Returns:
        float32 (N, D).

    Raises:
        UserError: keys of another shape, type or range, or an encoder that fails on them or gives NaN.
    """
    with put_back(encoder):  # some change themselves, even in eval mode
        features = encode(encoder, keys)
    features = normalise(features) if normalised else features
    return features if decimals is None else round_features(features, decimals)


@plain_tensors()
def verify(
    record: Record,
    response: Tensor | np.ndarray | list[list[float]],
    tau: float | None = None,
    suspect_sha256: str | None = None,
) -> Report:
    """Compare a response with the record by DCmp and by Trans with each generator.

    Pure: no I/O, no randomness; cosine in float64, G in strict float32, SSIM in float64 (`Record.similarities`).

    Args:
        response: the user's features, float (N, D), any positive scale; a tensor, a numpy array or nested lists.
        tau: another tolerance than the record's, a similarity in (0, 1).
        suspect_sha256: hash of the suspect's weights where they can be read
            (`Encoder.sha256`); adds the SHA-256 line, if the record has a hash too.

    Raises:
        UserError: a short, wide or non-finite response, tau out of range, or a hash that is none.
    """
    response = as_features(response, "The response")
    response = check_features(response, len(record.keys), record.features.shape[1], "The response")
    tau = check_tau(record.tau if tau is None else tau)
    results = [
        SchemeResult("DCmp" if objective is None else scheme_name(objective), score, tau)
        for objective, score in record.similarities(response).items()
    ]
    suspect_sha256 = None if suspect_sha256 is None else check_sha256(suspect_sha256)
    known = suspect_sha256 is not None and record.encoder_sha256 is not None
    equal = suspect_sha256 == record.encoder_sha256 if known else None
    return Report(results, equal)


def check_sha256(given: str) -> str:
    """A SHA-256 as tools write it, in capitals or with a line end, say, as 64 small hexadecimal digits.

    Raises:
        UserError: it is something else; compared as it is, it would call equal weights different.
    """
    digits = given.strip().lower().removeprefix("sha256:") if isinstance(given, str) else ""
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise UserError(f"The suspect's SHA-256 must be 64 hexadecimal digits, not {given!r}.")
    return digits
