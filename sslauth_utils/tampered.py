"""Tampered encoders that several notebooks need: attacked once, then found (see `artifacts`)."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sslauth_utils import tensors
from sslauth_utils.artifacts import (
    PRETRAIN,
    data_files,
    encoder_address,
    enrolled_record,
    find_or_make,
    notebook_settings,
    pretrained_encoder,
    record_address,
)
from sslauth_utils.attacks.backdoor import BackdoorSettings, backdoor
from sslauth_utils.attacks.fine_tune import FineTuneSettings, continue_simclr, fine_tune, refresh_batch_norm
from sslauth_utils.attacks.trigger import Trigger
from sslauth_utils.classifier import ClassifierSettings, build_classifier
from sslauth_utils.data import Images, load_images
from sslauth_utils.device import pick_device
from sslauth_utils.downstream import knn_accuracy
from sslauth_utils.downstream_task import DownstreamTask, split_off
from sslauth_utils.encoders import Encoder, encode, load_encoder, save_encoder
from sslauth_utils.errors import UserError
from sslauth_utils.files import read_json, sha256_json
from sslauth_utils.fingerprint import module_fingerprint
from sslauth_utils.simclr import SimCLRSettings
from sslauth_utils.verification import Record, respond, verify

FINE_TUNE, BACKDOOR = "04_fine_tuning", "06_backdoor"
METHODS = ("supervised", "simclr", "batch norm")
Settings = Mapping[str, Any]


def downstream_task(
    profile: str, scenario: str, seed: int, target: str, settings: Settings | None = None
) -> DownstreamTask:
    """The `DownstreamTask` that the notebooks call `target`, with the profile's images and classifier.

    A tenth of the labelled images is the adversary's; the victim's classifier trains on the others.

    Args:
        target: one of the targets of 06_backdoor: stl10, gtsrb or svhn, the paper's names;
            the profile says which data set plays each.
        settings: the parameters of notebook 06, here and below; None for the profile's.

    Raises:
        UserError: unknown target, or a class that the set lacks.
    """
    settings = notebook_settings(profile, BACKDOOR, scenario, seed, settings)
    name, wanted = _target(settings, target)
    size = notebook_settings(profile, PRETRAIN, scenario, seed, None)["size"]

    def at_most(split: str, wanted: int) -> Images:
        everything = load_images(name, split, size)
        return load_images(name, split, size, wanted, seed) if 0 < wanted < len(everything) else everything

    train, adversary = split_off(at_most("train", settings["downstream_images"]), settings["references"], seed)
    test = at_most("test", settings["downstream_test_images"])
    recipe = ClassifierSettings(settings["classifier_epochs"], 64, settings["classifier_learning_rate"], seed)
    return DownstreamTask(train, test, adversary, wanted, Trigger.for_size(size), recipe)


def clean_task(
    profile: str, scenario: str, seed: int, target: str, settings: Settings | None = None
) -> tuple[nn.Sequential, dict[str, Any]]:
    """The downstream classifier of the untouched encoder, and its facts.

    Returns:
        The classifier, and: scores (`DownstreamTask.score`; its attack success is ASR-B), chance,
        train and train_classes (name and number of classes of the data set), wanted (name of the
        target class).
    """
    settings = notebook_settings(profile, BACKDOOR, scenario, seed, settings)
    address = _task_address(profile, scenario, seed, target, settings)

    def make(folder: Path) -> None:
        encoder, _ = pretrained_encoder(profile, scenario, seed)
        encoder.to(pick_device(settings["device"]))
        task = downstream_task(profile, scenario, seed, target, settings)
        classifier = task.fit(encoder)
        facts = {
            "scores": task.score(encoder, classifier), "chance": task.chance, "train": task.train.name,
            "train_classes": len(task.train.classes), "wanted": task.train.classes[task.target],
            "feature_dim": encoder.feature_dim,
        }  # fmt: skip
        tensors.save(folder / "classifier.safetensors", classifier.state_dict(), facts)

    folder = find_or_make(profile, f"task-{target}-{scenario}-s{seed}", address, make)
    weights, facts = tensors.load(folder / "classifier.safetensors")
    classifier = build_classifier(facts["feature_dim"], facts["train_classes"])
    classifier.load_state_dict(weights)
    return classifier.eval(), facts


def backdoored_encoder(
    profile: str,
    scenario: str,
    seed: int,
    target: str,
    imitation: float = 0.0,
    settings: Settings | None = None,
) -> tuple[Encoder, dict[str, Any]]:
    """The scenario's encoder with a backdoor for `target`, by the recipe of notebook 06.

    Args:
        imitation: lambda of eq. 6; above 0 the adversary knows the record's key samples.

    Returns:
        The tampered encoder, and its facts: scores (`DownstreamTask.score` with a classifier
        trained on this encoder, as a user would), history (by epoch: losses; per-key
        similarities by DCmp and Trans; scores of the classifier that was trained on the clean
        encoder, as nobody trains one an epoch), n_references, overlap (key samples that
        are shadow images too).
    """
    settings = notebook_settings(profile, BACKDOOR, scenario, seed, settings)
    recipe = BackdoorSettings(
        settings["epochs"], settings["batch_size"], settings["learning_rate"], settings["momentum"],
        settings["weight_decay"], settings["lambda1"], settings["lambda2"], float(imitation), settings["schedule"],
        settings["shared_rate"], seed,
    )  # fmt: skip
    address = sha256_json([
        asdict(recipe), settings["shadow_images"], record_address(profile, scenario, seed),
        _task_address(profile, scenario, seed, target, settings), _code(),
    ])  # fmt: skip

    def make(folder: Path) -> None:
        encoder, _ = pretrained_encoder(profile, scenario, seed)
        device = pick_device(settings["device"])
        encoder.to(device)
        record, _ = enrolled_record(profile, scenario, seed)
        task = downstream_task(profile, scenario, seed, target, settings)
        shadow = shadow_images(profile, scenario, seed, settings)
        references = task.references(encoder, settings["references"])
        classifier, _ = clean_task(profile, scenario, seed, target, settings)

        def watch(tampered: nn.Module, row: dict[str, Any]) -> dict[str, Any]:
            return _similarities(record, tampered) | {"scores": task.score(tampered, classifier)}

        checkpoint = folder / "checkpoint.safetensors"
        tampered, history = backdoor(
            encoder, shadow, references, task.trigger, recipe, device,
            record.challenge() if imitation else None, checkpoint, watch,
        )
        scores = task.score(tampered, task.fit(tampered))
        save_encoder(
            tampered.cpu(), folder / "encoder.safetensors", settings=settings, target=target, imitation=imitation,
            seed=seed, scores=scores, history=history, n_references=len(references),
            overlap=overlapping(record.challenge(), shadow),
        )
        checkpoint.unlink(missing_ok=True)

    kind = f"backdoor-{target}-{imitation:g}-{scenario}-s{seed}"
    folder = find_or_make(profile, kind, address, make)
    return load_encoder(folder / "encoder.safetensors"), read_json(folder / "encoder.json")


def fine_tuned_encoder(
    profile: str,
    scenario: str,
    seed: int,
    method: str = "supervised",
    learning_rate: float | None = None,
    settings: Settings | None = None,
) -> tuple[Encoder, dict[str, Any]]:
    """The scenario's encoder fine-tuned as notebook 04 says.

    Args:
        method: "supervised", "simclr" or "batch norm" (statistics only).
        learning_rate: None for the profile's first; "batch norm" has none.
        settings: the parameters of notebook 04; None for the profile's.

    Returns:
        The tuned encoder, and its facts: scores (accuracy on the task before and after, by kNN
        on frozen features) and history (by epoch: losses, per-key similarities).

    Raises:
        UserError: an unknown method.
    """
    if method not in METHODS:
        raise UserError(f"Unknown way of fine-tuning {method!r}; use one of {', '.join(METHODS)}.")
    settings = notebook_settings(profile, FINE_TUNE, scenario, seed, settings)
    rate = settings["learning_rates"][0] if learning_rate is None else learning_rate
    if method == "batch norm":
        rate = 0.0  # no weight is trained
    used = {name: value for name, value in settings.items() if name != "learning_rates"}
    if method == "simclr":  # trains on the shadow images
        used["shadow_images"] = notebook_settings(profile, BACKDOOR, scenario, seed, None)["shadow_images"]
    data = data_files(settings["tune_data"])
    address = sha256_json([used, method, rate, record_address(profile, scenario, seed), data, _code()])

    def make(folder: Path) -> None:
        encoder, _ = pretrained_encoder(profile, scenario, seed)
        device = pick_device(settings["device"])
        encoder.to(device)
        record, _ = enrolled_record(profile, scenario, seed)
        size = notebook_settings(profile, PRETRAIN, scenario, seed, None)["size"]
        train = tuning_images(profile, scenario, seed, settings)
        test = load_images(settings["tune_data"], "test", size, settings["tune_test_images"] or None, seed)
        epochs, batch, checkpoint = settings["epochs"], settings["batch_size"], folder / "checkpoint.safetensors"

        def watch(tuned: nn.Module, row: dict[str, Any]) -> dict[str, Any]:
            return _similarities(record, tuned)

        if method == "supervised":
            recipe = FineTuneSettings(epochs, batch, rate, seed)
            tuned, history = fine_tune(encoder, train.images, train.labels, recipe, device, checkpoint, watch)
        elif method == "simclr":
            recipe = SimCLRSettings(epochs=epochs, batch_size=batch, learning_rate=rate, seed=seed)
            tuned, history = continue_simclr(
                encoder, shadow_images(profile, scenario, seed)[: len(train)], recipe, device, checkpoint, watch
            )
        else:
            tuned, history = refresh_batch_norm(encoder, train.images, epochs, batch, device, watch)

        def accuracy(of: nn.Module) -> float:
            return knn_accuracy(encode(of, train.images, 500), train.labels, encode(of, test.images, 500), test.labels)

        scores = {"clean": accuracy(encoder), "tuned": accuracy(tuned), "n_test": len(test)}
        save_encoder(
            tuned.cpu(), folder / "encoder.safetensors", settings=settings, method=method, learning_rate=rate,
            seed=seed, scores=scores, history=history,
        )
        checkpoint.unlink(missing_ok=True)

    kind = f"tuned-{method.replace(' ', '-')}-{rate:g}-{scenario}-s{seed}"
    folder = find_or_make(profile, kind, address, make)
    return load_encoder(folder / "encoder.safetensors"), read_json(folder / "encoder.json")


def tuning_images(profile: str, scenario: str, seed: int, settings: Settings | None = None) -> Images:
    """The labelled training images of notebook 04."""
    settings = notebook_settings(profile, FINE_TUNE, scenario, seed, settings)
    size = notebook_settings(profile, PRETRAIN, scenario, seed, None)["size"]
    return load_images(settings["tune_data"], "train", size, settings["tune_images"] or None, seed)


def shadow_images(profile: str, scenario: str, seed: int, settings: Settings | None = None) -> Tensor:
    """The adversary's images, uint8 (N, 3, H, W): the first ``shadow_images`` (0: all) of the pre-training subset."""
    upstream = notebook_settings(profile, PRETRAIN, scenario, seed, None)
    wanted = notebook_settings(profile, BACKDOOR, scenario, seed, settings)["shadow_images"]
    images = load_images(
        upstream["pretrain_data"], "train", upstream["size"], upstream["pretrain_images"] or None, seed
    ).images
    return images[:wanted] if wanted else images


