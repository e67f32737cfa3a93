"""`accelerate`: every transposed convolution of a model on the engine, by one call.

`restore` undoes it.
"""

from __future__ import annotations

import weakref
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn

from backstride.torch.acceleration.classes import Swapped, swap, unswap
from backstride.torch.acceleration.convolutions import in_tiles, is_candidate, is_faster
from backstride.torch.acceleration.discovery import calls_functions
from backstride.torch.acceleration.prepacked import has_large_weight
from backstride.torch.acceleration.report import Report, Row
from backstride.torch.acceleration.settling import settle, settled_rows
from backstride.torch.acceleration.swapping import (
    Chain,
    Large,
    Learner,
    Ordinary,
    Routed,
    Stock,
    TransposedLayer,
    is_chain,
    is_transposed,
    own_forward,
)
from backstride.torch.acceleration.training import is_faster_in_training
from backstride.torch.acceleration.verifying import record, verified
from backstride.torch.acceleration.whole import unwatch_calls, watch_calls
from backstride.torch.layers.measured import MEASURED
from backstride.torch.layers.modules import TransposedModule
from backstride.torch.operator.internals import is_plain, named_modules
from backstride.torch.operator.kernels import DTYPES, engine_supports
from backstride.torch.operator.packing import keep_private, make_public

Model = TypeVar("Model", bound=nn.Module)
_switched: weakref.WeakSet[nn.Module] = (
    weakref.WeakSet()
)  # our own modules that an `accelerate` keeps from tiles
Convolutions: TypeAlias = bool | Literal["training"]


class Accelerated(NamedTuple, Generic[Model]):
    """A model and what was done to it: what `accelerate` returns.

    Example:
        >>> accelerate(nn.ConvTranspose2d(8, 4, 4)).report.accelerated[0].remark
        'on the engine'

    Args:
        model: the very module that was given.
        report: a row for each module that has to do with transposed convolutions.
    """

    model: Model
    report: Report


