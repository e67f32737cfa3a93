"""The outermost module of an accelerated model keeps calls no slower than PyTorch's.

A layer alone is not what it is among others: its data comes from other caches, and what looks after
it costs time, too, where it stays PyTorch's. So the outermost module watches the calls of the
whole. In inference, once the layers are timed for a kind of call, those that the engine does not
make faster have their own classes back, and cost nothing. The next calls take turns with and
without the rest, and the quicker way stays. A call of another kind, or with gradients, finds the
classes that it needs: they are exchanged when the kind of call changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from itertools import compress
from threading import Lock
from typing import SupportsIndex, cast

import torch
from torch import Tensor, get_num_threads, is_autocast_enabled, is_grad_enabled, nn
from torch.compiler import is_compiling, is_exporting
from torch.nn.utils import parametrize

from backstride.torch.acceleration.classes import (
    Swapped,
    class_with,
    mixins_of,
    original_of,
    swapped_class,
)
from backstride.torch.acceleration.swapping import Chain, Learner, Ordinary, Stock
from backstride.torch.layers import measured
from backstride.torch.layers.modules import OnEngine
from backstride.torch.operator import ways
from backstride.torch.operator.internals import Argument, assume_constant_result, is_compiled

STATE = "backstride_calls"  # where the outermost module keeps its state
ROUNDS = 3  # turns of each way that are compared where the first ones are close to each other
WINS = 0.97  # of the time without the engine, or it goes
PLAIN = (int, bool, str, type(None))
Choice = tuple[bool, ...]
Run = Callable[[], object]


class Turns:
    """What is known of a kind of call that is not settled."""

    def __init__(self) -> None:
        self.calls = 0
        self.best: Choice | None = None
        self.seconds: tuple[list[float], list[float]] = [], []


class ModelCalls:
    """The accelerated modules of a model, their classes now and before, and what is settled."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.lock, self.running = model, Lock(), 0
        swapped = [module for module in model.modules() if isinstance(module, Swapped)]
        self.kinds = [(module, type(module), class_with(module, _bare)) for module in swapped]
        self.engaged: Choice = (True,) * len(swapped)
        self.stock: Choice = (False,) * len(swapped)
        self.current, self.fixed = self.engaged, False
        self.settled: dict[Hashable, Choice] = {}
        self.seconds: tuple[float, float] | None = (
            None  # of the whole, with the engine and without, where that decided
        )
        self.turns: dict[Hashable, Turns] = {}

    def put(self, choice: Choice) -> None:
        """Give each module its class of the two.

        Not those that `restore`, or somebody else, gave another.
        """
        if choice is self.current or self.running:
            return
        for (module, engaged, bare), chosen in zip(self.kinds, choice, strict=True):
            if type(module) in (engaged, bare) and measured.MEASURED in vars(module):
                object.__setattr__(module, "__class__", engaged if chosen else bare)
        self.current = choice

    def run(self, choice: Choice, forward: Run) -> object:
        """Run a call with a choice.

        While calls of other threads run, with theirs, which is right, too.
        """
        with self.lock:
            self.put(choice)
            self.running += 1
        try:
            return forward()
        finally:
            with self.lock:
                self.running -= 1

    def take_turn(self, key: Hashable, forward: Run) -> object:
        """Run a call of a kind that is not settled."""
        if len(self.turns) >= measured.MOST_KINDS:
            self.turns.clear()
        turns = self.turns.setdefault(key, Turns())
        if turns.best is None and not self._is_timed(turns):
            turns.calls += 1
            return self.run(self.engaged, forward)
        if turns.best is None:
            turns.best = self._best()
        if not any(turns.best):
            self._settle(key, self.stock)
            return self.run(self.stock, forward)
        which = len(turns.seconds[0]) > len(turns.seconds[1])
        alone = not self.running
        before = time.perf_counter()
        result = self.run(self.stock if which else turns.best, forward)
        if alone:
            turns.seconds[which].append(time.perf_counter() - before)
            quickest = _quickest(*turns.seconds)
            if quickest is not None:
                self.seconds = (min(turns.seconds[0]), min(turns.seconds[1])) if quickest else None
                self._settle(key, (turns.best, self.stock)[quickest])
        return result

    def lost(self) -> tuple[float, float] | None:
        """Times of the whole with the engine and without, which is always the quicker way."""
        return self.seconds if set(self.settled.values()) == {self.stock} else None

    def keep(self) -> None:
        """Go on with the modules that are accelerated still."""
        kept = [measured.MEASURED in vars(module) for module, _, _ in self.kinds]
        self.kinds = list(compress(self.kinds, kept))
        self.settled = {key: tuple(compress(choice, kept)) for key, choice in self.settled.items()}
        self.engaged, self.stock = (
            tuple(compress(self.engaged, kept)),
            tuple(compress(self.stock, kept)),
        )
        self.current = self.engaged

    def _settle(self, key: Hashable, choice: Choice) -> None:
        if len(self.settled) >= measured.MOST_KINDS:
            self.settled.clear()
        self.settled[key] = choice
        _ = self.turns.pop(key, None)
        self.fixed = self.fixed or any(map(is_compiled, self.model.modules()))

    def _is_timed(self, turns: Turns) -> bool:
        """Whether all layers know what is faster.

        Before the first call, what they know of others is forgotten.
        """
        if turns.calls == 0:
            for module, _, _ in self.kinds:
                measured.forget(module)
            return False
        waiting = any(vars(module).get(measured.TURNS) for module, _, _ in self.kinds)
        return not waiting or turns.calls > measured.ALL_TURNS

    def _best(self) -> Choice:
        """Whether each module has something to do that is faster so."""
        return tuple(_is_faster(module, engaged) for module, engaged, _ in self.kinds)


