"""Small classifiers of many kinds, with random weights and statistics, and their input shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn


class Calls(nn.Module):
    """A model whose forward pass is one function of the image and the model's layers."""

    def __init__(self, function: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.layers)


def lenet() -> nn.Sequential:
    return nn.Sequential(
        *(
            nn.Conv2d(1, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
        *(nn.Flatten(), nn.Linear(256, 60), nn.ReLU(), nn.Dropout(0.5), nn.Linear(60, 10)),
    )


class Functional(nn.Module):
    """Everything but weights is a call; ends in log_softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3)
        self.conv2 = nn.Conv2d(6, 8, (3, 5), bias=False)
        self.fc1 = nn.Linear(8 * 5 * 3, 20)
        self.norm = nn.BatchNorm1d(20)
        self.fc2 = nn.Linear(20, 7, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.conv2(x)), kernel_size=2, stride=2)
        x = x.view(x.size(0), -1)
        x = F.dropout(F.relu_(self.norm(self.fc1(x))), 0.5, training=self.training)
        return F.log_softmax(self.fc2(x), dim=-1)


def vgg() -> nn.Module:
    """Padded convolutions, batch normalisation, pooling to the size that the map has, three dense
    layers.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 8), (8, 12), (12, 16)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
        layers += [nn.MaxPool2d(2, 2)]
    features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((4, 4)))
    head = (
        nn.Linear(256, 24),
        nn.ReLU(True),
        nn.Dropout(),
        nn.Linear(24, 24),
        nn.ReLU(True),
        nn.Linear(24, 9),
    )
    return nn.Sequential(features, nn.Flatten(), *head)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride > 1:
            _ = self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            _ = self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.Sequential(Block(8, 8, 1), Block(8, 12, 2))
        self.average = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.pool(F.relu(self.norm(self.stem(x)))))
        return self.fc(torch.flatten(self.average(x), 1))


class Branches(nn.Module):
    """Concatenated branches, ceil_mode, a strided sum, the mean over space, a layer norm of
    vectors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 4, 3, 2)
        self.right = nn.Sequential(nn.Conv2d(2, 3, 1), nn.PReLU(3), nn.MaxPool2d(3, 2))
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.norm = nn.LayerNorm(7)
        self.fc = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.left(x), self.right(x)], dim=1)
        y = self.pool(torch.sigmoid(y) * 2 + y)
        return F.softmax(self.fc(self.norm(y.mean([-2, -1]))), 1)


class ChannelsLast(nn.Module):
    """A flatten in the order of TensorFlow, after a dense layer on a map's channels; a constant
    that is no buffer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1)
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.mix = nn.Linear(5, 6)
        self.fc = nn.Linear(6 * 6 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.mix(self.conv((x - self.mean.to(x.dtype)) / 2).permute(0, 2, 3, 1)))
        return self.fc(y.reshape(-1, 6 * 6 * 4))


class Stored(nn.Module):
    """Functional layers on stored weights, squeezes instead of a flatten, sizes taken from the
    map.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 1, 2, 2))
        self.scale = nn.Parameter(torch.randn(4, 1, 1))
        self.weight = nn.Parameter(torch.randn(3, 4))
        self.bias = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor, unused: Tensor | None = None) -> Tensor:
        _ = unused
        y = F.conv2d(x, self.kernel, stride=2) * self.scale
        y = F.avg_pool2d(y, (y.shape[2], y.shape[3])).squeeze(-1).squeeze(-1)
        return F.linear(y, self.weight, self.bias)


class Heads(nn.Module):
    """Two results."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.kind = nn.Linear(36, 3)
        self.colour = nn.Linear(36, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.body(x)
        return {"kind": self.kind(features), "colour": self.colour(features)}


@dataclass(frozen=True)
class Case:
    """How to make a classifier, its native shape, and whether every cell on larger images is
    exact.
    """

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    exact: bool

    def build(self) -> nn.Module:
        """The classifier in evaluation mode, with random weights and statistics that are always the
        same.
        """
        state = torch.get_rng_state()
        torch.set_rng_state(torch.Generator().manual_seed(len(self.name)).get_state())
        model = self.make()
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim == 1:
                _ = tensor.data.uniform_(0.5, 1.5)
        torch.set_rng_state(state)
        return model.eval()


def leaves(result: Tensor | dict[str, Tensor]) -> list[Tensor]:
    """The results of a classifier as a list."""
    return list(result.values()) if isinstance(result, dict) else [result]


CASES = (
    Case("lenet", lenet, (1, 28, 28), exact=True),
    Case("functional", Functional, (3, 26, 22), exact=True),
    Case("vgg", vgg, (3, 32, 32), exact=False),
    Case("resnet", ResNet, (3, 28, 28), exact=False),
    Case("branches", Branches, (2, 23, 31), exact=True),
    Case("channels_last", ChannelsLast, (3, 14, 10), exact=True),
    Case("stored", Stored, (1, 8, 6), exact=True),
    Case("heads", Heads, (1, 8, 8), exact=True),
)
BY_NAME = {case.name: case for case in CASES}
