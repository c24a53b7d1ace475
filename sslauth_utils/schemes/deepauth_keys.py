"""DeepAuth's key samples: far from the data in pixels and in features, and next to the decision boundary.

"By exploiting well-crafted key samples from the input space, latent space, to logit space." Three steps, one for each:
PGD walks seeds across the boundary and the latest to cross are collected; of these, the ones with the highest leverage
are kept; each is then moved up to the boundary.
"""

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor, nn

from sslauth_utils.base.checks import check_choice, check_number, check_whole
from sslauth_utils.base.device import plain_tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.classifiers import labels, logits, repeatable_logits
from sslauth_utils.models.features import as_floats, where_it_computes
from sslauth_utils.models.labels import as_labels
from sslauth_utils.models.penultimate import gradients, lead, margin, penultimate
from sslauth_utils.schemes.descent import check_differentiable

RULES = ("after 90 %", "upper half")


@dataclass(frozen=True, eq=False)
class KeySettings:
    """How keys are made. Of these values the paper prints two, the 90 % of its rule and 0.0005.

    Raises:
        UserError: a value out of its range.
    """

    step: float = 0.01  # of PGD, in pixels of [0, 1]
    steps: int = 300  # at most
    batch_size: int = 250  # seeds that walk at once, for memory; the rule counts all seeds as one batch
    rule: str = "after 90 %"  # or "upper half"; see `collected`
    leverage_share: float = 0.5  # of the collected ones, the most leveraged first
    mu: float = 1.0  # of the matrix A
    boundary: float = 0.0005  # "We use eps_l = 0.0005"
    squeeze_steps: int = 60  # at most

    def __post_init__(self) -> None:
        check_number("A key's PGD step", self.step, 0, 1, above=True)
        check_whole("A key's PGD steps", self.steps, 1)
        check_whole("Seeds in a batch", self.batch_size, 1)
        check_choice("The rule by which keys are collected", self.rule, RULES)
        check_number("The share kept by leverage", self.leverage_share, 0, 1, above=True)
        check_number("mu", self.mu, 0, above=True)
        check_number("A key's distance from the boundary", self.boundary, 0, above=True)
        check_whole("Steps to the boundary", self.squeeze_steps, 1)


