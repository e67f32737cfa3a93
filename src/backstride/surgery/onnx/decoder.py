"""The decoder as ONNX nodes behind the fully convolutional classifier.

A step repeats the border (Pad, mode edge), climbs (ConvTranspose) and crops to the size that the tap or the image
has at run time (Shape, Slice). New weights that are random are always the same ones.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import helper

from backstride.layout import AnyArray
from backstride.surgery.decoding.decoder import Decoder, Step, Tap
from backstride.surgery.decoding.features import Lift, lifts
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
    climb = _Climb(writer, decoder, helper.tensor_dtype_to_np_dtype(dtype))
    ways = lifts(decoder, rewriting.graph, count)
    scores = climb.scores(coarse, skipping=not ways)
    builder = writer.builder
    if ways:
        scores = builder.add("Add", [scores, climb.features(writer.find_map(decoder.features), ways)])
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


class _Climb:
    """Adds the nodes of the decoder's steps."""

    def __init__(self, writer: OnnxWriter, decoder: Decoder, dtype: DTypeLike) -> None:
        self._writer = writer
        self._builder = writer.builder
        self._decoder = decoder
        self._taps: tuple[Tap | None, ...] = (*decoder.taps, None)
        self._classes = decoder.classes
        self._dtype = dtype
        self._generator = np.random.default_rng(0)
        self._sizes: dict[str, str] = {}

    def scores(self, scores: str, *, skipping: bool) -> str:
        """Scores up to the image, plus those of the taps, zero at first, where `skipping`."""
        init, classes, normal = self._decoder.init, self._classes, self._generator.standard_normal
        for step, tap in zip(self._decoder.steps, self._taps, strict=True):
            make = among if init == "icnr" else apart
            scores = self._lifted(scores, step, tap, make(step, classes, init, normal), f"up_{step.key}")
            if tap is not None and skipping:
                skip = self._zero_score(self._writer.find(tap.node), tap.channels, f"skip_{step.key}")
                scores = self._builder.add("Add", [scores, skip])
        return scores

    def features(self, features: str, ways: tuple[Lift, ...]) -> str:
        """The scores of the features behind the coarse ones, zero at first."""
        builder = self._builder
        for lift, tap in zip(ways, self._taps, strict=True):
            step, name = lift.step, f"features_{lift.step.key}"
            features = self._convolved(features, lift.channels, lift.width, 1, f"{name}_narrow")
            kernel = apart(step, lift.width, self._decoder.init, self._generator.standard_normal)
            features = self._lifted(features, step, tap, kernel, f"{name}_up")
            if tap is not None and len(lift.blocks) > 1:
                features = builder.add("Concat", [features, self._writer.find(tap.node)], axis=1)
            elif tap is not None:
                beside = self._convolved(self._writer.find(tap.node), tap.channels, lift.width, 1, f"{name}_tap")
                features = builder.add("Add", [features, beside])
            for place, inner in enumerate(lift.blocks):
                features = self._convolved(features, inner, lift.width, 3, f"{name}_{place}")
                features = builder.add("Relu", [features])
        return self._zero_score(features, ways[-1].width, "features_scores")

    def _lifted(self, maps: str, step: Step, tap: Tap | None, kernel: AnyArray, name: str) -> str:
        """Maps at the cells of the tap, or the pixels of the image."""
        builder = self._builder
        (top, bottom), (left, right) = step.extend
        pads = builder.numbers(f"{name}_extend", [0, 0, top, left, 0, 0, bottom, right])
        extended = builder.add("Pad", [maps, pads], mode="edge")
        groups = 1 if kernel.shape[1] == len(kernel) else len(kernel)
        inputs = [extended, builder.numbers(name, kernel, self._dtype)]
        full = builder.add("ConvTranspose", inputs, kernel_shape=step.kernel, strides=step.factor, group=groups)
        start = builder.numbers(f"{name}_crop", step.crop)
        end = builder.add("Add", [start, self._size(step, tap)])
        return builder.add("Slice", [full, start, end, builder.numbers("axes", [2, 3])])

    def _size(self, step: Step, tap: Tap | None) -> str:
        """The rows and columns of a tap or the image, at run time."""
        if step.key not in self._sizes:
            reading, builder = self._writer.reading, self._builder
            source = reading.image.name if tap is None else self._writer.find(tap.node)
            first = 1 if tap is None and reading.last else 2
            ends = builder.numbers("first", [first]), builder.numbers("end", [first + 2])
            self._sizes[step.key] = builder.add("Slice", [builder.add("Shape", [source]), *ends])
        return self._sizes[step.key]

    def _convolved(self, maps: str, channels: int, width: int, kernel: int, name: str) -> str:
        """A convolution with random weights, as PyTorch's start: uniform, within a root of the taps' number."""
        bound = (channels * kernel * kernel) ** -0.5
        weights = self._generator.uniform(-bound, bound, (width, channels, kernel, kernel))
        return self._conv(maps, weights, self._generator.uniform(-bound, bound, width), name)

    def _zero_score(self, maps: str, channels: int, name: str) -> str:
        return self._conv(maps, np.zeros((self._classes, channels, 1, 1)), np.zeros(self._classes), name)

    def _conv(self, maps: str, weights: AnyArray, bias: AnyArray, name: str) -> str:
        builder, size = self._builder, weights.shape[2:]
        stored = (
            builder.numbers(f"{name}_weight", weights, self._dtype),
            builder.numbers(f"{name}_bias", bias, self._dtype),
        )
        return builder.add("Conv", [maps, *stored], kernel_shape=size, pads=[size[0] // 2] * 4)
