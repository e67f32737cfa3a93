"""A transposed convolution whose kernel is packed once.

What `plan` gives, and what every `conv_transpose` runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from backstride import arrays
from backstride.arrays import ForeignArray
from backstride.checks import (
    bias_values,
    check_data,
    check_result,
    named,
    require_library,
    same_kind,
    spatial_of,
)
from backstride.engine import select
from backstride.geometry import Geometry, geometry_of
from backstride.implementation import Call, Prediction, storage_of
from backstride.integers import Padding, Size, as_sizes
from backstride.layout import DataFormat
from backstride.options import CallOptions
from backstride.precision import exact_integers, largest, narrow, read, widen

Array = TypeVar("Array")
Key = TypeVar("Key")
Value = TypeVar("Value")
SIZES = (
    "strides",
    "padding",
    "output_padding",
    "output_shape",
    "dilation",
)  # options that `repr` shows
MOST_SIZES = 64  # whose geometry a plan remembers
REASONS = {
    "depthwise": "each channel is a group of its own",
    "phases": (
        "output channels fill vectors, and tiles would save no products, cost more, or spread "
        "rounding errors"
    ),
    "stacked": (
        "neighbouring cells beside each other take fewer cycles than phases, and nothing takes "
        "fewer"
    ),
    "winograd": (
        "tiles save more products than they cost; phases that they do not pay for run as plain "
        "products"
    ),
    "overlap": "output channels are too few to fill vectors",
    "definition": "the kernel holds NaN or infinity",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `plan.explain` says; `print` shows it as a table.

    Args:
        chosen: the algorithm that runs.
        reason: why.
        implementation: which computes, as in `bs.implementations()`.
        predictions: of each algorithm that could run; none where the implementation has no model.
    """

    chosen: str
    reason: str
    implementation: str
    predictions: tuple[Prediction, ...]

    def __str__(self) -> str:
        lines = [f"{self.chosen} on {self.implementation}: {self.reason}"]
        for row in self.predictions:
            mark = ">" if row.algorithm == self.chosen else " "
            lines.append(
                f"{mark} {row.algorithm:10} {row.milliseconds:10.3f} ms   {row.share:4.0%} "
                f"{row.limit}"
            )
        return "\n".join(
            lines if self.predictions else [*lines, "  there is no model of what it takes"]
        )


