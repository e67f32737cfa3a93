"""The table's networks have weights by which every layer matters."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import nn

from backstride.survey.torch_entries import settled


class Scaled(nn.Module):
    """A block behind a layer scale that starts next to zero, as ConvNeXt's do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.block = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, padding=1)
        self.layer_scale = nn.Parameter(torch.full((8, 1, 1), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return x + self.layer_scale * self.block(x)


def test_no_block_is_hidden_by_its_scale() -> None:
    model = Scaled()
    _ = settled(model, (3, 16, 16)).eval()
    image = torch.ones(1, 3, 16, 16)
    with torch.no_grad():
        with_block = model(image)
        _ = nn.init.zeros_(model.block.weight)
        without = model(image)
    assert (with_block - without).abs().max() > 0.1 * without.abs().max()
