"""Encoders and records that several notebooks need: made once, then found.

An artifact lies in ``results/<profile>/artifacts/<kind>-<scenario>-s<seed>-<address>``,
where the address hashes everything it depends on: settings, the code that makes
it, and the artifacts it is made from. Other settings or other code make another
artifact; nothing stale is ever taken, and nothing is made twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from sslauth_utils.config import load_profile
from sslauth_utils.device import pick_device
from sslauth_utils.encoders import (
    PIXEL_STATS,
    Encoder,
    build_encoder,
    encode,
    library_encoder,
    load_encoder,
    load_weights,
    save_encoder,
)
from sslauth_utils.errors import UserError
from sslauth_utils.files import read_json, sha256_file, sha256_json, write_json
from sslauth_utils.fingerprint import module_fingerprint
from sslauth_utils.keys import choose_keys
from sslauth_utils.paths import DATA, RESULTS, ROOT, user_data
from sslauth_utils.tensors import read_safetensors
from sslauth_utils.verification import Record, enrol

PRETRAIN, ENROL = "01_pretrain_encoders", "02_enrol_keys"


def find_or_make(profile: str, kind: str, address: str, make: Callable[[Path], None]) -> Path:
    """The folder of an artifact; `make` fills it if it is not there yet.

    `make` gets a working folder that survives a crash (checkpoints go there) and is
    renamed when complete. A lock lets a second process wait for the first.
    """
    folder = RESULTS / profile / "artifacts" / f"{kind}-{address[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not folder.is_dir():
            working = folder.with_name(folder.name + ".partial")
            working.mkdir(exist_ok=True)
            make(working)
            working.rename(folder)
    return folder


def data_files(*names: str) -> list[list[Any]]:
    """What the user's own files for these data sets are: another file, another artifact.

    Array files by name and SHA-256; folders of images by the path, size and time of every file.
    """
    found: list[list[Any]] = []
    for name in names:
        for folder in _image_folders(name):
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            found += [[p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
        home = user_data()
        arrays = sorted(path for path in home.iterdir() if path.name.startswith(name)) if home else []
        found += [[path.name, sha256_file(path)] for path in arrays if path.is_file()]
    return found


def _image_folders(name: str) -> list[Path]:
    """The folders that the data set `name` is read from, those that are there."""
    if name.startswith("folder:"):
        path = Path(name.removeprefix("folder:")).expanduser()
        places = [path if path.is_absolute() else ROOT / path]
    else:
        places = [home / "imagenet" for home in (user_data(), DATA) if home is not None and name == "imagenet"]
    return [place for place in places if place.is_dir()]


def pretrained_encoder(
    profile: str, scenario: str, seed: int, settings: Mapping[str, Any] | None = None
) -> tuple[Encoder, dict[str, Any]]:
    """The scenario's encoder, pre-trained by SimCLR, and what is known of it.

    Args:
        profile, scenario, seed: which one.
        settings: the parameters of notebook 01; None for the profile's.

    Returns:
        The encoder in eval mode on the CPU, and its facts: history (loss by epoch),
        knn_accuracy, linear_accuracy, chance, random_knn_accuracy (the same network
        before training), train_images, weights_sha256.
    """
    settings = notebook_settings(profile, PRETRAIN, scenario, seed, settings)
    address = encoder_address(scenario, seed, settings)

    def make(folder: Path) -> None:
        # Imported where they are needed: who finds the artifact should not wait for them.
        from sslauth_utils import downstream
        from sslauth_utils.data import load_images

        device = pick_device(settings["device"])
        data, size = settings["pretrain_data"], settings["size"]
        train = load_images(data, "train", size, settings["pretrain_images"] or None, seed)
        test = load_images(data, "test", size, settings["test_images"] or None, seed)
        torch.manual_seed(seed)
        stats = PIXEL_STATS[settings["pixel_stats"]]
        if ":" in settings["arch"]:
            encoder = library_encoder(settings["arch"], size, *stats)
        else:
            encoder = build_encoder(settings["arch"], settings["width"], settings["stem"], *stats)

        encoder.to(device)

        def accuracies(*probes: Callable) -> list[float]:
            """Of the encoder as it is now, by each of `probes` on its frozen features."""
            known, unknown = encode(encoder, train.images, 500), encode(encoder, test.images, 500)
            return [probe(known, train.labels, unknown, test.labels) for probe in probes]

        (random_knn,) = accuracies(downstream.knn_accuracy)
        if settings["weights_file"]:
            path = (user_data() or DATA) / settings["weights_file"]
            load_weights(encoder, read_safetensors(path), str(path))
            history = []
        else:
            history = _pretrain(encoder, train.images, settings, seed, device, folder / "checkpoint.safetensors")
        knn, linear = accuracies(downstream.knn_accuracy, downstream.linear_accuracy)
        save_encoder(
            encoder.cpu().eval(),
            folder / "encoder.safetensors",
            settings=settings,
            seed=seed,
            data={"name": train.name, "source": train.source, "train": len(train.images), "test": len(test.images)},
            classes=len(train.classes),
            chance=downstream.chance(test.labels),
            random_knn_accuracy=random_knn,
            knn_accuracy=knn,
            linear_accuracy=linear,
            history=history,
        )

    folder = find_or_make(profile, f"encoder-{scenario}-s{seed}", address, make)
    return load_encoder(folder / "encoder.safetensors"), read_json(folder / "encoder.json")


def enrolled_record(
    profile: str, scenario: str, seed: int, keys: str = "ood", settings: Mapping[str, Any] | None = None
) -> tuple[Record, dict[str, Any]]:
    """The trusted party's record of the scenario's encoder.

    Args:
        profile, scenario, seed: which encoder.
        keys: "ood" for key samples from the scenario's other data set (the paper's
            default), "id" for ones from the pre-training set, "id:5" for 5 from each class
            of it (A.2's K1; "id:100" is K2, "id:1" K3, for 100 keys). Each N draws with a
            seed of its own, or the sets would share images.
        settings: the parameters of notebook 02; None for the profile's.

    Returns:
        The record and its facts: history (generator training), classes (of the keys).

    Raises:
        UserError: `keys` is none of these.
    """
    origin, _, per_class = keys.partition(":")
    if origin not in ("ood", "id") or (per_class and not per_class.isdigit()):
        raise UserError(f"Key samples are 'ood', 'id' or 'id:N' (N from each class), not {keys!r}.")
    settings = notebook_settings(profile, ENROL, scenario, seed, settings)
    upstream = notebook_settings(profile, PRETRAIN, scenario, seed, None)
    address = record_address(profile, scenario, seed, keys, settings)

    def make(folder: Path) -> None:
        from sslauth_utils.data import load_images

        encoder, _ = pretrained_encoder(profile, scenario, seed)
        name = settings["key_data"] if origin == "ood" else upstream["pretrain_data"]
        source = load_images(name, "train", upstream["size"])
        chosen = choose_keys(source.labels, settings["n_keys"], int(per_class or 0) or None, _key_seed(keys, seed))
        history: list[dict[str, Any]] = []
        record = enrol(
            encoder.to(pick_device(settings["device"])),
            source.images[chosen],
            settings["objectives"] if keys == "ood" else ["min"],
            settings["tau"],
            settings["generator_size"],
            settings["generator_depth"],
            settings["generator_steps"],
            settings["generator_learning_rate"],
            seed,
            history,
        )
        record.save(folder / "record.safetensors")
        facts = {"settings": settings, "keys": keys, "data": source.name, "source": source.source, "history": history}
        facts["labels"] = source.labels[chosen].tolist()
        facts["classes"] = source.classes
        write_json(folder / "facts.json", facts)

    folder = find_or_make(profile, f"record-{keys.replace(':', '')}-{scenario}-s{seed}", address, make)
    record = replace(Record.load(folder / "record.safetensors"), device=pick_device(settings["device"]))
    return record, read_json(folder / "facts.json")


def _pretrain(
    encoder: Encoder,
    images: torch.Tensor,
    settings: Mapping[str, Any],
    seed: int,
    device: torch.device,
    checkpoint: Path,
) -> list[dict[str, Any]]:
    from sslauth_utils import simclr

    recipe = simclr.SimCLRSettings(
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        temperature=settings["temperature"],
        schedule=settings["schedule"],
        seed=seed,
    )
    history = simclr.pretrain(encoder, images, recipe, device, checkpoint)
    checkpoint.unlink(missing_ok=True)
    return history


def notebook_settings(
    profile: str, notebook: str, scenario: str, seed: int, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The parameters of `notebook` without profile, scenario and seed: `given`, or else the profile's."""
    values = load_profile(profile).parameters(notebook, scenario, seed) if given is None else given
    return {name: value for name, value in values.items() if name not in ("profile", "scenario", "seed")}


def _key_seed(keys: str, seed: int) -> int:
    """The seed that draws the key set `keys` for an encoder of seed `seed`."""
    return seed + 1000 * int(keys.partition(":")[2] or 0)


def record_address(
    profile: str, scenario: str, seed: int, keys: str = "ood", settings: Mapping[str, Any] | None = None
) -> str:
    """Hash of all that `enrolled_record` depends on, the encoder included."""
    settings = notebook_settings(profile, ENROL, scenario, seed, settings)
    upstream = notebook_settings(profile, PRETRAIN, scenario, seed, None)
    return sha256_json([
        settings,
        keys if ":" not in keys else [keys, _key_seed(keys, seed)],
        encoder_address(scenario, seed, upstream),
        data_files(settings["key_data"]),
        module_fingerprint("sslauth_utils.artifacts", "sslauth_utils.verification", "sslauth_utils.keys"),
    ])


def encoder_address(scenario: str, seed: int, settings: Mapping[str, Any]) -> str:
    """Hash of all that `pretrained_encoder` depends on."""
    code = module_fingerprint("sslauth_utils.artifacts", "sslauth_utils.simclr", "sslauth_utils.downstream")
    return sha256_json([scenario, seed, dict(settings), data_files(settings["pretrain_data"]), code])
