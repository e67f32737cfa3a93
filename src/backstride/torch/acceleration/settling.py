"""The layers of an accelerated model timed on an example, and what the report says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backstride.torch.acceleration.classes import Swapped, unswap
from backstride.torch.acceleration.report import Row
from backstride.torch.acceleration.swapping import Chain, Measured, Routed, TransposedLayer
from backstride.torch.acceleration.whole import ROUNDS, Whole, calls_of
from backstride.torch.layers import measured
from backstride.torch.layers.modules import OnEngine
from backstride.torch.operator.internals import fork_rng

MOST_CALLS = measured.ALL_TURNS + 2 * (1 + ROUNDS) + 1


class EvaluationMode:
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


def settle(model: nn.Module, arguments: tuple[object, ...]) -> None:
    """Time every layer on what an example brings it, and the whole.

    In training, with the derivatives, too.
    """
    layers = (
        [module for module in model.modules() if isinstance(module, TransposedLayer | Measured)]
        if model.training
        else []
    )
    with fork_rng(devices=[]):
        with EvaluationMode(model):
            routed = isinstance(model, Routed) and not isinstance(model, Whole)
            for _ in range(measured.ALL_TURNS if routed else MOST_CALLS):
                _ = model(*arguments)
                if not (routed or (isinstance(model, Whole) and calls_of(model).turns)):
                    break
            inputs = _inputs(model, layers, arguments) if layers else []
        if isinstance(model, Whole):
            calls_of(model).put(calls_of(model).engaged)
        with torch.enable_grad():
            for layer, data in inputs:  # past the hooks, which belong to the model's calls
                _ = layer.forward(data.detach().requires_grad_())


def settled_rows(rows: list[Row], model: nn.Module) -> list[Row]:
    """The rows after that; what the engine does not make faster gets its class back."""
    calls = calls_of(model) if isinstance(model, Whole) else None
    lost = None if calls is None or model.training else calls.lost()
    if calls is not None:
        calls.put(calls.engaged)
    settled: list[Row] = []
    for row in reversed(rows):  # inner ones first
        module = model.get_submodule(row.name)
        one = settled_row(row, module)
        if one.accelerated and lost is not None and unswap(module):
            with_it, without = (f"{1e3 * seconds:.3g} ms" for seconds in lost)
            remark = (
                f"faster alone, but the whole model takes {with_it} with the engine, {without} "
                "without"
            )
            one = dataclasses.replace(one, accelerated=False, remark=remark)
        settled.append(one)
    if calls is not None:
        calls.keep()
    return settled[::-1]


def settled_row(row: Row, module: nn.Module) -> Row:
    """The row of a module after that; what the engine does not make faster gets its class back."""
    if not row.accelerated:
        return row
    if isinstance(module, Chain) and not any(
        isinstance(child, OnEngine | Measured) for child in module.children()
    ):
        _ = unswap(module)
        return dataclasses.replace(
            row, accelerated=False, remark="no layer of it is faster on the engine"
        )
    times = measured.decisive(module)
    if not times or not isinstance(module, Swapped):
        return row
    engine, stock = (f"{1e3 * sum(seconds):.3g} ms" for seconds in zip(*times, strict=True))
    faster = sum(one.engine_is_faster for one in times)
    if not faster:
        _ = unswap(module)
        return dataclasses.replace(
            row, accelerated=False, remark=f"PyTorch's own takes {stock}, the engine {engine}"
        )
    part = "" if faster == len(times) else f", {faster} of {len(times)} kinds of calls"
    return dataclasses.replace(row, remark=f"{row.remark}{part}; {engine}, PyTorch's own {stock}")


def _inputs(
    model: nn.Module, layers: Sequence[nn.Module], arguments: tuple[object, ...]
) -> list[tuple[nn.Module, Tensor]]:
    """Each layer with each of its inputs."""
    inputs: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, arguments: tuple[object, ...]) -> None:
        inputs.extend((module, one.clone()) for one in arguments[:1] if isinstance(one, Tensor))

    handles = [module.register_forward_pre_hook(note) for module in layers]
    try:
        _ = model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return inputs
