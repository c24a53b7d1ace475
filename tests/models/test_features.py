"""Features of stored images: strict, whatever the batch, and the encoder left as it was."""

import pytest
import torch
from torch import nn

from sslauth_utils.base.errors import UserError
from sslauth_utils.models.features import encode


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
