"""The decoder as ONNX nodes behind the fully convolutional classifier.

A step repeats the border (Pad, mode edge), climbs (ConvTranspose) and crops to the size that the
tap or the image has at run time (Shape, Slice). New weights that are random are always the same
ones.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import helper

from backstride.layout import AnyArray
from backstride.surgery.decoding.assembly import assemble
from backstride.surgery.decoding.decoder import Decoder, Init, Step
from backstride.surgery.decoding.features import lifts
from backstride.surgery.decoding.influence import KEY, influence
from backstride.surgery.decoding.starts import among, apart
from backstride.surgery.model.values import Rewriting
from backstride.surgery.onnx.reader import OnnxReading
from backstride.surgery.onnx.runner import COARSE, RESULT
from backstride.surgery.onnx.writer import OnnxWriter


def segmenter(reading: OnnxReading, rewriting: Rewriting, decoder: Decoder) -> onnx.ModelProto:
    """Write the classifier and the decoder behind it."""
    writer = OnnxWriter(reading, rewriting)
    writer.write_nodes()
    count = decoder.classes
    dtype = reading.tensors[decoder.top].dtype
    coarse = writer.find_map(decoder.top)
    parts = _Parts(writer, decoder, helper.tensor_dtype_to_np_dtype(dtype))
    ways = lifts(decoder, rewriting.graph, count)
    fine = [*(writer.find(tap.node) for tap in decoder.taps), reading.image.name]
    maps = coarse, writer.find_map(decoder.features) if ways else coarse
    scores = assemble(parts, decoder, ways, maps, fine)
    builder = writer.builder
    if decoder.softmax is not None:
        scores = writer.softmax(reading.calls[decoder.softmax].node.op_type, scores, 1)
    result = builder.add("Identity", [scores], builder.fresh("scores"))
    sizes = ["N", count, "height", "width"]
    outputs = [helper.make_tensor_value_info(result, dtype, sizes)]
    model = builder.model(reading.model, [writer.input()], outputs)
    notes = {COARSE: coarse, KEY: influence(rewriting.graph, decoder.top, count, ways).to_json()}
    if decoder.softmax is not None:
        notes[RESULT] = reading.calls[decoder.softmax].node.op_type
    for key, value in notes.items():
        _ = model.metadata_props.add(key=key, value=value)
    return model


class _Parts:
    """The parts of a decoder as ONNX nodes."""

    def __init__(self, writer: OnnxWriter, decoder: Decoder, dtype: DTypeLike) -> None:
        self._reading = writer.reading
        self._builder = writer.builder
        self._classes = decoder.classes
        self._init: Init = decoder.init
        self._dtype = dtype
        self._generator = np.random.default_rng(0)
        self._sizes: dict[str, str] = {}

    def climb(
        self, maps: str, step: Step, channels: int, fine: str, name: str, *, mixing: bool
    ) -> str:
        """Repeat the border, transpose-convolve, crop."""
        builder = self._builder
        make = among if mixing and self._init == "icnr" else apart
        kernel = make(step, channels, self._init, self._generator.standard_normal)
        (top, bottom), (left, right) = step.extend
        pads = builder.numbers(f"extend_{name}", [0, 0, top, left, 0, 0, bottom, right])
        extended = builder.add("Pad", [maps, pads], mode="edge")
        groups = 1 if kernel.shape[1] == len(kernel) else len(kernel)
        inputs = [extended, builder.numbers(f"up_{name}", kernel, self._dtype)]
        full = builder.add(
            "ConvTranspose", inputs, kernel_shape=step.kernel, strides=step.factor, group=groups
        )
        start = builder.numbers(f"crop_{name}", step.crop)
        end = builder.add("Add", [start, self._size(fine)])
        return builder.add("Slice", [full, start, end, builder.numbers("axes", [2, 3])])

    def convolve(self, maps: str, channels: int, width: int, kernel: int, name: str) -> str:
        """A convolution with random weights, as PyTorch's start.

        Uniform, within a root of the taps' number.
        """
        bound = (channels * kernel * kernel) ** -0.5
        weights = self._generator.uniform(-bound, bound, (width, channels, kernel, kernel))
        made = self._conv(maps, weights, self._generator.uniform(-bound, bound, width), name)
        return self._builder.add("Relu", [made]) if kernel > 1 else made

    def score(self, maps: str, channels: int, name: str) -> str:
        """A convolution of zeros."""
        return self._conv(
            maps, np.zeros((self._classes, channels, 1, 1)), np.zeros(self._classes), name
        )

    def meet(self, maps: str, others: str, name: str, *, beside: bool = False) -> str:
        """A node of its own."""
        options = {"axis": 1} if beside else {}
        return self._builder.add(
            "Concat" if beside else "Add", [maps, others], self._builder.fresh(name), **options
        )

    def _size(self, fine: str) -> str:
        """The rows and columns of a map or the image, at run time."""
        if fine not in self._sizes:
            builder = self._builder
            first = 1 if fine == self._reading.image.name and self._reading.last else 2
            ends = builder.numbers("first", [first]), builder.numbers("end", [first + 2])
            self._sizes[fine] = builder.add("Slice", [builder.add("Shape", [fine]), *ends])
        return self._sizes[fine]

    def _conv(self, maps: str, weights: AnyArray, bias: AnyArray, name: str) -> str:
        builder, size = self._builder, weights.shape[2:]
        stored = (
            builder.numbers(f"{name}_weight", weights, self._dtype),
            builder.numbers(f"{name}_bias", bias, self._dtype),
        )
        return builder.add("Conv", [maps, *stored], kernel_shape=size, pads=[size[0] // 2] * 4)
