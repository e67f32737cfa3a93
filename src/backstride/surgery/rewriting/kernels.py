"""The kernel that a dense layer's matrix is, whatever the order in which a map was flattened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backstride.layout import AnyArray


def kernel_of(rows: AnyArray, size: Sequence[int], order: str) -> AnyArray:
    """The rows (C_out, C_in) of a dense layer as kernels (C_out, C, *size), of a map flattened in this order.

    `order`: the letters of the axes, as in `Value.axes`; those that it leaves out have length 1.

    >>> kernel_of(np.arange(6.0).reshape(1, 6), (3, 1), "hc")[0, :, :, 0]
    array([[0., 2., 4.],
           [1., 3., 5.]])
    """
    letters = "c" + "dhw"[-len(size) :]
    lengths = dict(zip(letters, (-1, *size), strict=True))
    apart = rows.reshape(len(rows), *(lengths[letter] for letter in order or "c"))
    axes = [1 + order.index(letter) for letter in letters if letter in order] if order else [1]
    return np.ascontiguousarray(apart.transpose(0, *axes).reshape(len(rows), -1, *size))
