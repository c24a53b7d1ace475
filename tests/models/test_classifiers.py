"""Classifiers: shapes, parameter counts, files, answers, and their training."""

import copy
import re
import threading

import pytest
import torch
from torch import nn

from sslauth_utils.base import device
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import user_data
from sslauth_utils.base.tensors import read_safetensors
from sslauth_utils.images.load import known_names, load_images
from sslauth_utils.models import classifiers
from sslauth_utils.models.encoders import load_weights
from sslauth_utils.models.folding import fold_batch_norm
from sslauth_utils.models.networks import ZeroPadded, count_parameters
from sslauth_utils.models.penultimate import last_layer, penultimate
from sslauth_utils.models.supervised import SupervisedSettings, shifted, train_supervised


@pytest.mark.parametrize(
    ("arch", "size", "parameters"),
    [
        # 61,706 at 32 x 32 with one channel; ours has three
        ("lenet5", 32, 61_706 + 2 * 25 * 6),
        ("resnet20", 32, 269_722),  # He et al.: 0.27 M
        ("resnet18", 32, 11_173_962),  # with the CIFAR stem
        ("vgg16", 32, 14_718_912 + 5_130),
    ],
)
def test_an_architecture_has_the_papers_number_of_parameters(arch, size, parameters):
    with torch.device("meta"):
        network = classifiers.build_network(arch, 10, size=size).backbone
    assert count_parameters(network) == parameters


@pytest.mark.parametrize("arch", classifiers.ARCHITECTURES)
def test_every_architecture_gives_one_logit_a_class(arch):
    torch.manual_seed(0)
    classifier = classifiers.build_network(arch, 7, width=2, size=16)
    answers = classifiers.logits(classifier, torch.rand(3, 3, 16, 16))
    assert answers.shape == (3, 7) and answers.dtype == torch.float64


def test_resnet152_is_torchvisions_at_full_width():
    with torch.device("meta"):
        network = classifiers.build_network("resnet152", 1000, stem="imagenet").backbone
    assert count_parameters(network) == 60_192_808  # the 60.19 M of Table V


def test_a_zero_padded_shortcut_takes_every_second_pixel():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    out = ZeroPadded(2, 2)(x)
    assert out.shape == (1, 3, 2, 2) and out[0, 1].tolist() == [[0, 2], [8, 10]] and out[0, [0, 2]].abs().sum() == 0


def test_a_public_resnet20_loads_and_names_cifar10():
    """With the weights (akamaster/pytorch_resnet_cifar10) in, or beside, the folder that $SSLAUTH_DATA names."""
    home = user_data()
    places = [] if home is None else [home, home.parent / "weights"]
    name = "resnet20_cifar10_supervised_fp16.safetensors"
    weights = next((place / name for place in places if (place / name).is_file()), None)
    if weights is None or "cifar10_lossless" not in known_names():
        pytest.skip("the public weights, or exact CIFAR-10 images, are not here")
    classifier = classifiers.build_network("resnet20", 10, None, 32, "cifar", *classifiers.PIXEL_STATS["imagenet"])
    load_weights(classifier, read_safetensors(weights), name)
    test = load_images("cifar10_lossless", "test", 32, 100, 0)
    assert classifiers.accuracy(classifier, test.images, test.labels) > 0.8


def test_a_saved_classifier_comes_back_bit_for_bit(tmp_path):
    torch.manual_seed(1)
    classifier = classifiers.build_network("small_cnn", 5, width=4, size=8)
    classifiers.save_classifier(classifier, tmp_path / "c.safetensors", note="x")
    again = classifiers.load_classifier(tmp_path / "c.safetensors")
    pixels = torch.rand(4, 3, 8, 8)
    assert again.sha256() == classifier.sha256()
    assert torch.equal(classifiers.logits(again, pixels), classifiers.logits(classifier, pixels))


def test_torchvisions_classifier_gives_its_logits():
    classifier = classifiers.library_classifier("torchvision:squeezenet1_1", classes=4, size=64)
    assert classifiers.logits(classifier, torch.zeros(2, 3, 64, 64)).shape == (2, 4)


def test_answers_keep_the_arithmetic_of_the_classifier():
    torch.manual_seed(0)
    classifier = classifiers.build_network("small_cnn", 5, width=4, size=8).eval()
    pixels = torch.rand(6, 3, 8, 8)
    single, double = classifiers.logits(classifier, pixels), classifiers.logits(classifier.double(), pixels)
    assert torch.equal(single, single.float().double()) and not torch.equal(double, double.float().double())
    assert (single - double).abs().max() < 1e-5


