"""`tf.contrib.layers`."""

from __future__ import annotations

import math

from backstride import ops
from backstride.tf1.graph import Tensor, default_graph, show_shape, to_tensor


def flatten(inputs: object) -> Tensor:
    """(N, ...) to (N, everything else).

    >>> from backstride.tf1 import ones
    >>> flatten(ones([2, 4, 4, 3])).shape
    (2, 48)

    Raises `ValueError` for a tensor that is not known to have a batch axis.
    """
    source = to_tensor("inputs", inputs)
    if not source.shape:
        message = f"`inputs` has shape {show_shape(source.shape)}; it must have a batch axis"
        raise ValueError(message)
    batch, *rest = source.shape
    known = [size for size in rest if size is not None]
    cells = math.prod(known) if len(known) == len(rest) else None
    return default_graph().add(
        "Flatten", (batch, cells), (source,), lambda _, values: ops.flatten(values[0])
    )
