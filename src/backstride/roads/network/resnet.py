"""ResNet-34 by its table; layers have torchvision's names, so its state dicts load.

He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), table 1.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from backstride.roads.network.start import start_small

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))  # blocks, channels


class Block(nn.Module):
    """Two 3x3 convolutions and the shortcut around them."""

    def __init__(self, channels: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, wide, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels != wide:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, h, w) to (N, wide, h/stride, w/stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.downsample(x))


def resnet34(classes: int) -> nn.Sequential:
    """An untrained classifier: (N, 3, 32, 32) to scores (N, classes)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, 2, 1),
    )
    channels = 64
    for stage, (count, wide) in enumerate(STAGES, start=1):
        strides = [1 if stage == 1 else 2, *[1] * (count - 1)]
        blocks = [
            Block(channels if at == 0 else wide, wide, stride) for at, stride in enumerate(strides)
        ]
        layers[f"layer{stage}"] = nn.Sequential(*blocks)
        channels = wide
    layers["avgpool"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    layers["fc"] = nn.Linear(channels, classes)
    model = nn.Sequential(layers)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            _ = nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    start_small(layers["fc"])
    return model
