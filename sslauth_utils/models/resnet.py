"""ResNets without a classifier, with a width factor and a stem for small images."""

from collections.abc import Sequence

from torch import Tensor, nn


class ResNetBlock(nn.Module):
    """Convolutions with batch norm and a shortcut around them (He et al. 2016), named as torchvision names them.

    Ours, because torchvision's models take three seconds to import and every notebook would pay them.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int, int]], shortcut: nn.Module | None):
        super().__init__()
        for index, (before, after, kernel, stride) in enumerate(shapes, start=1):
            layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            self.add_module(f"conv{index}", layer)
            self.add_module(f"bn{index}", nn.BatchNorm2d(after))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut
        self.depth = len(shapes)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for index in range(1, self.depth + 1):
            out = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(out))
            out = self.relu(out) if index < self.depth else out
        return self.relu(out.add_(x if self.downsample is None else self.downsample(x)))


def _basic(before: int, planes: int, stride: int) -> list[tuple[int, int, int, int]]:
    return [(before, planes, 3, stride), (planes, planes, 3, 1)]


def _bottleneck(before: int, planes: int, stride: int) -> list[tuple[int, int, int, int]]:
    """With the stride on the 3x3 convolution, as torchvision (and the converted SimCLR checkpoint) has it."""
    return [(before, planes, 1, 1), (planes, planes, 3, stride), (planes, 4 * planes, 1, 1)]


#: shapes of a block's convolutions, its output channels as a multiple of `planes`, blocks in the four stages
BLOCKS = {
    "resnet18": (_basic, 1, (2, 2, 2, 2)),
    "resnet34": (_basic, 1, (3, 4, 6, 3)),
    "resnet50": (_bottleneck, 4, (3, 4, 6, 3)),
}

#: kernel and stride of the first convolution, by stem
STEMS = {"cifar": (3, 1), "strided": (3, 2), "imagenet": (7, 2)}


class ResNet(nn.Module):
    """ResNet without its classifier, parameters named as torchvision names them.

    The CIFAR stem is BadEncoder's: "conv1 -> 3x3 s1 p1 no bias, max-pool and fc
    removed, avg-pool kept" (its released code); the strided stem is that with stride 2, a quarter of
    the work (ours, for small profiles); the ImageNet stem is He et al.'s.
    """

    def __init__(self, arch: str, width: int, stem: str):
        super().__init__()
        shapes, expansion, depths = BLOCKS[arch]
        kernel, stride = STEMS[stem]
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        channels = width
        for stage, depth in enumerate(depths):
            planes, layers = width * 2**stage, []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                down = None
                if stride != 1 or channels != planes * expansion:
                    down = nn.Sequential(
                        nn.Conv2d(channels, planes * expansion, 1, stride, bias=False),
                        nn.BatchNorm2d(planes * expansion),
                    )
                layers.append(ResNetBlock(shapes(channels, planes, stride), down))
                channels = planes * expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.feature_dim = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.avgpool(x).flatten(1)
