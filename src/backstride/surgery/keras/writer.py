"""A rewritten graph becomes a functional Keras model of any size.

Layers copied, dense ones as convolutions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from backstride.geometry import span
from backstride.surgery.keras.calls import KerasCall, Ref, restored
from backstride.surgery.keras.layers import AtrousPooling, Bins, CutToSmallest, LocalNorm, Padding
from backstride.surgery.keras.library import (
    Config,
    Layer,
    Model,
    Operation,
    Reduction,
    Shapes,
    Tensor,
    keras,
    parts,
)
from backstride.surgery.keras.operations import labelled, nodes_of, which_softmax
from backstride.surgery.keras.reader import KerasReading
from backstride.surgery.model.graph import Node, Window
from backstride.surgery.model.values import Refusal, RefusedError, Rewriting
from backstride.surgery.rewriting.kernels import kernel_of, with_classes

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "absolute": keras.ops.absolute,
    "negative": keras.ops.negative,
    "sqrt": keras.ops.sqrt,
    "square": keras.ops.square,
}
REDUCTIONS: Mapping[str, Reduction] = {
    "amax": keras.ops.max,
    "amin": keras.ops.min,
    "mean": keras.ops.mean,
    "std": keras.ops.std,
    "sum": keras.ops.sum,
    "var": keras.ops.var,
    "norm1": functools.partial(keras.ops.norm, ord=1),
    "norm2": functools.partial(keras.ops.norm, ord=2),
}
POOLS: Mapping[str, type[Layer]] = {
    "avg_pool": keras.layers.AveragePooling2D,
    "max_pool": keras.layers.MaxPooling2D,
}


class KerasWriter:
    """Writes one network. `bare`: the call that gives its scores without the softmax inside it."""

    def __init__(self, reading: KerasReading, rewriting: Rewriting, bare: str = "") -> None:
        self.reading = reading
        self._rewriting = rewriting
        self._bare = bare
        self._copies: dict[tuple[object, ...], Operation] = {}
        self._tensors: dict[str, Tensor] = {}
        channels = reading.graph.input.shape[0]
        given = reading.model.inputs[0]
        self.image = keras.Input((None, None, channels), dtype=given.dtype, name=given.name)

    def write(self) -> Model:
        """The fully convolutional model."""
        self.write_calls()
        crops = dict(
            zip(
                (ref.name for ref in self.reading.calls.results),
                self._rewriting.crops,
                strict=False,
            )
        )

        def result(ref: Ref) -> Tensor:
            return cropped(self._tensors[ref.name], crops.get(ref.name, ()), f"{ref.name}_valid")

        results = restored(self.reading.calls.packed, result)
        return Model(self.image, results, name=self.reading.model.name)

    def find(self, name: str) -> Tensor:
        """The network's tensor for a node."""
        return self._tensors[name]

    def freeze(self, score: str) -> None:
        """Hold the weights of every layer but the score's."""
        kept = score.removesuffix("/scores")
        for layer in Model(self.image, list(self._tensors.values())[-1]).layers:
            layer.trainable = layer.name == kept

    def write_calls(self) -> None:
        """Write every call that a result needs."""
        self._tensors[self.reading.calls.image.name] = self.image
        for call in self.reading.calls.calls:
            if call.name in self.reading.graph.by_name:
                self._write(call)

    def _write(self, call: KerasCall) -> None:
        nodes = nodes_of(call)
        inner = next((node for node in nodes if node.kind not in ("permute", "reshape")), None)
        if (
            inner is None
        ):  # maps have their channels last here throughout, whatever their axes are called
            result = self._tensors[call.sources[0].name]
        elif inner.name in self._rewriting.replaced:
            result = self._tensors[call.sources[0].name]
            for step in self._rewriting.replaced[inner.name]:
                result = self._step(call, inner, step, result)
        else:
            result = self._called(call, self._kept(call, inner), self._cut(call, inner))
        for node in nodes:
            self._tensors[node.name] = result

    def _called(self, call: KerasCall, layer: Operation, cut: Mapping[str, Tensor]) -> Tensor:
        def find(ref: Ref) -> Tensor:
            return cut.get(ref.name, self._tensors[ref.name])

        return layer(*restored(call.args, find), **restored(call.kwargs, find))

    def _cut(self, call: KerasCall, node: Node) -> dict[str, Tensor]:
        """The inputs of other sizes than the smallest, by name, and their form once cut."""
        fits, trims = self._rewriting.fitted(node), self._rewriting.trimmed(node)
        if not fits:
            return {
                name: cropped(self._tensors[name], cells, f"{call.name}_cut_{place}")
                for place, (name, cells) in enumerate(trims.items())
            }
        cut = CutToSmallest(name=f"{call.name}_cut")([self._tensors[name] for name in fits])
        return {name: cut[place] for place, name in enumerate(fits)}

    def _kept(self, call: KerasCall, node: Node) -> Operation:
        changes: Config = {"activation": None} if self._bare == call.name else {}
        return self._with_classes(call, node, changes)

    def _copy(self, call: KerasCall, changes: Mapping[str, object] | None = None) -> Operation:
        """A layer like the call's, with its weights; one that is called twice stays one."""
        operation = call.operation
        if call.kind == "PReLU" and len(call.sources[0].shape) == 2:
            return self._prelu(call)
        key = (id(operation), str(changes))
        if key not in self._copies:
            config = {**operation.get_config(), **(changes or {})}
            if hasattr(operation, "get_weights"):
                config["name"] = call.name
            copy = operation.from_config(config)
            if isinstance(operation, Layer) and isinstance(copy, Layer):
                copy.build(_build_shape(call))
                _take_state(copy, operation)
            self._copies[key] = copy
        return self._copies[key]

    def _step(  # noqa: C901, PLR0911, PLR0912  one return for each kind
        self, call: KerasCall, node: Node, step: Node, source: Tensor
    ) -> Tensor:
        if step.kind in FUNCTIONS:
            return FUNCTIONS[step.kind](source)
        if step.kind in REDUCTIONS:
            return REDUCTIONS[step.kind](source, axis=-1, keepdims=True)
        match step.kind:
            case "permute":
                return source  # maps have their channels last here throughout
            case "scaled":
                return source * step.factor
            case "local_norm":
                return self._local_norm(call, step)(source)
            case "channelwise":
                return self._copy(call, {"axis": -1})(source)
            case "some":
                first, count, apart = step.cuts[0]
                return source[..., first : first + span(count, apart) : apart]
            case "pad":
                less = _less(source, step.sliding, call.name)
                if node.kind == "pad":  # whose strides are 1
                    return less
                return keras.layers.MaxPooling2D(1, step.sliding.strides, name=call.name)(less)
            case "conv" if node.kind == "dense":
                return self._dense(call, step)(source)
            case "conv" | "max_pool" | "avg_pool" if node.kind == step.kind:
                return self._slid(call, step, source)
            case "conv_transpose" if call.kind in ("Resize", "Resizing"):
                way: str = call.option("interpolation")
                return keras.layers.UpSampling2D(
                    step.sliding.strides, interpolation=way, name=call.name
                )(source)
            case "avg_bins" | "max_bins":
                window = step.sliding
                return Bins(
                    window.kernel, step.factors[1:], window.dilation, step.kind, name=call.name
                )(source)
            case "avg_pool" | "max_pool":
                return pooling(step.kind, step.sliding, step.name.replace("/", "_"))(source)
            case "global_avg_pool":
                return keras.layers.GlobalAveragePooling2D(keepdims=True, name=call.name)(source)
            case "global_max_pool":
                return keras.layers.GlobalMaxPooling2D(keepdims=True, name=call.name)(source)
            case "edge_pad":
                return Padding(step.sliding.padding, name=f"{call.name}_edges")(source)
            case "softmax":
                return keras.layers.Activation(which_softmax(call), name=call.name)(source)
            case "concat":
                cut = self._cut(call, node)
                sources = [cut.get(ref.name, self._tensors[ref.name]) for ref in call.sources]
                return keras.layers.Concatenate(axis=-1, name=call.name)(sources)
            case "batch_norm" | "layer_norm":
                return self._norm(call)(source)
            case _:
                return self._copy(call)(source)

    def _norm(self, call: KerasCall) -> Operation:
        """Normalisation of vectors as one of the channels of maps, with the same numbers."""
        key = (id(call.operation), "map")
        if key not in self._copies:
            layer = _like(call, {"axis": -1}, (None, None, None, call.sources[0].shape[-1]))
            _take_state(layer, _layer(call))
            self._copies[key] = layer
        return self._copies[key]

    def _local_norm(self, call: KerasCall, step: Node) -> Operation:
        """Group normalisation by the window around each cell, with the same weights."""
        key = (id(call.operation), "local", step.sliding)
        if key not in self._copies:
            options = {name: call.option(name) for name in ("epsilon", "center", "scale")}
            layer = LocalNorm(step.sliding.kernel, step.factors[0], **options, name=call.name)
            layer.build((None, None, None, call.sources[0].shape[-1]))
            layer.set_weights(_layer(call).get_weights())
            self._copies[key] = layer
        return self._copies[key]

    def _prelu(self, call: KerasCall) -> Operation:
        """PReLU of vectors as one of the channels of maps."""
        key = (id(call.operation), "map")
        if key not in self._copies:
            layer = _like(
                call, {"shared_axes": [1, 2]}, (None, None, None, call.sources[0].shape[-1])
            )
            layer.set_weights([slope.reshape(1, 1, -1) for slope in _layer(call).get_weights()])
            self._copies[key] = layer
        return self._copies[key]

    def _slid(self, call: KerasCall, step: Node, source: Tensor) -> Tensor:
        """A convolution or pooling with its window in numbers."""
        window = step.sliding
        pads = window.padding
        if step.kind == "avg_pool" and any(map(any, pads)):
            reason = (
                'averages with padding "same" at a stride above 1, which leaves the padding out of '
                "the mean"
            )
            raise RefusedError(self.reading.name, (Refusal(labelled(call), reason),))
        if any(map(any, pads)):
            name = f"{call.name}_padding"
            lowest = step.kind == "max_pool"
            layer = (
                Padding(pads, "lowest", name=name)
                if lowest
                else keras.layers.ZeroPadding2D(pads, name=name)
            )
            source = layer(source)
        if step.kind in POOLS:
            return pooling(step.kind, window, call.name)(source)
        return self._convolution(call, step, window)(source)

    def _convolution(self, call: KerasCall, step: Node, window: Window) -> Operation:
        """The call's layer with these strides and dilation, and no padding of its own."""
        changes: Config = {"activation": None} if self._bare == call.name else {}
        if call.kind != "Dense":  # which, on a map, is a convolution of one tap
            dilation = tuple(
                d if k > 1 else 1 for d, k in zip(window.dilation, window.kernel, strict=True)
            )
            changes |= {"padding": "valid", "strides": window.strides, "dilation_rate": dilation}
        return self._with_classes(call, step, changes)

    def _dense(self, call: KerasCall, step: Node) -> Operation:
        """The convolution that a dense layer is; one that is called twice alike stays one."""
        dense, bare = _layer(call), self._bare == call.name
        units = self._rewriting.classes.get(step.name) or int(call.option("units"))
        key = (id(dense), "map", units, bare)
        if key in self._copies:
            return self._copies[key]
        weights = dense.get_weights()
        kernel = kernel_of(weights[0].T, step.sliding.kernel, step.order).transpose(
            2, 3, 1, 0
        )  # (*k, C, C_out)
        layer = keras.layers.Conv2D(
            units,
            step.sliding.kernel,
            dilation_rate=step.sliding.dilation,
            use_bias=call.option("use_bias"),
            activation=None if bare else call.option("activation"),
            name=call.name,
            dtype=call.option("dtype_policy"),
            trainable=dense.trainable,
        )
        layer.build((None, None, None, kernel.shape[2]))
        layer.set_weights([with_classes(entry, units, axis=-1) for entry in (kernel, *weights[1:])])
        self._copies[key] = layer
        return layer

    def _with_classes(
        self, call: KerasCall, node: Node, changes: Mapping[str, object]
    ) -> Operation:
        """A copy of a layer; the one that gives the scores has as many as are asked for."""
        classes = self._rewriting.classes.get(node.name)
        if classes is None:
            return self._copy(call, changes)
        size = "filters" if call.kind == "Conv2D" else "units"
        layer = _like(call, {**changes, size: classes}, _build_shape(call))
        layer.set_weights(
            [with_classes(entry, classes, axis=-1) for entry in _layer(call).get_weights()]
        )
        return layer


