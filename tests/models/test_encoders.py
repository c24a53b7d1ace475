"""Encoders: built, wrapped or read from a file; their pixels, their files, and a hash that sees everything."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sslauth_utils.base import tensors
from sslauth_utils.base.errors import UserError
from sslauth_utils.models.encoders import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    Encoder,
    build_encoder,
    library_encoder,
    load_encoder,
    load_weights,
    save_encoder,
    wrap,
)
from sslauth_utils.models.features import encode
from sslauth_utils.models.folding import fold_batch_norm

# --- ours -------------------------------------------------------------------------------------------------------------


def test_features_are_vectors_of_the_stated_length(tiny, pictures):
    assert tiny(pictures.float() / 255).shape == (9, tiny.feature_dim) == (9, 32)


def test_normalisation_happens_inside(tiny, pictures):
    pixels = pictures.float() / 255
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (CIFAR10_MEAN, CIFAR10_STD))
    with torch.no_grad():
        assert torch.allclose(tiny(pixels), tiny.backbone((pixels - mean) / std), atol=1e-6)


def test_same_seed_same_weights():
    digests = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        digests.append(build_encoder("resnet18", 4).sha256())
    assert digests[0] == digests[1] != digests[2]


def test_config_says_how_the_encoder_was_built():
    encoder = build_encoder("resnet34", 2, "imagenet", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert isinstance(encoder, Encoder)
    assert build_encoder(**encoder.config).config == encoder.config == {
        "arch": "resnet34", "width": 2, "stem": "imagenet", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"arch": "resnet101"}, "Unknown architecture 'resnet101'; use resnet18, resnet34, resnet50, or library"),
        ({"stem": "patches"}, "The stem must be one of cifar, strided, imagenet, not 'patches'."),
        ({"width": 0}, "The width must be a whole number from 1 on, not 0."),
        ({"width": 2.5}, "The width must be a whole number from 1 on, not 2.5."),
    ],
)
def test_an_encoder_that_does_not_exist_is_told(arguments, sentence):
    with pytest.raises(UserError) as caught:
        build_encoder(**arguments)
    assert sentence in str(caught.value)


# --- other people's encoders ------------------------------------------------------------------------------------------


class Made(nn.Module):
    """A module that returns what a function makes of the images."""

    def __init__(self, make):
        super().__init__()
        self.make = make
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        return self.make(pixels * self.scale)


def test_any_module_that_gives_vectors_is_an_encoder(pictures):
    module = Made(lambda x: x.mean((2, 3)))
    encoder = wrap(module)
    assert encoder.feature_dim == 3 and module.training, "the reader's module is left in its mode"
    assert torch.equal(encode(encoder, pictures), encode(module, pictures))
    shifted = wrap(module, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 1))
    wanted = (encode(module, pictures) - 0.5) / torch.tensor([0.5, 0.25, 1])
    assert torch.allclose(encode(shifted, pictures), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda x: x, r"\(2, 3, 32, 32\)"),
        (lambda x: x.mean(), r"\(\)"),
        (lambda x: x.mean((1, 2, 3)), r"\(2,\)"),
        (lambda x: x.flatten(1)[:1], r"\(1, 3072\)"),
        (lambda x: (x.mean((2, 3)), x), "tuple"),
        (lambda x: {"features": x}, "dict"),
    ],
    ids=["map", "number", "one-number-each", "one-vector", "tuple", "dictionary"],
)
def test_a_module_that_gives_no_vectors_is_told(make, found):
    with pytest.raises(UserError, match=rf"The encoder returned {found} for 2 images; .*shape \(2, D\): pool its"):
        wrap(Made(make))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_module_of_another_type_is_wrapped_in_it(dtype, pictures):
    module = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten()).to(dtype)
    encoder = wrap(module, mean=0.5, std=0.25)
    assert encoder.mean.dtype == encoder.std.dtype == dtype and encoder.feature_dim == 64
    assert torch.isfinite(encode(encoder, pictures)).all()


def test_a_module_on_another_device_is_wrapped_there():
    encoder = wrap(nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten()).to("meta"))
    assert encoder.mean.device.type == encoder.std.device.type == "meta" and encoder.feature_dim == 64


def test_a_wrapped_module_keeps_every_mode_and_whatever_the_caller_has_chosen(tiny):
    module = tiny.backbone.train()
    module.layer1.eval()
    before = {name: part.training for name, part in module.named_modules()}
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            encoder = wrap(module)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert encoder.mean.dtype == torch.float32 and encoder.mean.device.type == "cpu"
    assert {name: part.training for name, part in module.named_modules()} == before
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_one_number_stands_for_three_channels(pictures):
    one, three = wrap(nn.Flatten(), mean=0.5, std=0.25), wrap(nn.Flatten(), mean=[0.5] * 3, std=torch.full((3,), 0.25))
    assert torch.equal(encode(one, pictures), encode(three, pictures))
    built = build_encoder("resnet18", 1, mean=0, std=1)
    assert built.config["mean"] == [0, 0, 0] and built.mean.shape == (1, 3, 1, 1)


@pytest.mark.parametrize(
    ("stats", "sentence"),
    [
        ({"mean": (0.5, 0.5)}, "The pixels' mean must be one number or three, not 2."),
        ({"std": "cifar10"}, "The pixels' std must be one number or three, not 'cifar10'."),
        (
            {"mean": (123.675, 116.28, 103.53)},
            "in units of the [0, 1] range, must be a number from 0 on up to 1, not 123",
        ),
        ({"std": 0.0}, "std, in units of the [0, 1] range, must be a number above 0, not 0.0."),
        ({"std": (1, float("nan"), 1)}, "std, in units of the [0, 1] range, must be a number above 0, not nan."),
    ],
)
def test_pixel_normalisation_that_cannot_be_is_told(stats, sentence):
    for make in (build_encoder, lambda **stats: wrap(nn.Flatten(), **stats)):
        with pytest.raises(UserError) as caught:
            make(**stats)
        assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2))), "shape (2, 3, 32, 32) (mat1 and mat2"),
        (
            lambda: library_encoder("timm:vit_tiny_patch16_224", 32),
            "shape (2, 3, 32, 32) (Input height (32) doesn't match",
        ),
        (lambda: library_encoder("torchvision:alexnet", 32), "shape (2, 3, 32, 32) (Given input size: (256x1x1)."),
    ],
    ids=["linear", "vit", "alexnet"],
)
def test_a_size_that_does_not_fit_is_told(make, found):
    with pytest.raises(UserError) as caught:
        make()
    assert f"The encoder fails on images of {found}" in str(caught.value)
    assert str(caught.value).endswith("; does it take images of this size, and batches of this many?")


def test_a_head_that_pools_keeps_all_but_its_last_layer():
    encoder = library_encoder("torchvision:convnext_tiny", 32)
    assert encoder.feature_dim == 768 and [type(layer).__name__ for layer in encoder.backbone.classifier] == [
        "LayerNorm2d", "Flatten",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("torchvision:shufflenet_v2_x0_5", 1024),
        ("torchvision:mobilenet_v3_small", 576),
        ("timm:mobilenetv3_small_050", 1024),
    ],
    ids=["torchvision-fc", "torchvision-classifier", "timm"],
)
def test_a_library_model_without_its_classifier(name, width, pictures, tmp_path):
    torch.manual_seed(0)
    encoder = library_encoder(name, 32, CIFAR10_MEAN, CIFAR10_STD).eval()
    assert encoder.feature_dim == width
    features = encode(encoder, pictures)
    assert features.shape == (9, width)
    save_encoder(encoder, tmp_path / "library.safetensors")
    loaded = load_encoder(tmp_path / "library.safetensors")
    assert loaded.sha256() == encoder.sha256()
    assert torch.equal(encode(loaded, pictures), features)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("torchvision:resnet19", "torchvision has no model 'resnet19'"),
        ("timm:resnet19", "timm has no model 'resnet19'"),
        ("hub:resnet18", "Unknown library in 'hub:resnet18'; write torchvision:MODEL or timm:MODEL."),
        ("resnet18", "Unknown library in 'resnet18'; write torchvision:MODEL or timm:MODEL."),
        ("torchvision:", "torchvision has no model ''"),
    ],
)
def test_a_library_model_that_does_not_exist_is_told(name, sentence):
    with pytest.raises(UserError) as caught:
        library_encoder(name)
    assert sentence in str(caught.value)


# --- files ------------------------------------------------------------------------------------------------------------


def test_an_encoder_comes_back_from_its_file(tiny, pictures, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(tiny, path, knn_accuracy=0.75, classes=10)
    loaded = load_encoder(path)
    assert loaded.sha256() == tiny.sha256() and loaded.config == tiny.config and not loaded.training
    assert loaded.feature_dim == tiny.feature_dim
    assert torch.equal(encode(loaded, pictures), encode(tiny, pictures))
    meta = tensors.describe(path)
    assert meta["weights_sha256"] == tiny.sha256() and meta["feature_dim"] == 32
    assert (meta["knn_accuracy"], meta["classes"]) == (0.75, 10)


def test_an_encoder_with_another_normalisation_comes_back_with_it(tmp_path, pictures):
    encoder = build_encoder("resnet50", 2, "imagenet", (0.1, 0.2, 0.3), (0.7, 0.8, 0.9)).eval()
    save_encoder(encoder, tmp_path / "x.safetensors")
    loaded = load_encoder(tmp_path / "x.safetensors")
    assert torch.equal(loaded.mean, encoder.mean) and torch.equal(loaded.std, encoder.std)
    assert torch.equal(encode(loaded, pictures), encode(encoder, pictures))


def test_a_changed_weights_file_is_refused(tiny, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(tiny, path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="the file was changed or damaged; get or make it again"):
        load_encoder(path)


def test_a_pickle_offered_as_weights_is_refused(tiny, tmp_path):
    path = tmp_path / "encoder.pth"
    torch.save(tiny.state_dict(), path)
    for read in (load_encoder, tensors.read_safetensors):
        with pytest.raises(UserError, match="is a pickle"):
            read(path)
    path.write_bytes(pickle.dumps({"conv1.weight": 1}))
    with pytest.raises(UserError, match="is a pickle"):
        load_encoder(path)


@pytest.mark.parametrize("config", [None, {}, {"width": 4}])
def test_a_file_that_does_not_say_what_it_holds_is_told(tiny, tmp_path, config):
    path = tmp_path / "encoder.safetensors"
    tensors.save(path, tiny.state_dict(), {"config": config})
    with pytest.raises(UserError, match=r"encoder\.safetensors does not say which architecture the weights are of"):
        load_encoder(path)


def test_weights_of_another_architecture_are_told(tiny, tmp_path):
    path = tmp_path / "encoder.safetensors"
    tensors.save(path, tiny.state_dict(), {"config": {"arch": "resnet34", "width": 4}})
    with pytest.raises(UserError, match=r"encoder\.safetensors do not fit this encoder \(missing .* and \d+ more\)"):
        load_encoder(path)


def _without(weights, name):
    return {other: value for other, value in weights.items() if other != name}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: _without(w, "conv1.weight"), "(missing conv1.weight)"),
        (lambda w: _without(_without(w, "bn1.bias"), "bn1.running_var"), "(missing bn1.bias and 1 more)"),
        (lambda w: w | {"neck.weight": torch.ones(2)}, "(unknown neck.weight)"),
        (lambda w: w | {"conv1.weight": torch.ones(5, 3, 3, 3)}, "(wrong shape in conv1.weight)"),
        (lambda w: w | {"conv1.weight": w["conv1.weight"].to(torch.int8)}, "(another kind of number in conv1.weight)"),
        (lambda w: w | {"bn1.bias": w["bn1.bias"] + 1j}, "(another kind of number in bn1.bias)"),
        (lambda w: w | {"bn1.bias": w["bn1.bias"].double() + 1e300}, "(another kind of number in bn1.bias)"),
        (lambda w: _without(w, "bn1.bias") | {"bn1.beta": torch.ones(4)}, "(missing bn1.bias; unknown bn1.beta)"),
        (lambda w: {}, "(missing conv1.weight and 99 more)"),
    ],
    ids=["missing", "two-missing", "unknown", "shape", "whole", "complex", "large", "renamed", "empty"],
)
def test_weights_that_do_not_fit_are_told_and_change_nothing(tiny, change, told):
    before = tiny.sha256()
    with pytest.raises(UserError) as caught:
        load_weights(tiny, change(tiny.backbone.state_dict()), "shared.safetensors")
    assert str(caught.value).startswith("The weights in shared.safetensors do not fit this encoder (")
    assert told in str(caught.value) and str(caught.value).endswith("; check architecture and width.")
    assert tiny.sha256() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w,
        lambda w: w | {"fc.weight": torch.ones(10, 32), "fc.bias": torch.ones(10)},
        lambda w: w | {"classifier.weight": torch.ones(10, 32)},
        lambda w: {name: value for name, value in w.items() if not name.endswith("num_batches_tracked")},
    ],
    ids=["as-they-are", "torchvision-classifier", "other-classifier", "without-counters"],
)
def test_weights_that_fit_are_taken(tiny, pictures, change):
    other = build_encoder("resnet18", 4).eval()
    load_weights(other, change(tiny.backbone.state_dict()), "here")
    assert torch.equal(encode(other, pictures), encode(tiny, pictures))


def _heads(*names):
    return {name: torch.ones(10) for name in names}


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w | _heads("heads.head.weight", "head.fc.bias", "head_dist.weight"),
        lambda w: w | _heads("projection_head.0.weight", "prototypes.weight"),
        lambda w: {f"backbone.{name}": value for name, value in w.items()} | _heads("projector.0.weight"),
        lambda w: {f"backbone.{name}": value for name, value in w.items()} | _heads("fc.weight", "predictor.1.bias"),
        lambda w: {
            f"{part}.{name}": value if part == "backbone" else 0 * value
            for name, value in w.items() for part in ("backbone", "momentum_backbone")
        },
    ],
    ids=["heads", "projection", "backbone-and-projector", "backbone-and-fc", "teacher"],
)  # fmt: skip
def test_heads_by_any_name_are_left_over(tiny, pictures, change):
    other = build_encoder("resnet18", 4).eval()
    load_weights(other, change(tiny.backbone.state_dict()), "here")
    assert torch.equal(encode(other, pictures), encode(tiny, pictures))


def test_a_backbone_keeps_its_own_head():
    class Headed(nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten())
            self.classifier = nn.Sequential(*[nn.Linear(64, 64) for _ in range(layers)])

        def forward(self, x):
            return self.classifier(self.features(x))

    whole, encoder = Headed(3), wrap(Headed(2))
    load_weights(encoder, whole.state_dict(), "here")
    assert torch.equal(encoder.backbone.classifier[1].weight, whole.classifier[1].weight)
    incomplete = {name: value for name, value in whole.state_dict().items() if not name.startswith("classifier.1")}
    with pytest.raises(UserError, match=r"\(missing classifier\.1\.weight and 1 more\)"):
        load_weights(encoder, incomplete, "here")


def test_a_neck_beside_a_backbone_is_no_head(tiny):
    weights = {f"backbone.{name}": value for name, value in tiny.backbone.state_dict().items()}
    with pytest.raises(UserError, match=r"\(unknown neck\.weight\)"):
        load_weights(tiny, weights | {"neck.weight": torch.ones(1)}, "here")


def _behind(prefix, weights):
    return {prefix + name: value for name, value in weights.items()}


@pytest.mark.parametrize(
    "change",
    [
        lambda w: _behind("encoder.", w) | _heads("encoder.fc.0.weight", "predictor.0.weight", "queue"),
        lambda w: _behind("model.backbone.", w) | _heads("model.projection_head.0.weight", "model.neck.bias"),
        lambda w: _behind("f.", {name: value for name, value in w.items() if not name.endswith("num_batches_tracked")}),
        lambda w: _behind("a.", w) | {f"b.{name}": torch.ones(3) for name in w},
    ],
    ids=["encoder", "inner backbone", "without counters", "another of other shapes"],
)
def test_one_prefix_of_any_kind_is_found(tiny, pictures, change):
    other = build_encoder("resnet18", 4).eval()
    load_weights(other, change(tiny.backbone.state_dict()), "here")
    assert torch.equal(encode(other, pictures), encode(tiny, pictures))


def test_an_encoder_in_another_module_brings_its_normalisation(tiny):
    other = build_encoder("resnet18", 4, mean=0, std=1)
    load_weights(other, nn.Sequential(tiny, nn.Linear(32, 10)).state_dict(), "here")
    assert other.sha256() == tiny.sha256()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda w: _behind("encoder_q.", w) | _behind("encoder_k.", w),
            "here hold encoder_k, encoder_q, and each fits this encoder; choose one as you convert them: "
            "python -m sslauth_utils.models.convert FILE.pth FILE.safetensors --key encoder_q",
        ),
        (lambda w: _behind("backbone.", w) | _behind("ema.", w), "here hold backbone, ema, and each"),
        (lambda w: w | _behind("ema.", w), "(unknown ema.conv1.weight and 119 more)"),
        (lambda w: _behind("net.", w) | _heads("net.neck.bias"), "here behind net. do not fit this encoder (unk"),
        (lambda w: _behind("net.", _without(w, "bn1.bias")), "(missing conv1.weight and 99 more; unknown net."),
    ],
    ids=["two", "backbone and another", "as it stands and another", "more behind it", "less behind it"],
)
def test_prefixes_that_do_not_settle_it_are_told_and_change_nothing(tiny, change, told):
    before = tiny.sha256()
    with pytest.raises(UserError) as caught:
        load_weights(tiny, change(tiny.backbone.state_dict()), "here")
    assert told in str(caught.value) and tiny.sha256() == before


def test_a_deeper_network_behind_a_prefix_is_another(tiny):
    deeper = build_encoder("resnet34", 4).backbone.state_dict()
    with pytest.raises(UserError, match=r"here behind encoder\. do not fit this encoder \(unknown layer1\.2\."):
        load_weights(tiny, _behind("encoder.", deeper), "here")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_file_keeps_its_types(tiny, pictures, tmp_path, dtype):
    cast = tiny.to(dtype)
    save_encoder(cast, tmp_path / "x.safetensors")
    loaded = load_encoder(tmp_path / "x.safetensors")
    assert {value.dtype for value in loaded.state_dict().values()} == {dtype, torch.int64}
    assert loaded.sha256() == cast.sha256() and torch.equal(encode(loaded, pictures), encode(cast, pictures))


def test_a_file_that_lacks_something_is_told(tiny, tmp_path):
    tensors.save(tmp_path / "x.safetensors", tiny.backbone.state_dict(), {"config": tiny.config})
    with pytest.raises(UserError, match=r"x\.safetensors does not hold a whole encoder \(.*Missing key.*mean"):
        load_encoder(tmp_path / "x.safetensors")


# --- the hash ---------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_bit_of_every_weight_and_buffer_counts(data):
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", 1)
    before = encoder.sha256()
    state = encoder.state_dict()
    content = state[data.draw(st.sampled_from(sorted(state)), "tensor")].reshape(-1).view(torch.uint8)
    place, bit = data.draw(st.integers(0, len(content) - 1), "byte"), data.draw(st.integers(0, 7), "bit")
    content[place] ^= 1 << bit  # a view of the encoder's own memory
    assert encoder.sha256() != before
    content[place] ^= 1 << bit
    assert encoder.sha256() == before


@pytest.mark.parametrize("name", ["mean", "std"])
def test_the_normalisation_counts(tiny, name):
    before = tiny.sha256()
    getattr(tiny, name)[0, 1, 0, 0] += 1e-7
    assert tiny.sha256() != before


def test_what_does_not_change_the_features_does_not_count(tiny):
    before = tiny.sha256()
    assert tiny.to(memory_format=torch.channels_last).sha256() == before
    assert tiny.train().requires_grad_(False).sha256() == before
    assert not tiny.backbone.layer1[0].conv1.weight.is_contiguous()


def test_a_cast_is_another_encoder_to_the_hash(tiny):
    before = tiny.sha256()
    assert tiny.half().sha256() != before
    assert tiny.float().sha256() != before, "rounded weights stay rounded"


NOT_SAVED = {
    "compiled": lambda tiny: torch.compile(tiny),
    "compiled within": lambda tiny: _with_backbone(tiny, torch.compile(tiny.backbone)),
    "folded": lambda tiny: fold_batch_norm(tiny),
    "weight norm": lambda tiny: _with_backbone(tiny, _normed(tiny.backbone)),
    "own network": lambda tiny: wrap(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())),
    "parallel": lambda tiny: nn.DataParallel(tiny),
    "without its activation": lambda tiny: _with_part(tiny, "layer1.0.relu", nn.Identity()),
    "with another padding": lambda tiny: _with_part(tiny, "layer1.0.conv1", nn.Conv2d(4, 4, 3, padding=2, bias=False)),
    "of a class of its own": lambda tiny: _of_own_class(tiny),
    "no encoder": lambda tiny: tiny.backbone,
}


class _Doubled(Encoder):
    def forward(self, pixels):
        return 2 * super().forward(pixels).abs()


def _of_own_class(encoder):
    changed = copy.deepcopy(encoder)
    changed.__class__ = _Doubled
    return changed


def _with_part(encoder, name, part):
    changed = copy.deepcopy(encoder)
    holder, _, own = name.rpartition(".")
    setattr(changed.backbone.get_submodule(holder), own, part)
    return changed


def _with_backbone(encoder, backbone):
    changed = copy.deepcopy(encoder)
    changed.backbone = backbone
    return changed


def _normed(backbone):
    changed = copy.deepcopy(backbone)
    nn.utils.parametrizations.weight_norm(changed.conv1)
    return changed


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
@pytest.mark.parametrize("change", NOT_SAVED.values(), ids=NOT_SAVED.keys())
def test_what_could_not_be_read_back_is_not_saved(tiny, tmp_path, change):
    path = tmp_path / "x.safetensors"
    save_encoder(tiny, path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"^This encoder could not be read back from its file, so it is not saved: it "):
        save_encoder(change(tiny), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["config", "feature_dim", "weights_sha256"])
def test_the_files_own_facts_keep_their_names(tiny, tmp_path, name):
    with pytest.raises(UserError, match=f"The file has its own {name}"):
        save_encoder(tiny, tmp_path / "x.safetensors", **{name: 3})
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_and_pytorch_are_facts_and_other_objects_are_told(tiny, tmp_path):
    path = tmp_path / "x.safetensors"
    save_encoder(tiny, path, knn=np.float32(0.5), count=np.int64(3), loss=torch.tensor(0.25))
    meta = tensors.describe(path)
    assert (meta["knn"], meta["count"], meta["loss"]) == (0.5, 3, 0.25)
    load_encoder(path)
    with pytest.raises(UserError, match="cannot be written as JSON"):
        save_encoder(tiny, tmp_path / "y.safetensors", when=object())


def test_saving_and_loading_leave_the_callers_random_numbers_and_give_trainable_weights(tiny, tmp_path):
    state = torch.get_rng_state()
    save_encoder(tiny, tmp_path / "x.safetensors")
    with torch.inference_mode():
        loaded = load_encoder(tmp_path / "x.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(weight.is_inference() for weight in loaded.parameters()) and loaded.sha256() == tiny.sha256()


def test_an_encoder_lies_on_one_device_whatever_the_default():
    with torch.device("meta"):
        encoder = build_encoder("resnet18", 2)
        assert {tensor.device.type for tensor in (*encoder.parameters(), *encoder.buffers())} == {"meta"}


@pytest.mark.parametrize("size", [0, -1, 2.0, None, "8", True])
def test_a_batch_size_is_a_whole_number(tiny, pictures, size):
    with pytest.raises(UserError, match="The batch size must be a whole number from 1 on"):
        encode(tiny, pictures, size)
    assert torch.equal(encode(tiny, pictures, np.int64(100)), encode(tiny, pictures))
