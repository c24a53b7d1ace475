"""Networks that give logits: LeNet-5, a small CNN, VGG-16 and ResNets by depth, each with a width."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslauth_utils.models.resnet import STEMS, ResNetBlock


class LeNet5(nn.Module):
    """LeCun et al. 1998 with ReLU and max-pooling, as it is commonly built; their input is 32 x 32.

    Args:
        width: channels of the first convolution; theirs has 6. All other layers grow with it.
    """

    def __init__(self, classes: int, width: int, size: int):
        super().__init__()
        side = ((size - 4) // 2 - 4) // 2
        channels = round(width * 16 / 6)
        self.conv1, self.conv2 = nn.Conv2d(3, width, 5), nn.Conv2d(width, channels, 5)
        self.fc1 = nn.Linear(channels * side * side, 20 * width)
        self.fc2, self.fc3 = nn.Linear(20 * width, 14 * width), nn.Linear(14 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.conv1, self.conv2):
            x = F.max_pool2d(F.relu(layer(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class SmallCNN(nn.Module):
    """Two convolutions with batch norm and one linear map (ours): for digits, from 8 x 8 pixels on.

    Args:
        width: channels of the first convolution; the second has twice as many.
    """

    def __init__(self, classes: int, width: int, size: int):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, width), (width, 2 * width)):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(2 * width * (size // 4) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).flatten(1))


class VGG16(nn.Module):
    """VGG's configuration D (Simonyan and Zisserman 2015) with batch norm and one linear map, as is usual at 32 x 32.

    Pooling stops where one pixel is left. The 138.34 M parameters of Table V are those of ``torchvision:vgg16``, which
    has three wide linear layers.

    Args:
        width: channels of the first convolution; theirs has 64.
    """

    def __init__(self, classes: int, width: int, size: int):
        super().__init__()
        layers: list[nn.Module] = []
        before, side = 3, size
        for stage, depth in enumerate((2, 2, 3, 3, 3)):
            after = width * min(2**stage, 8)
            for _ in range(depth):
                layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
                before = after
            if side > 1:
                layers, side = [*layers, nn.MaxPool2d(2)], side // 2
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


#: convolutions of a block by its output channels and stride, and what it gives in units of these
_KINDS = {
    "basic": (lambda old, new, stride: [(old, new, 3, stride), (new, new, 3, 1)], 1),
    "bottleneck": (lambda old, new, stride: [(old, new, 1, 1), (new, new, 3, stride), (new, 4 * new, 1, 1)], 4),
}
#: by depth: kind of block, blocks in each stage, He et al.'s width
RESNETS = {
    "resnet20": ("basic", (3, 3, 3), 16),
    "resnet32": ("basic", (5, 5, 5), 16),
    "resnet18": ("basic", (2, 2, 2, 2), 64),
    "resnet50": ("bottleneck", (3, 4, 6, 3), 64),
    "resnet152": ("bottleneck", (3, 8, 36, 3), 64),
}


class ResNetClassifier(nn.Module):
    """ResNet with its linear map (He et al. 2016).

    Those of three stages are He et al.'s for CIFAR-10: shortcuts without parameters ("identity mapping, with extra zero
    entries padded", option A), the linear map named ``linear``. Those of four are named as torchvision names them.

    Args:
        width: channels of the first stage.
        stem: cifar, strided or imagenet, as in `models.resnet`.
    """

    def __init__(self, arch: str, classes: int, width: int, stem: str):
        super().__init__()
        kind, depths, _ = RESNETS[arch]
        shapes, expansion = _KINDS[kind]
        kernel, stride = STEMS[stem]
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        channels, self.stages = width, len(depths)
        for stage, depth in enumerate(depths):
            planes, blocks = width * 2**stage, []
            for index in range(depth):
                stride, after = 2 if stage > 0 and index == 0 else 1, planes * expansion
                shortcut: nn.Module | None = None
                if (stride != 1 or channels != after) and len(depths) == 3:
                    shortcut = ZeroPadded(after - channels, stride)
                elif stride != 1 or channels != after:
                    layer = nn.Conv2d(channels, after, 1, stride, bias=False)
                    shortcut = nn.Sequential(layer, nn.BatchNorm2d(after))
                blocks.append(ResNetBlock(shapes(channels, planes, stride), shortcut))
                channels = after
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.head = "linear" if len(depths) == 3 else "fc"
        setattr(self, self.head, nn.Linear(channels, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return getattr(self, self.head)(F.adaptive_avg_pool2d(x, 1).flatten(1))


class ZeroPadded(nn.Module):
    """He et al.'s option A: every second pixel, and zeros for the new channels, half of them before the old ones."""

    def __init__(self, more: int, stride: int):
        super().__init__()
        self.more, self.stride = more, stride

    def forward(self, x: Tensor) -> Tensor:
        before = self.more // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.more - before))


def count_parameters(network: nn.Module) -> int:
    """Number of weights, buffers left out."""
    return sum(parameter.numel() for parameter in network.parameters() if isinstance(parameter, torch.Tensor))
