"""Denser or purer outputs of a rewritten classifier, as data.

Valid cells alone, or a cell for every pixel. `valid` keeps the cells that see pixels and no
padding. `shift_and_stitch` gives the classifier's result on every crop, one pixel apart: what
shifting the image by each residue of the stride and stitching the results would give (Sermanet et
al., "OverFeat", arXiv 1312.6229, section 3.5), computed at once by taking the strides out and
dilating all later windows by them (the atrous form; Chen et al., arXiv 1412.7062, section 2.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from backstride.geometry import Pair, full_size
from backstride.surgery.model.fields import fields, sizes
from backstride.surgery.model.graph import WHOLE, WINDOWED, Graph, Node, Window
from backstride.surgery.model.values import Refusal, RefusedError, Rewriting

Cells = tuple[int, ...]
DENSE = ("padded", "valid", "shift_and_stitch")
NO_ATROUS_FORM = "has no atrous form"


def valid(model: str, rewriting: Rewriting) -> Rewriting:
    """Cut off the cells that read padding on an image of some size."""
    graph = rewriting.graph
    _refuse_whole(model, graph, "sees all of the image")
    found = fields(graph)
    native = graph.input.shape[1:]
    crops: list[tuple[Pair, ...]] = []
    for node in graph.outputs:
        pairs: list[tuple[int, int]] = []
        for axis, field in enumerate(found[node.name]):
            before, after = max(0, math.ceil(-field.start / field.stride)), 0
            for extra in range(int(field.stride)):
                size = native[axis] + extra
                cells = sizes(graph, tuple(side + extra for side in native))[node.name][axis]
                last = math.floor((size - field.size - field.start) / field.stride)
                after = max(after, cells - 1 - last)
            pairs.append((before, after))
        crops.append(tuple(pairs))
    return replace(rewriting, graph=_cropped(graph, crops), crops=tuple(crops))


def stitched(model: str, rewriting: Rewriting) -> Rewriting:
    """Take out all strides.

    Raises `RefusedError` where a layer pads: its crops would see other borders. Position p of a
    node has its first cell in the crop that starts at pixel p; cell j lies `j*step` pixels on. A
    layer that leaves out the first b cells (a crop, a slice) leaves out `b*step` positions,
    whatever b is. In place of each layer that slides runs its atrous form.
    """
    graph = rewriting.graph
    refusals = tuple(_obstacles(graph))
    if refusals:
        raise RefusedError(model, refusals)
    steps: dict[str, Cells] = {}  # pixels from one of the classifier's cells to the next
    lost: dict[str, Cells] = {}  # how many cells fewer than pixels there are
    sliding: dict[str, Node] = {}
    trims: dict[tuple[str, str], Cells] = {}
    nodes: list[Node] = []
    for node in graph:
        sources = [name for name in node.inputs if name in lost]
        rank = len(graph.input.shape) - 1
        step = steps[sources[0]] if sources else (1,) * rank
        most = tuple(
            max(lost[name][axis] for name in sources) if sources else 0 for axis in range(rank)
        )
        for name in sources:
            if lost[name] != most and node.kind != "output":
                trims[node.name, name] = tuple(
                    all_ - own for all_, own in zip(most, lost[name], strict=True)
                )
        if node.window is not None and node.kind in WINDOWED:
            window = node.window
            dilation = tuple(d * apart for d, apart in zip(window.dilation, step, strict=True))
            pads = tuple(
                (before * apart, 0) for (before, _), apart in zip(window.padding, step, strict=True)
            )
            made = Window(window.kernel, (1,) * rank, pads, dilation)
            sliding[node.name] = replace(node, window=made)
            most = tuple(
                cells + made.span(axis) - 1 - pads[axis][0] for axis, cells in enumerate(most)
            )
            step = tuple(apart * s for apart, s in zip(step, window.strides, strict=True))
        nodes.append(sliding.get(node.name, replace(node, fits=())))  # what is trimmed fits
        if sources or node.kind == "input":
            steps[node.name], lost[node.name] = step, most
    native = graph.input.shape[1:]
    crops = tuple(
        tuple((0, side - 1 - cells) for side, cells in zip(native, lost[node.name], strict=True))
        for node in graph.outputs
    )
    graph = _cropped(Graph(tuple(nodes)), crops)
    return replace(
        rewriting,
        graph=graph,
        replaced=_in_atrous_form(rewriting, sliding),
        trims=trims,
        crops=crops,
    )


def _in_atrous_form(
    rewriting: Rewriting, sliding: Mapping[str, Node]
) -> dict[str, tuple[Node, ...]]:
    """What runs in place of each node of the classifier, with the windows of these nodes."""
    runs = {
        name: (node,) for name, node in sliding.items() if name in rewriting.values
    } | rewriting.replaced
    windows = {name: node.window for name, node in sliding.items()}
    return {
        name: tuple(replace(step, window=windows.get(step.name, step.window)) for step in steps)
        for name, steps in runs.items()
    }


def _obstacles(graph: Graph) -> Iterator[Refusal]:
    yield from (
        Refusal(node.label, "pools the whole image") for node in graph if node.kind in WHOLE
    )
    known = sizes(graph, graph.input.shape[1:])
    for node in graph:
        if node.window is None or node.kind not in WINDOWED:
            continue
        if node.kind in ("conv_transpose", "edge_pad", "unshuffle"):
            yield Refusal(node.label, NO_ATROUS_FORM)
        elif _reads_beyond(node, node.window) or _overhangs(node, node.window, known):
            yield Refusal(
                node.label,
                "pads, and what it reads at a crop's border is no pixel of a larger image",
            )


def _reads_beyond(node: Node, window: Window) -> bool:
    """Whether a layer pads; one that slides a window of one cell may leave out cells instead."""
    cells = [pad for pads in window.padding for pad in pads]
    return max(cells) > 0 if node.kind == "pad" else any(cells)


def _overhangs(node: Node, window: Window, known: Mapping[str, Cells]) -> bool:
    """Whether the last window of a pooling that rounds up runs over the end."""
    ends = zip(known[node.name], window.strides, known[node.inputs[0]], strict=True)
    return any(
        full_size(cells, window.span(axis), s) > room for axis, (cells, s, room) in enumerate(ends)
    )


def _refuse_whole(model: str, graph: Graph, reason: str) -> None:
    refusals = tuple(Refusal(node.label, reason) for node in graph if node.kind in WHOLE)
    if refusals:
        raise RefusedError(model, refusals)


def _cropped(graph: Graph, crops: Sequence[tuple[Pair, ...]]) -> Graph:
    """The graph with the crops as windows of one cell and negative padding before the results."""
    by_name = {node.name: cells for node, cells in zip(graph.outputs, crops, strict=True)}
    nodes: list[Node] = []
    for node in graph:
        if node.kind != "output":
            nodes.append(node)
            continue
        for name in dict.fromkeys(node.inputs):
            ones = (1,) * len(by_name[name])
            pads = tuple((-before, -after) for before, after in by_name[name])
            shape = (graph[name].shape[0], *ones)
            nodes.append(
                Node(
                    f"{name}_cropped",
                    "pad",
                    (name,),
                    shape,
                    graph[name].label,
                    Window(ones, ones, pads),
                )
            )
        nodes.append(replace(node, inputs=tuple(f"{name}_cropped" for name in node.inputs)))
    return Graph(tuple(nodes))
