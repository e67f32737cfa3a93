"""What an index of constant slices and numbers takes of a tensor's axes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast


def full_index(
    key: object, rank: int, packed: Collection[type] = (tuple,)
) -> list[slice | int] | None:
    """An entry for each of `rank` axes, the whole axis where the index names none.

    None for other indices. `packed`: the types that hold an entry for each axis.

    >>> full_index((..., 1), 3), full_index([0, 2], 3)
    ([slice(None, None, None), slice(None, None, None), 1], None)
    """
    entries = cast("Sequence[object]", key) if type(key) in packed else (key,)
    found: list[slice | int] = []
    for entry in entries:
        if entry is ...:
            found += [slice(None)] * (rank + 1 - len(entries))
        elif isinstance(entry, slice | int):
            found.append(cast("slice | int", entry))
        else:
            return None
    return found + [slice(None)] * (rank - len(found))


def taken(entry: slice | int, cells: int) -> range:
    """The places of an axis of so many cells that an entry of an index takes.

    >>> taken(slice(1, None, 2), 6), taken(-1, 6)
    (range(1, 6, 2), range(5, 6))
    """
    return (
        range(cells)[entry] if isinstance(entry, slice) else range(entry % cells, entry % cells + 1)
    )
