"""Key samples: which images the trusted party keeps."""

import torch
from torch import Tensor

from sslauth_utils.base.checks import check_whole, plain
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.seeds import SEEDS
from sslauth_utils.models.labels import as_labels


def choose_keys(labels: Tensor, count: int = 100, per_class: int | None = None, seed: int = 0) -> Tensor:
    """Indices of `count` key samples, in a seeded random order.

    "The key samples employed for encoder integrity verification are selected at
    random" (§4.1). Whether keys are in- or out-of-distribution is a matter of the
    set that `labels` belongs to; the paper's default takes them from another set
    than the pre-training one. By class (A.2), for 100 keys: K1 is ``per_class=5``
    ("5 samples from each class within the 20-class subset"), K2 ``per_class=100``
    ("100 samples from a randomly chosen class"), K3 ``per_class=1`` ("one sample ...
    from each of the 100 randomly sampled classes").

    Args:
        labels: whole numbers (N,), the classes of the candidate images (`as_labels`).
        count: keys to choose.
        per_class: None for any images, else keys of each of ``count / per_class`` classes.
        seed: same seed, same keys.

    Returns:
        int64 (count,) without repeats.

    Raises:
        UserError: labels that are none, no keys asked for, `count` not a multiple of `per_class`, too few
            images or classes, or a seed that is no whole number.
    """
    try:
        images = len(labels)
    except TypeError:  # one number, or none
        images = 0
    labels = as_labels(labels, images)
    count, per_class, seed = plain(count), plain(per_class), plain(seed)
    check_whole("The number of key samples", count, 1)
    if per_class is not None:
        check_whole("The number of key samples from each class", per_class, 1)
    check_whole("The seed of the keys' choice", seed, *SEEDS)
    draw = torch.Generator("cpu").manual_seed(seed)
    order = torch.randperm(len(labels), generator=draw, device="cpu")
    if per_class is None:
        if count > len(labels):
            raise UserError(f"{count} key samples asked for, but the set has {len(labels)} images; ask for fewer.")
        return order[:count]
    if count % per_class:
        raise UserError(f"{count} keys cannot be made of {per_class} from each class; choose a divisor of {count}.")
    shuffled = labels[order]
    present, sizes = labels.unique(return_counts=True)
    candidates = present[sizes >= per_class]
    wanted = count // per_class
    if wanted > len(candidates):
        raise UserError(
            f"{count} keys with {per_class} from each class need {wanted} classes of at least {per_class} images; "
            f"the set has {len(candidates)}."
        )
    classes = candidates[torch.randperm(len(candidates), generator=draw, device="cpu")[:wanted]]
    chosen = torch.cat([order[shuffled == label][:per_class] for label in classes])
    return chosen[torch.randperm(count, generator=draw, device="cpu")]