def overlapping(keys: Tensor, images: Tensor) -> int:
    """How many of the key samples, uint8 (K, 3, H, W), are among `images`, byte for byte."""
    known = {image.numpy().tobytes() for image in images}
    return sum(key.numpy().tobytes() in known for key in keys)


def _similarities(record: Record, encoder: nn.Module) -> dict[str, Any]:
    report = verify(record, respond(encoder, record.challenge()))
    return {"similarity": {scheme: report[scheme].similarity.tolist() for scheme in ("DCmp", "Trans")}}


def _target(settings: Settings, target: str) -> tuple[str, int]:
    names = settings["targets"]
    if target not in names:
        raise UserError(f"There is no target {target!r}; the profile's 06_backdoor has {', '.join(names)}.")
    place = names.index(target)
    return settings["target_data"][place], settings["target_classes"][place]


def _task_address(profile: str, scenario: str, seed: int, target: str, settings: Settings) -> str:
    name, wanted = _target(settings, target)
    used = [settings[key] for key in sorted(settings) if key.startswith(("downstream_", "classifier_"))]
    used.append(settings["references"])  # which the classifier does not see
    upstream = notebook_settings(profile, PRETRAIN, scenario, seed, None)
    return sha256_json([name, wanted, used, encoder_address(scenario, seed, upstream), data_files(name), _code()])


def _code() -> str:
    """Of this module and all attacks, classifiers and data sets that it uses: whatever is edited there is run again."""
    return module_fingerprint("sslauth_utils.tampered")