@dataclass(frozen=True, eq=False)
class KeySet:
    """Key samples with their neighbours on the walk, all float32 on the CPU.

    Attributes:
        before, at, after: (N, 3, H, W) in [0, 1]: x'_{t-1}, which still has its true class, the key x'_t, moved up to
            the boundary, and x'_{t+1}.
        truth, adversarial: int64 (N,): c* and c'.
        leverage: (N,), eq. 2.
        distance: (N,), l2 norm of x'_t - x, in pixels of [0, 1].
        crossed: int64 (N,): t, the step of the walk at which the key's class changed.
        margin: (N,): f' - f*, at least 0 and below the settings' `boundary`.
        counts: how many were left after each step, by its name.
    """

    before: Tensor
    at: Tensor
    after: Tensor
    truth: Tensor
    adversarial: Tensor
    leverage: Tensor
    distance: Tensor
    crossed: Tensor
    margin: Tensor
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, chosen: Tensor) -> "KeySet":
        """The keys at `chosen`, indices or a mask."""
        return replace(self, **{name: tensor[chosen] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the counts, by name."""
        return {part.name: getattr(self, part.name) for part in fields(self) if part.name != "counts"}


@plain_tensors()
def make_keys(classifier: nn.Module, seeds: Tensor, truth: Tensor, validation: Tensor, settings: KeySettings) -> KeySet:
    """Algorithm 1: key samples of `classifier`, which is left as it is.

    Seeds that the classifier gets wrong are left out, for their class cannot be changed from the true one.

    Args:
        classifier: maps (N, 3, H, W) in [0, 1] to logits (N, C).
        seeds: held-out natural images, uint8 or float in [0, 1], (N, 3, H, W).
        truth: their true classes, whole numbers (N,) (`as_labels`).
        validation: natural images for the matrix A, (M, 3, H, W).

    Raises:
        UserError: labels that do not fit, a classifier that does not answer alike when asked again or in another
            batch, or gets every seed wrong, or not one key: the boundary is not reached within the steps, or every
            candidate fails a step.
    """
    pixels = as_floats(seeds, "Seeds of key samples")
    answers = repeatable_logits(classifier, pixels)
    said, classes = answers.argmax(dim=1), answers.shape[1]
    truth = as_labels(truth, len(said), classes, "True classes of seeds")
    check_differentiable(classifier, pixels)
    right = said == truth
    if not right.any():
        raise UserError(f"The classifier gets all {len(said)} seeds wrong: there is no true class to walk away from.")
    walk = cross_boundary(classifier, pixels[right], truth[right], settings)
    counts = {"seeds": len(said), "classified rightly": int(right.sum()), "crossed": int((walk.crossed > 0).sum())}
    if not counts["crossed"]:
        raise UserError(
            f"No seed left its class within {settings.steps} steps of {settings.step:g}: this classifier's boundary is "
            "not reached; take larger or more steps."
        )
    walk = walk.take(walk.crossed > 0)
    of_data = penultimate(classifier, validation)
    walk = replace(walk, leverage=leverage(penultimate(classifier, walk.at), of_data, settings.mu))
    chosen = walk.take(collected(walk, counts["classified rightly"], settings))
    counts["collected"] = len(chosen)
    if settings.rule == RULES[0] and len(chosen):
        most = max(1, round(settings.leverage_share * len(chosen)))
        chosen = chosen.take(chosen.leverage.topk(most).indices.sort().values)
    counts["kept by leverage"] = len(chosen)
    keys = squeeze(classifier, chosen, settings) if len(chosen) else chosen
    keys = keys.take(valid(classifier, keys, settings.boundary)) if len(keys) else keys
    counts["at the boundary"] = len(keys)
    if not len(keys):
        shown = ", ".join(f"{name} {number}" for name, number in counts.items())
        raise UserError(f"Not one key sample came out ({shown}); take more seeds or another rule.")
    return replace(keys, counts=counts)


def cross_boundary(classifier: nn.Module, images: Tensor, truth: Tensor, settings: KeySettings) -> KeySet:
    """The walk: PGD from each image until its class changes, and one step further.

    "we use projected gradient descent (PGD …) to perturb the input iteratively." The loss is the cross entropy of the
    true class, taken as log of (1 - p) / p, whose gradient points the same way and does not vanish where float32 has
    p = 1. Projected on [0, 1] alone: "instead of constraining the ℓp distance" the keys shall be far.

    Args:
        images: float (N, 3, H, W) in [0, 1], all of class `truth`, int64 (N,).

    Returns:
        One entry an image; crossed is 0 where the class did not change within the steps. Leverage is 0 as yet.
    """
    device, dtype = where_it_computes(classifier)
    parts = []
    with gradients(classifier):
        for batch, wanted in zip(images.split(settings.batch_size), truth.split(settings.batch_size), strict=True):
            parts.append(_walk(classifier, batch.to(device, dtype), wanted.to(device), settings))
    tensors = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    number = torch.zeros(len(images))
    distance = (tensors["at"] - images).flatten(1).norm(dim=1)
    return KeySet(**tensors, truth=truth, leverage=number, distance=distance, margin=number.clone())


def _walk(classifier: nn.Module, start: Tensor, truth: Tensor, settings: KeySettings) -> dict[str, Tensor]:
    found = {name: start.clone() for name in ("before", "at", "after")}
    crossed, adversarial = torch.zeros_like(truth), truth.clone()
    active = torch.arange(len(start), device=start.device)
    here, previous = start, start
    for step in range(settings.steps + 1):
        here = here.detach().requires_grad_()
        scores = classifier(here)
        loss = -_lead_in_odds(scores, truth[active]).sum()
        [slope] = torch.autograd.grad(loss, here)
        following = (here + settings.step * slope.sign()).clamp(0, 1).detach()
        here = here.detach()
        said = scores.detach().argmax(dim=1)
        out = (said != truth[active]) & torch.tensor(step > 0, device=start.device)
        if out.any():
            who = active[out]
            crossed[who], adversarial[who] = step, said[out]
            for name, pixels in (("before", previous), ("at", here), ("after", following)):
                found[name][who] = pixels[out]
            active, here, following = active[~out], here[~out], following[~out]
        if not len(active):
            break
        previous, here = here, following
    return {name: pixels.float() for name, pixels in found.items()} | {"crossed": crossed, "adversarial": adversarial}


def _lead_in_odds(scores: Tensor, truth: Tensor) -> Tensor:
    """Log of p / (1 - p) of the true class, (N,)."""
    others = scores.scatter(1, truth[:, None], -torch.inf)
    return scores.gather(1, truth[:, None]).squeeze(1) - others.logsumexp(dim=1)


def collected(walk: KeySet, of: int, settings: KeySettings) -> Tensor:
    """Which of the seeds that crossed are candidates, bool (N,).

    "We start collecting the newly perturbed adversarial examples as key samples, only after 90% of seed inputs in a
    batch had already achieved misclassification." Those with the same step as the one that makes the 90 % full do not
    count as later. That can leave too few classes to match; the other rule takes the half with the largest sum of the
    ranks of distance and leverage.

    Args:
        walk: of all that crossed, in the order of the seeds, with their leverage.
        of: how many seeds walked.
    """
    if settings.rule == RULES[1]:
        ranks = walk.distance.argsort().argsort() + walk.leverage.argsort().argsort()
        half = torch.zeros(len(walk), dtype=torch.bool)
        half[ranks.topk((len(walk) + 1) // 2).indices] = True
        return half
    earlier = (walk.crossed[None, :] < walk.crossed[:, None]).sum(dim=1)
    return earlier >= 0.9 * of


def leverage(features: Tensor, of_data: Tensor, mu: float) -> Tensor:
    """Eq. 2: sqrt(H^T A^-1 H) with A = mu I + the sum of H H^T over natural data.

    "a large score of ‖H_l(x')‖_A indicates that similar inputs were not observed before by the model".

    Args:
        features: of key samples, (N, D).
        of_data: of validation images, (M, D).
        mu: above 0.

    Returns:
        float32 (N,); computed in float64.
    """
    data = of_data.double()
    matrix = mu * torch.eye(data.shape[1], dtype=torch.float64) + data.T @ data
    solved = torch.linalg.solve_triangular(torch.linalg.cholesky(matrix), features.double().T, upper=False)
    return solved.norm(dim=0).float()


def squeeze(classifier: nn.Module, keys: KeySet, settings: KeySettings) -> KeySet:
    """Each key moved up to the boundary: by sign steps of the margin f' - f*, until it is below `boundary`.

    "x' := x' + alpha sign(grad (L(F, x', f') - L(F, x', f*)))": of two cross entropies the difference is f* - f', to
    the last bit of exact arithmetic. The first step is a quarter of PGD's. A step that would change the class is not
    made, and halves the key's further ones.
    """
    device, dtype = where_it_computes(classifier)
    here, truth, other = keys.at.to(device, dtype), keys.truth.to(device), keys.adversarial.to(device)
    step = torch.full((len(here), 1, 1, 1), settings.step / 4, device=device, dtype=dtype)
    with gradients(classifier):
        here = here.requires_grad_()
        gap = margin(classifier(here), other, truth)
        for _ in range(settings.squeeze_steps):
            far = gap.detach() >= settings.boundary
            if not far.any():
                break
            [slope] = torch.autograd.grad(gap.sum(), here)
            there = (here.detach() - step * slope.sign()).clamp(0, 1).requires_grad_()
            scores = classifier(there)
            stays = lead(scores, other) >= 0
            take = (far & stays)[:, None, None, None]
            step = torch.where((far & ~stays)[:, None, None, None], step / 2, step)
            here = torch.where(take, there, here).detach().requires_grad_()
            gap = margin(classifier(here), other, truth)
    moved = here.detach().float().cpu()
    return replace(keys, at=moved, margin=gap.detach().float().cpu())


def valid(classifier: nn.Module, keys: KeySet, boundary: float) -> Tensor:
    """Which keys are what they shall be when the classifier is asked as at enrolment, bool (N,).

    x'_{t-1} has the true class, x'_t and x'_{t+1} the adversarial one, and x'_t is nearer than `boundary`.
    """
    scores = logits(classifier, keys.at)
    gap = margin(scores, keys.adversarial, keys.truth)
    return (
        (labels(classifier, keys.before) == keys.truth)
        & (scores.argmax(dim=1) == keys.adversarial)
        & (labels(classifier, keys.after) == keys.adversarial)
        & (gap >= 0)
        & (gap < boundary)
    )
