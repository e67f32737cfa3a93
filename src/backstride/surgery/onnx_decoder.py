"""The decoder as ONNX nodes behind the fully convolutional classifier.

A step repeats the border (Pad, mode edge), climbs (ConvTranspose, one bilinear kernel per class) and
crops to the size that the tap or the image has at run time (Shape, Slice).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from backstride.initializers import bilinear, nearest
from backstride.surgery.decoder import Decoder, Step, Tap
from backstride.surgery.influence import KEY, influence
from backstride.surgery.onnx_reader import OnnxReading
from backstride.surgery.onnx_runner import COARSE, RESULT
from backstride.surgery.onnx_writer import Writer
from backstride.surgery.values import Rewriting


def segmenter(reading: OnnxReading, rewriting: Rewriting, decoder: Decoder, classes: int | None) -> onnx.ModelProto:
    """Write the classifier and the decoder behind it."""
    rescored = {} if classes is None else {decoder.score: classes}
    writer = Writer(reading, rewriting, rescored)
    writer.write_nodes()
    count = classes or rewriting.graph[decoder.score].shape[0]
    dtype = reading.tensors[decoder.top].dtype
    coarse = scores = writer.find(decoder.top)
    climb = _Climb(writer, decoder.init, count, helper.tensor_dtype_to_np_dtype(dtype))
    taps: tuple[Tap | None, ...] = (*decoder.taps, None)
    for step, tap in zip(decoder.steps, taps, strict=True):
        scores = climb.step(scores, step, tap)
    builder = writer.builder
    if decoder.softmax is not None:
        scores = writer.softmax(reading.calls[decoder.softmax].node.op_type, scores, 1)
    result = builder.add("Identity", [scores], builder.fresh("scores"))
    sizes = ["N", count, "height", "width"]
    outputs = [helper.make_tensor_value_info(result, dtype, sizes)]
    model = builder.model(reading.model, [writer.input()], outputs)
    notes = {COARSE: coarse, KEY: influence(rewriting.graph, decoder.top, count).to_json()}
    if decoder.softmax is not None:
        notes[RESULT] = reading.calls[decoder.softmax].node.op_type
    for key, value in notes.items():
        _ = model.metadata_props.add(key=key, value=value)
    return model


class _Climb:
    """Adds the nodes of one step after the other."""

    def __init__(self, writer: Writer, init: str, classes: int, dtype: Any) -> None:
        self._init = init
        self._writer = writer
        self._builder = writer.builder
        self._classes = classes
        self._dtype = dtype

    def step(self, scores: str, step: Step, tap: Tap | None) -> str:
        """Lift scores to the cells of the tap and add the tap's own, or to the pixels of the image."""
        builder = self._builder
        (top, bottom), (left, right) = step.extend
        pads = builder.numbers(f"extend_{step.key}", [0, 0, top, left, 0, 0, bottom, right])
        extended = builder.add("Pad", [scores, pads], mode="edge")
        make = bilinear if self._init == "bilinear" else nearest
        kernel = make(step.kernel, step.factor, 1, data_format="channels_first", dtype="float64")
        weights = np.broadcast_to(kernel, (self._classes, *kernel.shape[1:]))
        up = builder.numbers(f"up_{step.key}", weights, self._dtype)
        options: dict[str, Any] = {"kernel_shape": step.kernel, "strides": step.factor, "group": self._classes}
        full = builder.add("ConvTranspose", [extended, up], **options)
        lifted = self._cropped(full, step, self._size(tap))
        if tap is None:
            return lifted
        zero = builder.numbers(f"skip_{step.key}", np.zeros((self._classes, tap.channels, 1, 1)), self._dtype)
        bias = builder.numbers(f"skip_{step.key}_bias", np.zeros(self._classes), self._dtype)
        skip = builder.add("Conv", [self._writer.find(tap.node), zero, bias], kernel_shape=(1, 1))
        return builder.add("Add", [lifted, skip])

    def _size(self, tap: Tap | None) -> str:
        """The rows and columns of a tap or the image, at run time."""
        reading, builder = self._writer.reading, self._builder
        source = reading.image.name if tap is None else self._writer.find(tap.node)
        first = 1 if tap is None and reading.last else 2
        whole = builder.add("Shape", [source])
        ends = builder.numbers("first", [first]), builder.numbers("end", [first + 2])
        return builder.add("Slice", [whole, *ends])

    def _cropped(self, full: str, step: Step, size: str) -> str:
        builder = self._builder
        start = builder.numbers(f"crop_{step.key}", step.crop)
        end = builder.add("Add", [start, size])
        axes = builder.numbers("axes", [2, 3])
        return builder.add("Slice", [full, start, end, axes])
