"""Fine-tuning of all layers (§5.2, "FTAL"), and its gentler relatives.

The paper names neither labels, loss, rate nor number of epochs. Three readings: a
classifier head trained together with all layers on a labelled set (`fine_tune`), more
SimCLR on unlabelled images (`continue_simclr`), and batch norm's running statistics
alone, which any forward pass in train mode moves (`refresh_batch_norm`).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from sslauth_utils.base.checks import check_number, check_whole
from sslauth_utils.base.device import as_device, autocast, plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import sha256_json
from sslauth_utils.base.layout import fast_layout, training_layout
from sslauth_utils.base.seeds import seeded
from sslauth_utils.base.tensors import sha256_tensors
from sslauth_utils.models import simclr, training
from sslauth_utils.models.features import failures_told, where_it_computes
from sslauth_utils.models.labels import as_labels

AfterEpoch = Callable[[nn.Module, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class FineTuneSettings:
    """Supervised fine-tuning by Adam; the paper gives no setting.

    Raises:
        UserError: a value out of its range.
    """

    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 1e-4
    seed: int = 0  # of the head and the batches

    def __post_init__(self) -> None:
        check_whole("Fine-tuning's epochs", self.epochs, 1)
        check_whole("Fine-tuning's batch_size", self.batch_size, 2)
        check_number("Fine-tuning's learning_rate", self.learning_rate, 0, above=True)
        check_whole("Fine-tuning's seed", self.seed, 0)


@plain_tensors()
def fine_tune(
    encoder: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: FineTuneSettings,
    device: torch.device | str,
    checkpoint: Path | None = None,
    after_epoch: AfterEpoch | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """A copy of `encoder`, all layers trained with a fresh linear head by cross entropy.

    Batch norm is in train mode: its statistics move too.

    Args:
        encoder: left untouched.
        images: uint8 (N, 3, H, W).
        labels: whole numbers (N,), from 0 on (`as_labels`).
        checkpoint: as in `attacks.backdoor.backdoor`.
        after_epoch: as there, but the encoder is in train mode; take features by `encode`.

    Returns:
        The tuned encoder in eval mode on `device`, and one row an epoch: epoch, loss,
        accuracy (on the training batches), images_per_second.

    Raises:
        UserError: fewer than one batch, labels that do not fit, weights that cannot be trained, or a loss that
            diverges.
    """
    _check(images)
    if len(images) < settings.batch_size:
        raise UserError(f"Fine-tuning needs at least one batch of {settings.batch_size} images, not {len(images)}.")
    labels = as_labels(labels, len(images), what="Labels to fine-tune on")
    device, (_, dtype) = as_device(device), where_it_computes(encoder)
    tuned = training.copy_to_train(encoder).to(device)
    width = training.width_of(tuned, images)
    with seeded(settings.seed):
        head = nn.Linear(width, int(labels.max()) + 1).to(dtype)
    model = nn.ModuleDict({"encoder": tuned, "head": head}).to(device).train()
    start = sha256_tensors(encoder.state_dict())
    run = sha256_json([asdict(settings), start, sha256_tensors({"images": images, "labels": labels})])
    images, labels = images.to(device), labels.to(device)
    with training_layout(model), training.reproducible(device):
        adam = torch.optim.Adam(model.parameters(), settings.learning_rate, fused=True)

        def step(indices: Tensor, number: int, generator: torch.Generator) -> dict[str, Tensor]:
            adam.zero_grad(set_to_none=True)
            indices = indices.to(device)
            pixels = (images[indices].float() / 255).to(dtype).contiguous(memory_format=fast_layout(model))
            with autocast(device):
                scores = model["head"](model["encoder"](pixels))
            loss = F.cross_entropy(scores.float(), labels[indices])
            loss.backward()
            hits = (scores.argmax(dim=1) == labels[indices]).float().mean()
            return {"loss": loss.detach(), "accuracy": hits}

        history = training.train(
            "fine-tuning",
            model,
            adam,
            step,
            len(images),
            settings.batch_size,
            settings.epochs,
            settings.seed,
            run,
            checkpoint,
            after_epoch=(lambda row: after_epoch(tuned, row)) if after_epoch else None,
        )
    return tuned.eval(), history


@plain_tensors()
def continue_simclr(
    encoder: nn.Module,
    images: Tensor,
    settings: simclr.SimCLRSettings,
    device: torch.device | str,
    checkpoint: Path | None = None,
    after_epoch: AfterEpoch | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """A copy of `encoder`, pre-trained further by SimCLR with a fresh projection head (the old one is thrown away).

    Args, returns, raises: as `simclr.pretrain`, whose history it returns.
    """
    tuned = training.copy_to_train(encoder)
    history = simclr.pretrain(tuned, images, settings, device, checkpoint, after_epoch=after_epoch)
    return tuned, history


@plain_tensors()
def refresh_batch_norm(
    encoder: nn.Module,
    images: Tensor,
    epochs: int,
    batch_size: int,
    device: torch.device | str,
    after_epoch: AfterEpoch | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """A copy of `encoder` whose batch-norm statistics have seen `images`; no weight changes.

    What happens to a "frozen" encoder when somebody forgets evaluation mode.

    Args:
        encoder: left untouched.
        images: uint8 (N, 3, H, W), taken in their order. A last batch of one image is left out.
        after_epoch: as in `fine_tune`.

    Returns:
        The encoder in eval mode on `device`, and one row an epoch: epoch, and `after_epoch`'s.

    Raises:
        UserError: other images, fewer than two in a batch, an encoder that fails on them, or one without batch norm's
            statistics.
    """
    _check(images)
    if min(len(images), batch_size) < 2 or epochs < 1:
        raise UserError(
            "Batch norm's statistics need one epoch and two images a batch at least, "
            f"not {epochs} epochs and {len(images)} images in batches of {batch_size}."
        )
    device, (_, dtype) = as_device(device), where_it_computes(encoder)
    tuned = training.own_copy(encoder).to(device).train()
    before, history = [buffer.clone() for buffer in tuned.buffers()], []
    for epoch in tqdm(range(1, epochs + 1), desc="batch norm", unit="epoch", leave=False):
        with torch.no_grad(), seeded(epoch, training.devices_of(tuned)), failures_told((batch_size, *images.shape[1:])):
            for batch in images.split(batch_size):
                if len(batch) > 1:
                    tuned((batch.to(device).float() / 255).to(dtype))
        if all(torch.equal(was, now) for was, now in zip(before, tuned.buffers(), strict=True)):
            raise UserError("The encoder has no batch norm with running statistics: nothing in it was changed.")
        row = {"epoch": epoch}
        history.append(row | (after_epoch(tuned, row) if after_epoch else {}))
    return tuned.eval(), history


def _check(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(
            f"Fine-tuning needs stored pixels, uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}."
        )
