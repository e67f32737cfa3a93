"""Layers that pool the whole picture, on a picture that is cut into tiles.

Squeeze and excitation weighs channels by their mean over the picture, so a tile alone would be
weighed by its own. Here each pooling is measured first, over all tiles and each cell once, in the
order of the network: the network runs up to it with the poolings before it held at what they gave.
Then the tiles run with all of them held, and give what the whole picture gives. n poolings take n
more passes, each as far as its pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, fx, nn

from backstride.pictures.tiles import Span
from backstride.surgery.decoding.influence import Influence

Watch = Callable[[Tensor], None]
FUNCTIONS = (F.adaptive_avg_pool2d, F.adaptive_max_pool2d)


class _Reached(Exception):  # noqa: N818  no error: the network need not run on
    """The pooling that is measured was reached."""


class Pooling(nn.Module):
    """One pooling of the whole map, (n, C, h, w) to (n, C, 1, 1), to watch or to hold."""

    def __init__(self, *, mean: bool) -> None:
        super().__init__()
        self.mean = mean
        self.held: Tensor | None = None
        self.watch: Watch | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """The value that is held, or the pooling."""
        if self.held is not None:
            return self.held
        if self.watch is not None:
            self.watch(maps)
            raise _Reached
        return FUNCTIONS[not self.mean](maps, 1)


def poolings(network: nn.Module) -> tuple[Pooling, ...]:
    """Put a `Pooling` in place of each pooling of the whole map in the traced parts of a network.

    In their order.
    """
    made: list[Pooling] = []
    for part in network.modules():
        if isinstance(part, fx.GraphModule):
            for node in list(part.graph.nodes):
                if (
                    node.op == "call_function"
                    and node.target in FUNCTIONS
                    and node.args[1:] in ((1,), ((1, 1),))
                ):
                    name = f"pooling_{len(made)}"
                    made.append(Pooling(mean=node.target is FUNCTIONS[0]))
                    _ = part.add_module(name, made[-1])
                    with part.graph.inserting_after(node):
                        held = part.graph.call_module(name, (node.args[0],))
                    node.replace_all_uses_with(held)
                    part.graph.erase_node(node)
            _ = part.recompile()
    return tuple(made)


@contextmanager
def holding(layers: Sequence[Pooling], values: Sequence[Tensor]) -> Generator[None]:
    """Hold the first poolings at these values."""
    try:
        for layer, value in zip(layers, values, strict=False):
            layer.held = value
        yield
    finally:
        for layer in layers:
            layer.held = None


def settled(
    layers: Sequence[Pooling],
    run: Callable[[tuple[Span, Span]], None],
    tiles: Sequence[tuple[Span, Span]],
    known: Influence,
) -> list[Tensor]:
    """What each pooling of the whole picture gives. `run`: the network on one tile."""
    values: list[Tensor] = []
    for layer in layers:
        measure = _Measure(known.stride, mean=layer.mean)
        try:
            layer.watch = measure
            with holding(layers, values):
                for tile in tiles:
                    measure.tile = tile
                    _run_to_pooling(run, tile)
        finally:
            layer.watch = None
        values.append(measure.value())
    return values


def _run_to_pooling(run: Callable[[tuple[Span, Span]], None], tile: tuple[Span, Span]) -> None:
    try:
        run(tile)
    except _Reached:
        return
    message = "`network` has a pooling that does not run"
    raise ValueError(message)


class _Measure:
    """Sums, or the largest, of the cells that each tile gives.

    Sums in float64, so that tiles leave no trace.
    """

    def __init__(self, stride: int, *, mean: bool) -> None:
        self.tile = (Span(0, 0, 0, 0), Span(0, 0, 0, 0))
        self._stride, self._mean = stride, mean
        self._result: Tensor | None = None
        self._cells = 0
        self._dtype = torch.float32

    def __call__(self, maps: Tensor) -> None:
        rows, columns = (
            self._cells_of(span, cells)
            for span, cells in zip(self.tile, maps.shape[2:], strict=True)
        )
        kept = maps[:, :, rows, columns]
        self._dtype = maps.dtype
        found = (
            kept.double().sum((2, 3), keepdim=True)
            if self._mean
            else kept.amax((2, 3), keepdim=True)
        )
        if self._result is None:
            self._result = found
        else:
            self._result = (
                self._result + found if self._mean else torch.maximum(self._result, found)
            )
        self._cells += kept.shape[2] * kept.shape[3]

    def _cells_of(self, span: Span, cells: int) -> slice:
        """The cells of the kept pixels.

        Those begin and end at multiples of the stride, but at the picture's end.
        """
        divisors = [entry for entry in range(1, self._stride + 1) if self._stride % entry == 0]
        stride = min(divisors, key=lambda entry: abs((span.end - span.start) / entry - cells))
        end = cells if span.last == span.end else (span.last - span.start) // stride
        return slice((span.first - span.start) // stride, end)

    def value(self) -> Tensor:
        """(n, C, 1, 1)."""
        assert self._result is not None
        return (self._result / self._cells if self._mean else self._result).to(self._dtype)
