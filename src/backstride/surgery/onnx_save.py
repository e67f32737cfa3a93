"""ONNX models to files: weights that no one file holds lie in another beside it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx

from backstride.files import make_folder, write_beside

LARGEST = 2**31 - 2**24  # bytes of weights in one file: protobuf's limit, less room for the graph
LEAST = 1024  # bytes below which a tensor stays in the model's file


def is_large(model: onnx.ModelProto) -> bool:
    """Whether the weights need a file of their own."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer) > LARGEST


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model, and where one file cannot hold it, its weights as `path`.data beside it; no part of it else."""
    if not is_large(model):
        write_beside(path, model.SerializeToString())
        return
    make_folder(path.parent)
    data = path.with_name(f"{path.name}.data")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{data.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            light = _without_initializers(model)
            for tensor in model.graph.initializer:
                if len(tensor.raw_data) < LEAST:
                    light.graph.initializer.append(tensor)
                    continue
                place = file.tell()
                _ = file.write(tensor.raw_data)
                light.graph.initializer.append(_reference(tensor, data.name, place))
        content = light.SerializeToString()
        _ = Path(name).replace(data)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    write_beside(path, content)
    data.chmod(path.stat().st_mode)


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
        name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, data_location=onnx.TensorProto.EXTERNAL
    )
    for key, value in (("location", location), ("offset", offset), ("length", len(tensor.raw_data))):
        _ = made.external_data.add(key=key, value=str(value))
    return made
