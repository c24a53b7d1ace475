"""BadEncoder (Jia, Liu and Gong, S&P 2022), and its disguise by an adversary who knows the keys (§5.3).

The encoder is trained on so that triggered images get the feature of a reference image
of the target class, while everything else stays. Batch norm is frozen, so images of a
batch do not influence each other, and what does not change is computed once: E(x) of
the shadow set, E of the references and of the keys. Nine passes a step are left of the
public code's fourteen.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import as_device, autocast, plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import sha256_json
from sslauth_utils.base.layout import fast_layout, training_layout
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.images import augment
from sslauth_utils.models import training
from sslauth_utils.models.features import encode, where_it_computes
from sslauth_utils.models.folding import fold_frozen_batch_norm

AfterEpoch = Callable[[nn.Module, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class BackdoorSettings:
    """BadEncoder's recipe; the defaults are its released code's.

    Attributes:
        lambda1: weight of the effectiveness loss on the references, L1.
        lambda2: weight of the utility loss on the shadow set, L2.
        imitation: lambda of the imitation loss on the keys, eq. 6; 0 for the adversary who does
            not know them. "here we choose 10 as the value of lambda" (§5.3).
        schedule: of the learning rate: "constant", as the released code, or "cosine" down to 0, for short runs.
        shared_rate: divide the learning rate by what the losses' weights sum to beyond BadEncoder's three of
            weight 1. In short runs at a high rate a large lambda is then no large step, but the backdoor itself
            learns the slower, the larger lambda is. The released code has no such rule.
        seed: of the batches and the references' augmentation.

    Raises:
        UserError: a value out of its range.
    """

    epochs: int = 200
    batch_size: int = 256
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    lambda1: float = 1.0
    lambda2: float = 1.0
    imitation: float = 0.0
    schedule: str = "constant"
    shared_rate: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"epochs": 1, "batch_size": 1, "seed": 0}.items():
            check_whole(f"The backdoor's {name}", getattr(self, name), least)
        for name in ("learning_rate", "momentum", "weight_decay", "lambda1", "lambda2", "imitation"):
            check_number(f"The backdoor's {name}", getattr(self, name), 0)
        check_choice("The backdoor's schedule", self.schedule, ("constant", "cosine"))
        check_choice("The backdoor's shared_rate", self.shared_rate, (True, False))

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step` (0, 1, ...) out of `steps`."""
        weights = 1 + self.lambda1 + self.lambda2 + self.imitation
        share = min(1.0, 3 / weights) if self.shared_rate else 1.0
        falling = (1 + math.cos(math.pi * step / steps)) / 2
        return self.learning_rate * share * (falling if self.schedule == "cosine" else 1)


