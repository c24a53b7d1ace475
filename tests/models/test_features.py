"""Features of stored images: strict, whatever the batch, and the encoder left as it was."""

import copy
import json
import threading

import numpy as np
import pytest
import torch
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.encoders import wrap
from sslauth_utils.models.features import as_pixels, encode, put_back


def test_stored_and_float_pixels_give_the_same_features(tiny, pictures):
    assert torch.equal(encode(tiny, pictures), encode(tiny, pictures.float() / 255))


@pytest.mark.parametrize("batch_size", [1, 2, 4, 9, 1000])
def test_features_do_not_depend_on_the_batch(tiny, pictures, batch_size):
    together = encode(tiny, pictures)
    assert torch.allclose(encode(tiny, pictures, batch_size), together, rtol=1e-5, atol=1e-6)
    assert together.dtype == torch.float32 and together.device.type == "cpu" and not together.requires_grad


def test_features_of_an_image_do_not_depend_on_its_neighbours(tiny, pictures):
    order = torch.randperm(9, generator=torch.Generator().manual_seed(5))
    assert torch.allclose(encode(tiny, pictures[order]), encode(tiny, pictures)[order], rtol=1e-5, atol=1e-6)


def test_encoding_again_gives_the_same_bits(tiny, pictures):
    assert torch.equal(encode(tiny, pictures), encode(tiny, pictures))


def test_modules_that_a_reader_froze_stay_frozen(tiny, pictures):
    mixed = tiny.train()
    frozen = [module for module in mixed.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in frozen:
        module.eval()
    before = {name: module.training for name, module in mixed.named_modules()}
    encode(mixed, pictures)
    assert {name: module.training for name, module in mixed.named_modules()} == before
    assert set(before.values()) == {True, False}


@pytest.mark.parametrize("training", [True, False])
def test_encoding_uses_eval_mode_and_leaves_the_encoder_as_it_was(tiny, pictures, training):
    expected, before = encode(tiny, pictures), tiny.sha256()
    tiny.train(training)
    assert torch.equal(encode(tiny, pictures), expected)
    assert tiny.training is training and tiny.backbone.bn1.training is training
    assert tiny.sha256() == before, "batch-norm statistics moved"


def test_the_mode_comes_back_after_an_error(tiny, pictures):
    tiny.train()
    with torch.no_grad():
        tiny.backbone.conv1.weight[0] = float("nan")
    with pytest.raises(UserError, match="NaN or infinite features for 9 of 9 images"):
        encode(tiny, pictures)
    assert tiny.training and torch.is_grad_enabled()


def test_encoding_is_strict_even_inside_autocast_and_puts_the_switches_back(tiny, pictures):
    expected = encode(tiny, pictures)
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, True
    seen = []
    tiny.backbone.register_forward_hook(lambda *_: seen.append((matmul.allow_tf32, torch.is_autocast_enabled("cpu"))))
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(encode(tiny, pictures), expected)
            assert torch.is_autocast_enabled("cpu")
        assert seen == [(False, False)] and matmul.allow_tf32 is True
    finally:
        matmul.allow_tf32 = before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_encoder_of_another_type_is_run_in_it(tiny, pictures, dtype):
    expected = encode(tiny, pictures)
    features = encode(tiny.to(dtype), pictures)
    assert features.dtype == torch.float32
    assert torch.allclose(features, expected, rtol=0.05, atol=0.05)
    assert dtype == torch.float64 or not torch.equal(features, expected)


@pytest.mark.parametrize(
    "shape", [(0, 3, 32, 32), (3, 32, 32), (2, 1, 32, 32), (2, 32, 32, 3)], ids=["none", "one-image", "grey", "last"]
)
def test_what_is_no_batch_of_images_is_told(tiny, shape):
    with pytest.raises(UserError) as caught:
        encode(tiny, torch.zeros(shape, dtype=torch.uint8))
    assert str(caught.value) == (f"Images to encode must have shape (N, 3, H, W) with N at least 1, not {shape}.")


def test_an_encoder_without_weights_can_be_encoded_with(pictures):
    assert encode(nn.Flatten(), pictures).shape == (9, 3 * 32 * 32)


def test_features_are_those_of_a_plain_forward_pass_to_the_bit(tiny, pictures):
    with torch.no_grad():
        assert torch.equal(encode(tiny, pictures), tiny(pictures.float() / 255))
        parts = [tiny(part.float() / 255) for part in pictures.split(4)]
    assert torch.equal(encode(tiny, pictures, 4), torch.cat(parts))


# --- pixels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "send",
    [
        lambda x: torch.tensor(json.loads(json.dumps(x.tolist()))),
        lambda x: x.to(torch.int16),
        lambda x: x.to(torch.uint16),
        lambda x: x.numpy(),
        lambda x: x.numpy().astype(">i4"),
        lambda x: x.permute(0, 2, 3, 1).contiguous().numpy().transpose(0, 3, 1, 2),
        lambda x: x.flip(3).numpy()[..., ::-1],
    ],
    ids=["json", "int16", "uint16", "numpy", "big-endian", "numpy-view", "numpy-reversed"],
)
def test_whole_numbers_are_stored_pixels_whatever_their_type(tiny, pictures, send):
    assert torch.equal(as_pixels(send(pictures)), pictures) and as_pixels(send(pictures)).dtype == torch.uint8
    assert torch.equal(encode(tiny, send(pictures)), encode(tiny, pictures))


