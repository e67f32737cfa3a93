"""How the layer that gives the scores starts."""

from __future__ import annotations

from torch import nn


def start_small(layer: nn.Module) -> None:
    """Scores near zero, so that training begins undecided at every pixel.

    Otherwise it would first unlearn what chance decided.
    """
    assert isinstance(layer, nn.Linear)
    _ = nn.init.normal_(layer.weight, std=1e-3)
    _ = nn.init.zeros_(layer.bias)