def accelerate(
    model: Model,
    example: object = None,
    *,
    verify: object = None,
    convolutions: Convolutions = True,
    trust: bool = False,
    winograd: bool = True,
    measure: bool = True,
) -> Accelerated[Model]:
    """Put every transposed convolution of a model on the engine, in place.

    Example:
        >>> model = nn.Sequential(nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        >>> model, report = accelerate(model)
        >>> print(report)
        (model)  Sequential       accelerated: takes batch norm and activation into the layer before them, in inference
        0        ConvTranspose2d  accelerated: on the engine
        2 of 2 accelerated

    Swapped are `torch.nn.ConvTranspose1d/2d/3d`, lazy and parametrised ones and subclasses that
    keep `forward`; modules whose own code calls `torch.nn.functional.conv_transpose1d/2d/3d` have
    those calls routed; and a Sequential takes batch norm in evaluation and activation into the
    layer before them while gradients are off, where each keeps PyTorch's own `forward` and nobody
    listens. No code of the model is run for it: what a `forward` written by hand calls after a
    layer stays as it is. With `convolutions`, the ordinary convolutions that the engine computes
    faster (stride 1, and kernels of 3x3, of 3x3x3 or long ones of one axis, or few output channels)
    are on the engine in inference, too, and those with large weights remember oneDNN's order of
    them; in training, those of two and three axes with at least 24 channels and more than one tap
    in the phases of the stride are; `convolutions="training"` takes these alone. Only classes
    change, so training, state dicts, hooks, optimizers and parametrisations go on as before. Packed
    weights are remembered for inference, and made anew when a weight changes in whatever way: the
    system watches its pages, or all its bytes are compared at each call (docs/torch.md).

    Which is faster depends on the processor and on the sizes. So the first call of a layer on a new
    kind of sizes, dtype, memory format and number of threads times both ways, the engine's and
    PyTorch's, and the layer keeps the faster one; that call takes as long as some ten. In
    inference, the outermost module then compares whole calls with the engine and without, which
    take turns. Under `torch.use_deterministic_algorithms(True)` rules choose, as with
    `measure=False`. `restore(model)` undoes everything.

    Args:
        model: any module, in evaluation or in training, with parameters of any dtype on any device;
            what is not of floating-point numbers on a CPU is computed by PyTorch's kernels.
        example: an input, or a tuple of arguments, on which all is timed at once: the model is run
            on it in evaluation, layers of a model in training are timed with their derivatives,
            too, and what the engine does not make faster gets its class back. The report says both
            times.
        verify: an input, or a tuple of arguments. The model is run on it in evaluation before and
            after, and a module whose result differs by more than 1e-5 of its largest value, in half
            precision by more than one rounding, gets its class back.
        convolutions: True for ordinary convolutions as well, "training" for those in training
            alone, False for none.
        trust: True says that nobody writes to the model's tensors behind PyTorch's back (through
            `.data`, NumPy, another process). Then neither their bytes nor their pages are looked
            at, which matters where large weights serve few cells and the system does not watch
            memory; all that PyTorch counts is noticed as before.
        winograd: False keeps to sums of the products themselves, in inference and in training: no
            Winograd's tiles, whose rounding errors are relative to the largest numbers nearby
            (docs/engine.md), and none along an axis. Ordinary convolutions that only these make
            faster stay PyTorch's.
        measure: False leaves the choice to rules, so that the same call gives the same bits in
            every run.

    Returns:
        The same model, and a `Report`.

    Raises:
        TypeError: for what is no module.
        ValueError: for other `convolutions`, and where `verify` or the model has tensors without
            numbers.
    """  # noqa: E501
    if convolutions not in (True, False, "training"):
        message = (
            f'`convolutions` (={convolutions!r}) must be True, False or "training"; the nearest '
            "legal value is True"
        )
        raise ValueError(message)
    if not isinstance(cast("object", model), nn.Module):
        message = f"`model` must be a torch.nn.Module, not {type(model).__name__}"
        raise TypeError(message)
    unwatch_calls(model)
    recorded = {} if verify is None else record(model, _arguments(verify))
    treated = (
        _treat(name, module, convolutions, winograd=winograd)
        for name, module in named_modules(model)
    )
    rows = [row for row in treated if row is not None]
    if convolutions is True and any(row.accelerated for row in rows):
        _keep_stock(model)
    _set_options(model, winograd=winograd, measure=measure)
    if trust:
        _trust(model)
    if verify is not None:
        modules = dict(named_modules(model))
        rows = [verified(row, modules[row.name], recorded.get(row.name)) for row in rows]
    if measure:
        watch_calls(model)
    if example is not None and measure:
        settle(model, _arguments(example))
        rows = settled_rows(rows, model)
        if not any(row.accelerated for row in rows):
            _ = restore(model)
    return Accelerated(model, Report(tuple(rows)))


def restore(model: Model) -> Model:
    """Undo `accelerate`: every module gets the class back that it had.

    Example:
        >>> model = accelerate(nn.ConvTranspose2d(8, 4, 4))[0]
        >>> type(restore(model)) is nn.ConvTranspose2d
        True

    Args:
        model: any module; what was not accelerated stays as it is.

    Returns:
        The same model.
    """
    unwatch_calls(model)
    _set_options(model, winograd=True, measure=True)
    for module in model.modules():
        _ = unswap(module)
    for tensor in _tensors(model):
        make_public(tensor)
    return model


def _arguments(example: object) -> tuple[object, ...]:
    """An example's arguments: a tuple of them, or one alone."""
    return cast("tuple[object, ...]", example) if isinstance(example, tuple) else (example,)


def _set_options(model: nn.Module, *, winograd: bool, measure: bool) -> None:
    """Whether the layers on the engine may use tiles, and are timed.

    Our own modules remember what they had.
    """
    for module in model.modules():
        if isinstance(module, TransposedModule) and not winograd and module.winograd:
            _switched.add(module)
        if isinstance(module, Swapped):
            vars(module)[MEASURED] = measure
        if isinstance(module, Swapped) or module in _switched:
            vars(module)["winograd"] = winograd


