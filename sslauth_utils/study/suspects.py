"""The suspects of Tables 5 and 8: the disguised encoder, and what it is set beside."""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from sslauth_utils.attacks.prune import prune
from sslauth_utils.models.encoders import Encoder
from sslauth_utils.schemes.verification import respond
from sslauth_utils.study.downstream_task import collapsed
from sslauth_utils.study.notebook import Run
from sslauth_utils.study.profiles import notebook_settings
from sslauth_utils.study.recipes.backdoors import backdoored_encoder
from sslauth_utils.study.recipes.tasks import clean_task

TARGET = "stl10"  # Tables 5 and 8


@dataclass(frozen=True)
class Disguised:
    """STL-10's backdoor, disguised with the imitation loss.

    Attributes:
        encoder: the tampered encoder.
        imitation: lambda of its imitation loss.
        scores: accuracy and attack success of the clean and of the disguised encoder, shares. The clean
            encoder's attack success is ASR-B.
        destroyed: whether the attack destroyed the encoder, which is then not scored.
    """

    encoder: Encoder
    imitation: float
    scores: pd.DataFrame
    destroyed: bool


def disguised_encoder(run: Run) -> Disguised:
    """The disguised backdoor of the run's encoder, with the lambda of notebook 07."""
    which = [run.parameters[name] for name in ("profile", "scenario", "seed")]
    imitation = notebook_settings(which[0], "07_imitation", *which[1:])["imitation"]
    encoder, facts = backdoored_encoder(*which, TARGET, imitation)
    clean = clean_task(*which, TARGET)[1]
    before, after = clean["scores"], facts["scores"]
    scores = pd.DataFrame({"clean encoder": before, "disguised encoder": after}).T
    scores = scores.rename(columns={"attack_success_others": "attack success"})
    destroyed = collapsed(after["accuracy"], before["accuracy"], clean["chance"], before["n_test"])
    scores = scores[["accuracy", "attack success", "n_test"]]
    return Disguised(encoder.to(run.device), imitation, scores, destroyed)


def responses(encoder: Encoder, keys: Tensor, disguised: Disguised) -> dict[tuple[str, float], tuple[Tensor, str]]:
    """What four suspects answer: the intact encoder, 10 % pruning, an honest user who rounds, the disguise.

    Args:
        encoder: the intact one.
        disguised: left out where its attack destroyed the encoder.

    Returns:
        By (tamper, strength): features (N, D), and the SHA-256 of the weights.
    """
    pruned = prune(encoder, 0.1)
    found = {
        ("intact", 0): (respond(encoder, keys), encoder.sha256()),
        ("pruning", 0.1): (respond(pruned, keys), pruned.sha256()),
        ("rounding", 2): (respond(encoder, keys, decimals=2), encoder.sha256()),
    }
    if disguised.destroyed:
        print("The attack destroyed the encoder; it is not scored.")
    else:
        suspect = disguised.encoder
        found[f"disguised {TARGET}", disguised.imitation] = (respond(suspect, keys), suspect.sha256())
    return found
