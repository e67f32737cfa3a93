"""VGG16 by its table, with a head that slides.

Simonyan & Zisserman, "Very Deep Convolutional Networks" (arXiv 1409.1556), table 1, column D; the
dense layers 6 and 7 as convolutions, after Long et al. (arXiv 1411.4038), section 4.1, here padded,
so that every cell keeps its place.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from backstride.roads.network.start import start_small

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions, channels


def vgg16(classes: int, head: int, head_kernel: int, dropout: float) -> nn.Sequential:
    """An untrained classifier: (N, 3, 32, 32) to scores (N, classes).

    `head`: channels of layers 6 and 7 (4096 in the paper). `head_kernel`: cells of layer 6's
    kernel, odd (7 in the paper).
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for block, (count, wide) in enumerate(BLOCKS, start=1):
        for number in range(1, count + 1):
            layers[f"block{block}_conv{number}"] = nn.Conv2d(channels, wide, 3, padding=1)
            layers[f"block{block}_relu{number}"] = nn.ReLU()
            channels = wide
        layers[f"block{block}_pool"] = nn.MaxPool2d(2)
    layers["conv6"] = nn.Conv2d(channels, head, head_kernel, padding=head_kernel // 2)
    layers["relu6"], layers["dropout6"] = nn.ReLU(), nn.Dropout(dropout)
    layers["conv7"] = nn.Conv2d(head, head, 1)
    layers["relu7"], layers["dropout7"] = nn.ReLU(), nn.Dropout(dropout)
    layers["flatten"], layers["score"] = nn.Flatten(), nn.Linear(head, classes)
    model = nn.Sequential(layers)
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            _ = nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            _ = nn.init.zeros_(layer.bias)
    start_small(layers["score"])
    return model


def torchvision_names() -> dict[str, str]:
    """The name in torchvision of each convolution, `features.0` for `block1_conv1` and so on."""
    names: dict[str, str] = {}
    place = 0
    for block, (count, _) in enumerate(BLOCKS, start=1):
        for number in range(1, count + 1):
            names[f"features.{place}"] = f"block{block}_conv{number}"
            place += 2
        place += 1
    return names
