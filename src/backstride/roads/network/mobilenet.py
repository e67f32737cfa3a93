"""MobileNetV3-Small by its table; layers have torchvision's names, so its state dicts load.

Howard et al., "Searching for MobileNetV3" (arXiv 1905.02244), table 2. `minimal` is the authors'
variant without squeeze and excitation, hard swish and 5x5 kernels: faster, and a cell of its result
sees a bounded part of the image, so that large images can be cut into tiles without a seam.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from backstride.roads.network.start import start_small


@dataclass(frozen=True, slots=True)
class MobileBlock:
    """One line of the table.

    Kernel, expanded and resulting channels, squeeze, hard swish, stride.
    """

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    swish: bool
    stride: int


SMALL = (
    MobileBlock(3, 16, 16, squeeze=True, swish=False, stride=2),
    MobileBlock(3, 72, 24, squeeze=False, swish=False, stride=2),
    MobileBlock(3, 88, 24, squeeze=False, swish=False, stride=1),
    MobileBlock(5, 96, 40, squeeze=True, swish=True, stride=2),
    MobileBlock(5, 240, 40, squeeze=True, swish=True, stride=1),
    MobileBlock(5, 240, 40, squeeze=True, swish=True, stride=1),
    MobileBlock(5, 120, 48, squeeze=True, swish=True, stride=1),
    MobileBlock(5, 144, 48, squeeze=True, swish=True, stride=1),
    MobileBlock(5, 288, 96, squeeze=True, swish=True, stride=2),
    MobileBlock(5, 576, 96, squeeze=True, swish=True, stride=1),
    MobileBlock(5, 576, 96, squeeze=True, swish=True, stride=1),
)
FIRST, LAST, HEAD = 16, 576, 1024


class SqueezeExcitation(nn.Module):
    """Weighs channels by what the whole map holds (Hu et al., arXiv 1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = _multiple_of_8(channels / 4)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, few, 1)
        self.activation = nn.ReLU()
        self.fc2 = nn.Conv2d(few, channels, 1)
        self.scale_activation = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same."""
        weight = self.fc2(self.activation(self.fc1(self.avgpool(x))))
        return x * self.scale_activation(weight)


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, weigh, project.

    The input is added where it has the result's shape.
    """

    def __init__(self, channels: int, row: MobileBlock, *, minimal: bool) -> None:
        super().__init__()
        act = nn.Hardswish if row.swish and not minimal else nn.ReLU
        kernel = 3 if minimal else row.kernel
        wide = row.expanded
        layers: list[nn.Module] = [] if wide == channels else [unit(channels, wide, 1, 1, act)]
        layers.append(unit(wide, wide, kernel, row.stride, act, groups=wide))
        if row.squeeze and not minimal:
            layers.append(SqueezeExcitation(wide))
        layers.append(unit(wide, row.channels, 1, 1, None))
        self.block = nn.Sequential(*layers)
        self.residual = row.stride == 1 and channels == row.channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C', h/stride, w/stride)."""
        y = self.block(x)
        return x + y if self.residual else y


def unit(
    channels: int,
    wide: int,
    kernel: int,
    stride: int,
    act: type[nn.Module] | None,
    *,
    groups: int = 1,
) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, wide, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(wide, eps=1e-3),
    ]
    return nn.Sequential(*layers, *([] if act is None else [act()]))


def mobilenetv3_small(classes: int, dropout: float, *, minimal: bool = False) -> nn.Sequential:
    """An untrained classifier: (N, 3, 32, 32) to scores (N, classes)."""
    act = nn.ReLU if minimal else nn.Hardswish
    features: list[nn.Module] = [unit(3, FIRST, 3, 2, act)]
    channels = FIRST
    for row in SMALL:
        features.append(InvertedResidual(channels, row, minimal=minimal))
        channels = row.channels
    features.append(unit(channels, LAST, 1, 1, act))
    head: OrderedDict[str, nn.Module] = OrderedDict()
    head["0"], head["1"] = nn.Linear(LAST, HEAD), act()
    head["2"], head["3"] = nn.Dropout(dropout), nn.Linear(HEAD, classes)
    layers: OrderedDict[str, nn.Module] = OrderedDict(features=nn.Sequential(*features))
    layers["avgpool"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    layers["classifier"] = nn.Sequential(head)
    model = nn.Sequential(layers)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            _ = nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    start_small(head["3"])
    return model


def _multiple_of_8(value: float) -> int:
    """The nearest multiple of 8, and no less than nine tenths of the value."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded
