"""SimCLR (Chen et al., ICML 2020): pre-training an encoder without labels.

The recipe is BadEncoder's, which the paper's CIFAR-10 encoder follows
(its released code; ``docs/deviations.md``): Adam at a constant 1e-3, weight decay
1e-6, batch 256, temperature 0.5. The stored data set lies on the device as uint8, both
views of a batch are made there at once (`augment`), and training runs in
bfloat16 with channels-last memory where the device is fast at it.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import as_device, autocast, plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import sha256_json
from sslauth_utils.base.layout import fast_layout, training_layout
from sslauth_utils.base.seeds import seeded
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.images.augment import two_views
from sslauth_utils.models import training
from sslauth_utils.models.features import where_it_computes

WARM_UP = 0.05  # part of all steps over which the cosine schedule's rate rises from 0
PATIENCE = 100  # steps before a loss that has not fallen counts as "does not learn"
LEAST_FALL = 0.02  # of the way from the start value to the loss of perfectly aligned views


@dataclass(frozen=True)
class SimCLRSettings:
    """All that decides a pre-training run, beside the encoder and the images.

    Raises:
        UserError: a value out of its range.
    """

    epochs: int = 1000
    batch_size: int = 256  # images; each gives two views
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    temperature: float = 0.5
    projection_dim: int = 128
    schedule: str = "constant"  # or "cosine": short linear warm-up, then down to 0, for short runs
    crop_scale_min: float = 0.08  # least area of a crop, as part of the image's
    jitter: float = 0.4  # brightness, contrast, saturation; hue gets a quarter of it
    jitter_probability: float = 0.8
    grayscale_probability: float = 0.2
    seed: int = 0  # of the projection head, the order of the images and the views

    def __post_init__(self) -> None:
        for name, least in {"epochs": 0, "batch_size": 2, "projection_dim": 1, "seed": 0}.items():
            check_whole(f"SimCLR's {name}", getattr(self, name), least)
        for name, low, high in (
            ("learning_rate", 0, math.inf),
            ("weight_decay", 0, math.inf),
            ("temperature", 1e-3, math.inf),
            ("crop_scale_min", 1e-3, 1),
            ("jitter", 0, 2),  # beyond 2 the hue would turn by more than half the circle
            ("jitter_probability", 0, 1),
            ("grayscale_probability", 0, 1),
        ):
            check_number(f"SimCLR's {name}", getattr(self, name), low, high)
        check_choice("SimCLR's schedule", self.schedule, ("constant", "cosine"))

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step` (0, 1, ...) out of `steps`."""
        if self.schedule == "constant":
            return self.learning_rate
        warm = max(1, round(WARM_UP * steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2

    def views(self) -> dict[str, float]:
        """The part of the settings that `augment.sample` takes."""
        names = ("crop_scale_min", "jitter", "jitter_probability", "grayscale_probability")
        return {name: getattr(self, name) for name in names}


def projection_head(feature_dim: int, projection_dim: int = 128) -> nn.Sequential:
    """Linear(D, D, no bias) - BatchNorm - ReLU - Linear(D, projection_dim): BadEncoder's head (§1.6).

    SimCLR §2.1: "We find it beneficial to define the contrastive loss on z_i's
    rather than h_i's"; the head is thrown away after pre-training.
    """
    return nn.Sequential(
        nn.Linear(feature_dim, feature_dim, bias=False),
        nn.BatchNorm1d(feature_dim),
        nn.ReLU(inplace=True),
        nn.Linear(feature_dim, projection_dim),
    )


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """The normalised temperature-scaled cross entropy, SimCLR's equation 1 and algorithm 1.

    l(i, j) = -log( exp(s_ij / t) / sum over k != i of exp(s_ik / t) ), s being the
    cosine similarity, averaged over both orders of every positive pair:
    "L = 1/2N sum_k [l(2k-1, 2k) + l(2k, 2k-1)]". The negatives are the other
    2(N - 1) views of the batch. Computed in float32 whatever comes in.

    Args:
        projections: (2 N, P), the first views of all N images and then, in the
            same order, the second ones. (The paper has the two views of an image
            side by side: its 2k-1 and 2k are rows k and N + k here.)
        temperature: t, above 0.

    Returns:
        The loss, a float32 scalar; ln(2 N - 1) if all projections are equal.
    """
    with torch.autocast(projections.device.type, enabled=False):
        z = F.normalize(projections.float(), dim=1)
        similarity = z @ z.T / temperature
        similarity = similarity.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -math.inf)
        partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)
        return F.cross_entropy(similarity, partner)


def learning_threshold(batch_size: int, temperature: float) -> float:
    """The loss that a run must have undercut after `PATIENCE` steps, or it does not learn.

    Equal projections give ln(2N - 1), and an untrained network starts near it.
    Views that agree with their partner while all others are at right angles give
    ln(1 + (2N - 2) exp(-1/t)). A fall of 2 % of the way between is asked for.
    """
    start = math.log(2 * batch_size - 1)
    aligned = math.log1p((2 * batch_size - 2) * math.exp(-1 / temperature))
    return start - LEAST_FALL * (start - aligned)


