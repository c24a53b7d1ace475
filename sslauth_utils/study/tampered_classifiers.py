"""Labels that tampered copies of a protected classifier give its keys, and what the tampers cost and brought."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.attacks.last_layer import tune_last_layer
from sslauth_utils.attacks.poison import backdoor_scores, poison
from sslauth_utils.attacks.prune_global import prune_and_retrain
from sslauth_utils.attacks.retrain import RetrainSettings
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.models.classifiers import accuracy, labels
from sslauth_utils.study.profiles import Settings
from sslauth_utils.study.recipes.signature_keys import Held

#: (tamper, strength, labels of the keys int64 (K,), quantity to value)
Case = tuple[str, float, Tensor, dict[str, float]]
#: images uint8 (N, 3, H, W), classes int64 (N,)
Labelled = tuple[Tensor, Tensor]


def tampered_answers(
    protected: nn.Module, keys: Tensor, retraining: Labelled, poisoning: Labelled, held: Held, number: int,
    settings: Settings,
) -> list[Case]:  # fmt: skip
    """Every tamper of notebook 23 with one protected model, which is left untouched.

    Args:
        keys: float32 (K, 3, H, W).
        retraining: after pruning; the paper: "the original training data".
        poisoning: the backdoor's, before the trigger is stamped.
        number: of the protected model; draws batches and poisoned images.
        settings: the parameters of notebook 23.
    """
    cases: list[Case] = []

    def note(tamper: str, strength: float, model: nn.Module, **more: float) -> None:
        cost = {"accuracy": accuracy(model, held.test, held.test_truth)}
        cases.append((tamper, strength, labels(model, keys), cost | more))

    for optimiser in settings["tune_optimisers"]:
        tune_last_layer(
            protected, held.validation, held.validation_truth, settings["tune_rate"], settings["tune_epochs"],
            optimiser, seed=number,
            watch=lambda model, epoch, o=optimiser: note(f"last layer {o}", epoch, model),
        )  # fmt: skip
    again = RetrainSettings(settings["retrain_rate"], settings["retrain_epochs"], 64, seed=number)
    for rate in settings["pruning_rates"]:
        note("pruning", rate, prune_and_retrain(protected, rate, *retraining, again))
    trigger = Trigger.for_size(poisoning[0].shape[-1])
    attack = RetrainSettings(settings["backdoor_rate"], settings["backdoor_epochs"], 64)
    classes = int(poisoning[1].max()) + 1
    for trial in range(settings["backdoor_trials"]):
        target = int(torch.randint(classes, (1,), generator=torch.Generator().manual_seed(1000 * number + trial)))
        own = replace(attack, seed=1000 * number + trial)
        poisoned = poison(protected, *poisoning, trigger, target, settings["poison_share"], own)
        found: dict[str, Any] = backdoor_scores(poisoned, held.test, held.test_truth, trigger, target)
        note("backdoor", trial, poisoned, attack_success=found["attack_success"])
    return cases