def pooling(kind: str, window: Window, name: str) -> Layer:
    """The layer that pools a window, wherever its cells lie."""
    if set(window.dilation) == {1}:
        return POOLS[kind](window.kernel, window.strides, name=name)
    return AtrousPooling(window.kernel, window.dilation, kind, name=name)


def cropped(maps: Tensor, cells: Sequence[tuple[int, int]], name: str) -> Tensor:
    """Maps (N, h, w, C) with so many cells taken off, before and after, on each axis."""
    return keras.layers.Cropping2D(cells, name=name)(maps) if any(map(any, cells)) else maps


def _less(maps: Tensor, window: Window, name: str) -> Tensor:
    """Maps without the cells that negative padding leaves out."""
    return cropped(maps, [(-before, -after) for before, after in window.padding], f"{name}_crop")


def _layer(call: KerasCall) -> Layer:
    """The layer of a call that has weights."""
    assert isinstance(call.operation, Layer)
    return call.operation


def _like(call: KerasCall, changes: Mapping[str, object], shapes: Shapes) -> Layer:
    """A layer like the call's but for these options, built for these shapes."""
    layer = call.operation.from_config(
        {**call.operation.get_config(), **changes, "name": call.name}
    )
    assert isinstance(layer, Layer)
    layer.build(shapes)
    return layer


def _take_state(layer: Layer, other: Layer) -> None:
    """Give a layer what another of its kind has learned, as Keras's own files do.

    Some layers compute with more.
    """
    for part, source in zip(parts(layer), parts(other), strict=True):
        store: dict[str, object] = {}
        source.save_own_variables(store)
        part.load_own_variables(store)


def _build_shape(call: KerasCall) -> Shapes:
    """What the layer is built for: any rows and columns where it takes one map."""
    shapes = [
        (None, None, None, ref.shape[3]) if len(ref.shape) == 4 else ref.shape
        for ref in call.sources
    ]
    return shapes[0] if len(shapes) == 1 else shapes
