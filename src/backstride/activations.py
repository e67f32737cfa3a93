"""The activations that a convolution may end in, by name; all in place of the pre-activation array.

`gelu` is the exact form with the error function (Hendrycks & Gimpel, arXiv 1606.08415, equation 2),
`silu` is x * sigmoid(x), `leaky_relu` has slope 0.01 as in PyTorch, `relu6` is Howard et al. 2017.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

import numpy as np

from backstride.layout import AnyArray, AnyDtype

_erf: Callable[[AnyArray], AnyArray] = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: AnyArray) -> AnyArray:
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, x.dtype.type(1), decay) / (1 + decay)


def _gelu(x: AnyArray) -> AnyArray:
    return (x * (0.5 * (1 + _erf(x * math.sqrt(0.5))))).astype(x.dtype)


ACTIVATIONS: dict[str, Callable[[AnyArray], AnyArray]] = {
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "relu6": lambda x: np.clip(x, x.dtype.type(0), x.dtype.type(6)),
    "leaky_relu": lambda x: np.where(x >= 0, x, x * x.dtype.type(0.01)),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
}
EXACT = ("relu", "relu6")


def check_activation(activation: object, dtype: AnyDtype) -> str | None:
    """Check an activation's name, and that the dtype has that function."""
    if activation is None:
        return None
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        message = f"`activation` (={activation!r}) must be None or one of {', '.join(ACTIVATIONS)}"
        near = difflib.get_close_matches(str(activation).lower(), ACTIVATIONS, 1)
        if isinstance(activation, str) and near:
            message += f"; the nearest legal value is {near[0]!r}"
        raise ValueError(message)
    if dtype.kind == "c":
        message = (
            f"`activation` (={activation!r}) is not defined for {dtype} numbers; the nearest legal "
            "value is None"
        )
        raise TypeError(message)
    if dtype.kind in "iu" and activation not in EXACT:
        message = (
            f"`activation` (={activation!r}) is not exact for {dtype}; the nearest legal value is "
            "'relu'"
        )
        raise TypeError(message)
    return activation


def activate(x: AnyArray, activation: str | None) -> AnyArray:
    """Apply an activation by name; None leaves `x` as it is.

    >>> activate(np.array([-1.0, 7.0]), "relu6")
    array([0., 6.])
    """
    return x if activation is None else ACTIVATIONS[activation](x)
