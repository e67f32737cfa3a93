"""A rewritten graph becomes an ONNX model.

Nodes copied, dense ones as convolutions, sizes dynamic. Longer than other files: one method for
each kind of node that is written anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import helper

from backstride.layout import AnyArray
from backstride.surgery.model.graph import Node
from backstride.surgery.model.values import Refusal, RefusedError, Rewriting
from backstride.surgery.onnx.builder import Builder
from backstride.surgery.onnx.calls import OnnxCall
from backstride.surgery.onnx.operations import per_feature
from backstride.surgery.onnx.reader import OnnxReading, label
from backstride.surgery.onnx.resizing import grown
from backstride.surgery.onnx.shapes import COMPUTED, OnnxTensor, evaluated
from backstride.surgery.onnx.steps import (
    END,
    dilated_mean,
    filled,
    group_norm,
    local_norm,
    reduced,
    regrouped,
    sliced,
)
from backstride.surgery.rewriting.dense import NO_ATROUS_FORM
from backstride.surgery.rewriting.kernels import kernel_of, with_classes
from backstride.surgery.rewriting.rules_pooling import REDUCTIONS

CELLWISE: Mapping[str, str] = {"sqrt": "Sqrt", "absolute": "Abs", "negative": "Neg"}
TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
PLACES = (
    "kernel_shape",
    "strides",
    "pads",
    "dilations",
    "auto_pad",
    "ceil_mode",
    "output_shape",
    "output_padding",
)


class OnnxWriter:
    """Writes one network."""

    def __init__(self, reading: OnnxReading, rewriting: Rewriting) -> None:
        self.reading = reading
        self.builder = Builder(
            (*reading.tensors, *(node.name for node in reading.model.graph.node))
        )
        self._rewriting = rewriting
        self._alias: dict[str, str] = {}

    def write(self) -> onnx.ModelProto:
        """The fully convolutional model."""
        self.write_nodes()
        outputs: list[onnx.ValueInfoProto] = []
        entries, crops = self.reading.outputs, self._rewriting.crops
        found = [self.find(entry.name) for entry in entries]
        last = {
            entry.name for entry in entries if self._rewriting.values[entry.name].form == "map_last"
        }
        for name in {entry.name for entry in entries} & set(found) if crops or last else ():
            fresh = self.builder.renamed(name)
            found = [fresh if given == name else given for given in found]
        for entry, given, cells in zip(entries, found, crops or [()] * len(found), strict=True):
            if entry.name in last:
                given = self.builder.add("Transpose", [given], perm=TO_FIRST)  # noqa: PLW2901
            given = self._cropped(given, cells)  # noqa: PLW2901
            if given != entry.name:
                _ = self.builder.add("Identity", [given], entry.name)
            channels = self._rewriting.values[entry.name].channels
            sizes = ("N", channels, f"{entry.name}_rows", f"{entry.name}_columns")
            outputs.append(
                helper.make_tensor_value_info(
                    entry.name, self.reading.tensors[entry.name].dtype, list(sizes)
                )
            )
        return self.builder.model(self.reading.model, [self.input()], outputs)

    def input(self) -> onnx.ValueInfoProto:
        """The image, of any height and width."""
        channels = self._rewriting.graph.input.shape[0]
        sizes = (
            ["N", "height", "width", channels]
            if self.reading.last
            else ["N", channels, "height", "width"]
        )
        image = self.reading.image
        return helper.make_tensor_value_info(image.name, image.type.tensor_type.elem_type, sizes)

    def find(self, name: str) -> str:
        """What a tensor of the classifier is called in the network."""
        return self._alias.get(name, name)

    def find_map(self, name: str) -> str:
        """The same as `find`, of a map with its channels first."""
        value = self._rewriting.values.get(name)
        if value is None or value.form != "map_last":
            return self.find(name)
        return self.builder.add("Transpose", [self.find(name)], perm=TO_FIRST)

    def write_nodes(self) -> None:
        """Write every node of the classifier, or what stands for it."""
        for node in self.reading.graph:
            if (
                node.kind in ("input", "output", "constant", "scalar")
                or node.name == self.reading.image.name
            ):
                continue
            if node.kind == "parts":
                self._split(node)
            elif node.kind == "part" and self.reading.graph[node.inputs[0]].kind == "parts":
                continue  # written with the others
            elif node.name in self._rewriting.replaced:
                self._replace(node)
            else:
                self._keep(node)

    def constant(self, tensor: OnnxTensor) -> str:
        """Store a tensor that is computed from constants alone.

        Sizes stay those of the native size.
        """
        if not self.builder.has(tensor.name):
            _ = self.builder.store(
                tensor.name, self.numbers(tensor) if tensor.stored is None else tensor.stored
            )
        return tensor.name

    def numbers(self, tensor: OnnxTensor) -> AnyArray:
        """The numbers of a stored tensor, or of one that is computed from such."""
        if tensor.value is not None:
            return tensor.value
        call = self.reading.calls[tensor.name]
        if call.node.op_type not in COMPUTED:
            reason = (
                f"makes weights of {tensor.shape} from constants by an operation that is not run "
                "on so many"
            )
            raise RefusedError(self.reading.name, (Refusal(label(call.node), reason),))
        sources = [source for source in call.sources if source is not None]
        known = [
            OnnxTensor(s.name, s.shape, s.dtype, s.origin, None, self.numbers(s)) for s in sources
        ]
        names = [name for name in call.node.output if name]
        return evaluated(call.node, known, self.reading.model.opset_import)[
            names.index(tensor.name)
        ]

    def softmax(self, operator: str, source: str, axis: int, output: str = "") -> str:
        """A softmax over one axis of a map.

        Before operator set 13 it runs over all axes behind its own, too.
        """
        if self.reading.calls and next(iter(self.reading.calls.values())).opset < 13 and axis != 3:
            last = self.builder.add("Transpose", [source], perm=TO_LAST)
            last = self.builder.add(operator, [last], axis=3)
            return self.builder.add("Transpose", [last], output, perm=TO_FIRST)
        return self.builder.add(operator, [source], output, axis=axis)

    def _keep(self, node: Node) -> None:
        call = self.reading.calls[node.name]
        if node.kind == "reshape":
            self._alias[node.name] = self.find(node.inputs[0])
            return
        if node.kind == "softmax":
            _ = self.softmax(call.node.op_type, self.find(node.inputs[0]), node.axes[0], node.name)
            return
        if call.node.op_type == "Resize":
            _ = grown(
                self.builder, call, node.sliding.strides, self.find(node.inputs[0]), node.name
            )
            return
        cut = self._cut(node)
        given = zip(
            call.sources, [self._source(call.sources[0]), *self._weights(node, call)], strict=False
        )
        inputs = [cut.get(source.name if source else "", name) for source, name in given]
        if len(call.result.shape) == 2 and node.kind == "activation":
            inputs = [self._over_map(call, place, name) for place, name in enumerate(inputs)]
        self.builder.copy(call.node, inputs)

    def _split(self, node: Node) -> None:
        """The Split that gives all the parts."""
        user = next(other for other in self.reading.graph if node.name in other.inputs)
        call = self.reading.calls[user.name]
        self.builder.copy(call.node, [self._source(source) for source in call.sources])

    def _cut(self, node: Node) -> dict[str, str]:
        """The inputs of other sizes than the smallest, by name, and their form once cut."""
        fits, trims = self._rewriting.fitted(node), self._rewriting.trimmed(node)
        if not fits:
            return {name: self._cropped(self.find(name), cells) for name, cells in trims.items()}
        builder, value = self.builder, self._rewriting.values[node.name]
        first = 1 if value.form == "map_last" else 1 + max(1, len(value.factors))
        ends = builder.numbers("first", [first]), builder.numbers("end", [first + 2])
        sizes = [
            builder.add("Slice", [builder.add("Shape", [self.find(name)]), *ends]) for name in fits
        ]
        zeros, (least, *others) = builder.numbers("zeros", [0, 0]), sizes
        for other in others:  # Min takes whole numbers from opset 12 on only
            least = builder.add("Where", [builder.add("Less", [other, least]), other, least])
        axes = builder.numbers("axes", [first, first + 1])
        return {name: builder.add("Slice", [self.find(name), zeros, least, axes]) for name in fits}

    def _cropped(self, maps: str, cells: Sequence[tuple[int, int]]) -> str:
        """Maps (N, C, h, w) with so many cells taken off, before and after, on each axis."""
        if not any(map(any, cells)):
            return maps
        builder = self.builder
        starts = builder.numbers("starts", [before for before, _ in cells])
        ends = builder.numbers("ends", [-after or END for _, after in cells])
        return builder.add("Slice", [maps, starts, ends, builder.numbers("axes", [2, 3])])

    def _source(self, source: OnnxTensor | None) -> str:
        if source is None:
            return ""
        return self.find(source.name) if source.origin == "image" else self.constant(source)

    def _weights(self, node: Node, call: OnnxCall) -> list[str]:
        """What a node reads beside its first input: as it is stored, or for other classes."""
        if node.name not in self._rewriting.classes:
            return [self._source(source) for source in call.sources[1:]]
        parts = zip(("kernel", "bias"), call.sources[1:], strict=False)
        return [
            self._store(node, part, self.numbers(source))
            for part, source in parts
            if source is not None
        ]

    def _store(self, node: Node, part: str, weights: AnyArray) -> str:
        """Store new weights of a node, for other classes where it gives the scores."""
        classes = self._rewriting.classes.get(node.name)
        weights = weights if classes is None else with_classes(weights, classes)
        return self.builder.store(self.builder.fresh(f"{node.name}_{part}"), weights)

    def _over_map(self, call: OnnxCall, place: int, name: str) -> str:
        """Weights per feature of a vector as weights per channel of a map."""
        source = call.sources[place]
        weights = per_feature(call)
        if weights is None and call.node.op_type == "PRelu" and place == 1:
            weights = source
        if (
            weights is None
            or source is None
            or source.name != weights.name
            or math.prod(source.shape) == 1
        ):
            return name
        return self.builder.store(
            self.builder.fresh(f"{name}_map"), self.numbers(source).reshape(-1, 1, 1)
        )

    def _replace(self, node: Node) -> None:
        cut = self._cut(node)
        sources = [
            cut.get(name, self.find(name)) for name in node.inputs if name in self._rewriting.values
        ]
        steps = self._rewriting.replaced[node.name]
        for place, step in enumerate(steps):
            output = (
                node.name
                if place == len(steps) - 1
                else self.builder.fresh(f"{node.name}_{step.kind}")
            )
            sources = [self._step(node, step, sources, output)]
        self._alias[node.name] = sources[0]

    def _step(  # noqa: C901, PLR0911, PLR0912  one return for each kind
        self, node: Node, step: Node, sources: Sequence[str], output: str
    ) -> str:
        call, builder = self.reading.calls[node.name], self.builder
        if step.kind in REDUCTIONS:
            return reduced(builder, step, sources[0], output, call.opset)
        match step.kind:
            case "conv" if node.kind == "dense":
                return self._dense(node, step, sources[0], output)
            case "square" | "scaled":
                other = sources[0] if step.kind == "square" else self._number(step.factor)
                return builder.add("Mul", [sources[0], other], output)
            case "sqrt" | "absolute" | "negative":
                return builder.add(CELLWISE[step.kind], sources, output)
            case "pad" | "some" if node.kind in ("slice", "pad"):
                return sliced(builder, step, sources[0], output)
            case "unshuffle":
                builder.copy(call.node, [filled(builder, step, sources[0])])
                return output
            case "local_norm":
                return self._local_norm(call, step, sources[0], output)
            case "whole_norm":
                weights = [self._source(source) for source in call.sources[1:]]
                epsilon = float(call.option("epsilon", 1e-5))
                return group_norm(builder, step, [sources[0], *weights], output, epsilon)
            case "combine":
                builder.copy(call.node, [self._over_cells(source) for source in call.sources])
                return output
            case "channelwise":
                return builder.add(
                    call.node.op_type, sources, output, axis=1, p=int(call.option("p", 2))
                )
            case "conv_transpose" if call.node.op_type == "Resize":
                return grown(builder, call, step.sliding.strides, sources[0], output)
            case "conv" | "avg_pool" | "max_pool" | "conv_transpose" if node.kind == step.kind:
                return self._slid(call, step, sources[0])
            case "avg_pool" | "max_pool":
                return self._pooled(step, sources[0], output)
            case "global_avg_pool" | "global_max_pool":
                operator = (
                    "GlobalAveragePool" if step.kind == "global_avg_pool" else "GlobalMaxPool"
                )
                return builder.add(operator, sources, output)
            case "edge_pad":
                (top, bottom), (left, right) = step.sliding.padding
                pads = builder.numbers("edges", [0, 0, top, left, 0, 0, bottom, right])
                return builder.add("Pad", [sources[0], pads], output, mode="edge")
            case "split" | "join":
                return regrouped(builder, step, sources[0], output)
            case "permute":
                return builder.add("Transpose", sources, output, perm=step.axes)
            case "softmax":
                return self.softmax(call.node.op_type, sources[0], 1, output)
            case "concat":
                return builder.add("Concat", sources, output, axis=1)
            case "layer_norm":
                last = builder.add("Transpose", sources, perm=TO_LAST)
                weights = [self._source(source) for source in call.sources[1:]]
                epsilon = float(call.option("epsilon", 1e-5))
                normed = builder.add(
                    "LayerNormalization", [last, *weights], epsilon=epsilon, axis=-1
                )
                return builder.add("Transpose", [normed], output, perm=TO_FIRST)
            case _:
                builder.copy(
                    call.node, [sources[0], *(self._source(source) for source in call.sources[1:])]
                )
                return output

    def _local_norm(self, call: OnnxCall, step: Node, source: str, output: str) -> str:
        """A normalisation by the window around each cell, with weights of channels or groups."""
        step = replace(step, shape=self._rewriting.values[step.name].shape)
        builder, dtype = self.builder, self._dtype
        normed = local_norm(builder, step, source, float(call.option("epsilon", 1e-5)), dtype)
        scale, bias = (
            self.numbers(weight).reshape(-1) for weight in call.sources[1:3] if weight is not None
        )
        times = step.shape[0] // len(scale)
        scale, bias = (
            builder.numbers("weights", np.repeat(entry, times)[:, None, None], dtype)
            for entry in (scale, bias)
        )
        return builder.add("Add", [builder.add("Mul", [normed, scale]), bias], output)

    def _number(self, value: float) -> str:
        return self.builder.numbers("number", value, self._dtype)

    @property
    def _dtype(self) -> DTypeLike:
        return helper.tensor_dtype_to_np_dtype(self.reading.tensors[self.reading.image.name].dtype)

    def _over_cells(self, source: OnnxTensor | None) -> str:
        """A source of a sum or product of vectors.

        Weights of the features become those of a map's channels.
        """
        name = self._source(source)
        if source is None or source.origin == "image" or math.prod(source.shape) == 1:
            return name
        return self.builder.store(
            self.builder.fresh(f"{name}_map"), self.numbers(source).reshape(-1, 1, 1)
        )

    def _slid(self, call: OnnxCall, step: Node, source: str) -> str:
        """A convolution or pooling with its window in numbers."""
        window = step.sliding
        if step.kind == "avg_pool" and set(window.dilation) != {1}:
            if call.node.op_type == "LpPool":
                raise RefusedError(self.reading.name, (Refusal(step.label, NO_ATROUS_FORM),))
            return dilated_mean(self.builder, window, step.shape[0], source, step.name, self._dtype)
        made = onnx.NodeProto()
        made.CopyFrom(call.node)
        kept = [entry for entry in made.attribute if entry.name not in PLACES]
        del made.attribute[:]
        made.attribute.extend(kept)
        (top, bottom), (left, right) = window.padding
        options = {
            "kernel_shape": window.kernel,
            "strides": window.strides,
            "pads": [top, left, max(bottom, 0), max(right, 0)],
            **(
                {"output_padding": [max(-bottom, 0), max(-right, 0)]}
                if step.kind == "conv_transpose"
                else {}
            ),
            **({} if step.kind == "avg_pool" else {"dilations": window.dilation}),
        }
        made.attribute.extend(helper.make_attribute(name, value) for name, value in options.items())
        self.builder.copy(made, [source, *self._weights(step, call)])
        return step.name

    def _pooled(self, step: Node, source: str, output: str) -> str:
        """A pooling that the classifier has no node of."""
        window = step.sliding
        if step.kind == "avg_pool" and set(window.dilation) != {1}:
            return dilated_mean(self.builder, window, step.shape[0], source, output, self._dtype)
        add = partial(self.builder.add, kernel_shape=window.kernel, strides=window.strides)
        if step.kind == "avg_pool":
            return add("AveragePool", [source], output)
        return add("MaxPool", [source], output, dilations=window.dilation)

    def _dense(self, node: Node, step: Node, source: str, output: str) -> str:
        """The convolution that a dense layer is."""
        matrix, bias = self._matrix(node)
        kernel = kernel_of(matrix.T, step.sliding.kernel, step.order)
        inputs = [source, self._store(node, "kernel", kernel)]
        if bias is not None:
            inputs.append(self._store(node, "bias", bias))
        options = {"kernel_shape": step.sliding.kernel, "dilations": step.sliding.dilation}
        return self.builder.add("Conv", inputs, output, **options)

    def _matrix(self, node: Node) -> tuple[AnyArray, AnyArray | None]:
        """The matrix (C_in, C_out) and bias (C_out,) of a dense layer, scales multiplied in."""
        call, added = self.reading.biases.get(node.name, (self.reading.calls[node.name], None))
        assert call.sources[1] is not None
        matrix = self.numbers(call.sources[1])
        if call.option("transB", 0):
            matrix = matrix.T
        if call.option("alpha", 1.0) != 1.0:
            matrix = matrix * matrix.dtype.type(call.option("alpha"))
        third = call.sources[2] if len(call.sources) > 2 else None
        terms = (
            []
            if third is None
            else [self.numbers(third) * matrix.dtype.type(call.option("beta", 1.0))]
        )
        terms += [] if added is None else [self.numbers(added)]
        if terms:
            total = np.zeros(matrix.shape[1], matrix.dtype)
            for term in terms:
                total += term.reshape(-1)
            return matrix, total
        return matrix, None
