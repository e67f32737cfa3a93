"""Weights of the classifier as the network has them.

A matrix as a kernel, and with other classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backstride.layout import AnyArray


def kernel_of(rows: AnyArray, size: Sequence[int], order: str) -> AnyArray:
    """The rows (C_out, C_in) of a dense layer as kernels (C_out, C, *size).

    The map was flattened in this order. `order`: the letters of the axes, as in `Value.axes`; those
    that it leaves out have length 1.

    >>> kernel_of(np.arange(6.0).reshape(1, 6), (3, 1), "hc")[0, :, :, 0]
    array([[0., 2., 4.],
           [1., 3., 5.]])
    """
    lengths, axes = flattened(size, order)
    kernels = rows.reshape(len(rows), *lengths).transpose(0, *axes)
    return np.ascontiguousarray(kernels.reshape(len(rows), -1, *size))


def flattened(size: Sequence[int], order: str) -> tuple[list[int], list[int]]:
    """The lengths of what a map was flattened from, and which axes are `(C, *size)`.

    The row is axis 0.

    >>> flattened((3, 5), "hwc"), flattened((1, 1), "c")
    (([3, 5, -1], [3, 1, 2]), ([-1], [1]))
    """
    letters = "c" + "dhw"[-len(size) :]
    lengths = dict(zip(letters, (-1, *size), strict=True))
    order = order or "c"
    return [lengths[letter] for letter in order], [
        1 + order.index(letter) for letter in letters if letter in order
    ]


def with_classes(weights: AnyArray, classes: int, axis: int = 0) -> AnyArray:
    """Weights with another number of classes on an axis: the first as they were, new ones zero.

    >>> with_classes(np.ones(2), 3), with_classes(np.ones((2, 2)), 1, axis=-1)
    (array([1., 1., 0.]), array([[1.],
           [1.]]))
    """
    kept = weights.take(range(min(classes, weights.shape[axis])), axis)
    room = [(0, 0)] * weights.ndim
    room[axis] = (0, classes - kept.shape[axis])
    return np.pad(kept, room)
