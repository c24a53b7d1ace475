"""What most notebooks start from: the enrolled encoder, its record, and the record as the paper uses it."""

from dataclasses import replace

from torch import Tensor

from sslauth_utils.models.encoders import Encoder
from sslauth_utils.schemes.record import Record
from sslauth_utils.study.notebook import Run
from sslauth_utils.study.profiles import ENROL, PRETRAIN, notebook_settings
from sslauth_utils.study.recipes.encoders import pretrained_encoder
from sslauth_utils.study.recipes.records import enrolled_record
from sslauth_utils.study.roles import KEYS_OF, played


def enrolled_encoder(run: Run) -> tuple[Encoder, Record, Tensor]:
    """The run's pre-trained encoder on the run's device, its record, and the record's key samples.

    Both are made now if they are not there yet. The encoder is the enrolled one, bit for bit.

    Args:
        run: with the parameters profile, scenario and seed.

    Returns:
        The encoder, the record with out-of-distribution keys (the paper's default), and its keys,
        uint8 (N, 3, H, W).
    """
    which = [run.parameters[name] for name in ("profile", "scenario", "seed")]
    encoder, _ = pretrained_encoder(*which)
    record, _ = enrolled_record(*which)
    if encoder.sha256() != record.encoder_sha256:
        raise AssertionError("the record is of another encoder")
    print(_who_plays(*which))
    return encoder.to(run.device), record, record.challenge()


def _who_plays(profile: str, scenario: str, seed: int) -> str:
    """Which images the encoder and its keys come from; figures and rows call them by their roles."""
    images = notebook_settings(profile, PRETRAIN, scenario, seed)["pretrain_data"]
    keys = notebook_settings(profile, ENROL, scenario, seed)["key_data"]
    return f"encoder: pre-trained on {played(images, scenario)}; keys: {played(keys, KEYS_OF.get(scenario, scenario))}"


def one_generator(record: Record, objective: str = "min") -> Record:
    """The record with this generator alone, so that `verify` says DCmp and Trans, as the paper does."""
    return replace(record, generators={objective: record.generators[objective]})
