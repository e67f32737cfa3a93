"""Tensors without inputs: placeholders, constants, random numbers.

And the variables' initializer.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from backstride.initializers import Philox
from backstride.integers import as_integer
from backstride.tf1.graph import (
    Floats,
    Initializer,
    State,
    Tensor,
    check_dtype,
    default_graph,
    float32,
    show_shape,
)
from backstride.tf1.shapes import known_shape, static_shape


def placeholder(
    dtype: DTypeLike, shape: Sequence[int | None] | None = None, name: str | None = None
) -> Tensor:
    """A tensor that `feed_dict` gives its value.

    >>> placeholder(float32, [None, 4, 4, 1])  # doctest: +ELLIPSIS
    <Tensor 'Placeholder...' shape=(?, 4, 4, 1) dtype=float32>

    `shape`: None for unknown, as a whole or in single entries.
    Raises `TypeError` for another dtype than float32 and `ValueError` for negative sizes.
    """
    check_dtype(dtype)
    sizes = None if shape is None else static_shape("shape", shape)
    graph = default_graph()

    def missing(_state: State, _inputs: list[Floats]) -> Floats:
        message = (
            f"`feed_dict` must give {tensor.name} a value of shape {show_shape(sizes)}: `fetches` "
            "needs it"
        )
        raise ValueError(message)

    tensor = graph.add(name or "Placeholder", sizes, (), missing)
    return tensor


def ones(shape: Sequence[int], dtype: DTypeLike = float32, name: str | None = None) -> Tensor:
    """A constant of ones.

    Raises `TypeError` for another dtype than float32, `ValueError` for illegal sizes.
    """
    check_dtype(dtype)
    sizes = known_shape("shape", shape)
    return default_graph().add(
        name or "ones", sizes, (), lambda _state, _inputs: np.ones(sizes, np.float32)
    )


def zeros(shape: Sequence[int]) -> Tensor:
    """A constant of zeros: the bias of a new layer."""
    sizes = tuple(shape)
    return default_graph().add(
        "zeros", sizes, (), lambda _state, _inputs: np.zeros(sizes, np.float32)
    )


def random_normal(  # noqa: PLR0917  TensorFlow's order
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: DTypeLike = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normal numbers, drawn anew in each run; with a seed, TensorFlow 1's own.

    Each operation has its own stream in each session: two operations with one seed draw the same
    numbers. Without a seed, the stream starts anywhere. Raises `TypeError` and `ValueError` as
    `ones` does.
    """
    check_dtype(dtype)
    sizes = known_shape("shape", shape)
    chosen = None if seed is None else as_integer("seed", seed)

    def draw(state: State, _inputs: list[Floats]) -> Floats:
        if tensor.name not in state.streams:
            fresh = (
                Philox(secrets.randbits(64), secrets.randbits(128))
                if chosen is None
                else Philox.seeded(chosen)
            )
            state.streams[tensor.name] = fresh
        return state.streams[tensor.name].normal(sizes, mean=mean, stddev=stddev)

    tensor = default_graph().add(name or "random_normal", sizes, (), draw)
    return tensor


def glorot_uniform(shape: Sequence[int]) -> Tensor:
    """Unseeded uniform numbers in +-sqrt(6 / (fan_in + fan_out)): TensorFlow 1's default kernel.

    Glorot & Bengio 2010, equation 16.
    """
    sizes = tuple(shape)
    fans = math.prod(sizes[:-2]) * (sizes[-2] + sizes[-1])
    limit = math.sqrt(6 / fans)

    def draw(_state: State, _inputs: list[Floats]) -> Floats:
        return np.random.default_rng().uniform(-limit, limit, sizes).astype(np.float32)

    return default_graph().add("glorot_uniform", sizes, (), draw)


def global_variables_initializer() -> Initializer:
    """The operation that sets all variables made so far to their initial values.

    Later ones are not in it.
    """
    graph = default_graph()
    return Initializer(graph, graph.unique_name("init"), tuple(graph.variables.values()))
