"""A model as plain data: what the rules read, what the appliers write. No framework, no weights.

Shapes are those at the native input size, without the batch axis: (C, h, w) for a map, (F,) for a
vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal, TypeAlias

from backstride.geometry import Geometry, output_size, span
from backstride.integers import Pair

Shape: TypeAlias = tuple[int, ...]
Kind: TypeAlias = Literal[
    "input",
    "output",
    "conv",
    "conv_transpose",
    "max_pool",
    "avg_pool",
    "pad",
    "edge_pad",
    "unshuffle",
    "avg_bins",
    "max_bins",
    "resize",
    "global_avg_pool",
    "global_max_pool",
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "mean",
    "sum",
    "amax",
    "amin",
    "norm1",
    "norm2",
    "var",
    "std",
    "square",
    "sqrt",
    "absolute",
    "negative",
    "scaled",
    "reshape",
    "permute",
    "expand",
    "split",
    "join",
    "reorder",
    "parts",
    "part",
    "slice",
    "some",
    "dense",
    "batch_norm",
    "layer_norm",
    "whole_norm",
    "local_norm",
    "activation",
    "dropout",
    "softmax",
    "channelwise",
    "combine",
    "concat",
    "constant",
    "scalar",
    "unbatched",
    "other",
]
UNKNOWN = "no rule knows this operation"
BATCH = 7919  # a prime that no layer has as a width, so an axis of this length is the batch
Gate: TypeAlias = Literal["global", "local"]
Cut: TypeAlias = tuple[int, int, int]  # first entry, how many, and how far apart
Ratio: TypeAlias = tuple[
    Fraction, Fraction, int
]  # cell i lies at `i*ratio + shift` among so many cells of the input
WINDOWED = (
    "conv",
    "conv_transpose",
    "max_pool",
    "avg_pool",
    "pad",
    "edge_pad",
    "unshuffle",
    "local_norm",
    "avg_bins",
    "max_bins",
)
GLOBAL = ("global_avg_pool", "global_max_pool")
WHOLE = (*GLOBAL, "whole_norm")  # these see all of the image


Border: TypeAlias = Literal[
    "zeros", "edge", "mirror", "symmetric", "wrap"
]  # what is read beyond a map
BORDERS: Mapping[str, Border] = {  # in the words of PyTorch, ONNX and Keras
    "constant": "zeros",
    "zeros": "zeros",
    "edge": "edge",
    "replicate": "edge",
    "reflect": "mirror",
    "symmetric": "symmetric",  # the outermost cell stands in the mirror, too
    "circular": "wrap",
    "wrap": "wrap",
}


@dataclass(frozen=True, slots=True)
class Window:
    """The sliding window of a convolution, a pooling or a transposed convolution.

    A transposed convolution has `padding` as its crop. `same`: its padding is TensorFlow's, which
    at strides above 1 depends on the size of the map; `padding` has what it is at native size.

    >>> Window(kernel=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1))).output(0, 28)
    14
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[Pair, ...]
    dilation: tuple[int, ...] = (1, 1)
    ceil_mode: bool = False
    same: bool = False
    border: Border = "zeros"

    def span(self, axis: int) -> int:
        """The cells that one window covers: `d(k-1) + 1`."""
        return span(self.kernel[axis], self.dilation[axis])

    def output(self, axis: int, size: int) -> int:
        """How many windows fit.

        With `ceil_mode`, one more that starts inside and runs over the end.
        """
        stride, pads = self.strides[axis], self.padding[axis]
        if not self.ceil_mode:
            return output_size(size, self.span(axis), stride, pads)
        count = output_size(size + stride - 1, self.span(axis), stride, pads)
        return count - 1 if (count - 1) * stride >= size + pads[0] else count

    def transposed(self, axis: int, size: int) -> int:
        """The output size of the transposed convolution with this window."""
        geometry = Geometry(
            (size,),
            (self.kernel[axis],),
            (self.strides[axis],),
            (self.dilation[axis],),
            (self.padding[axis],),
        )
        return geometry.output[0]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    `label`: its name as the user knows it. `window`: for sliding kinds; `pad` and `edge_pad` slide
    a window of one cell. `axes`: of a reduction, softmax, concat, permute or division into parts,
    counted with the batch axis as 0. `features`: length of its per-feature weights. `order`: how a
    map was flattened before the dense layer that this convolution was, such as "chw". `factors`:
    what the channels split into; the groups of a `whole_norm`, 0 for each channel; the channels,
    rows and columns of `avg_bins` and `max_bins`. `factor`: of a `scaled` map. `gate`: what becomes
    of a pooling whose result weighs the channels of a whole map. `fits`: inputs that have a cell
    more than others on some images, which is left out at the end. `cuts`: of a `slice`, which
    entries it takes of each axis, where `axes` are those that it leaves out behind; of `some`,
    which channels. `ratios`: of a `resize`, one per axis. `why`: of an `other`, why no rule takes
    it.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    shape: Shape
    label: str = ""
    window: Window | None = None
    axes: tuple[int, ...] = ()
    features: int | None = None
    order: str = ""
    factors: tuple[int, ...] = ()
    factor: float = 1.0
    gate: Gate | None = None
    fits: tuple[str, ...] = ()
    cuts: tuple[Cut, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    why: str = UNKNOWN

    @property
    def sliding(self) -> Window:
        """The window, of a node that must have one."""
        assert self.window is not None
        return self.window

    @property
    def pads(self) -> bool:
        """Whether cells at its border read beyond its input, which inner ones do not."""
        if self.window is None or self.kind not in WINDOWED:
            return False
        if self.kind == "conv_transpose":
            return any(self.window.span(axis) > s for axis, s in enumerate(self.window.strides))
        return self.window.ceil_mode or any(
            before > 0 or after > 0 for before, after in self.window.padding
        )


@dataclass(frozen=True)
class Graph:
    """Operations in an order in which they can run."""

    nodes: tuple[Node, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    @property
    def input(self) -> Node:
        """The image."""
        return next(node for node in self.nodes if node.kind == "input")

    @property
    def outputs(self) -> tuple[Node, ...]:
        """The nodes that give the model's results."""
        return tuple(
            self[name] for node in self.nodes if node.kind == "output" for name in node.inputs
        )

    def ancestors(self, name: str) -> frozenset[str]:
        """The node itself and everything that it is computed from."""
        found = {name}
        for node in reversed(self.nodes):
            if node.name in found:
                found.update(node.inputs)
        return frozenset(found)
