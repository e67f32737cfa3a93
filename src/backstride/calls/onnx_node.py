"""A ConvTranspose node of an ONNX file, which is bounded in size: the call from the graph alone, and its tensors."""

from __future__ import annotations

import difflib
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backstride.calls.kernels import Kernel, from_shape
from backstride.calls.record import SourceCall, convention_of
from backstride.geometry import as_sizes

if TYPE_CHECKING:
    from backstride.layout import AnyArray

LARGEST_FILE = 512 * 2**20
MOST_NODES = 100_000
# Before opset 11 the text of the standard had the two SAME rules the other way around.
FIRST_OPSET = 11
SIZES = ("dilations", "kernel_shape", "output_padding", "output_shape", "pads", "strides")
_TEXT = re.compile(r"(?P<path>[^\n(]*\.onnx)(?::(?P<node>[^\n]*))?")
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

    Raises `ValueError` where there is no such node, and where a tensor is computed or stands outside the file.
    """
    graph = _load(path).graph
    node = _find(graph, name, str(path))
    names = zip(("kernel", "bias"), node.input[1:], strict=False)
    return {role: _array(graph, tensor) for role, tensor in names if tensor}


def read_node(path: str, name: str | None) -> SourceCall:
    """Read the node with this name, or whose output has it; None is the file's only ConvTranspose.

    Raises `ValueError` where there is none, with the nearest names, and for a file that is too large or no
    ONNX model; `ImportError` where onnx is not installed. External data is never opened.
    """
    model = _load(Path(path))
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), FIRST_OPSET)
    node = _find(model.graph, name, path)
    values = _attributes(node)
    options = {name: values[name] for name in ATTRIBUTES if name in values}
    if opset < FIRST_OPSET and ("output_shape" in options or str(options.get("auto_pad", "")).startswith("SAME")):
        message = (
            f"`call` names a node of opset {opset}, whose text splits output_shape and SAME the other way around; "
            "convert the model with onnx.version_converter.convert_version(model, 11)"
        )
        raise ValueError(message)
    (groups,) = as_sizes("group", values.get("group", 1), 1)
    convention = convention_of("onnx")
    shape = _shape(model.graph, node.input[1]) if len(node.input) > 1 else None
    kernel = Kernel(values.get("kernel_shape"))
    if shape is not None:
        kernel = from_shape(as_sizes("kernel", shape, len(shape)), convention, groups)
    if kernel.rank not in {None, 1, 2, 3}:
        message = f"`call` names a node with a kernel of {kernel.rank} spatial axes; 1 to 3 are supported"
        raise ValueError(message)
    data = _shape(model.graph, node.input[0]) if node.input else None
    spatial = data[2:] if data is not None and len(data) == (kernel.rank or 0) + 2 and len(data) > 2 else None
    return SourceCall(
        f"{path}:{node.name or node.output[0]}",
        "onnx",
        "onnx.ConvTranspose",
        convention,
        options,
        kernel.rank,
        kernel.size,
        kernel.small,
        kernel.big,
        groups,
        "channels_first",
        len(node.input) > 2 and bool(node.input[2]),
        input=None if spatial is None or min(spatial) < 1 else spatial,
    )


def _attributes(node: Any) -> dict[str, Any]:
    """Attributes by name, lists as tuples and bytes as text."""
    helper: Any = importlib.import_module("onnx.helper")
    values = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    texts = {name: value.decode(errors="replace") for name, value in values.items() if isinstance(value, bytes)}
    sizes = {name: tuple(values[name]) for name in SIZES if name in values}
    return {**values, **texts, **sizes}


def _load(path: Path) -> Any:
    if not path.is_file():
        message = f"`call` names the file {str(path)!r}, which is not there; expected model.onnx:node"
        raise ValueError(message)
    size = path.stat().st_size
    if size > LARGEST_FILE:
        message = (
            f"`call` names a file of {size} bytes; at most {LARGEST_FILE} are read: save its tensors as external data"
        )
        raise ValueError(message)
    library: Any = importlib.import_module("onnx")
    try:
        model = library.load_model_from_string(path.read_bytes())
    except Exception as error:  # noqa: BLE001  protobuf has exceptions of its own, and they differ by version
        message = f"`call` names {str(path)!r}, which is no ONNX model: {type(error).__name__}"
        raise ValueError(message) from None
    if len(model.graph.node) > MOST_NODES:
        message = f"`call` names a graph of {len(model.graph.node)} nodes; at most {MOST_NODES} are searched"
        raise ValueError(message)
    return model


def _find(graph: Any, name: str | None, path: str) -> Any:
    nodes = [node for node in graph.node if node.op_type == "ConvTranspose" and node.domain in {"", "ai.onnx"}]
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


def _array(graph: Any, name: str) -> AnyArray:
    """The numbers of a stored tensor."""
    stored = _stored(graph, name)
    if stored is None:
        message = f"`weights` has no stored tensor {name!r}: it is an input of the graph, or computed in it"
        raise ValueError(message)
    library: Any = importlib.import_module("onnx")
    if library.external_data_helper.uses_external_data(stored):
        message = (
            f"`weights` has the numbers of {name!r} outside the file, and other files are not opened; write one file "
            "with onnx.save_model(model, path, save_as_external_data=False)"
        )
        raise ValueError(message)
    try:
        return library.numpy_helper.to_array(stored).astype("float32")
    except Exception as error:  # noqa: BLE001  what a tensor that lies about its size raises differs by version
        message = f"`weights` has a tensor {name!r} that cannot be read: {error}"
        raise ValueError(message) from None


def _stored(graph: Any, name: str) -> Any:
    """An initializer, or the value of a Constant node; None without either."""
    for tensor in graph.initializer:
        if tensor.name == name:
            return tensor
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            return next((entry.t for entry in node.attribute if entry.name == "value"), None)
    return None


def _shape(graph: Any, name: str) -> tuple[int, ...] | None:
    """The shape that the graph states for a tensor; unknown sizes are 0."""
    stored = _stored(graph, name)
    if stored is not None:
        return tuple(stored.dims)
    for value in (*graph.input, *graph.value_info):
        kind = value.type.tensor_type
        if value.name == name and kind.HasField("shape"):
            return tuple(entry.dim_value for entry in kind.shape.dim)
    return None
