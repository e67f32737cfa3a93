"""The layers of an accelerated model timed on an example at once, and what the report says of it."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import torch
from torch import Tensor, nn

from backstride.torch import measured
from backstride.torch.measured import Times
from backstride.torch.modules import OnEngine
from backstride.torch.report import Row
from backstride.torch.swapping import Chain, Layer, Measured, Routed, Swapped, unswap


class Evaluation:
    """Evaluation mode without gradients; every module's own mode comes back."""

    def __init__(self, model: nn.Module) -> None:
        self.modes = [(module, module.training) for module in model.modules()]
        self.grad = torch.no_grad()

    def __enter__(self) -> None:
        for module, _ in self.modes:
            module.training = False
        self.grad.__enter__()

    def __exit__(self, *error: object) -> None:
        self.grad.__exit__(None, None, None)
        _ = error
        for module, training in self.modes:
            module.training = training


def settle(model: nn.Module, arguments: tuple[Any, ...]) -> None:
    """Time every layer on what an example brings it; of a model in training, with the derivatives, too."""
    training = model.training
    random = cast("Any", torch.random)
    with random.fork_rng(devices=[]):
        with Evaluation(model):
            for _ in range(measured.ALL_TURNS if any(isinstance(one, Routed) for one in model.modules()) else 1):
                _ = model(*arguments)
            calls = _inputs(model, arguments) if training else []
        with torch.enable_grad():
            for layer, given in calls:
                _ = layer.forward(given.detach().requires_grad_())  # past the hooks, which belong to the model's calls


def settled_row(row: Row, module: nn.Module) -> Row:
    """The row of a module after that; what the engine does not make faster gets its class back."""
    if not row.accelerated:
        return row
    if isinstance(module, Chain) and not any(isinstance(child, OnEngine | Measured) for child in module.children()):
        _ = unswap(module)
        return dataclasses.replace(row, accelerated=False, remark="no layer of it is faster on the engine")
    times = _decisive(module)
    if not times or not isinstance(module, Swapped):
        return row
    engine, stock = (f"{1e3 * sum(seconds):.3g} ms" for seconds in zip(*times, strict=True))
    faster = sum(one.engine_is_faster for one in times)
    if not faster:
        _ = unswap(module)
        return dataclasses.replace(row, accelerated=False, remark=f"PyTorch's own takes {stock}, the engine {engine}")
    part = "" if faster == len(times) else f", {faster} of {len(times)} kinds of calls"
    return dataclasses.replace(row, remark=f"{row.remark}{part}; {engine}, PyTorch's own {stock}")


def _decisive(module: nn.Module) -> list[Times]:
    """What was timed for a layer: with what follows it where that is faster in one call, or else alone."""
    times = measured.all_of(module)
    joined = {key: one for key, one in times.items() if measured.is_joined(key)}
    faster = [one for one in joined.values() if one.engine_is_faster]
    return faster or [one for key, one in times.items() if key not in joined]


def _inputs(model: nn.Module, arguments: tuple[Any, ...]) -> list[tuple[Any, Tensor]]:
    """Each layer with each of its inputs."""
    found: list[tuple[Any, Tensor]] = []

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        found.extend((module, one.clone()) for one in given[:1] if isinstance(one, Tensor))

    handles = [
        module.register_forward_pre_hook(note) for module in model.modules() if isinstance(module, Layer | Measured)
    ]
    try:
        _ = model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return found
