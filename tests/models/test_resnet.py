"""ResNets: torchvision's networks bit for bit, with a width and a small stem."""

import pytest
import torch
import torchvision
from torch import nn

from sslauth_utils.models.encoders import (
    build_encoder,
    load_weights,
)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("arch", "stem", "parameters"),
    [
        ("resnet34", "cifar", 21_276_992),  # stated in the encoder-extraction paper's appendix
        ("resnet18", "cifar", 11_168_832),
        ("resnet18", "strided", 11_168_832),
        ("resnet18", "imagenet", 11_176_512),  # torchvision's 11,689,512 without 512 x 1000 + 1000
        ("resnet50", "imagenet", 23_508_032),  # torchvision's 25,557,032 without 2048 x 1000 + 1000
    ],
)
def test_number_of_parameters(arch, stem, parameters):
    with torch.device("meta"):
        assert count(build_encoder(arch, 64, stem)) == parameters


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
def test_names_and_shapes_are_torchvisions(arch):
    with torch.device("meta"):
        ours, theirs = build_encoder(arch, 64, "imagenet").backbone, getattr(torchvision.models, arch)()
    del theirs.fc
    assert [(name, value.shape) for name, value in ours.state_dict().items()] == [
        (name, value.shape) for name, value in theirs.state_dict().items()
    ]


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_with_torchvisions_weights_it_gives_torchvisions_features(shaken, arch):
    torch.manual_seed(3)
    theirs = shaken(getattr(torchvision.models, arch)()).eval()
    ours = build_encoder(arch, 64, "imagenet", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)).eval()
    load_weights(ours, theirs.state_dict(), "torchvision's weights")  # with its classifier, which is dropped
    pixels = torch.rand(2, 3, 64, 64)
    theirs.fc = nn.Identity()
    normalised = torchvision.transforms.functional.normalize(pixels, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    with torch.no_grad():
        wanted = theirs(normalised)
        assert torch.allclose(ours(pixels), wanted, rtol=1e-5, atol=1e-6)
        assert wanted.std() > 0.01, "features that could be told apart"
        assert torch.equal(ours.backbone(normalised), wanted)


def test_the_cifar_stem_is_a_small_convolution_without_pooling(shaken, pictures):
    """BadEncoder's code: "conv1 -> 3x3 s1 p1 no bias, max-pool and fc removed"."""
    torch.manual_seed(4)
    theirs = torchvision.models.resnet18()
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False), nn.Identity()
    theirs.fc = nn.Identity()
    shaken(theirs).eval()
    ours = build_encoder("resnet18", 64, "cifar", (0, 0, 0), (1, 1, 1)).eval()
    load_weights(ours, theirs.state_dict(), "here")
    with torch.no_grad():
        assert torch.equal(ours(pictures[:2].float() / 255), theirs(pictures[:2].float() / 255))


def test_the_strided_stem_is_the_small_one_with_stride_2(shaken, pictures):
    torch.manual_seed(4)
    strided = shaken(build_encoder("resnet18", 4, "strided")).eval()
    small = build_encoder("resnet18", 4, "cifar").eval()
    load_weights(small, strided.backbone.state_dict(), "here")
    small.backbone.conv1.stride = (2, 2)
    with torch.no_grad():
        pixels = pictures[:2].float() / 255
        assert torch.equal(strided(pixels), small(pixels))
        assert strided.backbone.maxpool(strided.backbone.conv1(pixels)).shape == (2, 4, 16, 16)


@pytest.mark.parametrize(("arch", "expansion"), [("resnet18", 1), ("resnet34", 1), ("resnet50", 4)])
@pytest.mark.parametrize("width", [1, 4, 16])
def test_width_scales_every_stage(arch, expansion, width):
    with torch.device("meta"):
        encoder = build_encoder(arch, width)
    stages = [getattr(encoder.backbone, f"layer{stage}")[-1] for stage in (1, 2, 3, 4)]
    wide = [(block.bn3 if arch == "resnet50" else block.bn2).num_features for block in stages]
    assert encoder.backbone.conv1.out_channels == width
    assert wide == [width * expansion * factor for factor in (1, 2, 4, 8)]
    assert encoder.feature_dim == 8 * width * expansion
