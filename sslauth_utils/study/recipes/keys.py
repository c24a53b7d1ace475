"""Key samples of an encoder's record, and what follows them through an attack."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.images.load import Images, load_images
from sslauth_utils.models.features import encode
from sslauth_utils.schemes.keys import choose_keys
from sslauth_utils.study.profiles import ENROL, PRETRAIN, Settings, notebook_settings


def key_samples(profile: str, scenario: str, seed: int, keys: str = "ood", settings: Settings | None = None) -> Images:
    """The images that are the key samples, with the set's own labels and classes.

    Args:
        profile, scenario, seed: of which encoder.
        keys: "ood" for key samples from the scenario's other data set (the paper's
            default), "id" for ones from the pre-training set, "id:5" for 5 from each class
            of it (A.2's K1; "id:100" is K2, "id:1" K3, for 100 keys). Each N draws with a
            seed of its own, or the sets would share images.
        settings: the parameters of notebook 02; None for the profile's.

    Raises:
        UserError: `keys` is none of these.
    """
    per_class = _per_class(keys)
    settings = notebook_settings(profile, ENROL, scenario, seed, settings)
    upstream = notebook_settings(profile, PRETRAIN, scenario, seed)
    source = load_images(_source(keys, settings, upstream), "train", upstream["size"])
    chosen = choose_keys(source.labels, settings["n_keys"], per_class, key_seed(keys, seed))
    return replace(source, images=source.images[chosen], labels=source.labels[chosen])


def key_ingredients(
    profile: str, scenario: str, seed: int, keys: str = "ood", settings: Settings | None = None
) -> tuple[dict[str, Any], str]:
    """What `key_samples` depends on: values of notebook 02 that count, and the name of the data set.

    The code that chooses counts by itself: whoever uses the keys imports this module.
    """
    settings = notebook_settings(profile, ENROL, scenario, seed, settings)
    upstream = notebook_settings(profile, PRETRAIN, scenario, seed)
    source = _source(keys, settings, upstream)
    values = {"keys": keys, "n_keys": settings["n_keys"], "key_data": source, "key_seed": key_seed(keys, seed)}
    return values | {"size": upstream["size"]}, source


def key_seed(keys: str, seed: int) -> int:
    """The seed that draws the key set `keys` for an encoder of seed `seed`."""
    return seed + 1000 * (_per_class(keys) or 0)


def _per_class(keys: str) -> int | None:
    origin, _, per_class = keys.partition(":")
    if origin not in ("ood", "id") or (per_class and not per_class.isdigit()):
        raise UserError(f"Key samples are 'ood', 'id' or 'id:N' (N from each class), not {keys!r}.")
    return int(per_class) if per_class else None


def _source(keys: str, settings: Mapping[str, Any], upstream: Mapping[str, Any]) -> str:
    return settings["key_data"] if keys.startswith("ood") else upstream["pretrain_data"]


class KeyFeatures:
    """E'(K) after every epoch of an attack, one file an epoch: an attack that goes on after a crash has them all.

    Features and not similarities: so an attack does not depend on the generator that later judges it.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def watch(self, encoder: nn.Module, keys: Tensor, epoch: int) -> None:
        """Keep `encoder`'s features of the key samples, uint8 (N, 3, H, W), as those after epoch `epoch`."""
        tensors.save(
            self.folder / f"keys-{epoch:04d}.safetensors", {"features": encode(encoder, keys)}, {"epoch": epoch}
        )

    def load(self) -> dict[int, Tensor]:
        """Epoch to features, float32 (N, D), in the order of the epochs."""
        files = sorted(self.folder.glob("keys-*.safetensors"))
        return {int(path.stem.removeprefix("keys-")): tensors.load(path)[0]["features"] for path in files}


def overlapping(keys: Tensor, images: Tensor) -> int:
    """How many of the key samples, uint8 (K, 3, H, W), are among `images`, byte for byte."""
    known = {image.numpy().tobytes() for image in images}
    return sum(key.numpy().tobytes() in known for key in keys)
