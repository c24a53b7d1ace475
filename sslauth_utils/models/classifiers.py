"""Classifiers: images in, logits out.

A `Classifier` takes RGB pixels in [0, 1], shape (N, 3, H, W), normalises them itself and returns one logit a class,
shape (N, C). Ours have a width; `library_classifier` takes any of torchvision's, `load_classifier` a file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslauth_utils.base import tensors
from sslauth_utils.base.checks import check_choice, check_whole
from sslauth_utils.base.device import plain_tensors, strict_arithmetic
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.seeds import seeded
from sslauth_utils.models import encoders
from sslauth_utils.models.encoders import NO_MEAN, NO_STD, Encoder, load_weights, pixel_stats, take_types
from sslauth_utils.models.features import (
    as_pixels,
    as_tensor,
    check_batch_size,
    eval_mode,
    failures_told,
    put_back,
    where_it_computes,
)  # fmt: skip
from sslauth_utils.models.labels import as_labels
from sslauth_utils.models.networks import RESNETS, VGG16, LeNet5, ResNetClassifier, SmallCNN
from sslauth_utils.models.resnet import STEMS

#: class, the original's width, the smallest image that it takes
_PLAIN = {"lenet5": (LeNet5, 6, 16), "small_cnn": (SmallCNN, 8, 8), "vgg16": (VGG16, 64, 8)}
ARCHITECTURES = (*_PLAIN, *RESNETS)
#: (mean, std) by the name that the profiles use
PIXEL_STATS = encoders.PIXEL_STATS | {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
#: images that answer at once: kernels chosen by batch size differ in the last bits, so it is fixed
BATCH = 256
#: images in a batch when enrolment looks whether batches matter, and how many it looks at
OTHER_BATCH, LOOKED_AT = 7, 64
#: how far logits may move when asked again, and in another batch, over the largest: rounding moves them by some 1e-6
AGAIN, IN_OTHER_BATCH = 1e-6, 1e-3


class Classifier(Encoder):
    """A network with its own pixel normalisation whose outputs are logits.

    Hash, pixel normalisation and file are an `Encoder`'s.
    """

    @property
    def classes(self) -> int:
        """C, the number of classes."""
        return self.feature_dim


def classes_of(classifier: nn.Module) -> int:
    """How many classes a classifier of ours has.

    Raises:
        UserError: it is a module of another kind.
    """
    if not isinstance(classifier, Classifier):
        raise UserError(
            f"A Classifier is needed (build_network, library_classifier, load_classifier), not a "
            f"{type(classifier).__name__}; Classifier(network, classes) makes one of your own network."
        )
    return classifier.classes


def build_network(
    arch: str,
    classes: int,
    width: int | None = None,
    size: int = 32,
    stem: str = "cifar",
    mean: float | Sequence[float] = NO_MEAN,
    std: float | Sequence[float] = NO_STD,
) -> Classifier:
    """A classifier with random weights from PyTorch's global generator.

    Args:
        arch: lenet5, small_cnn, vgg16, resnet20, resnet32 (CIFAR), resnet18, resnet50 or resnet152.
        classes: C, from 2 on.
        width: channels of the first convolution; None for the original's.
        size: side of the images; lenet5 and small_cnn take this size only.
        stem: of a ResNet: cifar, strided or imagenet.
        mean, std: pixel normalisation per channel, in units of the [0, 1] range; the default leaves pixels alone ("All
            input tensors are normalized to [0,1]", §IV of the sample-pairing paper).

    Raises:
        UserError: unknown architecture or stem, or a number out of range.
    """
    check_choice("The architecture", arch, ARCHITECTURES)
    check_whole("The number of classes", classes, 2)
    mean, std = pixel_stats(mean, std)
    if arch in RESNETS:
        check_choice("The stem", stem, STEMS)
        width = RESNETS[arch][2] if width is None else width
        check_whole("The width", width, 1)
        network: nn.Module = ResNetClassifier(arch, classes, width, stem)
    else:
        kind, original, smallest = _PLAIN[arch]
        width = original if width is None else width
        check_whole("The width", width, 1)
        check_whole(f"The image size for {arch}, in pixels,", size, smallest)
        network = kind(classes, width, size)
    config = {
        "arch": arch, "classes": classes, "width": width, "size": size, "stem": stem, "mean": list(mean),
        "std": list(std),
    }  # fmt: skip
    return Classifier(network, classes, mean, std, config)


def library_classifier(
    name: str,
    classes: int = 1000,
    size: int = 224,
    mean: float | Sequence[float] = NO_MEAN,
    std: float | Sequence[float] = NO_STD,
) -> Classifier:
    """One of torchvision's classification models with random weights.

    Args:
        name: ``torchvision:resnet18``, say. Weights come from a file afterwards, never from a hub.
        size: side of the images that it takes.

    Raises:
        UserError: another library, an unknown model, or one that gives no logits for images of this size.
    """
    from torchvision import models  # here, because it takes three seconds and few notebooks need it

    library, _, model = name.partition(":")
    if library != "torchvision" or model not in models.list_models(module=models):
        raise UserError(f"There is no classifier {name!r}; write torchvision:MODEL, with a model for classification.")
    mean, std = pixel_stats(mean, std)
    config = {"library": name, "classes": classes, "size": size, "mean": list(mean), "std": list(std)}
    classifier = Classifier(models.get_model(model, weights=None, num_classes=classes), classes, mean, std, config)
    found = logits(classifier, torch.zeros(2, 3, size, size)).shape[1]
    if found != classes:
        raise UserError(f"{name} gives {found} outputs for {classes} classes.")
    return classifier


def save_classifier(classifier: Classifier, path: Path, **facts: Any) -> None:
    """Write weights to `path` (.safetensors), with config, facts and their hash in its header (`tensors.describe`).

    Raises:
        UserError: as `encoders.save_encoder`.
    """
    encoders.check_comes_back(classifier, Classifier, _configured, facts)
    meta = {"config": classifier.config, "weights_sha256": classifier.sha256(), **facts}
    tensors.save(path, classifier.state_dict(), meta)


def load_classifier(path: Path) -> Classifier:
    """Read a classifier that `save_classifier` wrote, in eval mode, its weights in the types of the file.

    Raises:
        UserError: missing, damaged or changed file, a pickle, or no classifier.
    """
    weights, meta = tensors.load(path)
    classifier = _configured(meta.get("config"), str(path))
    take_types(classifier, weights)
    load_weights(classifier, weights, str(path))
    return classifier.eval()


@plain_tensors()
def _configured(config: dict[str, Any] | None, where: str) -> Classifier:
    """A new classifier of this config; the caller's random numbers go on as before."""
    config = dict(config or {})
    try:
        with seeded(0):
            if "library" in config:
                return library_classifier(config.pop("library"), **config)
            if "arch" in config and "classes" in config:
                return build_network(**config)
    except TypeError as error:
        raise UserError(f"{where} describes a classifier that this version does not know ({error}).") from error
    raise UserError(f"{where} does not say which classifier the weights are of.")


def logits(classifier: nn.Module, images: Tensor, batch_size: int = BATCH) -> Tensor:
    """Logits of images in strict arithmetic of the classifier's own type (no TF32, no autocast, eval mode).

    Args:
        classifier: maps (N, 3, H, W) in [0, 1] to (N, C); it stays on its device, every module in its mode.
        images: uint8 (N, 3, H, W), or float in [0, 1].
        batch_size: images at once.

    Returns:
        float64 (N, C) on the CPU: the numbers as the classifier gave them, float32 ones without loss.

    Raises:
        UserError: other images, a classifier that fails on them, answers that are no finite (N, C) tensor with C at
            least 2, or probabilities instead of logits.
    """
    images = as_pixels(images, "Images to classify")
    batch_size = check_batch_size(batch_size)
    device, dtype = where_it_computes(classifier)
    parts = []
    with eval_mode(classifier), strict_arithmetic():
        for batch in images.split(batch_size):
            pixels = batch.to(device)
            pixels = pixels.to(dtype) / 255 if pixels.dtype == torch.uint8 else pixels.to(dtype, copy=True)
            with failures_told(tuple(batch.shape)):
                answer = classifier(pixels)
            parts.append(answer.clone() if isinstance(answer, Tensor) else answer)  # it may use one buffer for all
    return check_logits(parts, len(images))


def check_logits(parts: Sequence[Any], count: int) -> Tensor:
    """The answers in `parts`, one after another, as float64 (count, C) on the CPU.

    Raises:
        UserError: as `logits`.
    """
    answers = _check_scores(parts, count)
    for whole, what in ((1, "probabilities"), (100, "per cent")):
        if _are_shares(answers / whole):
            raise UserError(f"The classifier gives {what} where logits are needed; take its softmax off.")
    return answers


def _are_shares(answers: Tensor) -> bool:
    """Whether each row (N, C) is of shares of one, as an API gives them: rounded, or the largest ones alone."""
    if not answers.numel() or not 0 <= answers.min() <= answers.max() <= 1 + 1e-3:
        return False
    sums, classes = answers.sum(dim=1), answers.shape[1]
    steps = [10.0**-digits for digits in (1, 2, 3, 4, 5)]
    rounded = [step for step in steps if (answers / step - (answers / step).round()).abs().max() < 1e-3]
    off = 1e-3 + (min(0.5 * classes * rounded[0], 0.5) if rounded else 0)
    kept = (answers > 0).sum(dim=1)
    largest_alone = len(answers) > 1 and bool((kept == kept[0]).all()) and kept[0] < classes
    return bool((sums - 1).abs().le(off).all()) or (largest_alone and 0.5 < sums.min() <= sums.max() <= 1 + off)


def _check_scores(parts: Sequence[Any], count: int) -> Tensor:
    if not all(isinstance(part, Tensor) and part.ndim == 2 and part.shape[1] >= 2 for part in parts):
        odd = next(part for part in parts if not (isinstance(part, Tensor) and part.ndim == 2 and part.shape[1] >= 2))
        shape = tuple(odd.shape) if isinstance(odd, Tensor) else type(odd).__name__
        raise UserError(
            f"The classifier gave {shape} where logits are needed, one a class: shape (N, C), C at least 2."
        )
    answers = torch.cat([part.detach().double().cpu() for part in parts])
    if len(answers) != count:
        raise UserError(f"The classifier gave {len(answers)} answers for {count} images; it must give one for each.")
    if not torch.isfinite(answers).all():
        raise UserError("The classifier gave NaN or infinite logits.")
    return answers


def as_answer(given: Any) -> Tensor:
    """What somebody answered, labels or logits: a tensor, a numpy array or lists (JSON), as a tensor on the CPU.

    Raises:
        UserError: it is no table of numbers.
    """
    try:
        answer = as_tensor(given)
        if not answer.is_complex() and not answer.is_meta:
            return answer
    except (TypeError, ValueError):
        pass
    raise UserError(
        f"An answer must be a tensor, a numpy array or lists of real numbers, which this {type(given).__name__} is not."
    )


def as_scores(given: Any, count: int) -> Tensor:
    """Logits, or probabilities, that somebody answered on `count` images, float64 (count, C) on the CPU.

    Raises:
        UserError: as `as_answer`, or no finite (count, C) numbers with C at least 2.
    """
    return _check_scores([as_answer(given)], count)


def repeatable_logits(classifier: nn.Module, images: Tensor) -> Tensor:
    """`logits` of images, having asked again, and, for the first ones, among other images.

    Raises:
        UserError: as `logits`, or the classifier changes itself, which is put back, or answers otherwise the second
            time or in another batch.
    """
    with put_back(classifier) as changed:
        found = _repeated(classifier, as_pixels(images, "Images to classify"))
    if changed:
        raise UserError(
            f"The classifier changes its own {changed[0]} when it runs, even in eval mode, so nothing can be enrolled; "
            "it was put back. Switch that off."
        )
    return found


def _repeated(classifier: nn.Module, images: Tensor) -> Tensor:
    first, again = logits(classifier, images), logits(classifier, images)
    largest = first.abs().max()
    same = torch.equal(first.argmax(dim=1), again.argmax(dim=1))
    if not same or (again - first).abs().max() > AGAIN * largest:
        raise UserError(
            "The classifier answers the same images with other labels or logits when asked again: nothing can be "
            "enrolled; switch off its dropout or noise."
        )
    few = images[:LOOKED_AT]
    other = 255 - few[:1] if few.dtype == torch.uint8 else 1 - few[:1]  # so that every image has other neighbours
    moved = logits(classifier, torch.cat([other, few]), OTHER_BATCH)[1:] - first[: len(few)]
    allowed = max(IN_OTHER_BATCH, 16 * torch.finfo(where_it_computes(classifier)[1]).eps)
    if moved.abs().max() > allowed * largest:
        raise UserError(
            "The classifier's logits depend on the batch: the same images get others among other images, so nothing "
            "can be enrolled; give its batch norm running statistics, or whatever looks across images."
        )
    return first


def labels(classifier: nn.Module, images: Tensor, batch_size: int = BATCH) -> Tensor:
    """Top-1 classes, int64 (N,), on the CPU; arguments and errors as `logits`."""
    return logits(classifier, images, batch_size).argmax(dim=1)


def accuracy(classifier: nn.Module, images: Tensor, truth: Tensor) -> float:
    """Share of `images` whose top-1 class is `truth`, whole numbers (N,); 0 to 1.

    Raises:
        UserError: as `logits`, or labels that do not fit (`as_labels`).
    """
    said = labels(classifier, images)
    return (said == as_labels(truth, len(said))).double().mean().item()
