"""No pixel's scores depend on a pixel farther away than the influence says; pooling the whole image
is noticed.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
from torch import nn

from backstride.surgery import transpose
from backstride.surgery.decoding.influence import Influence, from_json
from surgery.classifiers import BY_NAME


class Gated(nn.Module):
    """Squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(1, 4, 3, 2, 1), nn.Linear(4, 4)
        self.flatten, self.dense = nn.Flatten(), nn.Linear(256, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.conv(image).relu()
        weights = self.gate(maps.mean((2, 3))).sigmoid()
        return self.dense(self.flatten(maps * weights[:, :, None, None]))


def shaken(network: Any) -> Any:
    """The network with every weight moved, so that no skip is zero and no kernel is symmetric."""
    made = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            _ = parameter.add_(torch.randn(parameter.shape, generator=made) * 0.05)
    return network.eval()


def reach(network: Any, image: torch.Tensor) -> int:
    """How far from the middle pixel the farthest one lies that its scores depend on."""
    rows, columns = image.shape[2] // 2, image.shape[3] // 2
    _ = image.requires_grad_()
    network(image)[0, :, rows, columns].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)).nonzero()
    return int((seen - torch.tensor([rows, columns])).abs().max())


@pytest.mark.parametrize("decoder", ["fcn", "linknet", "unet"])
@pytest.mark.parametrize("name", ["lenet", "vgg", "resnet"])
def test_nothing_beyond_the_margin_counts(name: str, decoder: str) -> None:
    case = BY_NAME[name]
    network, _ = transpose(case.build(), case.shape, classes=2, decoder=decoder)
    known: Influence = network.influence
    assert known.native == case.shape[1:]
    assert not known.pooled
    side = max(*known.native, 2 * known.margin + known.stride + 9)
    found = reach(shaken(network), torch.randn(1, case.shape[0], side, side + 3))
    assert known.native[0] // 4 < found <= known.margin


@pytest.mark.parametrize(("gate", "pooled"), [("global", True), ("local", False)])
def test_a_pooling_of_the_whole_image_is_noticed(gate: str, pooled: bool) -> None:
    network, _ = transpose(Gated(), (1, 16, 16), classes=2, se=gate)
    assert network.influence.pooled is pooled
    assert from_json(network.influence.to_json()) == network.influence
