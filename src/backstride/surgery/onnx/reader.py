"""An ONNX model becomes a `Graph`.

Node by node, shapes by ONNX's own inference, no weight copied or run. A product and the sum behind
it are one dense layer. An image with the channels last, as tf2onnx exports it, is a permuted (C, H,
W) one. Nodes have the names of the tensors that they give.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError

from backstride.surgery.model.graph import BATCH, UNKNOWN, Graph, Node
from backstride.surgery.model.heads import Choice, Head
from backstride.surgery.model.names import free_name
from backstride.surgery.model.values import Refusal, RefusedError
from backstride.surgery.onnx.calls import OnnxCall
from backstride.surgery.onnx.file import opset_of
from backstride.surgery.onnx.operations import meaning
from backstride.surgery.onnx.quantised import NOTE, refuse_whole_numbers
from backstride.surgery.onnx.shapes import ImmenseError, OnnxTensor, ShapeInference, UnshapedError
from backstride.surgery.rewriting.scores import UNGROUPED

AXES = {3: "three", 4: "four", 5: "five"}
FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
)


@dataclass(frozen=True)
class OnnxReading:
    """A model that was read: the given `model`, its tensors at native size, and the plain graph.

    `calls`: what gives each tensor. `biases`: for dense layers made of a product and a sum, the
    sum's stored input. `last`: whether the image has its channels last.
    """

    model: onnx.ModelProto
    name: str
    image: onnx.ValueInfoProto
    last: bool
    tensors: Mapping[str, OnnxTensor]
    calls: Mapping[str, OnnxCall]
    biases: Mapping[str, tuple[OnnxCall, OnnxTensor]]
    graph: Graph
    heads: tuple[Head, ...]
    head: Head | None
    notes: tuple[Refusal, ...] = ()

    @property
    def outputs(self) -> tuple[onnx.ValueInfoProto, ...]:
        """The results that the graph gives."""
        return _outputs(self.model, self.head)

    @property
    def layers(self) -> Mapping[str, str]:
        """None: each node is written with kernels of its own."""
        return {}

    def obstacle(self, score: str) -> str:
        """Why the layer that gives the scores cannot give another number of them.

        "" where it can.
        """
        return UNGROUPED if self.calls[score].option("group", 1) != 1 else ""


def read(
    model: onnx.ModelProto, name: str, input_shape: tuple[int, ...], choice: Choice
) -> OnnxReading:
    """Read a model for images of `input_shape` (C, H, W), all of it or a chosen head.

    Raises `RefusedError` for operations without a fixed shape and for several inputs, and
    `ValueError` where a node does not take images of this shape.
    """
    refuse_whole_numbers(model, name)
    image = image_of(model, name, len(input_shape) + 1)
    last = is_channels_last(model, image, input_shape)
    batch = _batch(image)
    shape = (batch, *input_shape[1:], input_shape[0]) if last else (batch, *input_shape)
    _check_declared(name, image, shape, input_shape)
    heads = heads_of(model)
    head = choice.among(name, heads)
    results = tuple(entry.name for entry in _outputs(model, head))
    needed = _needed(model, results)
    tensors = _shapes(ShapeInference(model, image, shape), needed, name, input_shape)
    calls = _calls(needed, results, tensors, opset_of(model))
    biases = _biases(results, calls)
    graph = _graph(
        results, calls, biases, tensors, image.name, batch, input_shape if last else None
    )
    notes = tuple(Refusal(name, entry.value) for entry in model.metadata_props if entry.key == NOTE)
    return OnnxReading(model, name, image, last, tensors, calls, biases, graph, heads, head, notes)


def heads_of(model: onnx.ModelProto) -> tuple[Head, ...]:
    """The outputs that are not stored ones."""
    stored = {entry.name for entry in model.graph.initializer}
    labels = {name: label(node) for node in model.graph.node for name in node.output}
    return tuple(
        Head(place, entry.name, labels.get(entry.name, "the image"))
        for place, entry in enumerate(model.graph.output)
        if entry.name not in stored
    )


def _outputs(model: onnx.ModelProto, head: Head | None) -> tuple[onnx.ValueInfoProto, ...]:
    outputs = tuple(model.graph.output)
    return outputs if head is None else (outputs[head.place],)


def _needed(model: onnx.ModelProto, results: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that the results need, in order."""
    wanted = set(results)
    needed: list[onnx.NodeProto] = []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            needed.append(node)
            wanted.update(_read_by(node))
    return needed[::-1]


def _read_by(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node reads, and those that the graphs inside it read."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (
            *attribute.g.node,
            *(inner for graph in attribute.graphs for inner in graph.node),
        ):
            yield from _read_by(inner)