def test_answering_leaves_train_mode_as_it_was():
    classifier = classifiers.build_network("small_cnn", 5, width=4, size=8).train()
    before = classifier.sha256()
    classifiers.logits(classifier, torch.rand(6, 3, 8, 8))
    assert classifier.training and classifier.sha256() == before


@pytest.mark.parametrize("arch", ["small_cnn", "vgg16", "resnet20", "resnet18"])
def test_batch_norm_folds_into_every_convolution(arch):
    torch.manual_seed(0)
    classifier = classifiers.build_network(arch, 5, width=4, size=16)
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
    folded = fold_batch_norm(classifier)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    pixels = torch.rand(4, 3, 16, 16)
    own, others = classifiers.logits(classifier, pixels), classifiers.logits(folded, pixels)
    assert torch.allclose(own, others, rtol=1e-3, atol=1e-4) and not torch.equal(own, others)


class Odd(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def largest(shares, count):
    """Each row's largest `count`, the others zero, as an API answers that names the first ones alone."""
    return torch.where(shares >= shares.topk(count).values[:, -1:], shares, 0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x.flatten(1)[:, :4].softmax(dim=1), "probabilities where logits are needed"),
        (lambda x: x.flatten(1)[:, :9].softmax(dim=1).mul(100).round() / 100, "probabilities where logits are needed"),
        (lambda x: x.flatten(1)[:, :9].softmax(dim=1).mul(1000).round() / 10, "per cent where logits are needed"),
        (lambda x: largest(x.flatten(1)[:, :9].mul(9).softmax(dim=1), 3), "probabilities where logits are needed"),
        (lambda x: x, "logits are needed, one a class"),
        (lambda x: x.flatten(1)[:, :1], "C at least 2"),
        (lambda x: {"logits": x}, "gave dict where logits"),
        (lambda x: x.flatten(1)[:1, :4], "1 answers for 3 images"),
        (lambda x: x.flatten(1)[:, :4] / 0, "NaN or infinite"),
    ],
)
def test_what_gives_no_logits_is_told_in_one_sentence(answer, message):
    with pytest.raises(UserError, match=message):
        classifiers.logits(Odd(answer), torch.rand(3, 3, 8, 8))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"arch": "alexnet", "classes": 10}, "The architecture must be one of"),
        ({"arch": "lenet5", "classes": 1}, "classes must be a whole number from 2"),
        ({"arch": "lenet5", "classes": 10, "size": 8}, "lenet5, in pixels, must be a whole number from 16"),
        ({"arch": "resnet20", "classes": 10, "stem": "x"}, "The stem must be one of"),
        ({"arch": "resnet20", "classes": 10, "width": 0}, "The width must be"),
    ],
)
def test_a_network_that_cannot_be_is_told_in_one_sentence(wanted, message):
    with pytest.raises(UserError, match=message):
        classifiers.build_network(**wanted)


def test_an_encoders_file_is_no_classifier(tmp_path):
    from sslauth_utils.models.encoders import build_encoder, save_encoder

    save_encoder(build_encoder(width=2), tmp_path / "e.safetensors")
    with pytest.raises(UserError, match="which classifier"):
        classifiers.load_classifier(tmp_path / "e.safetensors")


@pytest.mark.parametrize("fast", [False, True], ids=["float32", "bfloat16"])
def test_training_learns_digits_and_repeats_itself(monkeypatch, fast):
    """On every machine in both kinds of arithmetic, whichever is its own."""
    monkeypatch.setattr(device, "fast_bfloat16", lambda _device: fast)
    digits, test = (load_images("embedded_digits", split, 8) for split in ("train", "test"))
    settings = SupervisedSettings(epochs=3, batch_size=64, learning_rate=0.1)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        classifier = classifiers.build_network("small_cnn", 10, width=8, size=8)
        history = train_supervised(classifier, digits.images, digits.labels, settings, torch.device("cpu"))
        found.append(classifier.sha256())
    assert found[0] == found[1] and len(history) == 3 and history[-1]["loss"] < history[0]["loss"]
    assert not classifier.training
    assert classifiers.accuracy(classifier, test.images, test.labels) > 0.85


