"""The kernel of a call that takes it as an array.

Its size is said beside the call, or where it is made in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backstride.calls.arguments import Arguments, WrittenCall, is_tuple
from backstride.conventions import Convention
from backstride.integers import Size, as_sizes


@dataclass(frozen=True, slots=True)
class Hints:
    """What comes with the call's arguments.

    The whole text, the kernel's size or shape, and `Layer(...)(these)`.
    """

    text: str
    kernel: int | Sequence[object] | None = None
    applied: WrittenCall | None = None


MOST_AXES = 3


@dataclass(frozen=True, slots=True)
class Kernel:
    """Size and channels, None where they are not known."""

    size: Size | None = None
    small: int | None = None
    big: int | None = None

    @property
    def rank(self) -> int | None:
        """The number of axes, where the size has one entry for each."""
        return None if self.size is None or isinstance(self.size, int) else len(self.size)


def from_array(
    arguments: Arguments,
    name: str,
    hints: Hints,
    convention: Convention,
    *,
    rank: int | None,
    groups: int = 1,
) -> Kernel:
    """The kernel that stands in the call as the array `name`.

    A size of `rank` entries is spatial; one of `rank + 2` is the array's whole shape in the call's
    layout. Where the rank is open, 1 to 3 entries are spatial.
    """
    shape = arguments.shape(name)
    given = hints.kernel if shape is None else shape
    if shape is not None and hints.kernel is not None and shape != hints.kernel:
        message = f"`kernel` (={hints.kernel}) is not that of the call, {shape}; leave it out"
        raise ValueError(message)
    if given is None:
        return Kernel()
    if isinstance(given, int):
        return Kernel(as_sizes("kernel", given, rank) if rank else as_sizes("kernel", given, 1)[0])
    sizes = as_sizes("kernel", given, len(given))
    whole = len(sizes) == rank + 2 if rank is not None else len(sizes) > 3 or shape is not None
    if whole and len(sizes) in {3, 4, 5}:
        return from_shape(sizes, convention, groups)
    if shape is None and len(sizes) == (rank or len(sizes)) and len(sizes) <= 3:
        return Kernel(sizes)
    layout = ", ".join(convention.weight_layout if groups == 1 else convention.grouped_layout or ())
    if shape is not None:
        arguments.refuse(name, f"of shape ({layout}), not {shape}", name)
    rank_words = (
        "1 to 3 spatial sizes"
        if rank is None
        else "1 spatial size"
        if rank == 1
        else f"{rank} spatial sizes"
    )
    message = (
        f"`kernel` (={sizes}) must be {rank_words}, or the array's shape ({layout}) for "
        f"{arguments.function}"
    )
    raise ValueError(message)


def open_rank(arguments: Arguments, name: str, hints: Hints, *others: str) -> int:
    """The number of axes where nothing refused says it.

    Of the kernel's array `name`, or of other arguments; or 2.
    """
    shape = arguments.shape(name)
    given = hints.kernel if shape is None else shape
    sizes = [
        len(value)
        for value in map(arguments.raw, others)
        if is_tuple(value) and len(value) <= MOST_AXES
    ]
    if sizes:
        return sizes[0]
    if given is None or isinstance(given, int):
        return 2
    return len(given) - 2 if shape is not None or len(given) > MOST_AXES else len(given)


def from_shape(shape: tuple[int, ...], convention: Convention, groups: int) -> Kernel:
    """Read the shape of a kernel array by the names of its axes."""
    layout = (
        convention.weight_layout
        if groups == 1
        else (convention.grouped_layout or convention.weight_layout)
    )
    rank = len(shape) - len(layout) + 1
    sizes: dict[str, int] = {}
    spatial: tuple[int, ...] = ()
    position = 0
    for axis in layout:
        if axis == "*k":
            spatial = shape[position : position + rank]
            position += rank
            continue
        name, _, per_group = axis.partition("/")
        sizes[name] = shape[position] * (groups if per_group else 1)
        position += 1
    return Kernel(spatial, sizes.get("C_small"), sizes.get("C_big"))


def same_kernel(arguments: Arguments, size: tuple[int, ...], hints: Hints) -> tuple[int, ...]:
    """The kernel that the call itself says, where what is said beside it does not contradict."""
    if hints.kernel is not None and as_sizes("kernel", hints.kernel, len(size)) != size:
        message = (
            f"`kernel` (={hints.kernel}) is not that of {arguments.function} here, {size}; leave "
            "it out"
        )
        raise ValueError(message)
    return size
