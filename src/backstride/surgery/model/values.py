"""What flows between two nodes, and what a rule answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from backstride.geometry import Pair
from backstride.surgery.model.graph import Gate, Graph, Node

Form: TypeAlias = Literal["map", "map_last", "view", "grouped", "binned", "split", "parts"]
Axes: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """What a node gives at native size, and what it stands for once the image may be larger.

    `form` is the classifier's: a map (N, C, h, w), the same with the channels last, a view of one,
    a map whose channels are split into `factors`, parts of one, (N, groups, the rest) before a
    group norm, or bins of one, whose channels, rows and columns are `factors` of the channels of a
    single cell (`axes` is ("last",) where the channels stand last among them). A view has the map's
    numbers on other axes: `axes` says which letters of "chw" each of them runs over after the
    batch, leaving out what has length 1. ("chw",) is a flattened map, ("c",) a vector, ("hw", "c")
    tokens, ("w", "h", "c") a transposed map. In the rewritten network all but `map_last`, `split`,
    `parts` are maps (N, channels, h, w); a vector is the map's single cell, and a larger image has
    more of them. `gate`: the vector weighs the channels of a map of `over` cells; `local` ones have
    a vector for each.
    """

    form: Form
    channels: int
    size: tuple[int, ...]
    factors: tuple[int, ...] = ()
    gate: Gate | None = None
    over: tuple[int, ...] = ()
    axes: Axes = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the classifier, as a map (C, h, w)."""
        return (self.channels, *self.size)

    @property
    def spatial(self) -> str:
        """The letters of the map's spatial axes."""
        return "dhw"[-len(self.size) :]

    def length(self, letter: str) -> int:
        """How long the axis of a letter is."""
        return self.channels if letter == "c" else self.size[self.spatial.index(letter)]

    @property
    def layout(self) -> Axes:
        """The letters of each axis in the classifier, those of length 1 left out.

        >>> Value("map_last", 8, (4, 1)).layout, Value("view", 8, (1, 1), axes=("c",)).layout
        (('h', '', 'c'), ('c',))
        """
        match self.form:
            case "view":
                axes = self.axes
            case "map_last":
                axes = (*self.spatial, "c")
            case _:
                axes = ("c", *self.spatial)
        return tuple("".join(letter for letter in axis if self.length(letter) > 1) for axis in axes)

    @property
    def original(self) -> tuple[int, ...]:
        """The shape in the classifier, without the batch axis."""
        return tuple(math.prod(map(self.length, axis)) for axis in self.layout)

    def laid(self, axes: Axes) -> Value:
        """The same numbers on other axes: a map where they stand as in one, else a view."""
        if axes == replace(self, form="map").layout:
            return replace(self, form="map", axes=(), factors=())
        return replace(self, form="view", axes=axes, factors=())

    @property
    def written(self) -> tuple[int, ...]:
        """The shape in the rewritten network at native size, (C, h, w)."""
        return (self.channels, *(self.over if self.gate == "local" else self.size))

    @property
    def is_single(self) -> bool:
        """Whether there is one cell at native size."""
        return all(cells == 1 for cells in self.size)

    def described(self) -> str:
        """The value in words.

        >>> Value("view", 16, (4, 4), axes=("chw",)).described()
        'a flattened map of 16 channels, 4 x 4'
        """
        size = " x ".join(map(str, self.size))
        if self.form == "binned":
            channels, *bins = (self.factors[-1], *self.factors[:-1]) if self.axes else self.factors
            return f"a map of {channels} channels, pooled to {' x '.join(map(str, bins))} bins"
        if self.form == "view" and self.is_single:
            return f"a vector of {self.channels} features"
        flat = self.form == "view" and any(len(axis) > 1 for axis in self.axes)
        return f"a {'flattened ' if flat else ''}map of {self.channels} channels, {size}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node that cannot be rewritten, and why."""

    layer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Kept:
    """The node runs unchanged in the network and gives this value."""

    value: Value


@dataclass(frozen=True, slots=True)
class Replaced:
    """These nodes run in place of the node, one after the other.

    None of them means its input passes through.
    """

    value: Value
    nodes: tuple[Node, ...]
    reason: str


Outcome: TypeAlias = Kept | Replaced | Refusal


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One entry of the report.

    What a layer became, by which rule, and why that is the same function.
    """

    layer: str
    rule: str
    result: str
    reason: str


@dataclass(frozen=True)
class Rewriting:
    """The rewritten graph, how each node of the classifier got there, and what was refused.

    All that a framework needs to write the network. `replaced` maps the classifier's nodes to what
    runs in their place; nodes that are not in it run unchanged. `values` has what each node gives.
    `trims`: cells to take off the end of a node's inputs, per axis, by the names of both in
    `graph`. `crops`: cells to take off each result, (before, after) per axis; none where nothing is
    taken off. `classes`: the layers that give another number of scores than the classifier's, and
    how many.
    """

    graph: Graph
    replaced: dict[str, tuple[Node, ...]]
    values: dict[str, Value]
    rewrites: tuple[Rewrite, ...]
    refusals: tuple[Refusal, ...] = ()
    trims: Mapping[tuple[str, str], tuple[int, ...]] = field(
        default_factory=dict[tuple[str, str], tuple[int, ...]]
    )
    crops: tuple[tuple[Pair, ...], ...] = ()
    classes: Mapping[str, int] = field(default_factory=dict[str, int])

    def written(self, node: Node) -> dict[str, str]:
        """The data that a classifier's node takes, by name, and its name in the rewritten graph."""
        plain = self.graph.by_name.get(node.name)
        own = [name for name in node.inputs if name in self.values]
        return {} if plain is None else dict(zip(own, plain.inputs, strict=False))

    def fitted(self, node: Node) -> tuple[str, ...]:
        """The inputs of a node of the classifier that are cut to the smallest of them."""
        return tuple(
            name
            for name, written in self.written(node).items()
            if written in self.graph[node.name].fits
        )

    def trimmed(self, node: Node) -> dict[str, tuple[Pair, ...]]:
        """The inputs of a classifier's node, and how many cells each loses.

        That is (0, after) per axis; () is none.
        """
        if not self.trims:
            return {}
        cells = {
            name: self.trims.get((node.name, written), ())
            for name, written in self.written(node).items()
        }
        return {name: tuple((0, after) for after in entry) for name, entry in cells.items()}


class RefusedError(ValueError):
    """The model cannot become fully convolutional; `refusals` says which layers and why."""

    def __init__(self, model: str, refusals: tuple[Refusal, ...]) -> None:
        self.refusals = refusals
        shown = "; ".join(map(str, refusals[:5]))
        more = f"; and {len(refusals) - 5} more" if len(refusals) > 5 else ""
        super().__init__(f"`model` (={model}) cannot become fully convolutional: {shown}{more}")
