"""Deferred graphs.

Tensors know their shape when they are made, and their values when a session runs them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from backstride.initializers import Philox
from backstride.layout import AnyArray

Shape: TypeAlias = tuple[int | None, ...]
Floats: TypeAlias = NDArray[np.float32]

float32 = np.dtype(np.float32)


@dataclass(slots=True)
class State:
    """What a session keeps between runs, by name.

    The variables' values and the random operations' streams.
    """

    variables: dict[str, Floats] = field(default_factory=dict[str, Floats])
    streams: dict[str, Philox] = field(default_factory=dict[str, Philox])


Compute: TypeAlias = Callable[[State, list[Floats]], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A value to be: `compute` makes it from the values of `inputs`, which come earlier.

    `shape` is None where not even the rank is known; an entry is None where a size is not known.
    """

    graph: Graph
    index: int
    name: str
    shape: Shape | None
    inputs: tuple[Tensor, ...]
    compute: Compute

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Always float32."""
        return float32

    def __bool__(self) -> bool:
        message = (
            f"`{self.name}` has no value before a session runs it; the nearest legal call is "
            "session.run(tensor)"
        )
        raise TypeError(message)

    def __repr__(self) -> str:
        return f"<Tensor {self.name!r} shape={show_shape(self.shape)} dtype=float32>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Variable(Tensor):
    """A tensor whose value a session keeps, once an initializer has set it to `initial`."""

    initial: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Initializer:
    """An operation that sets variables to their initial values; running it gives None."""

    graph: Graph
    name: str
    variables: tuple[Variable, ...]


class Graph:
    """A list of tensors in which each one's inputs come before it."""

    def __init__(self) -> None:
        self.size = 0
        self.variables: dict[str, Variable] = {}
        self._uses: dict[str, int] = {}

    def unique_name(self, name: str) -> str:
        """TensorFlow's numbering: `relu`, `relu_1`, `relu_2`.

        >>> graph = Graph()
        >>> [graph.unique_name("relu") for _ in range(2)]
        ['relu', 'relu_1']
        """
        count, unique = self._uses.get(name, 0), name
        while unique in self._uses:
            unique = f"{name}_{count}"
            count += 1
        self._uses[unique] = 1
        self._uses[name] = max(count, 1)
        return unique

    def add(
        self, name: str, shape: Shape | None, inputs: tuple[Tensor, ...], compute: Compute
    ) -> Tensor:
        """Append a tensor."""
        return Tensor(self, self._next(), f"{self.unique_name(name)}:0", shape, inputs, compute)

    def add_variable(self, name: str, shape: Shape, initial: Tensor) -> Variable:
        """Append a variable; its name must be new."""
        if name in self.variables:
            message = (
                f"`name` (={name.rpartition('/')[0]!r}) belongs to a layer of this graph already; "
                "give another one, or none"
            )
            raise ValueError(message)

        def read(state: State, _: list[Floats]) -> Floats:
            if name not in state.variables:
                message = (
                    f"`fetches` needs {name}, an uninitialized variable; the nearest legal call is "
                    "session.run(tf.global_variables_initializer()) first, made after all layers"
                )
                raise RuntimeError(message)
            return state.variables[name]

        variable = Variable(self, self._next(), f"{name}:0", shape, (), read, initial)
        self.variables[name] = variable
        return variable

    def _next(self) -> int:
        self.size += 1
        return self.size - 1


class _Defaults(threading.local):
    """Each thread's default graph, and those that its open sessions put above it."""

    def __init__(self) -> None:
        self.base = Graph()
        self.entered: list[Graph] = []


_defaults = _Defaults()


def default_graph() -> Graph:
    """The graph that new tensors go to."""
    return _defaults.entered[-1] if _defaults.entered else _defaults.base


def reset_default_graph() -> None:
    """Start a new default graph.

    Tensors of the old one cannot be used in it; sessions opened before keep the old one. Raises
    `RuntimeError` inside a `with` block of a session.
    """
    if _defaults.entered:
        message = (
            "`reset_default_graph` must not be called inside of `with tf.Session()`; call it after "
            "that block"
        )
        raise RuntimeError(message)
    _defaults.base = Graph()


@contextmanager
def as_default(graph: Graph) -> Generator[None]:
    """Let new tensors go to `graph` inside a `with` block."""
    _defaults.entered.append(graph)
    try:
        yield
    finally:
        _ = _defaults.entered.pop()


def to_tensor(name: str, value: object) -> Tensor:
    """A tensor of the default graph: `value` itself, or a constant made of numbers."""
    graph = default_graph()
    if isinstance(value, Tensor):
        if value.graph is not graph:
            message = (
                f"`{name}` (={value.name}) is not of this graph: tf.reset_default_graph() set it "
                "aside, or it comes from another session's graph; make the tensor again"
            )
            raise ValueError(message)
        return value
    constant = as_floats(name, value)
    return graph.add("Const", constant.shape, (), lambda _state, _inputs: constant)


def as_floats(name: str, value: object) -> Floats:
    """Numbers, nested lists or an array, as a float32 array of our own."""
    try:
        array: AnyArray = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)  # rows of unequal lengths
    if array.dtype.kind not in "biuf":
        message = f"`{name}` must be real numbers that make one array, not {type(value).__name__}"
        raise TypeError(message)
    return array.astype(np.float32)


def check_dtype(dtype: DTypeLike) -> None:
    """Refuse every dtype but float32."""
    if np.dtype(dtype) != float32:
        message = f"`dtype` (={np.dtype(dtype)}) must be tf.float32"
        raise TypeError(message)


def show_shape(shape: Shape | None) -> str:
    """A shape as TensorFlow 1 prints it.

    >>> show_shape((None, 4, 4, 1))
    '(?, 4, 4, 1)'
    """
    if shape is None:
        return "<unknown>"
    return str(tuple(shape)).replace("None", "?")
