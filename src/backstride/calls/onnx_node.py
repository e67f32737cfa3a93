"""A ConvTranspose node of an ONNX file, which is bounded in size.

The call from the graph alone, and its tensors.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from backstride.calls.kernels import Kernel, from_shape
from backstride.calls.record import SourceCall, convention_of
from backstride.integers import Size, as_sizes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

    from backstride.layout import AnyArray

LARGEST_FILE = 512 * 2**20
LARGEST_INFERRED = 64 * 2**20
MOST_NODES = 100_000
CONVENTION = convention_of("onnx")
# Nodes whose output has the numbers of their first input.
CARRIERS = ("Identity", "DequantizeLinear")
# Before opset 11 the text of the standard had the two SAME rules the other way around.
FIRST_OPSET = 11
SIZES = ("dilations", "kernel_shape", "output_padding", "output_shape", "pads", "strides")
_TEXT = re.compile(r"(?P<path>[^\n(]*\.onnx)(?::(?P<node>[^\n]*))?")
Attributes: TypeAlias = dict[str, Any]  # by name, as `onnx.helper` reads them
ATTRIBUTES = ("auto_pad", "dilations", "output_padding", "output_shape", "pads", "strides")


def file_and_node(text: str) -> tuple[str, str | None] | None:
    """Split "model.onnx:node", or "model.onnx"; None for any other text.

    >>> file_and_node("models/m.onnx:decoder/up"), file_and_node("k=3")
    (('models/m.onnx', 'decoder/up'), None)
    """
    found = _TEXT.fullmatch(text)
    return None if found is None else (found["path"], found["node"])


def read_tensors(path: Path, name: str | None) -> dict[str, AnyArray]:
    """The arrays "kernel" and, where the node has one, "bias" of a node, as float32.

    Raises `ValueError` where there is no such node, and where a tensor is computed, but by Identity
    and DequantizeLinear, or stands outside the file.
    """
    graph = _load(path).graph
    node = _find(graph, name, str(path))
    names = zip(("kernel", "bias"), node.input[1:], strict=False)
    return {role: _array(graph.initializer, graph.node, tensor) for role, tensor in names if tensor}


def read_node(path: str, name: str | None, *, kernel: Size | None = None) -> SourceCall:
    """Read the node with this name, or whose output has it; None is the file's only ConvTranspose.

    `kernel`: its size or shape, where the graph does not state it. Raises `ValueError` where there
    is no such node, with the nearest names, for tensors that do not fit each other, and for a file
    that is too large or no ONNX model; `ImportError` where onnx is not installed. External data is
    never opened.
    """
    model = _load(Path(path))
    opset = next(
        (entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}),
        FIRST_OPSET,
    )
    node = _find(model.graph, name, path)
    values = _attributes(node)
    options = {name: values[name] for name in ATTRIBUTES if name in values}
    if opset < FIRST_OPSET and (
        "output_shape" in options or str(options.get("auto_pad", "")).startswith("SAME")
    ):
        message = (
            f"`call` names a node of opset {opset}, whose text splits output_shape and SAME the "
            "other way around; convert the model with "
            "onnx.version_converter.convert_version(model, 11)"
        )
        raise ValueError(message)
    (groups,) = as_sizes("group", values.get("group", 1), 1)
    shapes = Shapes(model)
    found, (data, bias) = (
        _kernel(node, values, shapes, groups, kernel),
        (shapes.of(node, 0), shapes.of(node, 2)),
    )
    if data is not None and found.rank is not None and len(data) != found.rank + 2:
        _refuse(f"has a kernel of {found.rank} spatial axes; its input has {len(data) - 2}")
    rank = found.rank or (len(data) - 2 if data is not None and len(data) in {3, 4, 5} else None)
    channels = data[1] if data is not None and len(data) == (rank or 0) + 2 else 0
    if channels and found.small not in {None, channels}:
        _refuse(f"takes {found.small} channels by its kernel; its input has {channels}")
    if bias is not None and 0 not in bias and found.big is not None and bias != (found.big,):
        _refuse(
            f"has a bias of shape {bias}; it must be {(found.big,)}, one number for each output "
            "channel"
        )
    spatial = data[2:] if channels and data is not None else None
    return SourceCall(
        f"{path}:{node.name or node.output[0]}",
        "onnx",
        "onnx.ConvTranspose",
        CONVENTION,
        options,
        rank,
        found.size,
        found.small or channels or None,
        found.big,
        groups,
        "channels_first",
        len(node.input) > 2 and bool(node.input[2]),
        input=None if spatial is None or min(spatial) < 1 else spatial,
    )


def _kernel(
    node: NodeProto, values: Attributes, shapes: Shapes, groups: int, given: Size | None
) -> Kernel:
    """The kernel by the graph's tensor, its attribute, or what is said beside the call.

    They must agree.
    """
    size, shape = values.get("kernel_shape"), shapes.of(node, 1)
    kernel = Kernel(size)
    if shape is not None and 0 not in shape[2:]:
        kernel = from_shape(
            as_sizes("kernel", [max(entry, 1) for entry in shape], len(shape)), CONVENTION, groups
        )
        kernel = replace(kernel, small=shape[0] and kernel.small, big=shape[1] and kernel.big)
        kernel = replace(kernel, small=kernel.small or None, big=kernel.big or None)
        if size is not None and size != kernel.size:
            _refuse(f"has kernel_shape {size}; its kernel has {kernel.size}")
    if kernel.rank not in {None, 1, 2, 3}:
        _refuse(f"has a kernel of {kernel.rank} spatial axes; 1 to 3 are supported")
    if given is None:
        return kernel
    whole = not isinstance(given, int) and len(given) > (kernel.rank or 3)
    sizes = as_sizes(
        "kernel",
        given,
        len(given) if whole and not isinstance(given, int) else kernel.rank or _rank(given),
    )
    if whole and not 3 <= len(sizes) <= 5:
        _refuse(f"has a kernel of 3 to 5 axes, of which `kernel` (={given}) says {len(sizes)}")
    said = (
        from_shape(sizes, CONVENTION, groups) if whole else Kernel(sizes, kernel.small, kernel.big)
    )
    for mine, theirs in (
        (kernel.size, said.size),
        (kernel.small, said.small),
        (kernel.big, said.big),
    ):
        if mine is not None and mine != theirs:
            message = f"`kernel` (={given}) is not that of the node, {shape or size}; leave it out"
            raise ValueError(message)
    return said


def _rank(size: Size) -> int:
    return 1 if isinstance(size, int) else len(size)


def _refuse(words: str) -> NoReturn:
    message = f"`call` names a node that {words}"
    raise ValueError(message)


def _attributes(node: NodeProto) -> Attributes:
    """Attributes by name, lists as tuples and bytes as text."""
    from onnx import helper  # noqa: PLC0415  calls are read without it

    values = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    texts = {
        name: value.decode(errors="replace")
        for name, value in values.items()
        if isinstance(value, bytes)
    }
    sizes = {name: tuple(values[name]) for name in SIZES if name in values}
    return {**values, **texts, **sizes}


def _load(path: Path) -> ModelProto:
    if not path.is_file():
        message = (
            f"`call` names the file {str(path)!r}, which is not there; expected model.onnx:node"
        )
        raise ValueError(message)
    size = path.stat().st_size
    if size > LARGEST_FILE:
        message = (
            f"`call` names a file of {size} bytes; at most {LARGEST_FILE} are read: save its "
            "tensors as external data"
        )
        raise ValueError(message)
    import onnx  # noqa: PLC0415  the same

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # noqa: BLE001  protobuf has exceptions of its own, and they differ by version
        message = f"`call` names {str(path)!r}, which is no ONNX model: {type(error).__name__}"
        raise ValueError(message) from None
    if len(model.graph.node) > MOST_NODES:
        message = (
            f"`call` names a graph of {len(model.graph.node)} nodes; at most {MOST_NODES} are "
            "searched"
        )
        raise ValueError(message)
    return model


def _find(graph: GraphProto, name: str | None, path: str) -> NodeProto:
    nodes = [
        node
        for node in graph.node
        if node.op_type == "ConvTranspose" and node.domain in {"", "ai.onnx"}
    ]
    names = [node.name or node.output[0] for node in nodes]
    if not nodes:
        message = f"`call` names {path!r}, which has no ConvTranspose node in its main graph"
        raise ValueError(message)
    if name is None and len(nodes) == 1:
        return nodes[0]
    found = [node for node in nodes if name and (node.name == name or name in node.output)]
    if found:
        return found[0]
    other = next((node for node in graph.node if name and node.name == name), None)
    close = difflib.get_close_matches(name or "", names, n=3, cutoff=0.3) or names[:3]
    listed = ", ".join(f"{path}:{entry}" for entry in close)
    what = (
        "names no node"
        if name is None
        else f"names the node {name!r}, which is a {other.op_type}"
        if other
        else f"names the node {name!r}, which is not there"
    )
    message = f"`call` {what}; the nearest of {len(nodes)} ConvTranspose nodes are {listed}"
    raise ValueError(message)


class Shapes:
    """The shapes that a graph states or implies; unknown sizes are 0."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.inferred = False

    def of(self, node: NodeProto, place: int) -> tuple[int, ...] | None:
        """That of an input of a node; None where there is none, or nothing is known of it."""
        name = node.input[place] if len(node.input) > place else ""
        if not name:
            return None
        found = self._stated(name)
        if found is None and not self.inferred and self.model.ByteSize() <= LARGEST_INFERRED:
            self.inferred = True
            import onnx  # noqa: PLC0415  the same

            with suppress(
                Exception
            ):  # what a graph that contradicts itself raises differs by version
                self.model = onnx.shape_inference.infer_shapes(self.model)
            found = self._stated(name)
        return found

    def _stated(self, name: str) -> tuple[int, ...] | None:
        graph = self.model.graph
        stored = _stored(graph.initializer, graph.node, name)
        if stored is not None:
            return tuple(stored.dims)
        for value in (*graph.input, *graph.value_info):
            kind = value.type.tensor_type
            if value.name == name and kind.HasField("shape"):
                return tuple(entry.dim_value for entry in kind.shape.dim)
        return None


