"""Which cells of a network on a larger image must equal the classifier on their crops.

The layers that prevent it are named. Cell i of the network belongs to the crop of native size that
starts at pixel `i * stride`. It equals the classifier on the crop where every layer reads the same
numbers in both. All layers slide, so two things can differ. Padding: where the crop's edge made a
layer read padding, the larger image has pixels; what wraps around reads the opposite side, which is
never the crop's. And, where an upsampling stands inside, the place of a coarse layer's cells: those
of the crop are cells of the image only if it starts at a multiple of `fields.periods`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from backstride.integers import Pair
from backstride.surgery.model.fields import Sizes, fields, periods, reach, sizes
from backstride.surgery.model.graph import WHOLE, Graph


@dataclass(frozen=True, slots=True)
class Exactness:
    """One entry per axis and cell.

    Where its crop starts (None where it leaves the image), whether it is exact. A cell of the map
    is exact if it is on both axes. `padded`: labels of the layers that read padding in some crop
    where the image has pixels.
    """

    starts: tuple[tuple[int | None, ...], ...]
    exact: tuple[tuple[bool, ...], ...]
    padded: tuple[str, ...]


def exactness(graph: Graph, name: str, size: tuple[int, ...]) -> Exactness:
    """Work out the cells of node `name` on an image of this spatial size."""
    native = graph.input.shape[1:]
    small, large = sizes(graph, native), sizes(graph, size)
    starts: list[tuple[int | None, ...]] = []
    exact: list[tuple[bool, ...]] = []
    blamed: set[str] = set()
    wrapped = {
        node.inputs[0] for node in graph if node.window is not None and node.window.border == "wrap"
    }
    moves = periods(graph, name)
    for axis, field in enumerate(fields(graph)[name]):
        room = size[axis] - native[axis]
        begins = [cell * field.stride for cell in range(large[name][axis])]
        starts.append(tuple(_whole(begin) if begin <= room else None for begin in begins))
        crop = _padding_read(small, reach(graph, small, name, axis, 0), axis)
        flags: list[bool] = []
        for cell, start in enumerate(starts[-1]):
            found = _padding_read(large, reach(graph, large, name, axis, cell), axis)
            different = {node for node, read in found.items() if crop.get(node) != read}
            if size != native:  # the opposite side is another one
                different |= {
                    node
                    for node in wrapped
                    if any(found.get(node, (0, 0))) or any(crop.get(node, (0, 0)))
                }
            moved = start is not None and start % moves[axis] == 0
            flags.append(moved and not different)
            blamed |= different if moved else set()
        exact.append(tuple(flags))
    above = graph.ancestors(name)
    pools = [node for node in graph if node.kind in WHOLE and node.name in above]
    if pools and size != native:  # every cell reads all of the image
        exact = [(False,) * len(flags) for flags in exact]
        blamed.update(node.inputs[0] for node in pools)
    padded = tuple(
        node.label
        for node in graph
        if (node.pads or node.kind in WHOLE) and node.inputs[0] in blamed
    )
    return Exactness(tuple(starts), tuple(exact), padded)


def padded_layers(graph: Graph) -> tuple[str, ...]:
    """The layers that make cells of some larger image differ from the classifier on their crops."""
    native = graph.input.shape[1:]
    found: set[str] = set()
    if not any(node.pads or node.kind in WHOLE for node in graph):
        return ()
    for node in graph.outputs:
        period = int(max(periods(graph, node.name)))
        for extra in range(2 * period, 3 * period):  # every remainder, with at least three cells
            found.update(
                exactness(graph, node.name, tuple(cells + extra for cells in native)).padded
            )
    return tuple(node.label for node in graph if node.label in found)


def _whole(begin: Fraction) -> int | None:
    return int(begin) if begin.denominator == 1 else None


def _padding_read(node_sizes: Sizes, needed: Mapping[str, Pair], axis: int) -> dict[str, Pair]:
    """For every node, how many cells before its first and after its last one are asked for."""
    return {
        name: (max(0, -first), max(0, last - node_sizes[name][axis] + 1))
        for name, (first, last) in needed.items()
    }