def test_shifting_moves_and_mirrors_whole_images():
    image = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8).repeat(200, 3, 1, 1)
    moved = shifted(image, torch.Generator().manual_seed(0))
    assert moved.shape == image.shape and moved.dtype == torch.uint8
    seen = {tuple(x[0, 3:5, 3:5].flatten().tolist()) for x in moved}
    steps = {(b - a, c - a) for a, b, c, _ in seen}
    assert steps == {(1, 8), (-1, 8)} and len(seen) == 18  # 3 x 3 places, mirrored or not


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(8, 3, 8, 8)}, "stored pixels"),
        ({"labels": torch.zeros(7, dtype=torch.int64)}, "one label an image"),
        ({"labels": torch.full((8,), 12)}, "Labels to train on from 12 to 12 do not fit 10 classes"),
        ({"settings": SupervisedSettings(batch_size=9)}, "batches of 9"),
    ],
)
def test_what_cannot_be_trained_on_is_told_in_one_sentence(change, message):
    given = {
        "images": torch.zeros(8, 3, 8, 8, dtype=torch.uint8), "labels": torch.zeros(8, dtype=torch.int64),
        "settings": SupervisedSettings(batch_size=4), "device": torch.device("cpu"),
    }  # fmt: skip
    with pytest.raises(UserError, match=re.escape(message)):
        train_supervised(classifiers.build_network("small_cnn", 10, size=8), **(given | change))


@pytest.mark.parametrize("cast", [nn.Module.half, nn.Module.bfloat16, nn.Module.double, lambda c: c.backbone.half()])
def test_a_saved_classifier_keeps_its_types(tmp_path, cast):
    classifier = classifiers.build_network("small_cnn", 5, width=4, size=8)
    cast(classifier)
    classifiers.save_classifier(classifier, tmp_path / "c.safetensors")
    again = classifiers.load_classifier(tmp_path / "c.safetensors")
    assert again.sha256() == classifier.sha256()


class OneBuffer(nn.Module):
    """Gives all its answers, and has its last layer read all its features, in one buffer, as compiled engines do."""

    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Conv2d(3, 6, 8), nn.Linear(6, 4)
        self.features, self.answers = torch.zeros(8, 6), torch.zeros(8, 4)

    def forward(self, x):
        features = self.features[: len(x)].copy_(self.body(x).flatten(1))
        return self.answers[: len(x)].copy_(self.fc(features))


def test_a_classifier_that_uses_one_buffer_for_all_answers_is_read_batch_by_batch():
    torch.manual_seed(0)
    model, pixels = OneBuffer(), torch.rand(20, 3, 8, 8)
    features = model.body(pixels).flatten(1).detach()
    assert torch.allclose(penultimate(model, pixels, 8), features, atol=1e-6)
    assert torch.allclose(classifiers.logits(model, pixels, 8).float(), model.fc(features), atol=1e-6)


class Waiting(nn.Module):
    """Two linear layers; each pass waits in between until another one has come as far."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.barrier = nn.Linear(12, 6), nn.Linear(6, 4), threading.Barrier(2)

    def forward(self, x):
        features = self.first(x.flatten(1))
        answer = self.last(features)
        self.barrier.wait(60)
        return answer


def test_two_threads_get_the_features_of_their_own_images():
    torch.manual_seed(0)
    model, found = Waiting(), {}
    pixels = [torch.rand(count, 3, 2, 2) for count in (3, 5)]

    def ask(number):
        found[number] = penultimate(model, pixels[number]), last_layer(model, pixels[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, own in enumerate(pixels):
        assert torch.allclose(found[number][0], model.first(own.flatten(1)), atol=1e-6)
        assert found[number][1] == "last"
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x + 1e-2 * torch.randn_like(x), "when asked again"),
        (lambda x: nn.functional.dropout(x, 0.1), "when asked again"),
        (lambda x: x - x.mean(dim=0), "depend on the batch"),
        (lambda x: x + len(x), "depend on the batch"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_what_does_not_repeat_its_answers_cannot_be_enrolled(answer, message, dtype):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.map = nn.Linear(12, 5)

        def forward(self, x):
            return answer(self.map(x.flatten(1)))

    with pytest.raises(UserError, match=message):
        classifiers.repeatable_logits(Odd().to(dtype), torch.rand(20, 3, 2, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("arch", ["small_cnn", "resnet20"])
def test_what_repeats_its_answers_gives_its_logits(arch, dtype):
    torch.manual_seed(0)
    classifier = classifiers.build_network(arch, 5, width=8, size=8).eval().to(dtype)
    pixels, state = torch.rand(20, 3, 8, 8), torch.get_rng_state()
    assert torch.equal(classifiers.repeatable_logits(classifier, pixels), classifiers.logits(classifier, pixels))
    assert torch.equal(torch.get_rng_state(), state)


def test_training_does_not_depend_on_what_the_caller_has_switched_on():
    torch.manual_seed(0)
    first = classifiers.build_network("small_cnn", 4, width=4, size=8)
    second = copy.deepcopy(first)
    images = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    recipe = SupervisedSettings(epochs=1, batch_size=8)
    train_supervised(first, images, torch.arange(16) % 4, recipe, "cpu")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        train_supervised(second, images, torch.arange(16) % 4, recipe, torch.device("cpu"))
    assert first.sha256() == second.sha256()
