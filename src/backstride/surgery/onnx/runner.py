"""Runs an ONNX model on NumPy arrays (N, C, H, W) with ONNX Runtime."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx

from backstride.layout import AnyArray
from backstride.surgery.decoding.influence import KEY, Influence, from_json, of_one_size
from backstride.surgery.model.heads import Choice
from backstride.surgery.onnx.file import load
from backstride.surgery.onnx.reader import heads_of, image_of, is_channels_last
from backstride.surgery.onnx.save import is_large, save

COARSE, RESULT = "backstride.coarse", "backstride.result"
Images: TypeAlias = AnyArray
Runs: TypeAlias = Callable[
    [Sequence[str], Mapping[str, AnyArray]], Sequence[AnyArray]
]  # names of results and inputs


def runner(model: onnx.ModelProto, output: int = 0) -> Callable[[Images], Images]:
    """A function from a batch of images to result number `output`.

    Of a transposed network, its coarse scores.
    """
    notes = {entry.key: entry.value for entry in model.metadata_props}
    made = OnnxSession(model, notes.get(COARSE) or model.graph.output[output].name)
    last = {"Softmax": _softmax, "LogSoftmax": _log_softmax}.get(notes.get(RESULT, ""))

    def run(images: Images) -> Images:
        scores = made(images).astype(np.float64)
        return scores if last is None else last(scores)

    return run


def pixel_network(
    path: Path, head: str | int | None = None
) -> tuple[Callable[[Images], Images], int, Influence | None]:
    """A network's file as a function of images (N, C, H, W), C, and what the file says for tiling.

    `head`: which result, where it has several.
    """
    model = load(path)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    image = image_of(model, path.name)
    sizes = [max(entry.dim_value, 0) for entry in image.type.tensor_type.shape.dim]
    last = bool(sizes) and sizes[1] == 0 and sizes[3] > 0
    if not sizes or any(sizes[axis] for axis in ((1, 2) if last else (2, 3))):
        raise of_one_size(path)
    known = from_json(notes[KEY]) if KEY in notes else None
    chosen = Choice(head, needed=True).among(path.name, heads_of(model))
    result = model.graph.output[0 if chosen is None else chosen.place].name
    return OnnxSession(model, result), sizes[3] if last else sizes[1], known


class OnnxSession:
    """A loaded model that gives one tensor.

    Images go in as (N, C, H, W), in batches that the model takes.
    """

    def __init__(self, model: onnx.ModelProto, result: str) -> None:
        self._model = model
        self._image = image_of(model, "model")
        self._result = result
        self._dtype = onnx.helper.tensor_dtype_to_np_dtype(self._image.type.tensor_type.elem_type)
        dims = self._image.type.tensor_type.shape.dim
        self._batch = max(dims[0].dim_value, 0) if dims else 0
        runtime: Any = importlib.import_module("onnxruntime")  # untyped
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        try:
            with _with_output(model, result) as given:
                self._session: Runs = runtime.InferenceSession(
                    given, options, ["CPUExecutionProvider"]
                ).run
        except Exception as error:  # noqa: BLE001  ONNX Runtime raises every kind
            message = f"ONNX Runtime cannot run this model: {_first_line(error)}"
            raise ValueError(message) from None

    def __call__(self, images: Images) -> Images:
        """Runs them."""
        last = is_channels_last(self._model, self._image, images.shape[1:])
        data = np.ascontiguousarray(images.transpose(0, 2, 3, 1) if last else images, self._dtype)
        if not self._batch or self._batch == len(data):
            return self._run(data)
        parts = [
            self._padded(data[at : at + self._batch]) for at in range(0, len(data), self._batch)
        ]
        return np.concatenate(parts)

    def _padded(self, part: Images) -> Images:
        missing = self._batch - len(part)
        return self._run(np.concatenate([part, np.repeat(part[:1], missing, axis=0)]))[: len(part)]

    def _run(self, data: Images) -> Images:
        try:
            return self._session([self._result], {self._image.name: data})[0]
        except Exception as error:  # noqa: BLE001  the same
            message = (
                f"the model does not run on images of shape {data.shape}: {_first_line(error)}"
            )
            raise ValueError(message) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


@contextmanager
def _with_output(model: onnx.ModelProto, result: str) -> Generator[bytes | str]:
    """The model with this tensor among its results.

    Its bytes, or where they are too many, the path of a file.
    """
    added = not any(entry.name == result for entry in model.graph.output)
    if added:
        model.graph.output.append(onnx.ValueInfoProto(name=result))
    try:
        if not is_large(model):
            yield model.SerializeToString()
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            save(model, path)
            yield str(path)
    finally:
        if added:
            del model.graph.output[-1]


def _softmax(scores: Images) -> Images:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _log_softmax(scores: Images) -> Images:
    return np.log(_softmax(scores))