class Whole(Swapped):
    """The outermost module of an accelerated model."""

    def forward(self, *arguments: object, **keywords: object) -> object:
        """That of the model, with the classes that are fastest for this kind of call."""
        if is_compiling():
            _ = is_exporting() or self.backstride_engage()
            return super().forward(*arguments, **keywords)
        calls, forward = calls_of(self), lambda: super(Whole, self).forward(*arguments, **keywords)
        if (
            calls.fixed
            or is_grad_enabled()
            or not (self.backstride_measured and measured.may_measure())
        ):
            return calls.run(calls.engaged, forward)
        key: Hashable = (
            self.training,
            _kind(arguments),
            _kind(keywords),
            is_autocast_enabled("cpu"),
            get_num_threads(),
        )
        choice = calls.settled.get(key)
        return calls.take_turn(key, forward) if choice is None else calls.run(choice, forward)

    @assume_constant_result
    def backstride_engage(self) -> bool:
        """Give all modules their swapped classes, for good: compiled graphs hold on to them."""
        calls = calls_of(self)
        calls.put(calls.engaged)
        calls.fixed = True
        return True

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Argument, ...]:
        calls = calls_of(self)
        calls.put(calls.engaged)
        reduced = super().__reduce_ex__(protocol)
        state = {name: value for name, value in reduced[2].items() if name != STATE}
        return (*reduced[:2], state, *reduced[3:])


def watch_calls(model: nn.Module) -> None:
    """Have the outermost accelerated module watch its calls, if others are below it."""
    others = any(isinstance(module, Swapped) for module in model.modules() if module is not model)
    if others and "forward" not in vars(model) and not isinstance(model, torch.jit.ScriptModule):
        object.__setattr__(model, "__class__", class_with(model, _watching))
        vars(model)[measured.MEASURED] = True


def unwatch_calls(model: nn.Module) -> None:
    """Give all modules the classes that they have without one that watches."""
    for module in list(model.modules()):
        if isinstance(module, Whole):
            calls = calls_of(module)
            calls.put(calls.engaged)
            object.__setattr__(module, "__class__", class_with(module, _not_watching))
            for name in (STATE,) if mixins_of(type(module)) else (STATE, measured.MEASURED):
                del vars(module)[name]


def calls_of(module: nn.Module) -> ModelCalls:
    """What an outermost module knows of its calls."""
    calls: ModelCalls | None = module.__dict__.get(STATE)
    if calls is None:
        calls = module.__dict__[STATE] = ModelCalls(module)
    return calls


def _bare(base: type[nn.Module]) -> type[nn.Module]:
    """The class without acceleration; the outermost module goes on watching."""
    watching = (Whole,) if issubclass(base, Whole) else ()
    return swapped_class(original_of(base), *watching)


def _watching(base: type[nn.Module]) -> type[nn.Module]:
    return swapped_class(original_of(base), Whole, *mixins_of(base))


def _not_watching(base: type[nn.Module]) -> type[nn.Module]:
    return swapped_class(
        original_of(base), *(mixin for mixin in mixins_of(base) if mixin is not Whole)
    )


def _quickest(engine: list[float], stock: list[float]) -> int | None:
    """The quicker of two ways, 0 for the engine's, which must save something.

    None while that is not clear. What is settled stays so. A disturbance makes either way look
    slow, but the engine is given up only after all turns.
    """
    if not stock or (len(stock) == 1 and engine[0] < ways.LONG):
        return None
    one, other = (min(seconds[1:] or seconds) for seconds in (engine, stock))
    saves = one <= WINS * other
    clear = len(stock) > ROUNDS or (saves and (len(stock) == 1 or ways.CLEAR * one < other))
    return int(not saves) if clear else None


def _is_faster(module: nn.Module, engaged: type[nn.Module]) -> bool:
    """Whether a module with its new class computes something in inference, faster so."""
    if issubclass(engaged, Stock | Learner):
        return False
    if issubclass(engaged, Chain):
        return any(
            isinstance(child, OnEngine | Ordinary) and _joins(child) for child in module.children()
        )
    times = measured.all_of(module)
    made = parametrize.is_parametrized(module)  # whose weight would be made anew
    return not times or made or any(one.engine_is_faster for one in times.values())


def _joins(layer: nn.Module) -> bool:
    """Whether a layer is faster in one call with what follows it, or nothing is known of it."""
    times = measured.all_of(layer)
    return not times or any(
        one.engine_is_faster for key, one in times.items() if measured.is_joined(key)
    )


def _kind(value: object) -> Hashable:
    """What calls have in common that take the same time."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.__class__
    if isinstance(value, tuple | list):
        return tuple(_kind(entry) for entry in cast("Sequence[object]", value))
    if isinstance(value, dict):
        return tuple(
            (name, _kind(entry)) for name, entry in cast("dict[Hashable, object]", value).items()
        )
    return value if value.__class__ in PLAIN else value.__class__
