"""ONNX models from files that nobody vouches for.

External data stays in their folder, sizes are those of the bytes. Nothing is allocated by what a
file claims: a tensor is taken only where the bytes that are there are as many as its dimensions
need.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, helper, inliner
from onnx.onnx_cpp2py_export.checker import ValidationError

loose: Any = onnx.checker  # untyped
LEAST_OPSET = 11
LARGEST_FILE = 2**31 - 1  # protobuf's own limit
FOUR_BITS = ("INT4", "UINT4", "FLOAT4E2M1")
TWO_BITS = ("INT2", "UINT2")


def load(path: Path) -> onnx.ModelProto:
    """Read a model with all its weights, checked as `checked` does.

    Raises `ValueError` in one sentence for what is no ONNX model, is truncated, or names external
    data outside its folder; `OSError` where the file cannot be read.
    """
    if path.is_dir():
        message = f"`model` (={str(path)!r}) is a folder; name a file in it"
        raise ValueError(message)
    if path.stat().st_size > LARGEST_FILE:
        message = (
            f"`model` (={str(path)!r}) is larger than 2 GiB, ONNX's limit; keep its weights in "
            "external data"
        )
        raise ValueError(message)
    model = onnx.ModelProto()
    try:
        _ = model.ParseFromString(path.read_bytes())
    except DecodeError:
        raise ValueError(_unusable(path, "is no ONNX model, or a truncated one")) from None
    if not model.graph.node:
        raise ValueError(_unusable(path, "is no ONNX model, or an empty one"))
    for tensor in tensors(model):
        if external_data_helper.uses_external_data(tensor):
            _take_external(path, tensor)
    return checked(model, str(path))


def data_files(path: Path) -> tuple[Path, ...]:
    """The files in a model's folder that hold weights of it, in order.

    None where it is no ONNX model.
    """
    model = onnx.ModelProto()
    try:
        if path.stat().st_size <= LARGEST_FILE:
            _ = model.ParseFromString(path.read_bytes())
    except DecodeError:
        return ()
    folder = path.resolve().parent
    entries = (entry for tensor in tensors(model) for entry in tensor.external_data)
    places = {(folder / entry.value).resolve() for entry in entries if entry.key == "location"}
    return tuple(
        sorted(place for place in places if place.is_relative_to(folder) and place.is_file())
    )


def checked(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A model that is sound, with local functions written out.

    Raises `ValueError` in one sentence otherwise.
    """
    for tensor in tensors(model):
        if external_data_helper.uses_external_data(tensor):
            message = (
                f"`model` (={name}): {tensor.name!r} is external data; give the path of the model "
                "instead"
            )
            raise ValueError(message)
        _check_bytes(name, tensor)
    opset = opset_of(model)
    if opset < LEAST_OPSET:
        message = (
            f"`model` (={name}) has opset {opset}; at least {LEAST_OPSET} is needed; "
            "the nearest legal call is onnx.version_converter.convert_version(model, 13)"
        )
        raise ValueError(message)
    try:
        loose.check_model(_without_weights(model))
        return inliner.inline_local_functions(model) if model.functions else model
    except (ValidationError, RuntimeError, ValueError) as error:
        cause = str(error).strip().partition("\n")[0]
        message = f"`model` (={name}) is no sound ONNX model: {cause}"
        raise ValueError(message) from None


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators."""
    return max(
        (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        default=1,
    )


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor, of subgraphs and functions too."""
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)


def _in_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _in_graph(graph)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with large initializers as inputs: the checker need not copy them."""
    light = onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = model.graph.name or "model"
    light.graph.node.extend(model.graph.node)
    for (
        entry
    ) in model.graph.output:  # some exporters leave out what a result is, which inference tells
        result = light.graph.output.add()
        result.CopyFrom(entry)
        result.type.tensor_type.elem_type = (
            entry.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
        )
        result.type.tensor_type.shape.SetInParent()
    stored = {tensor.name for tensor in model.graph.initializer}
    light.graph.input.extend(entry for entry in model.graph.input if entry.name not in stored)
    for entry in light.graph.input:
        entry.type.tensor_type.shape.SetInParent()
    for tensor in model.graph.initializer:
        light.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    return light


def _take_external(path: Path, tensor: onnx.TensorProto) -> None:
    """Read the bytes of a tensor from a file in the model's folder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = path.resolve().parent
    place = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not place.is_relative_to(folder):
        reason = f"names external data {location!r} outside its folder, which is not followed"
        raise ValueError(_unusable(path, reason))
    if not place.is_file():
        raise ValueError(
            _unusable(path, f"needs the file {location!r} beside it, which is missing")
        )
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", place.stat().st_size - offset))
    except ValueError:
        raise ValueError(
            _unusable(path, f"gives no number for the place of {tensor.name!r} in {location!r}")
        ) from None
    if (
        offset < 0
        or length < 0
        or offset + length > place.stat().st_size
        or length != _needed_bytes(tensor)
    ):
        raise ValueError(
            _unusable(
                path, f"gives a place of {tensor.name!r} in {location!r} that does not hold it"
            )
        )
    with place.open("rb") as file:
        _ = file.seek(offset)
        tensor.raw_data = file.read(length)
    tensor.ClearField("data_location")
    del tensor.external_data[:]


def _check_bytes(name: str, tensor: onnx.TensorProto) -> None:
    """Whether the tensor holds as many numbers as its dimensions say."""
    if tensor.data_type in (
        onnx.TensorProto.UNDEFINED,
        onnx.TensorProto.STRING,
    ) or not tensor.HasField("raw_data"):
        fields = (
            "float_data",
            "int32_data",
            "int64_data",
            "double_data",
            "uint64_data",
            "string_data",
        )
        have = sum(len(getattr(tensor, field)) for field in fields)
        least, most = math.prod(tensor.dims) // 4, 2 * math.prod(tensor.dims)
        sound = all(entry >= 0 for entry in tensor.dims) and least <= have <= most
    else:
        sound = len(tensor.raw_data) == _needed_bytes(tensor)
    if not sound:
        shape = tuple(tensor.dims)
        message = (
            f"`model` (={name}): {tensor.name!r} claims the shape {shape}, but other than that "
            "many numbers follow"
        )
        raise ValueError(message)


def _needed_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.data_type not in onnx.TensorProto.DataType.values() or any(
        entry < 0 for entry in tensor.dims
    ):
        return -1
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    count = math.prod(tensor.dims)
    if kind in FOUR_BITS:
        return -(-count // 2)
    if kind in TWO_BITS:
        return -(-count // 4)
    return count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _unusable(path: Path, reason: str) -> str:
    return f"`model` (={str(path)!r}) {reason}"