@pytest.mark.parametrize("send", [lambda x: x, torch.Tensor.numpy, torch.Tensor.double], ids=["float", "numpy", "64"])
def test_float_pixels_are_taken_as_they_are(tiny, pictures, send):
    pixels = pictures.float() / 255
    assert torch.equal(as_pixels(pixels), pixels)
    assert torch.equal(encode(tiny, send(pixels)), encode(tiny, pictures))


def test_a_read_only_array_is_no_matter(tiny, pictures):
    array = pictures.numpy().copy()
    array.setflags(write=False)
    assert torch.equal(encode(tiny, array), encode(tiny, pictures))


PLAIN = torch.full((2, 3, 4, 4), 0.5)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (255 * PLAIN, "Keys of type float32 must lie in [0, 1], but these go from 127.5 to 127.5: divide them by 255"),
        (4 * PLAIN - 3, "must lie in [0, 1], but these go from -1 to -1: normalisation is the encoder's own, or hand"),
        (1.0 + PLAIN.half(), "Keys of type float16 must lie in [0, 1]"),
        ((512 * PLAIN).long(), "Keys of whole numbers must lie in 0 to 255, but these go from 256 to 256."),
        ((-2 * PLAIN).to(torch.int8), "Keys of whole numbers must lie in 0 to 255, but these go from -1 to -1."),
        (np.full((1, 3, 2, 2), 40000, np.uint16), "must lie in 0 to 255, but these go from 40000 to 40000."),
        (PLAIN / 0, "Keys have NaN or infinite pixels."),
        (PLAIN * float("nan"), "Keys have NaN or infinite pixels."),
        (PLAIN > 0, "Keys must be of type uint8 or float, not bool."),
        (PLAIN.to(torch.complex64), "Keys must be of type uint8 or float, not complex64."),
        (np.full((1, 3, 2, 2), "x"), "Keys must be of type uint8 or float, not <U1."),
        (np.full((1, 3, 2, 2), None), "Keys must be of type uint8 or float, not object."),
        (PLAIN.tolist(), "Keys must be a tensor or a numpy array, not list."),
        (PLAIN.numpy()[0], "Keys must have shape (N, 3, H, W) with N at least 1, not (3, 4, 4)."),
        (PLAIN[..., :0], "Keys must have shape (N, 3, H, W) with N at least 1, not (2, 3, 4, 0)."),
    ],
)  # fmt: skip
def test_what_are_no_pixels_is_told(images, sentence):
    with pytest.raises(UserError) as caught:
        as_pixels(images, "Keys")
    assert sentence in str(caught.value)


