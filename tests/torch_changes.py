"""Every way to change the weight of a layer, for the tests that no change is missed."""

from __future__ import annotations

import functools
import gc
import importlib
from collections.abc import Callable
from typing import Any

torch: Any = importlib.import_module("torch")
nn: Any = torch.nn


def step(optimizer: Callable[..., Any]) -> Callable[[Any], None]:
    def change(layer: Any) -> None:
        for parameter in layer.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer(layer.parameters(), lr=0.1).step()

    return change


def load(layer: Any) -> None:
    state = {name: value * 2 for name, value in layer.state_dict().items()}
    _ = layer.load_state_dict(state)


def assign(layer: Any) -> None:
    state = {name: value * 2 for name, value in layer.state_dict().items()}
    _ = layer.load_state_dict(state, assign=True)


def replace_data(layer: Any) -> None:
    layer.weight.data = layer.weight.data * 2


def swap_data(layer: Any) -> None:
    """The old memory is freed and may be given out again at the same address."""
    twice = (layer.weight.detach() * 2).numpy().copy()
    layer.weight.data = torch.empty(0)
    _ = gc.collect()
    layer.weight.data = torch.tensor(twice)


def one_cell(layer: Any) -> None:
    with torch.no_grad():
        layer.weight[(-1,) * layer.weight.dim()] += 3


CHANGES: dict[str, Callable[[Any], Any]] = {
    "SGD": step(torch.optim.SGD),
    "Adam": step(torch.optim.Adam),
    "fused AdamW": step(functools.partial(torch.optim.AdamW, fused=True)),
    "load_state_dict": load,
    "load_state_dict(assign=True)": assign,
    "init": lambda layer: nn.init.normal_(layer.weight),
    "one cell": one_cell,
    ".data.mul_": lambda layer: layer.weight.data.mul_(2),
    ".data.copy_": lambda layer: layer.weight.data.copy_(layer.weight.data.flip(0)),
    ".data =": replace_data,
    ".data = at the same address": swap_data,
    "NumPy": lambda layer: layer.weight.detach().numpy().__imul__(2),
    "one tap of every kernel": lambda layer: layer.weight.data[:, :, 1].mul_(5),
    "a new Parameter": lambda layer: setattr(
        layer, "weight", nn.Parameter(layer.weight.detach() * 2)
    ),
    "double and back": lambda layer: layer.double().float(),
    "swap_tensors": lambda layer: torch.utils.swap_tensors(
        layer.weight, nn.Parameter(layer.weight.detach() * 2)
    ),
}
