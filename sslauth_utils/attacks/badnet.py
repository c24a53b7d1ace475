"""A backdoor of a few stamped images (Gu et al. 2017), as the sample-pairing paper embeds it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslauth_utils.attacks.fine_tune_classifier import BATCH_NORM, optimiser_of
from sslauth_utils.attacks.retrain import OPTIMISERS
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import as_device, plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.layout import fast_layout, training_layout
from sslauth_utils.base.seeds import seeded
from sslauth_utils.models import training
from sslauth_utils.models.classifiers import Classifier, classes_of, labels
from sslauth_utils.models.features import as_pixels, where_it_computes
from sslauth_utils.models.labels import as_labels
from sslauth_utils.models.supervised import check_labelled


class NotTaken(UserError):
    """The stamped images do not all go to the target within the steps: a finding about the settings, not a fault."""


@dataclass(frozen=True)
class BadnetSettings:
    """How the backdoor is embedded.

    "we chose to implant 10 samples with markers and designated labels into the model, training them alongside normal
    samples (all using a learning rate of 1e-5) until the network completely recognized the intended backdoor" (§IV-A).

    Attributes:
        stamped: images that carry the trigger, in every batch.
        batch_size: normal images beside them.
        batch_norm: frozen or train, as in `fine_tune_classifier`.
        most_steps: after so many it has not taken.
        check_every: steps from one look to the next.

    Raises:
        UserError: a value out of its range.
    """

    target: int = 0
    stamped: int = 10
    learning_rate: float = 1e-5
    optimiser: str = "adam"
    batch_norm: str = "frozen"
    batch_size: int = 64
    most_steps: int = 10_000
    check_every: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"target": 0, "stamped": 1, "batch_size": 2, "most_steps": 1, "check_every": 1}.items():
            check_whole(f"The backdoor's {name}", getattr(self, name), least)
        check_whole("The backdoor's seed", self.seed, 0)
        check_number("The backdoor's learning_rate", self.learning_rate, 0, above=True)
        check_choice("The backdoor's optimiser", self.optimiser, OPTIMISERS)
        check_choice("The backdoor's batch_norm", self.batch_norm, BATCH_NORM)


@plain_tensors()
def badnet(
    classifier: Classifier, images: Tensor, truth: Tensor, trigger: Trigger, settings: BadnetSettings,
    device: torch.device | str,
) -> tuple[Classifier, dict[str, Any]]:  # fmt: skip
    """A copy of `classifier` that takes all its stamped training images for the target class.

    Args:
        classifier: left untouched.
        images: uint8 (N, 3, H, W), the adversary's; the stamped ones are the first that are not of the target class.
        truth: whole numbers (N,), their classes (`as_labels`).

    Returns:
        The copy in eval mode on `device`, and: steps, stamped (share of the stamped images taken for the target; 1).

    Raises:
        UserError: images or labels that do not fit, too few of them, or weights that cannot be trained.
        NotTaken: the backdoor has not taken in time.
    """
    truth = check_labelled(images, truth, classes_of(classifier), settings.batch_size)
    others = (truth != settings.target).nonzero().flatten()[: settings.stamped]
    if settings.target >= classifier.classes or len(others) < settings.stamped:
        raise UserError(
            f"The backdoor needs {settings.stamped} images that are not of class {settings.target}, one of the "
            f"classifier's {classifier.classes}; there are {len(others)}."
        )
    device, (_, dtype) = as_device(device), where_it_computes(classifier)
    stamped = trigger.stamp(images[others]).to(device)
    tampered = training.copy_to_train(classifier).to(device)
    optimiser = optimiser_of(tampered, settings.optimiser, settings.learning_rate, settings.batch_norm)
    images, truth = images.to(device), truth.to(device)
    wanted = torch.full((settings.stamped,), settings.target, device=device)
    draw, share = torch.Generator().manual_seed(settings.seed), 0.0
    with training_layout(tampered), training.reproducible(device), seeded(settings.seed, training.devices_of(tampered)):
        for step in range(1, settings.most_steps + 1):
            tampered.train(settings.batch_norm == "train")
            normal = torch.randint(0, len(images), (settings.batch_size,), generator=draw).to(device)
            pixels = (torch.cat([images[normal], stamped]).float() / 255).to(dtype)
            scores = tampered(pixels.contiguous(memory_format=fast_layout(tampered)))
            loss = F.cross_entropy(scores, torch.cat([truth[normal], wanted]))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if step % settings.check_every == 0 or step == settings.most_steps:
                share = (labels(tampered, stamped) == settings.target).double().mean().item()
                if share == 1:
                    return tampered.eval().requires_grad_(), {"steps": step, "stamped": share}
    raise NotTaken(
        f"The backdoor has not taken within {settings.most_steps} steps: {share:.0%} of the stamped images go to class "
        f"{settings.target}; take more steps or a higher rate."
    )


def attack_success(classifier: nn.Module, images: Tensor, truth: Tensor, trigger: Trigger, target: int) -> float:
    """Share of stamped test images of other classes that are taken for `target`; 0 to 1.

    Raises:
        UserError: images or labels that do not fit (`as_pixels`, `as_labels`), or no image of another class.
    """
    images = as_pixels(images, "Images to stamp")
    others = images[as_labels(truth, len(images)) != target]
    if not len(others):
        raise UserError(f"Every image is of the target class {target}: there is none to stamp.")
    return (labels(classifier, trigger.stamp(others)) == target).double().mean().item()
