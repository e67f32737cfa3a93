"""ONNX models to files: weights that no one file holds lie in another beside it."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from backstride.files import beside, write_beside

LARGEST = 2**31 - 2**24  # bytes of weights in one file: protobuf's limit, less room for the graph
LEAST = 1024  # bytes below which a tensor stays in the model's file


def is_large(model: onnx.ModelProto) -> bool:
    """Whether the weights need a file of their own."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer) > LARGEST


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model, and where one file cannot hold it, its weights as `path`.data beside it.

    Both change together or not at all: a model that is there keeps its own weights until the new
    one, whose weights have another name (`path`.2.data), takes its place; then they go.
    """
    path = path.resolve()
    old = _data_of(path)
    if not is_large(model):
        write_beside(path, model.SerializeToString())
    else:
        data = _free(path)
        try:
            write_beside(path, _with_data_in(data, model))
            data.chmod(path.stat().st_mode)
        except BaseException:
            data.unlink(missing_ok=True)
            raise
    for name in old:
        (path.parent / name).unlink(missing_ok=True)


def _with_data_in(data: Path, model: onnx.ModelProto) -> bytes:
    """The model without its large weights, which are written to `data`."""
    with beside(data) as part, part.open("wb") as file:
        light = _without_initializers(model)
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < LEAST:
                light.graph.initializer.append(tensor)
                continue
            place = file.tell()
            _ = file.write(tensor.raw_data)
            light.graph.initializer.append(_reference(tensor, data.name, place))
        return light.SerializeToString()


def _free(path: Path) -> Path:
    """The first name for a model's weights that no file has."""
    names = (f"{path.name}.data", *(f"{path.name}.{count}.data" for count in range(2, 10**6)))
    return next(data for name in names if not (data := path.with_name(name)).exists())


def _data_of(path: Path) -> set[str]:
    """The weight files that the model at `path` names, if they are called as `save` does."""
    written = {
        entry.name for entry in path.parent.glob("*.data") if _is_called(entry.name, path.name)
    }
    if not written or not path.is_file():
        return set()
    old = onnx.ModelProto()
    try:
        _ = old.ParseFromString(path.read_bytes())
    except DecodeError:
        return set()
    named = (entry.value for tensor in old.graph.initializer for entry in tensor.external_data)
    return written.intersection(named)


def _is_called(name: str, model: str) -> bool:
    count = name.removeprefix(f"{model}.").removesuffix("data").removesuffix(".")
    return name.startswith(f"{model}.") and (not count or count.isdigit())


def _without_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its weights, which are never there twice."""
    made = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(made, name, getattr(model, name))
    made.metadata_props.extend(model.metadata_props)
    made.functions.extend(model.functions)
    graph = made.graph
    graph.name = model.graph.name
    for name in ("node", "input", "output", "value_info"):
        getattr(graph, name).extend(getattr(model.graph, name))
    return made


def _reference(tensor: onnx.TensorProto, location: str, offset: int) -> onnx.TensorProto:
    made = onnx.TensorProto(
        name=tensor.name,
        dims=tensor.dims,
        data_type=tensor.data_type,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, value in (
        ("location", location),
        ("offset", offset),
        ("length", len(tensor.raw_data)),
    ):
        _ = made.external_data.add(key=key, value=str(value))
    return made