def _trust(model: nn.Module) -> None:
    """Say that nobody writes to the model's tensors behind PyTorch's back."""
    for tensor in _tensors(model):
        if not nn.parameter.is_lazy(tensor) and engine_supports(tensor) and is_plain(tensor):
            _ = keep_private(tensor)


def _keep_stock(model: nn.Module) -> None:
    """Mark the convolutions that stay PyTorch's.

    The report does not name them, as nothing changes in their calls.
    """
    for module in model.modules():
        if is_candidate(module):
            swap(module, Stock)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _treat(
    name: str, module: nn.Module, convolutions: Convolutions, *, winograd: bool
) -> Row | None:
    """Swap a module where that is right; None for the many that have nothing to do with it."""
    kind = type(module).__name__

    def row(done: bool, remark: str) -> Row:
        return Row(name, kind, done, remark)

    verdict = _kept(module)
    if verdict is not None:
        return row(*verdict)
    choice = _mixin(module, convolutions=convolutions, winograd=winograd)
    if choice is None:
        return None
    mixin, remark = choice
    swap(module, mixin)
    return row(True, remark or _where(module))


def _mixin(
    module: nn.Module, *, convolutions: Convolutions, winograd: bool
) -> tuple[type[Swapped], str] | None:
    """What a module is swapped for, and what the report says of it."""
    if is_transposed(module) and not own_forward(module):
        return TransposedLayer, ""
    if is_transposed(module) or calls_functions(module):
        return Routed, "the calls of conv_transpose in its own code are routed to the engine"
    if convolutions and (
        ordinary := _ordinary(module, inference=convolutions is True, winograd=winograd)
    ):
        return ordinary
    taken = is_transposed if convolutions is not True else _can_be_joined
    if is_chain(module) and any(taken(child) for child in module.children()):
        return Chain, "takes batch norm and activation into the layer before them, in inference"
    return None


def _can_be_joined(module: nn.Module) -> bool:
    return is_transposed(module) or is_faster(module)


def _ordinary(
    module: nn.Module, *, inference: bool, winograd: bool
) -> tuple[type[Swapped], str] | None:
    """The same for an ordinary convolution."""
    learns = is_faster_in_training(module, winograd=winograd)
    if inference and is_faster(module, winograd=winograd):
        tiled = ", cut into tiles" if in_tiles(module) else ""
        where = "on the engine" if learns else "on the engine, in inference"
        return (
            Ordinary,
            f"{where}: stride 1, as a transposed convolution with the kernel flipped{tiled}",
        )
    if inference and has_large_weight(module):
        learnt = "; on the engine, in training" if learns else ""
        return Large, f"oneDNN's order of its large weight is remembered, in inference{learnt}"
    return (Learner, "on the engine, in training") if learns else None


def _kept(module: nn.Module) -> tuple[bool, str] | None:
    """Whether a module that stays as it is runs on the engine, and why it stays.

    None for all others.
    """
    kind = type(module).__name__
    if isinstance(module, Swapped):
        return True, "was accelerated before"
    if isinstance(module, TransposedModule):
        return True, "is Backstride's own"
    if isinstance(module, torch.jit.ScriptModule):
        transposed = "ConvTranspose" in str(getattr(module, "original_name", ""))
        return (False, "compiled by TorchScript, its code is fixed") if transposed else None
    if is_transposed(module):
        return (
            (False, "its forward was replaced on the instance")
            if "forward" in vars(module)
            else None
        )
    if "ConvTranspose" in kind and not calls_functions(module):
        return False, f"{type(module).__module__}.{kind} is no torch.nn.ConvTranspose"
    return None


def _where(module: nn.Module) -> str:
    tensors = [tensor for tensor in module.parameters() if not nn.parameter.is_lazy(tensor)]
    for tensor in tensors:
        if tensor.dtype not in DTYPES or tensor.device.type != "cpu":
            kind = str(tensor.dtype).removeprefix("torch.")
            return f"by PyTorch's kernels, while its parameters are {kind} on {tensor.device.type}"
    return "on the engine"