def test_an_encoder_that_works_in_place_leaves_the_images_alone(pictures):
    class InPlace(nn.Module):
        def forward(self, x):
            return x.mul_(2).flatten(1)

    pixels = pictures.float() / 255
    before = pixels.clone()
    assert torch.equal(encode(InPlace(), pixels), 2 * before.flatten(1)) and torch.equal(pixels, before)


# --- several at once, and the reader's settings -----------------------------------------------------------------------


def test_two_threads_encode_at_once_and_leave_the_encoder_as_it_was(tiny, pictures):
    """The first one is still inside when the second, in between, has come and gone."""
    expected = encode(tiny, pictures)
    mixed = tiny.train()
    mixed.backbone.layer1.eval()
    before, weights = {name: module.training for name, module in mixed.named_modules()}, mixed.sha256()
    second_inside, second_gone, found = threading.Event(), threading.Event(), {}

    def pause(*_):
        if threading.current_thread().name == "first":
            second_inside.wait(10)
            second_gone.wait(0.2)
        else:
            second_inside.set()
            first_gone.wait(0.2)

    def run():
        found[threading.current_thread().name] = encode(mixed, pictures, 4)
        (first_gone if threading.current_thread().name == "first" else second_gone).set()

    first_gone = threading.Event()
    mixed.backbone.conv1.register_forward_hook(pause)
    threads = [threading.Thread(target=run, name=name) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.allclose(found[name], expected, rtol=1e-5, atol=1e-6) for name in ("first", "second"))
    assert {name: module.training for name, module in mixed.named_modules()} == before
    assert mixed.sha256() == weights, "batch-norm statistics moved"


def test_two_encoders_that_share_a_backbone_may_encode_at_once(tiny, pictures):
    tiny.train()
    other, inside, gone = wrap(tiny.backbone), threading.Event(), threading.Event()
    hook = tiny.backbone.layer1.register_forward_hook(lambda *_: inside.set() or (gone.wait(10) and None))
    thread = threading.Thread(target=lambda: encode(other, pictures))
    thread.start()
    inside.wait(10)
    hook.remove()
    weights = tiny.sha256()
    encode(tiny, pictures)
    assert not tiny.backbone.bn1.training, "the other one still needs it so"
    gone.set()
    thread.join()
    assert all(module.training for module in tiny.modules()) and tiny.sha256() == weights


def test_a_compiled_encoder_keeps_its_mode(tiny, pictures):
    compiled = torch.compile(tiny.train(), backend="eager")
    weights = tiny.sha256()
    encode(compiled, pictures)
    assert all(module.training for module in compiled.modules()) and tiny.sha256() == weights


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_encoder_keeps_its_mode(pictures):
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.BatchNorm2d(4), nn.Flatten()).train())
    weights = copy.deepcopy(scripted.state_dict())
    encode(scripted, pictures)
    assert all(module.training for module in scripted.modules())
    assert all(torch.equal(value, weights[name]) for name, value in scripted.state_dict().items())


def test_an_encoder_that_caches_can_be_trained_afterwards(pictures):
    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.position = nn.Conv2d(3, 4, 8, 8), None

        def forward(self, x):
            y = self.patch(x).flatten(1)
            self.position = torch.sin(torch.arange(y.shape[1])) if self.position is None else self.position
            return y * self.position

    encoder = Cached()
    with torch.inference_mode():
        features = encode(encoder, pictures)
    assert not features.is_inference()
    encoder(pictures.float()).sum().backward()
    assert encoder.patch.weight.grad.any()


class CacheOfTrainMode(nn.Module):
    """Forgets what it has made of its weights when it goes to train mode, as LeViT does."""

    def __init__(self):
        super().__init__()
        self.linear, self.made = nn.Linear(3, 4), {}

    def train(self, mode=True):
        self.made = {} if mode else self.made
        return super().train(mode)

    def forward(self, x):
        if self.training:
            return self.linear(x.mean((2, 3)))
        self.made.setdefault("weight", 2 * self.linear.weight.detach())
        return x.mean((2, 3)) @ self.made["weight"].T


