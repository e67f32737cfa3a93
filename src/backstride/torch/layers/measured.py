"""Whether a layer of an accelerated model runs on the engine or by PyTorch's own kernels.

Measured, not guessed. Which of the two is faster depends on processor, sizes, dtype, memory format
and number of threads. So the first call of a layer on a new kind of shape runs both, interleaved,
and keeps the faster one, as cuDNN's benchmark mode does. Layers of the same kind share the answer.
In training, a call and its derivatives are measured together. Before each run other data passes
through the nearer caches, as it does between two calls of a layer in a network: where a layer has
the processor for itself, its weights stay in a cache from which no network reads them.

Nothing is measured where results must not depend on time: under
`torch.use_deterministic_algorithms(True)`, with `accelerate(measure=False)`, where an
implementation is forced, and where a compiler, a mode or a transform watches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeGuard

import torch
from torch import Tensor, get_num_threads, is_autocast_enabled, is_grad_enabled, nn
from torch.compiler import is_compiling

from backstride.engine import forced
from backstride.torch.operator import ways
from backstride.torch.operator.fusion import Foldable, has_kept_weight, stable_weight
from backstride.torch.operator.internals import (
    Argument,
    is_overridden,
    is_plain,
    saved_tensors_hooks,
    unwatched,
)
from backstride.torch.operator.kernels import engine_supports
from backstride.torch.operator.packing import is_kept
from backstride.torch.operator.ways import MeasuredWays, Run, step_of

ALL_TURNS = 5  # calls of a module's own code until it is settled
MOST_KINDS = 1024  # sizes of one module
JOINED = "joined"
OPTION_TYPES = (bool, int, float, str, tuple, type(None))  # of what a module's time depends on
MEASURED = "backstride_measured"  # where a module keeps whether it is timed
TIMES = "backstride_times"  # and the times
READY = "backstride_ready"  # what it goes to without looking up
TURNS = "backstride_turns"  # and what is not settled yet
Function = Callable[..., Tensor]
Fused = Callable[[int, Tensor], tuple[Tensor, int]]


class Timed(Protocol):
    """A layer that either the engine or PyTorch computes."""

    @property
    def backstride_measured(self) -> bool: ...

    @property
    def by_engine(self) -> Function: ...

    @property
    def by_stock(self) -> Function: ...


class Times(NamedTuple):
    """Seconds of a call on the engine and by PyTorch; of training, with the derivatives."""

    engine: float
    stock: float

    @property
    def engine_is_faster(self) -> bool:
        return self.engine <= self.stock


_times: dict[Hashable, Times] = {}


def is_known_slower(layer: nn.Module, input: Tensor, position: int | None = None) -> bool:
    """Whether such a call, without options of its own, was timed, and PyTorch is the faster one.

    With its position among modules, of the layer and what follows it: whether one by one is faster
    than joined.
    """
    times: dict[Hashable, Times] | None = getattr(layer, "__dict__", {}).get(TIMES)
    if times is None or is_compiling() or input.__class__ is not Tensor:
        return False
    return _is_stock(
        times.get(call_key(input) if position is None else (JOINED, position, call_key(input)))
    )


def stock_is_faster(
    layer: Timed,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    output_size: Sequence[int] | None = None,
) -> bool:
    """Whether PyTorch's own kernel is the faster one for a call of a layer.

    Measured where that is not known. The layer has `by_engine` and `by_stock`, which take its input
    with any weight and bias.
    """
    if is_compiling() or input.__class__ is not Tensor:
        return False
    key = call_key(input) if output_size is None else (call_key(input), *output_size)
    all_times = layer.__dict__.get(TIMES)
    times: Times | None = None if all_times is None else all_times.get(key)
    if times is None:
        if not layer.backstride_measured or not may_measure(input, weight, bias):
            return False
        kept, rest = is_kept(weight), () if output_size is None else (output_size,)
        shared = (_kind_of(layer), kept, output_size is None, _kinds(input, weight, bias))
        engine, stock = (
            partial(_call, run, rest, kept) for run in (layer.by_engine, layer.by_stock)
        )
        tensors = input, weight, bias
        times = measure(shared, step(engine, *tensors), step(stock, *tensors), input, layer, key)
    return _is_stock(times)


def parts_are_faster(
    layer: Foldable, position: int, input: Tensor, fused: Fused, modules: list[nn.Module]
) -> bool:
    """The same of a layer at a position among modules.

    Whether it and what follows are faster one by one than `fused`. `fused` takes the position and
    the input, and returns a result and the position behind what that includes. A weight that is
    made anew for each call is made once for it: then nothing is measured.
    """
    if is_compiling() or input.__class__ is not Tensor:
        return False
    key, all_times = (JOINED, position, call_key(input)), layer.__dict__.get(TIMES)
    times: Times | None = None if all_times is None else all_times.get(key)
    if times is None:
        if not getattr(layer, MEASURED, False) or not has_kept_weight(layer):
            return False
        tensors = input, stable_weight(layer), layer.bias
        if not may_measure(*tensors):
            return False
        parts = modules[position : fused(position, input)[1]]
        shared = (*map(_kind_of, parts), _kinds(*tensors))
        runs = partial(fused, position, input), partial(_one_by_one, parts, input)
        times = measure(shared, *runs, input, layer, key)
    return _is_stock(times)


def stock_function_is_faster(
    engine: Function, stock: Function, args: tuple[Argument, ...], keywords: dict[str, Argument]
) -> bool:
    """The same of a call of a function that takes input, weight and bias before the rest.

    A weight that is no parameter is taken for one that is made anew for each call, so packing it
    counts.
    """
    options = dict(zip(("input", "weight", "bias"), args, strict=False)) | keywords
    tensors = tuple(options.pop(name, None) for name in ("input", "weight", "bias"))
    if not all(isinstance(one, Tensor) for one in tensors[:2]) or not may_measure(*tensors):
        return False
    kept = isinstance(tensors[1], nn.Parameter)
    shared = (stock, kept, repr((args[3:], sorted(options.items()))), _kinds(*tensors))
    times = _times.get(shared)
    if times is None:
        calls = (partial(_positional, run, args[3:], options) for run in (engine, stock))
        ours, theirs = (step(partial(_call, call, (), kept), *tensors) for call in calls)
        times = shared_times(shared, ours, theirs, tensors[0])
    return _is_stock(times)


def routed(
    module: object, arguments: tuple[object, ...], run: Callable[[bool], object], *, timed: bool
) -> object:
    """What a module's code computes, its functions on the engine (True) or PyTorch's (False).

    That they are looked for costs every function that the code calls some microseconds. The code is
    not run twice: in inference, calls of a kind take turns after the first one, two for each, and
    then the faster way is known. It is `timed` so, or else on the engine.
    """
    tensors = [one for one in arguments if isinstance(one, Tensor)]
    if is_grad_enabled() or is_compiling() or not (timed and tensors and may_measure(*tensors)):
        return run(True)
    key = ("routed", *map(call_key, tensors))
    times: dict[Hashable, Times] = module.__dict__.setdefault(TIMES, {})
    if key in times:
        return run(not _is_stock(times[key]))
    turns: dict[Hashable, list[float]] = module.__dict__.setdefault(TURNS, {})
    seconds = turns.setdefault(key, [])
    on_engine = len(seconds) % 2 == 0
    before = time.perf_counter()
    result = run(on_engine)
    seconds.append(time.perf_counter() - before)
    if len(seconds) == ALL_TURNS:
        del turns[key]
        if len(times) >= MOST_KINDS:
            times.clear()
        times[key] = Times(min(seconds[2::2]), min(seconds[1::2]))
    return result


def call_key(input: Tensor) -> Hashable:
    """What one module's answer is remembered by; quick, as each call asks for it."""
    return (
        input.shape,
        input.stride(),
        input.dtype,
        is_grad_enabled() and (input.requires_grad, True),
        is_autocast_enabled("cpu"),
        get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
    )


