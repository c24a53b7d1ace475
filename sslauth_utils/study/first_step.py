"""The first step of a backdoor attack as it was run, to be done again by hand."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from sslauth_utils.attacks.backdoor import BackdoorLoss, BackdoorSettings, augment_references
from sslauth_utils.models.encoders import Encoder
from sslauth_utils.models.folding import fold_frozen_batch_norm
from sslauth_utils.study.downstream_task import DownstreamTask


@dataclass(frozen=True)
class FirstStep:
    """What the attack saw in its first step, and the losses that it found.

    Attributes:
        shadow: the batch of shadow images, uint8 (B, 3, H, W).
        references: all references, uint8 (R, 3, H, W).
        which: the reference that each augmented one was made of, (B,).
        augmented: augmented references, float (B, 3, H, W) in [0, 1].
        losses: effectiveness, reference, utility and loss, by `attacks.backdoor.BackdoorLoss`, in the attack's own
            arithmetic (bfloat16 where the device is fast at it).
    """

    shadow: Tensor
    references: Tensor
    which: Tensor
    augmented: Tensor
    losses: dict[str, float]


def first_step(
    encoder: Encoder, shadow: Tensor, task: DownstreamTask, references: int, settings: BackdoorSettings
) -> FirstStep:
    """Draw the first batch as `attacks.backdoor.backdoor` does, and take its losses; no weight is changed.

    Args:
        encoder: the intact encoder, left untouched, on any device.
        shadow: the adversary's images, uint8 (N, 3, H, W).
        references: how many of the task's typical images of the wanted class.
        settings: of an attack without imitation.
    """
    device = next(encoder.parameters()).device
    chosen = task.references(encoder, references)
    draw = torch.Generator().manual_seed(settings.seed)
    batch = torch.randperm(len(shadow), generator=draw)[: settings.batch_size]
    state = draw.get_state()
    trainee = fold_frozen_batch_norm(copy.deepcopy(encoder).requires_grad_())
    losses = BackdoorLoss(encoder, trainee, shadow, chosen, task.trigger, settings, device, None)(batch, draw)
    which = torch.arange(len(batch)) % len(chosen)
    augmented = augment_references(chosen[which], draw.set_state(state))
    found = {name: value.item() for name, value in losses.items()}
    return FirstStep(shadow[batch], chosen, which, augmented, found)