class BuiltForEval(nn.Module):
    """Makes its filter when it goes to eval mode, and has none before."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()  # and keeps this one frozen
        if mode:
            self.__dict__.pop("filter", None)
        else:
            self.filter = 3 * self.linear.weight.detach()
        return self

    def forward(self, x):
        return self.norm(x.mean((2, 3)) @ (self.linear.weight if self.training else self.filter).T)


@pytest.mark.parametrize("kind", [CacheOfTrainMode, BuiltForEval])
def test_a_modules_own_train_is_called(pictures, kind):
    network = nn.Sequential(kind()).train()
    network[0].linear.train(False)
    modes = [module.training for module in network.modules()]
    first = encode(network, pictures)
    with torch.no_grad():
        network[0].linear.weight.mul_(2)  # tampered with, in train mode
    second = encode(network, pictures)
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(second, encode(copy.deepcopy(network).eval(), pictures)) and not torch.equal(first, second)


def test_a_module_that_refuses_a_mode_is_encoded_with_as_it_is(tiny, pictures):
    exported = torch.export.export(tiny.eval(), (torch.rand(9, 3, 32, 32),)).module()
    assert torch.allclose(encode(exported, pictures), encode(tiny, pictures), atol=1e-5)


class _Adding(nn.Module):
    """Adds to itself, or casts, what it needs at its first run."""

    def __init__(self, way):
        super().__init__()
        self.linear, self.way = nn.Linear(3, 4), way
        self.register_buffer("position", None if way == "none" else torch.arange(4))

    def forward(self, x):
        y = self.linear(x.mean((2, 3)))
        if self.way == "none" and self.position is None:
            self.position = torch.linspace(0, 1, 4)
        elif self.way == "cast":
            self.position = self.position.to(y)
        elif self.way == "parameter":
            self.scale = nn.Parameter(torch.ones(4))
        elif self.way in ("buffer", "passing"):
            self.register_buffer("other", torch.ones(4), persistent=self.way == "buffer")
        return y + self.position


@pytest.mark.parametrize("way", ["none", "cast", "parameter", "buffer", "passing"])
def test_what_an_encoder_adds_to_itself_is_noticed_and_taken_away(pictures, way):
    encoder = _Adding(way)
    own = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
    before, passing = encoder.state_dict(), set(encoder._non_persistent_buffers_set)
    with put_back(encoder) as changed:
        encode(encoder, pictures)
    now = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
    assert changed and now.keys() == own.keys() and all(now[name] is own[name] for name in own)
    assert encoder.state_dict().keys() == before.keys() and encoder._non_persistent_buffers_set == passing
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_the_default_type_does_not_matter(tiny, pictures):
    expected = encode(tiny, pictures)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(encode(tiny, pictures), expected) and torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("error", [RuntimeError, AssertionError, ValueError, TypeError, KeyError])
def test_an_encoder_that_fails_is_told(pictures, error):
    class Picky(nn.Module):
        def forward(self, x):
            raise error("Input height (32) doesn't match model (224).\nmore")

    with pytest.raises(UserError, match=r"fails on images of shape \(9, 3, 32, 32\) \(.*Input height \(32\)") as caught:
        encode(Picky(), pictures)
    assert isinstance(caught.value.__cause__, error) and "\n" not in str(caught.value)


def test_out_of_memory_stays_what_it_is(pictures):
    class Large(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        encode(Large(), pictures)


def test_an_encoder_that_gives_several_things_is_told(pictures):
    class Several(nn.Module):
        def forward(self, x):
            return x.flatten(1), x

    with pytest.raises(UserError, match="The encoder gave tuple; expected one vector an image"):
        encode(Several(), pictures, 4)