def _kinds(*tensors: Tensor | None) -> Hashable:
    """What the answer is shared by: shapes in steps, memory formats, and who wants gradients.

    >>> one, near, far = (_kinds(torch.empty(1, 8, size)) for size in (100, 102, 200))
    >>> one == near, one == far
    (True, False)
    """
    recording = is_grad_enabled()
    formats = tuple(
        None
        if tensor is None
        else (
            tuple(step_of(size) for size in tensor.shape),
            tensor.is_contiguous(),
            tensor.dtype,
            recording and tensor.requires_grad,
        )
        for tensor in tensors
    )
    lowered = torch.get_autocast_dtype("cpu") if is_autocast_enabled("cpu") else None
    return formats, recording, lowered, get_num_threads()


def is_joined(key: Hashable) -> bool:
    """Whether it is the key of a layer with what follows it."""
    return _is_tuple(key) and key[0] == JOINED


def _is_tuple(key: Hashable) -> TypeGuard[tuple[Hashable, ...]]:
    return isinstance(key, tuple)


def all_of(module: nn.Module) -> dict[Hashable, Times]:
    """All that was measured for a module."""
    return dict(module.__dict__.get(TIMES, {}))


def decisive(module: nn.Module) -> list[Times]:
    """What was timed for a layer.

    With what follows it where that is faster in one call, or else alone.
    """
    times = all_of(module)
    joined = {key: one for key, one in times.items() if is_joined(key)}
    faster = [one for one in joined.values() if one.engine_is_faster]
    return faster or [one for key, one in times.items() if key not in joined]