class Plan:
    """A transposed convolution with its kernel packed: call it with `x`.

    Made by `plan`; `once` for a single call.
    """

    def __init__(
        self,
        kernel: ForeignArray,
        bias: ForeignArray | None,
        options: CallOptions,
        *,
        once: bool = False,
    ) -> None:
        self._library = arrays.same_library(kernel=kernel, bias=bias)
        self._kind = arrays.dtype_name("kernel", kernel)
        same_kind(self._kind, "kernel", bias=bias)
        weights = arrays.to_numpy("kernel", kernel)
        self._options, self._fitted = options, options.fit("kernel", weights.shape, weights.dtype)
        self._implementation, layer = select(weights.dtype), self._fitted.layer
        self._bias = (
            None if bias is None else widen(bias_values(bias, self._fitted.big)).copy(order="C")
        )
        if once:
            self._packed = self._implementation.borrow(
                widen(weights), layer, winograd=options.winograd
            )
        else:
            self._packed = self._implementation.pack(
                widen(weights), layer, algorithm=options.algorithm, winograd=options.winograd
            )
        self._largest = largest(weights)
        self._calls: dict[tuple[int, ...], Call] = {}
        self._ready: dict[tuple[int, ...], Callable[[ForeignArray], ForeignArray]] = {}
        self._plain = (
            weights.dtype if self._library == "numpy" and weights.dtype.char in "fd" else None
        )

    @property
    def algorithm(self) -> str:
        """How the result is computed.

        The names and the rule are those of `backstride.native.Compiled`.
        """
        return self._implementation.algorithm_of(self._packed, storage=storage_of(self._kind))

    def explain(self, x_shape: Sequence[int]) -> Explanation:
        """Predict what a call takes by each algorithm that could run.

        The result says why the chosen one runs.

        >>> import numpy as np, backstride as bs
        >>> up = bs.plan(np.ones((4, 4, 32, 64), np.float32), strides=2, padding=1)
        >>> explained = up.explain((1, 16, 16, 64))
        >>> explained.chosen == up.algorithm
        True
        >>> all(row.milliseconds > 0 for row in explained.predictions)
        True

        `print` shows it as a table. Times are those of a model with the rates that `bs.machine()`
        measured, on as many threads as a call may use; most are within 20 %. The choice never
        depends on a measurement. Half precision is predicted as the float32 that it is computed in.

        Args:
            x_shape: the shape of an input, `(N, *input, C_small)`, or `(N, C_small, *input)` for
                channels_first.

        Returns:
            An `Explanation`; without predictions where there is no model, as in a pure Python
            installation.

        Raises:
            TypeError: `x_shape` is not made of integers.
            ValueError: a call refuses such an input.
        """
        rank = len(x_shape) if isinstance(x_shape, tuple | list) else self._fitted.rank + 2
        shape = as_sizes("x_shape", x_shape, rank, least=0)
        call, implementation = self._fitting(shape), self._implementation
        rows = implementation.predict(self._packed, shape, call)
        reason = REASONS[self.algorithm] if rows else "it has no other"
        if self._options.algorithm == self.algorithm:
            reason = f'algorithm="{self.algorithm}" was asked for'
        return Explanation(self.algorithm, reason, implementation.name, rows)

    def geometry(self, input: Size) -> Geometry:
        """The geometry of this plan for an input of the given spatial size."""
        return self._call(as_sizes("input", input, self._fitted.rank)).geometry

    def _call(self, sizes: tuple[int, ...]) -> Call:
        call = self._calls.get(sizes)
        if call is None:
            fitted = self._fitted
            call = Call(geometry_of(fitted.steps, sizes), fitted.groups, fitted.data_format)
            _remember(self._calls, sizes, call)
        return call

    def __call__(self, x: Array, /) -> Array:
        """Transpose-convolve x `(N, *input, C_small)`.

        Or `(N, C_small, *input)` for channels_first.
        """
        if type(x) is np.ndarray and x.dtype is self._plain and x.flags.aligned:
            ready = self._ready.get(x.shape)
            return self._made_ready(x.shape)(x) if ready is None else ready(x)
        return self._checked(x)

    def _made_ready(self, shape: tuple[int, ...]) -> Callable[[ForeignArray], ForeignArray]:
        """What computes plain arrays of a shape, which passes the checks here, once."""
        call, activation = self._fitting(shape), self._fitted.activation
        ready = self._implementation.repeat(shape, self._packed, self._bias, activation, call)
        _remember(self._ready, shape, ready)
        return ready

    def _fitting(self, shape: tuple[int, ...]) -> Call:
        fitted = self._fitted
        check_data("x", shape, fitted.rank, fitted.small, fitted.data_format)
        call = self._call(spatial_of(shape, fitted.data_format))
        check_result("output", shape[0], call.output, fitted.big)
        return call

    def _checked(self, x: Array) -> Array:
        require_library("x", x, self._library)
        same_kind(self._kind, "kernel", x=x)
        data, storage = read("x", x, self._kind)
        call, run, fitted = (
            self._fitting(data.shape),
            self._implementation.conv_transpose,
            self._fitted,
        )
        if storage is not None:
            if self._implementation.takes_bits:
                bits = run(data, self._packed, self._bias, fitted.activation, call, storage=storage)
                return arrays.from_bits(bits, x)
            data = arrays.to_numpy("x", x)
        terms = math.prod(fitted.steps.kernel) * fitted.small // fitted.groups
        source, packed, bias = exact_integers(data, self._packed, self._bias, terms * self._largest)
        return narrow(run(source, packed, bias, fitted.activation, call), x, data.dtype)

    def __repr__(self) -> str:
        given = {name: getattr(self._options, name) for name in SIZES}
        settings = ", ".join(
            f"{name}={value!r}" for name, value in given.items() if value is not None
        )
        fitted = self._fitted
        return (
            f"<plan {fitted.small} -> {fitted.big} channels, kernel {fitted.steps.kernel}, "
            f"{settings}>"
        )


def _remember(values: dict[Key, Value], key: Key, value: Value) -> None:
    if len(values) >= MOST_SIZES:
        values.clear()
    values[key] = value


@named
def plan(
    kernel: ForeignArray,
    bias: ForeignArray | None = None,
    /,
    *,
    strides: Size = 1,
    padding: Padding = "valid",
    output_padding: Size | None = None,
    output_shape: Size | None = None,
    dilation: Size = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_last",
    activation: str | None = None,
    algorithm: str | None = None,
    winograd: bool = True,
) -> Plan:
    """Pack the weights of a transposed convolution once, to call it many times.

    >>> import numpy as np
    >>> up = plan(np.ones((2, 2, 1, 1)), strides=2)
    >>> up(np.ones((1, 3, 5, 1))).shape
    (1, 6, 10, 1)

    The kernel is copied: later changes to it do not reach the plan. `plan.algorithm` says how it is
    computed:

    >>> kernel = np.ones((4, 4, 64, 64), np.float32)
    >>> plan(kernel, strides=2, algorithm="phases").algorithm
    'phases'

    Args:
        kernel: as in `conv_transpose`, like everything else but the last two.
        bias: `(C_big,)`.
        strides: as in `geometry`, like the next four.
        padding: of the convolution that this transposes.
        output_padding: cells added at the end.
        output_shape: the wanted spatial size.
        dilation: the distance of neighbouring taps.
        groups: divides C_small.
        data_format: "channels_last" or "channels_first".
        activation: by name.
        algorithm: forces one by name.
        winograd: False keeps to sums of the products themselves, whose rounding errors are relative
            to what an output reads; those of Winograd's tiles are relative to the largest numbers
            nearby (docs/engine.md has both bounds).

    Returns:
        A `Plan`, to be called with `x`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: a value or a shape is not legal, or there is no such algorithm for this kernel.
    """
    options = CallOptions(
        strides=strides,
        padding=padding,
        output_padding=output_padding,
        output_shape=output_shape,
        dilation=dilation,
        groups=groups,
        data_format=data_format,
        activation=activation,
        winograd=bool(winograd),
        algorithm=algorithm,
    )
    return Plan(kernel, bias, options)