def image_of(model: onnx.ModelProto, name: str, rank: int = 4) -> onnx.ValueInfoProto:
    """The model's only input, an image; sounds and volumes have another rank."""
    stored = {entry.name for entry in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in stored]
    if len(inputs) != 1:
        reason = f"takes {len(inputs)} inputs; a classifier takes the image alone"
        raise RefusedError(name, (Refusal("the graph", reason),))
    kind = inputs[0].type.tensor_type
    if not inputs[0].type.HasField("tensor_type") or (
        kind.HasField("shape") and len(kind.shape.dim) != rank
    ):
        shown = AXES.get(rank, str(rank))
        raise RefusedError(
            name, (Refusal(inputs[0].name, f"is no batch of images: it has not {shown} axes"),)
        )
    if kind.elem_type not in FLOATS:
        shown = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise RefusedError(
            name, (Refusal(inputs[0].name, f"holds {shown}; images are floating-point numbers"),)
        )
    return inputs[0]


def is_channels_last(
    model: onnx.ModelProto, image: onnx.ValueInfoProto, shape: tuple[int, ...]
) -> bool:
    """Whether an image (C, H, W) goes in as (H, W, C).

    By the declared sizes, else by a first Transpose.
    """
    declared = _declared(image, len(shape) + 1)[1:]
    first = _agrees(declared, shape)
    last = _agrees(declared, (*shape[1:], shape[0]))
    if first != last:
        return last
    users = [node for node in model.graph.node if image.name in node.input]
    first_last = [0, len(shape), *range(1, len(shape))]
    permuted = [
        any(list(entry.ints) == first_last for entry in node.attribute if entry.name == "perm")
        for node in users
    ]
    return bool(permuted) and all(permuted)


def _declared(image: onnx.ValueInfoProto, rank: int) -> tuple[int, ...]:
    """The declared sizes, 0 where there is none."""
    sizes = tuple(
        max(entry.dim_value, 0) for entry in image.type.tensor_type.shape.dim
    )  # some exporters write -1
    return sizes or (0,) * rank


def _agrees(declared: Iterable[int], shape: Iterable[int]) -> bool:
    return all(have in (0, wanted) for have, wanted in zip(declared, shape, strict=True))


def _batch(image: onnx.ValueInfoProto) -> int:
    return _declared(image, 1)[0] or BATCH


def _check_declared(
    name: str, image: onnx.ValueInfoProto, shape: tuple[int, ...], input_shape: tuple[int, ...]
) -> None:
    declared = _declared(image, len(shape))
    if not _agrees(declared[1:], shape[1:]):
        shown = ", ".join(["N", *(str(size) if size else "?" for size in declared[1:])])
        message = (
            f"`input_shape` (={input_shape}) does not fit `model` (={name}): its input "
            f"{image.name} is ({shown})"
        )
        raise ValueError(message)


def _shapes(
    shapes: ShapeInference, nodes: Sequence[onnx.NodeProto], name: str, input_shape: tuple[int, ...]
) -> Mapping[str, OnnxTensor]:
    try:
        shapes.run(nodes)
    except onnx.defs.SchemaError:
        assert shapes.current is not None
        raise RefusedError(name, (Refusal(label(shapes.current), UNKNOWN),)) from None
    except UnshapedError:
        assert shapes.current is not None
        raise RefusedError(
            name, (Refusal(label(shapes.current), "gives what has no fixed shape"),)
        ) from None
    except ImmenseError as error:
        assert shapes.current is not None
        raise RefusedError(name, (Refusal(label(shapes.current), str(error)),)) from None
    except (
        InferenceError,
        ValidationError,
        ValueError,
        IndexError,
        KeyError,
        RuntimeError,
        TypeError,
    ) as error:
        assert shapes.current is not None
        sources = [
            shapes.tensors[entry] for entry in shapes.current.input if entry in shapes.tensors
        ]
        met = [
            "(" + ", ".join(["N", *map(str, entry.shape[1:])]) + ")"
            for entry in sources
            if entry.origin == "image"
        ]
        message = (
            f"`input_shape` (={input_shape}) does not fit `model` (={name}): "
            f"{label(shapes.current)} does not take {' and '.join(met) or 'its input'}"
        )
        raise ValueError(message) from error
    return shapes.tensors


def label(node: onnx.NodeProto) -> str:
    """How the user knows a node."""
    return f"{node.name or next(iter(node.output), '')} ({node.op_type})"