def _array(tensors: Sequence[TensorProto], nodes: Sequence[NodeProto], name: str) -> AnyArray:
    """The numbers of a stored tensor, also behind nodes that only carry it or give them back."""
    stored = _stored(tensors, nodes, name)
    if stored is None:
        return _computed(tensors, nodes, name)
    from onnx import external_data_helper, numpy_helper  # noqa: PLC0415  the same

    if external_data_helper.uses_external_data(stored):
        message = (
            f"`weights` has the numbers of {name!r} outside the file, and other files are not "
            "opened; write one file with onnx.save_model(model, path, save_as_external_data=False)"
        )
        raise ValueError(message)
    try:
        return numpy_helper.to_array(stored).astype("float32")
    except Exception as error:  # noqa: BLE001  what a tensor that lies about its size raises differs by version
        message = f"`weights` has a tensor {name!r} that cannot be read: {error}"
        raise ValueError(message) from None


def _computed(tensors: Sequence[TensorProto], nodes: Sequence[NodeProto], name: str) -> AnyArray:
    node = next((node for node in nodes if name in node.output), None)
    kind = None if node is None else node.op_type
    if node is None or kind not in CARRIERS:
        what = "an input of the graph" if node is None else f"computed in it, by a {kind}"
        message = (
            f"`weights` has no stored tensor {name!r}: it is {what}; "
            f"{', '.join(CARRIERS)} of stored tensors are followed"
        )
        raise ValueError(message)
    # Each step goes to an earlier node, or the file is no graph.
    before = [entry for entry in nodes if entry is not node]
    first, *others = (_array(tensors, before, entry) if entry else None for entry in node.input)
    assert first is not None
    if kind != "DequantizeLinear":
        return first
    scale, zero = (*others, None)[:2]
    assert scale is not None
    values = _attributes(node)
    if values.get("block_size", 0):
        message = (
            f"`weights` has a tensor {name!r} that is quantized by blocks; give the kernel as "
            "safetensors"
        )
        raise ValueError(message)
    along = [1] * first.ndim
    if scale.ndim and scale.size > 1:
        along[values.get("axis", 1)] = -1
    return (first - (0 if zero is None else zero.reshape(along))) * scale.reshape(along)


def _stored(
    tensors: Sequence[TensorProto], nodes: Sequence[NodeProto], name: str
) -> TensorProto | None:
    """An initializer, or the value of a Constant node; None without either."""
    for tensor in tensors:
        if tensor.name == name:
            return tensor
    for node in nodes:
        if node.op_type == "Constant" and name in node.output:
            return next((entry.t for entry in node.attribute if entry.name == "value"), None)
    return None