@plain_tensors()
def pretrain(
    encoder: nn.Module,
    images: Tensor,
    settings: SimCLRSettings,
    device: torch.device | str,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = training.CHECKPOINT_SECONDS,
    after_epoch: Callable[[nn.Module, dict[str, Any]], dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Train `encoder` in place by SimCLR and leave it in eval mode, on `device`, in its type.

    The result depends on encoder, images, settings, device and number of threads
    only: the random numbers are drawn from a generator of the run's own. A run
    that is interrupted and started again with the same encoder, images, settings
    and `checkpoint` continues after the last saved epoch and ends bit for bit as
    the uninterrupted one.

    Args:
        encoder: maps (N, 3, H, W) in [0, 1] to (N, D).
        images: stored pixels, uint8 (N, 3, H, W).
        settings: see `SimCLRSettings`. Every epoch goes over floor(N / batch_size)
            full batches of a new permutation.
        device: where to train; the images are moved there as a whole.
        checkpoint: file to write at an epoch's end, and to continue from. One
            that belongs to another run is ignored, and told so. Remove it when
            the result is stored.
        checkpoint_seconds: least time between two writes.
        after_epoch: called with the encoder and an epoch's row; what it returns joins the
            row. It must leave the encoder's weights alone.

    Returns:
        One row an epoch: epoch (from 1), loss (mean over the epoch's steps) and
        images_per_second (source images; a measurement, so not reproducible).

    Raises:
        UserError: wrong images, fewer than one batch, weights that cannot be trained, or a
            run that does not learn: loss not finite, or still at its start value after `PATIENCE`
            steps. The encoder is then as it was after the last good epoch.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"SimCLR needs stored pixels, uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}.")
    if len(images) < settings.batch_size:
        raise UserError(
            f"SimCLR has {len(images)} images but its batch_size is {settings.batch_size}; "
            "take more images or a smaller batch."
        )
    training.check_trainable(encoder)
    training.check_not_frozen(encoder)
    device = as_device(device)
    run = _fingerprint(encoder, images, settings)
    width, dtype = training.width_of(encoder, images), where_it_computes(encoder)[1]
    with seeded(settings.seed):
        head = projection_head(width, settings.projection_dim).to(dtype)
    model = nn.ModuleDict({"encoder": encoder, "head": head}).to(device).train()
    images = images.to(device)
    batches = len(images) // settings.batch_size
    with training_layout(model), training.reproducible(device):
        optimiser = torch.optim.Adam(
            model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

        def step(indices: Tensor, number: int, generator: torch.Generator) -> dict[str, Tensor]:
            for group in optimiser.param_groups:
                group["lr"] = settings.rate(number, settings.epochs * batches)
            return {"loss": training_step(model, images[indices.to(device)], settings, generator)}

        def check(row: dict[str, Any]) -> dict[str, Any]:
            _stop_if_stuck(row, row["epoch"] * batches, settings)
            return after_epoch(encoder, row) if after_epoch else {}

        try:
            return training.train(
                "SimCLR",
                model,
                optimiser,
                step,
                len(images),
                settings.batch_size,
                settings.epochs,
                settings.seed,
                run,
                checkpoint,
                checkpoint_seconds,
                check,
            )
        finally:
            model.eval()


def _stop_if_stuck(row: dict[str, Any], steps: int, settings: SimCLRSettings) -> None:
    if steps >= PATIENCE and row["loss"] > learning_threshold(settings.batch_size, settings.temperature):
        raise UserError(
            f"SimCLR does not learn: after {steps} steps the loss is {row['loss']:.3f}, where equal features "
            f"for all images give {math.log(2 * settings.batch_size - 1):.3f}; change the learning rate "
            f"({settings.learning_rate}) or look whether the images differ from each other."
        )


def training_step(model: nn.ModuleDict, batch: Tensor, settings: SimCLRSettings, generator: torch.Generator) -> Tensor:
    """Views, loss and gradients of one batch of stored pixels; returns the loss, not yet waited for."""
    return gradients(model, two_views(batch, generator, **settings.views()), settings.temperature)


def gradients(model: nn.ModuleDict, views: Tensor, temperature: float) -> Tensor:
    """Set the gradients of the loss on `views`, (2 N, 3, H, W), and return the loss.

    Both views go through in one batch, as in SimCLR's own code, so batch
    normalisation sees 2 N images; BadEncoder's code sends them one after the other.
    """
    model.zero_grad(set_to_none=True)
    views = views.to(where_it_computes(model)[1])
    with autocast(views.device):
        projections = model["head"](model["encoder"](views.contiguous(memory_format=fast_layout(model))))
    loss = nt_xent(projections, temperature)
    loss.backward()
    return loss.detach()


def _fingerprint(encoder: nn.Module, images: Tensor, settings: SimCLRSettings) -> str:
    """What a run is: settings, starting weights and images, hashed."""
    start = sha256_tensors(encoder.state_dict())
    return sha256_json({**asdict(settings), "encoder": start, "images": sha256_tensors({"images": images})})
