"""The operations' arithmetic.

backstride's, with the rounding of TensorFlow 1's builds where it shows in print. Those builds had
no fused multiply-add: each product was rounded before it was added. So where few channels come in,
their contributions are computed one by one and then added; kernels whose stamps do not overlap, as
in 1x1 layers, then give TensorFlow 1's numbers to the last digit, whichever implementation computes
them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from backstride import ops
from backstride.tf1.graph import Floats

FEW_CHANNELS = 4


def dense(x: Floats, kernel: Floats, *bias: Floats) -> Floats:
    """`ops.dense`: x (..., in), kernel (in, out), at most one bias (out,)."""
    return _by_channel(ops.dense, x, kernel, 0, bias)


def conv(x: Floats, kernel: Floats, *bias: Floats, **options: Any) -> Floats:
    """`ops.conv`: x (N, height, width, in), kernel (height, width, in, out), bias (out,)."""
    return _by_channel(lambda *arrays: ops.conv(*arrays, **options), x, kernel, -2, bias)


def conv_transpose(x: Floats, kernel: Floats, *bias: Floats, **options: Any) -> Floats:
    """`ops.conv_transpose`.

    X (N, height, width, in), kernel (height, width, out, in), at most one bias (out,).
    """
    return _by_channel(lambda *arrays: ops.conv_transpose(*arrays, **options), x, kernel, -1, bias)


def _by_channel(
    operation: Callable[..., Floats], x: Floats, kernel: Floats, axis: int, bias: tuple[Floats, ...]
) -> Floats:
    """`axis`: where the kernel has the incoming channels."""
    channels = x.shape[-1]
    if channels > FEW_CHANNELS:
        return operation(x, kernel, *bias)
    parts = (operation(x[..., c : c + 1], kernel.take([c], axis)) for c in range(channels))
    return reduce(np.add, [*parts, *bias])