def _calls(
    nodes: Sequence[onnx.NodeProto],
    results: Sequence[str],
    tensors: Mapping[str, OnnxTensor],
    opset: int,
) -> Mapping[str, OnnxCall]:
    """What gives each tensor that is read."""
    wanted = {*results, *(name for node in nodes for name in _read_by(node))}
    found: dict[str, OnnxCall] = {}
    for node in nodes:
        sources = tuple(tensors[name] if name else None for name in node.input)
        for name in (name for name in node.output if name and name in wanted):
            found[name] = OnnxCall(node, sources, tensors[name], opset)
    return found


def _biases(
    results: Sequence[str], calls: Mapping[str, OnnxCall]
) -> Mapping[str, tuple[OnnxCall, OnnxTensor]]:
    """The sums that add a stored vector to the product before them and to nothing else.

    By the sum's result.
    """
    uses: dict[str, int] = {}
    for name in (*results, *(name for call in calls.values() for name in call.node.input)):
        uses[name] = uses.get(name, 0) + 1
    found: dict[str, tuple[OnnxCall, OnnxTensor]] = {}
    for name, call in calls.items():
        if call.node.op_type != "Add" or len(call.result.shape) != 2:
            continue
        sources = [source for source in call.sources if source is not None]
        for product, bias in (sources, sources[::-1]):
            before = calls.get(product.name)
            width = call.result.shape[1]
            stored = bias.origin == "constant" and bias.shape in ((width,), (1, width), (1,), ())
            if (
                before is not None
                and stored
                and uses[product.name] == 1
                and meaning(before).kind == "dense"
            ):
                found[name] = (before, bias)
    return found


def _graph(  # noqa: PLR0917  what a reading is made of
    results: tuple[str, ...],
    calls: Mapping[str, OnnxCall],
    biases: Mapping[str, tuple[OnnxCall, OnnxTensor]],
    tensors: Mapping[str, OnnxTensor],
    image: str,
    batch: int,
    permuted: tuple[int, ...] | None,
) -> Graph:
    """The plain graph.

    `permuted`: the shape (C, H, W) of an image that goes in with the channels last.
    """
    shape = tensors[image].shape[1:]
    nodes = {image: Node(image, "input", (), shape, image)}
    if permuted is not None:
        plain = free_name("image", set(tensors))
        nodes = {plain: Node(plain, "input", (), permuted, image)}
        nodes[image] = Node(
            image, "permute", (plain,), shape, image, axes=(0, *range(2, len(permuted) + 1), 1)
        )
    fused = {before.result.name for before, _ in biases.values()}
    for name, call in calls.items():
        if name not in fused:
            if call.node.op_type == "Split" and call.result.origin == "image":
                whole = parts_name(call)
                nodes[whole] = _parts(whole, call)
                shape = call.result.shape[1:]
                nodes[name] = Node(name, "part", (whole,), shape, label(call.node))
                continue
            found = _describe(name, call, biases, batch)
            for source in found.inputs:
                if source not in nodes:
                    nodes[source] = Node(source, "constant", (), tensors[source].shape, source)
            nodes[name] = found
    result = free_name("result", set(tensors))
    for name in results:
        if name not in nodes:
            nodes[name] = Node(name, "constant", (), tensors[name].shape, name)
    nodes[result] = Node(result, "output", results, (), "the result")
    return Graph(tuple(nodes.values()))


def parts_name(call: OnnxCall) -> str:
    """The name of what a Split gives, all parts together."""
    return f"{next(iter(filter(None, call.node.output)))}/parts"


def _parts(name: str, call: OnnxCall) -> Node:
    axis = int(call.option("axis", 0)) % call.rank
    return Node(
        name, "parts", (call.first.name,), call.first.shape[1:], label(call.node), axes=(axis,)
    )


def _describe(
    name: str, call: OnnxCall, biases: Mapping[str, tuple[OnnxCall, OnnxTensor]], batch: int
) -> Node:
    """The plain node that gives a tensor; what the dictionary lacks is of kind "other"."""
    if call.result.origin != "image":
        kind = "constant" if call.result.origin == "constant" else "scalar"
        return Node(name, kind, (), call.result.shape, label(call.node))
    if name in biases:
        before, _ = biases[name]
        return replace(
            _describe(before.result.name, before, {}, batch), name=name, shape=call.result.shape[1:]
        )
    shape = call.result.shape
    first = next(iter(filter(None, call.node.output)))
    inputs = tuple(source.name for source in call.sources if source is not None)
    if name != first:
        return Node(name, "other", (first,), shape[1:], label(call.node))
    if not shape or shape[0] != batch:
        return Node(name, "unbatched", inputs, shape, label(call.node))
    found = meaning(call)
    data = inputs[: found.data]
    if found.kind == "activation":
        data = tuple(
            source.name
            for source in call.sources
            if source is not None and source.origin == "image"
        )
    return found.node(name, data, shape[1:], label(call.node))
