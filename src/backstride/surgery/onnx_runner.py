"""Run an ONNX model on NumPy arrays (N, C, H, W) with ONNX Runtime."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from backstride.surgery.onnx_reader import image_of, is_channels_last

COARSE, RESULT = "backstride.coarse", "backstride.result"
Images = NDArray[Any]


def runner(model: onnx.ModelProto, output: int = 0) -> Callable[[Images], Images]:
    """A function from a batch of images to result number `output`; of a transposed network, its coarse scores."""
    notes = {entry.key: entry.value for entry in model.metadata_props}
    made = Session(model, notes.get(COARSE) or model.graph.output[output].name)
    last = {"Softmax": _softmax, "LogSoftmax": _log_softmax}.get(notes.get(RESULT, ""))

    def run(images: Images) -> Images:
        scores = made(images).astype(np.float64)
        return scores if last is None else last(scores)

    return run


class Session:
    """A loaded model that gives one tensor; images go in as (N, C, H, W), in batches that the model takes."""

    def __init__(self, model: onnx.ModelProto, result: str) -> None:
        self._model = model
        self._image = image_of(model, "model")
        self._result = result
        self._dtype = onnx.helper.tensor_dtype_to_np_dtype(self._image.type.tensor_type.elem_type)
        dims = self._image.type.tensor_type.shape.dim
        self._batch = dims[0].dim_value if dims else 0
        runtime: Any = importlib.import_module("onnxruntime")
        options: Any = runtime.SessionOptions()
        options.log_severity_level = 4
        self._session: Any = runtime.InferenceSession(_with_output(model, result), options, ["CPUExecutionProvider"])

    def __call__(self, images: Images) -> Images:
        last = is_channels_last(self._model, self._image, images.shape[1:])
        data = np.ascontiguousarray(images.transpose(0, 2, 3, 1) if last else images, self._dtype)
        if not self._batch or self._batch == len(data):
            return self._run(data)
        parts = [self._padded(data[at : at + self._batch]) for at in range(0, len(data), self._batch)]
        return np.concatenate(parts)

    def _padded(self, part: Images) -> Images:
        missing = self._batch - len(part)
        return self._run(np.concatenate([part, np.repeat(part[:1], missing, axis=0)]))[: len(part)]

    def _run(self, data: Images) -> Images:
        return self._session.run([self._result], {self._image.name: data})[0]


def _with_output(model: onnx.ModelProto, result: str) -> bytes:
    """The model, with this tensor among its results."""
    if any(entry.name == result for entry in model.graph.output):
        return model.SerializeToString()
    model.graph.output.append(onnx.ValueInfoProto(name=result))
    try:
        return model.SerializeToString()
    finally:
        del model.graph.output[-1]


def _softmax(scores: Images) -> Images:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _log_softmax(scores: Images) -> Images:
    return np.log(_softmax(scores))
