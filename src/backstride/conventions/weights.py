"""A kernel of ours in a framework's layout: the data of `CONVENTIONS` put to work."""

from __future__ import annotations

from backstride.conventions.records import Convention
from backstride.layout import AnyArray


def convert_kernel(kernel: AnyArray, convention: Convention, *, groups: int = 1) -> AnyArray:
    """Lay a kernel out as the framework takes it, flipped where the framework flips.

    >>> from backstride.conventions.records import CONVENTIONS
    >>> import numpy as np
    >>> kernel = np.arange(12).reshape(3, 2, 2)
    >>> convert_kernel(kernel, CONVENTIONS["jax"])[:, 0, 1]
    array([10,  6,  2])

    Args:
        kernel: Shape `(*k, C_big // groups, C_small)`.
        convention: The framework's, of `CONVENTIONS`.
        groups: With more than 1, the result has the framework's grouped layout.

    Returns:
        The kernel in the framework's layout.

    Raises:
        ValueError: Where the framework has no groups.
    """
    import numpy as np  # noqa: PLC0415  most users of the records need no arrays

    layout = convention.weight_layout if groups == 1 else convention.grouped_layout
    if layout is None:
        message = (
            f"`groups` (={groups}) must be 1: {convention.name} takes no groups in its transposed "
            "convolution"
        )
        raise ValueError(message)
    rank = kernel.ndim - 2
    taps = np.flip(kernel, tuple(range(rank))) if convention.flips else kernel
    size, (big, small) = taps.shape[:rank], taps.shape[rank:]
    # One axis for the groups: (*k, C_big/groups, groups, C_small/groups).
    split = taps.reshape(*size, big, groups, small // groups)
    position = {"C_big": rank, "groups": rank + 1, "C_small": rank + 2}
    order: list[int] = []
    shape: list[int] = []
    for axis in layout:
        name, _, per_group = axis.partition("/")
        if name == "*k":
            order += range(rank)
            shape += size
            continue
        whole = name != "groups" and not per_group and "groups" not in layout
        if whole and position["groups"] not in order:
            order.append(position["groups"])
        order.append(position[name])
        shape.append(split.shape[position[name]] * (groups if whole else 1))
    return np.ascontiguousarray(split.transpose(order).reshape(shape))