def forget(module: nn.Module) -> None:
    """Measure a module anew."""
    for name in (TIMES, TURNS, READY):
        _ = module.__dict__.pop(name, None)


def may_measure(*tensors: Tensor | None) -> bool:
    """Whether calls with these tensors may be repeated and compared.

    Ordinary ones that nobody watches. Activation checkpointing counts what calls save for their
    derivatives, so hooks of saved tensors watch, too.
    """
    if torch.are_deterministic_algorithms_enabled() or forced() or not unwatched():
        return False
    if saved_tensors_hooks(True) is not None:
        return False
    present = [tensor for tensor in tensors if tensor is not None]
    ordinary = all(engine_supports(one) and is_plain(one) and one.numel() > 0 for one in present)
    return ordinary and not is_overridden(*present)


def measure(
    shared: Hashable, engine: Run, stock: Run, input: Tensor, module: object, key: Hashable
) -> Times | None:
    """The times of two ways to compute the same.

    Remembered by what they share, and for one module by its key.
    """
    seconds = shared_times(shared, engine, stock, input)
    if seconds is None:
        return None
    times: dict[Hashable, Times] = module.__dict__.setdefault(TIMES, {})
    if len(times) >= MOST_KINDS:
        times.clear()
    times[key] = seconds
    return seconds


def shared_times(shared: Hashable, engine: Run, stock: Run, input: Tensor) -> Times | None:
    """The times of all calls of a kind.

    None where one fails, for lack of memory or as the call itself will say.
    """
    if shared not in _times:
        try:
            _times[shared] = race(engine, stock, input)
        except (MemoryError, RuntimeError, TypeError, ValueError):
            return None
    return _times[shared]


def race(engine: Run, stock: Run, input: Tensor) -> Times:
    """Run both in turn, and take the least time of each."""
    return Times(*ways.race((engine, stock), input))


def step(call: Callable[..., Tensor], *tensors: Tensor | None) -> Run:
    """A call, with its derivatives where gradients are on, on tensors that lead nowhere else."""
    if not is_grad_enabled():
        return lambda: _measuring(call, *tensors)
    alone = [
        None if one is None else one.detach().requires_grad_(one.requires_grad) for one in tensors
    ]
    wanted = [one for one in alone if one is not None and one.requires_grad]

    def run() -> None:
        y = _measuring(call, *alone)
        if wanted:
            with MeasuredWays(measured=True, trying=True):
                _ = torch.autograd.grad(y, wanted, y.detach())

    return run


def _measuring(call: Callable[..., Tensor], *tensors: Tensor | None) -> Tensor:
    with MeasuredWays(measured=True, trying=True):
        return call(*tensors)


def _positional(
    run: Function, rest: tuple[object, ...], keywords: dict[str, object], *tensors: Tensor | None
) -> Tensor:
    return run(*tensors, *rest, **keywords)


def _is_stock(times: Times | None) -> bool:
    """Whether PyTorch's own kernel was the faster one, and no implementation is forced since."""
    return times is not None and not times.engine_is_faster and not forced()


def _one_by_one(modules: list[nn.Module], value: Tensor) -> Tensor:
    for module in modules:
        value = module(value)
    return value


def _call(
    run: Function,
    rest: tuple[object, ...],
    kept: bool,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
) -> Tensor:
    """A call whose weight, where the layer's own is another one each time, is another one, too."""
    return run(x, weight if kept else weight.clone(), bias, *rest)


def _kind_of(module: object) -> Hashable:
    """What modules have in common that take the same time: class and options."""
    names = [name for name in module.__dict__ if name[:1] != "_" and name != "training"]
    options = tuple(
        (name, module.__dict__[name])
        for name in names
        if isinstance(module.__dict__[name], OPTION_TYPES)
    )
    return getattr(module.__class__, "original", module.__class__), options
