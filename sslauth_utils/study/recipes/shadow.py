"""The adversary's images: of the encoder's own pre-training set."""

from torch import Tensor

from sslauth_utils.images.load import load_images
from sslauth_utils.study.profiles import BACKDOOR, PRETRAIN, Settings, notebook_settings


def shadow_images(profile: str, scenario: str, seed: int, settings: Settings | None = None) -> Tensor:
    """The first ``shadow_images`` (0: all) of the pre-training subset, uint8 (N, 3, H, W).

    Args:
        settings: the parameters of notebook 06; None for the profile's.
    """
    wanted = notebook_settings(profile, BACKDOOR, scenario, seed, settings)["shadow_images"]
    images = pretraining_images(profile, scenario, seed)
    return images[:wanted] if wanted else images


def pretraining_images(profile: str, scenario: str, seed: int) -> Tensor:
    """The images that the encoder was pre-trained on, uint8 (N, 3, H, W)."""
    upstream = notebook_settings(profile, PRETRAIN, scenario, seed)
    return load_images(
        upstream["pretrain_data"], "train", upstream["size"], upstream["pretrain_images"] or None, seed
    ).images
