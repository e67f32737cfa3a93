"""What modules computed before they were accelerated, and whether they still do: `verify`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from backstride.torch.acceleration.classes import unswap
from backstride.torch.acceleration.convolutions import is_faster
from backstride.torch.acceleration.discovery import calls_functions
from backstride.torch.acceleration.prepacked import has_large_weight
from backstride.torch.acceleration.report import Row
from backstride.torch.acceleration.settling import EvaluationMode
from backstride.torch.acceleration.swapping import is_chain, is_transposed
from backstride.torch.acceleration.training import Trained, is_faster_in_training
from backstride.torch.operator.internals import Argument, named_modules
from backstride.torch.operator.packing import HALF

TOLERANCE = 1e-5
Recorded: TypeAlias = tuple[
    tuple[object, ...], dict[str, object], object
]  # arguments, keywords and result


def record(model: nn.Module, arguments: tuple[object, ...]) -> dict[str, list[Recorded]]:
    """Arguments, keywords and result of every call of every module, in evaluation."""
    _check_numbers(model, arguments)
    calls: dict[str, list[Recorded]] = {}
    handles: list[RemovableHandle] = []

    def listen(name: str, module: nn.Module) -> None:
        running: list[tuple[tuple[object, ...], dict[str, object]]] = []

        def before(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            running.append(_copied((args, kwargs)))

        def after(_: nn.Module, _args: tuple[object, ...], output: object) -> None:
            calls.setdefault(name, []).append((*running.pop(), _copied(output)))

        handles.extend(
            (
                module.register_forward_pre_hook(before, with_kwargs=True),
                module.register_forward_hook(after),
            )
        )

    for name, module in named_modules(model):
        if (
            is_transposed(module)
            or calls_functions(module)
            or is_chain(module)
            or is_faster(module)
            or has_large_weight(module)
            or is_faster_in_training(module)
        ):
            listen(name, module)
    try:
        with EvaluationMode(model):
            _ = model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _check_numbers(model: nn.Module, example: tuple[object, ...]) -> None:
    """What is compared must have numbers, which tensors on meta and fake ones lack."""
    for name, tensors in (
        ("verify", tree_leaves(example)),
        ("model", (*model.parameters(), *model.buffers())),
    ):
        for tensor in tensors:
            if isinstance(tensor, Tensor) and (
                tensor.device.type == "meta" or isinstance(tensor, FakeTensor)
            ):
                kind = f"{type(tensor).__name__} on {tensor.device.type}"
                message = (
                    f"`{name}` (={kind}) has no numbers to compare; the nearest legal call has an "
                    "example and parameters on cpu, or no `verify`"
                )
                raise ValueError(message)


def verified(row: Row, module: nn.Module, calls: list[Recorded] | None) -> Row:
    """Run a module on its arguments of before the swap, and undo that where the result differs."""
    if not row.accelerated:
        return row
    if not calls:
        return dataclasses.replace(row, remark=f"{row.remark}; not met by the example")
    worst, allowed = 0.0, max(_tolerances([output for _, _, output in calls]))
    with EvaluationMode(module):
        for args, kwargs, output in calls:
            worst = max(worst, *_errors(module(*_copied(args), **_copied(kwargs)), output))
            if isinstance(module, Trained):
                with torch.enable_grad():
                    worst = max(worst, *_errors(module(*_copied(args), **_copied(kwargs)), output))
    if worst <= allowed:
        return dataclasses.replace(row, remark=f"{row.remark}; verified, differs by {worst:.0e}")
    _ = unswap(module)
    return dataclasses.replace(
        row,
        accelerated=False,
        remark=f"differs by {worst:.0e} of the largest value, more than {allowed:.0e}",
    )


def _errors(result: Argument, expected: Argument) -> list[float]:
    """The largest difference of each tensor, relative to the largest expected value."""
    if isinstance(expected, Tensor):
        if not isinstance(result, Tensor) or result.shape != expected.shape:
            return [math.inf]
        if torch.equal(result, expected) or not expected.numel():
            return [0.0]
        result = result.detach()
        if expected.dtype in HALF:
            result, expected = result.float(), expected.float()
        error = float((result - expected).abs().max() / expected.abs().max())
        return [math.inf if math.isnan(error) else error]
    pairs = [(result[key], expected[key]) for key in _keys(expected)]
    return [error for one, two in pairs for error in _errors(one, two)] or [0.0]


def _tolerances(value: Argument) -> list[float]:
    """What each tensor may differ by: half precision by one rounding."""
    if isinstance(value, Tensor):
        return [torch.finfo(value.dtype).eps if value.dtype in HALF else TOLERANCE]
    return [tolerance for key in _keys(value) for tolerance in _tolerances(value[key])] or [
        TOLERANCE
    ]


def _keys(value: object) -> Iterable[object]:
    """What the entries of a dictionary, list or tuple are found by."""
    if isinstance(value, dict):
        return cast("dict[object, object]", value).keys()
    return range(len(cast("Sequence[object]", value))) if isinstance(value, list | tuple) else ()


def _copied(value: Argument) -> Argument:
    """The same with every tensor in it copied."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    keys, kind = list(_keys(value)), value.__class__
    entries = [_copied(value[key]) for key in keys]
    if isinstance(value, dict):
        return dict(zip(keys, entries, strict=True))
    if hasattr(kind, "_fields"):
        return kind(*entries)
    return kind(entries) if isinstance(value, list | tuple) else value
