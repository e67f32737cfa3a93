"""Sessions: they run what a graph describes, and keep the variables' values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, cast

from backstride.tf1.graph import (
    Floats,
    Initializer,
    State,
    Tensor,
    as_default,
    as_floats,
    default_graph,
    show_shape,
)


class Session:
    """Runs the default graph of the moment it is made.

    >>> from backstride.tf1 import ones
    >>> with Session() as session:
    ...     session.run(ones([2]))
    array([1., 1.], dtype=float32)

    As a context manager it is closed at the end, and tensors made inside go to its graph.
    """

    def __init__(self) -> None:
        self.graph = default_graph()
        self._state = State()
        self._scopes = ExitStack()
        self._closed = False

    def __enter__(self) -> Self:
        self._scopes.enter_context(as_default(self.graph))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scopes.close()
        self.close()

    def close(self) -> None:
        """Forget the variables' values; nothing can be run afterwards."""
        self._state, self._closed = State(), True

    def run(self, fetches: object, feed_dict: Mapping[Tensor, object] | None = None) -> Any:
        """Compute tensors, each once, from the values of `feed_dict`.

        `fetches`: a tensor, or an initializer, or a list, tuple or dictionary of them. `feed_dict`:
        values for placeholders, or in place of any other tensor's. Returns arrays in the structure
        of `fetches`, and None for an initializer.

        Raises `RuntimeError` for uninitialized variables and a closed session, `ValueError` for
        missing feeds, wrong shapes and tensors of another graph, `TypeError` for what is no tensor
        or no numbers.
        """
        if self._closed:
            message = (
                "`run` was called on a closed session; the nearest legal call is inside of `with "
                "tf.Session()`"
            )
            raise RuntimeError(message)
        values = dict(self._feeds(feed_dict or {}))
        leaves = list(_leaves(fetches))
        for leaf in leaves:
            self._check_own("fetches", leaf)
        for leaf in leaves:
            if isinstance(leaf, Initializer):
                self._evaluate([variable.initial for variable in leaf.variables], values)
                for variable in leaf.variables:
                    self._state.variables[variable.name.partition(":")[0]] = values[
                        variable.initial
                    ]
        self._evaluate([leaf for leaf in leaves if isinstance(leaf, Tensor)], values)
        return _rebuild(fetches, values)

    def _feeds(self, feed_dict: Mapping[Tensor, object]) -> Iterator[tuple[Tensor, Floats]]:
        for tensor, value in feed_dict.items():
            self._check_own("feed_dict", tensor)
            array = as_floats(f"feed_dict[{tensor.name}]", value)
            shape = tensor.shape
            if shape is not None and (
                len(shape) != array.ndim
                or any(
                    size not in (None, given)
                    for size, given in zip(shape, array.shape, strict=True)
                )
            ):
                message = (
                    f"`feed_dict` gives {tensor.name} a value of shape {array.shape}; it must be "
                    f"{show_shape(shape)}"
                )
                raise ValueError(message)
            yield tensor, array

    def _check_own(self, name: str, leaf: object) -> None:
        if not isinstance(leaf, Tensor | Initializer):
            message = f"`{name}` (={leaf!r}) must hold tensors, not {type(leaf).__name__}"
            raise TypeError(message)
        if leaf.graph is not self.graph:
            message = (
                f"`{name}` (={leaf.name}) is not of this session's graph: tf.reset_default_graph() "
                "set it aside; make the tensor again, or use a session opened before"
            )
            raise ValueError(message)

    def _evaluate(self, targets: Iterable[Tensor], values: dict[Tensor, Floats]) -> None:
        needed: set[Tensor] = set()
        pending = list(targets)
        while pending:
            tensor = pending.pop()
            if tensor not in values and tensor not in needed:
                needed.add(tensor)
                pending.extend(tensor.inputs)
        for tensor in sorted(needed, key=lambda tensor: tensor.index):
            values[tensor] = tensor.compute(
                self._state, [values[source] for source in tensor.inputs]
            )


def _leaves(fetches: object) -> Iterator[object]:
    if isinstance(fetches, dict):
        fetches = list(cast("dict[object, object]", fetches).values())
    if isinstance(fetches, list | tuple):
        for entry in cast("Iterable[object]", fetches):
            yield from _leaves(entry)
    else:
        yield fetches


def _rebuild(fetches: object, values: dict[Tensor, Floats]) -> object:
    match fetches:
        case Tensor():
            return values[
                fetches
            ].copy()  # the caller's own: a variable stays as it is, whatever happens to it
        case list():
            return [_rebuild(entry, values) for entry in cast("list[object]", fetches)]
        case tuple():
            return tuple(_rebuild(entry, values) for entry in cast("tuple[object, ...]", fetches))
        case dict():
            return {
                key: _rebuild(entry, values)
                for key, entry in cast("dict[object, object]", fetches).items()
            }
        case _:
            return None