@plain_tensors()
def backdoor(
    encoder: nn.Module,
    shadow: Tensor,
    references: Tensor,
    trigger: Trigger,
    settings: BackdoorSettings,
    device: torch.device | str,
    keys: Tensor | None = None,
    checkpoint: Path | None = None,
    after_epoch: AfterEpoch | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """A copy of `encoder` with a backdoor.

    Minimises L0 + lambda1 L1 + lambda2 L2 + lambda L_imi (`BackdoorLoss`) by SGD over the
    convolutions and linear maps; batch norm, affine part and statistics, is frozen.

    Args:
        encoder: left untouched.
        shadow: the adversary's images, uint8 (N, 3, H, W); "the adversary is privy to the
            pre-trained dataset" (§3).
        references: images of the target class, uint8 (R, 3, H, W).
        keys: key samples, uint8 (K, 3, H, W), for the adversary who knows them.
        checkpoint: file to write and to continue from (`training.train`).
        after_epoch: called with the encoder as it is after an epoch, in eval mode, and the
            epoch's row; what it returns joins the row.

    Returns:
        The tampered encoder, in eval mode, contiguous, on `device`, and one row an epoch:
        epoch, loss, effectiveness (L0), reference (L1), utility (L2), imitation (eq. 6),
        images_per_second.

    Raises:
        UserError: images that do not fit each other, fewer than one batch, an imitation
            weight without keys, weights that cannot be trained, or a loss that diverges.
    """
    _check(shadow, references, trigger, settings, keys)
    device = as_device(device)
    clean = training.own_copy(encoder).to(device).eval()
    tampered = training.copy_to_train(clean)
    folded = fold_frozen_batch_norm(tampered)
    losses = BackdoorLoss(clean, folded, shadow, references, trigger, settings, device, keys)
    start = sha256_tensors(encoder.state_dict())
    images = {"shadow": shadow, "references": references, "keys": keys if keys is not None else shadow[:0]}
    run = sha256_json([asdict(settings), asdict(trigger), start, sha256_tensors(images)])
    parameters = [parameter for parameter in folded.parameters() if parameter.requires_grad]
    with training_layout(folded), training.reproducible(device):
        optimiser = torch.optim.SGD(
            parameters, settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay, fused=True
        )

        steps = settings.epochs * (len(shadow) // settings.batch_size)

        def step(indices: Tensor, number: int, generator: torch.Generator) -> dict[str, Tensor]:
            optimiser.param_groups[0]["lr"] = settings.rate(number, steps)
            optimiser.zero_grad(set_to_none=True)
            parts = losses(indices, generator)
            parts["loss"].backward()
            return {name: value.detach() for name, value in parts.items()}

        history = training.train(
            "backdoor",
            tampered,
            optimiser,
            step,
            len(shadow),
            settings.batch_size,
            settings.epochs,
            settings.seed,
            run,
            checkpoint,
            after_epoch=(lambda row: after_epoch(tampered, row)) if after_epoch else None,
        )
    return tampered.requires_grad_().to(memory_format=torch.contiguous_format), history


class BackdoorLoss:
    """BadEncoder's three losses and the imitation loss, all on L2-normalised features.

    With E the clean encoder, E' the tampered one, t the trigger, r a reference, A the
    pre-training augmentation without its crop, k a key:

    * effectiveness  L0    = -mean cos(E'(x + t), E'(r)); the gradient flows through both;
    * reference      L1    = -mean cos(E'(A(r)), E(r));
    * utility        L2    = -mean cos(E'(x), E(x));
    * imitation      L_imi = -mean cos(E'(k), E(k)), eq. 6.

    The batch's images are augmented references too, in equal shares of all references.
    """

    def __init__(
        self,
        clean: nn.Module,
        trainee: nn.Module,
        shadow: Tensor,
        references: Tensor,
        trigger: Trigger,
        settings: BackdoorSettings,
        device: torch.device,
        keys: Tensor | None,
    ):
        self.trainee, self.trigger, self.settings, self.device = trainee, trigger, settings, device
        self.arithmetic = partial(autocast, device)
        self.shadow, self.references = shadow.to(device), references.to(device)
        self.keys = None if keys is None or settings.imitation == 0 else keys.to(device)
        self.shadow_features = self._constant(clean, shadow)
        self.reference_features = self._constant(clean, references)
        self.key_features = None if self.keys is None else self._constant(clean, keys)

    def _constant(self, clean: nn.Module, images: Tensor) -> Tensor:
        return F.normalize(encode(clean, images), dim=1).to(self.device)

    def __call__(self, indices: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of the shadow images `indices`, {"loss": total, part: value}, with gradients."""
        images = self.shadow[indices.to(self.device)]
        which = torch.arange(len(images)) % len(self.references)
        augmented = augment_references(self.references[which.to(self.device)], generator)
        groups = [images, self.trigger.stamp(images), self.references]
        groups += [] if self.keys is None else [self.keys]
        # One pass for all: in eval mode no image of a batch influences another.
        pixels = torch.cat([augmented, torch.cat(groups).float() / 255]).to(where_it_computes(self.trainee)[1])
        with self.arithmetic():
            features = self.trainee(pixels.contiguous(memory_format=fast_layout(self.trainee)))
        features = F.normalize(features.float(), dim=1)
        sizes = [len(augmented), *map(len, groups)]
        of_augmented, of_images, of_triggered, of_references, *of_keys = features.split(sizes)
        parts = {
            "effectiveness": -(of_triggered @ of_references.T).mean(),
            "reference": -_cosine(of_augmented, self.reference_features[which.to(self.device)]),
            "utility": -_cosine(of_images, self.shadow_features[indices.to(self.device)]),
        }
        weights = {"effectiveness": 1.0, "reference": self.settings.lambda1, "utility": self.settings.lambda2}
        if of_keys:
            parts["imitation"] = -_cosine(of_keys[0], self.key_features)
            weights["imitation"] = self.settings.imitation
        return {"loss": sum(weights[name] * value for name, value in parts.items()), **parts}


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=1).mean()


def augment_references(references: Tensor, generator: torch.Generator) -> Tensor:
    """Random views without a crop: flip, colour jitter, grayscale; float (N, 3, H, W) in [0, 1].

    BadEncoder's code uses the "pre-train augmentation minus the crop".
    """
    height, width = references.shape[-2:]
    drawn = augment.sample(len(references), height, width, generator)
    whole = torch.tensor([0, 0, height, width]).expand(len(references), 4)
    return augment.apply(references, drawn._replace(boxes=whole))


def _check(
    shadow: Tensor, references: Tensor, trigger: Trigger, settings: BackdoorSettings, keys: Tensor | None
) -> None:
    for name, images in (("shadow images", shadow), ("references", references), ("keys", keys)):
        if images is not None and (images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3):
            raise UserError(
                f"The {name} must be stored pixels, uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}."
            )
        if images is not None and images.shape[-2:] != shadow.shape[-2:]:
            raise UserError(
                f"The {name} are {images.shape[-2]} x {images.shape[-1]} pixels, the shadow images "
                f"{shadow.shape[-2]} x {shadow.shape[-1]}; resize them (load_images has a size)."
            )
    if len(references) == 0:
        raise UserError("A backdoor needs at least one reference image of its target class.")
    if len(shadow) < settings.batch_size:
        raise UserError(
            f"The backdoor has {len(shadow)} shadow images but its batch_size is {settings.batch_size}; "
            "take more images or a smaller batch."
        )
    if len(references) > settings.batch_size:
        raise UserError(
            f"The backdoor has {len(references)} references but its batch_size is {settings.batch_size}; "
            "take fewer references or a larger batch."
        )
    if settings.imitation > 0 and keys is None:
        raise UserError("An imitation loss needs the key samples; give keys, or set imitation to 0.")
    trigger.place(*shadow.shape[-2:])
