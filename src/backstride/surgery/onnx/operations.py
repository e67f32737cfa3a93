"""What each ONNX operator is in a `Graph`: the reader's dictionary."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from backstride.conventions import onnx as onnx_rule
from backstride.conventions import onnxruntime as onnxruntime_rule
from backstride.geometry import same_padding, span
from backstride.surgery.model.graph import BORDERS, WINDOWED, Kind, Window
from backstride.surgery.model.meaning import Meaning
from backstride.surgery.onnx.calls import OTHER, OnnxCall, of_first
from backstride.surgery.onnx.resizing import resize
from backstride.surgery.onnx.shapes import OnnxTensor

CELLWISE = (
    *(
        "Abs",
        "Cast",
        "Ceil",
        "Celu",
        "Clip",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
    ),
    *(
        "Identity",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
    ),
    *("Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu"),
)
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Pow", "Sum")
RESHAPING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")


def meaning(call: OnnxCall) -> Meaning:
    """What a node does; "other" where the dictionary lacks it."""
    name = call.node.op_type
    if call.node.domain not in ("", "ai.onnx") or call.option("training_mode", 0):
        return OTHER
    if name in CELLWISE:
        return of_first("activation")
    if name in RESHAPING:
        kept = math.prod(call.result.shape) == math.prod(call.first.shape)
        return of_first("reshape") if kept else OTHER
    if name in BINARY:
        return _binary(call)
    build = OPERATORS.get(name)
    found = OTHER if build is None else build(call)
    if found.window is not None and not _fits(found, call):
        return OTHER
    return found


def window_of(call: OnnxCall, kernel: tuple[int, ...]) -> Window:
    """The window that a convolution or pooling has at native size."""
    ones = (1,) * len(kernel)
    strides, dilation = tuple(call.option("strides", ones)), tuple(call.option("dilations", ones))
    mode = call.option("auto_pad", b"NOTSET").decode()
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        rule = "same" if mode == "SAME_UPPER" else "same_lower"
        axes = zip(call.first.shape[2:], map(span, kernel, dilation), strides, strict=True)
        pads = tuple(same_padding(*axis, rule) for axis in axes)
        fixed = all(step == 1 for step in strides)
        return Window(kernel, strides, pads, dilation, same=not fixed)
    given = (
        [0] * (2 * len(kernel))
        if mode == "VALID"
        else list(call.option("pads", [0] * (2 * len(kernel))))
    )
    pads = tuple(zip(given[: len(kernel)], given[len(kernel) :], strict=True))
    return Window(kernel, strides, pads, dilation, bool(call.option("ceil_mode", 0)))


def per_feature(call: OnnxCall) -> OnnxTensor | None:
    """The weights of a node that has one for each feature of a vector (N, F), or None."""
    stored = [
        source for source in call.sources if source is not None and source.origin == "constant"
    ]
    if len(call.sources) != 2 or len(stored) != 1 or len(call.result.shape) != 2:
        return None
    shape = stored[0].shape
    wide = len(shape) in (1, 2) and math.prod(shape) == shape[-1] == call.result.shape[1] > 1
    return stored[0] if wide else None


def _fits(found: Meaning, call: OnnxCall) -> bool:
    """Whether the window gives the sizes that ONNX infers."""
    assert found.window is not None
    ranks = {call.rank, len(call.result.shape), 2 + len(found.window.kernel)}
    if found.kind not in WINDOWED or len(ranks) > 1:
        return False
    rule = found.window.transposed if found.kind == "conv_transpose" else found.window.output
    pairs = zip(call.first.shape[2:], call.result.shape[2:], strict=True)
    return all(rule(axis, cells) == wanted for axis, (cells, wanted) in enumerate(pairs))


def _binary(call: OnnxCall) -> Meaning:
    weights = per_feature(call)
    if weights is not None:
        return Meaning("activation", features=call.result.shape[1])
    return Meaning("combine")


def _conv(call: OnnxCall) -> Meaning:
    weight = call.sources[1]
    if weight is None or weight.origin != "constant":
        return OTHER
    return of_first("conv", window_of(call, weight.shape[2:]))


def _conv_transpose(call: OnnxCall) -> Meaning:
    weight = call.sources[1]
    if weight is None or weight.origin != "constant":
        return OTHER
    kernel, mode = weight.shape[2:], call.option("auto_pad", b"NOTSET").decode()
    if call.option("output_shape") is not None or mode.startswith("SAME"):
        return _transposed_to(call, kernel, mode)
    window = window_of(call, kernel)
    extra = call.option("output_padding", [0] * len(window.kernel))
    crop = tuple(
        (before, after - more) for (before, after), more in zip(window.padding, extra, strict=True)
    )
    return of_first("conv_transpose", Window(window.kernel, window.strides, crop, window.dilation))


def _transposed_to(call: OnnxCall, kernel: tuple[int, ...], mode: str) -> Meaning:
    """A transposed convolution to a stated size: with the pads that it means at native size.

    Law: the size chooses the pads, and these are the same for images of every size. Where the text
    of ONNX and ONNX Runtime differ, there is no one answer.
    """
    names = ("dilations", "output_padding", "output_shape", "strides")
    options = {name: given for name in names if (given := call.option(name)) is not None}
    try:
        found = [
            rule(call.first.shape[2:], kernel, auto_pad=mode, **options)
            for rule in (onnx_rule, onnxruntime_rule)
        ]
    except ValueError:
        found = []
    if len({geometry.crop for geometry in found}) != 1:
        why = (
            "has a size that ONNX and its runtimes reach by different pads; state `pads` in place "
            "of the size"
        )
        return replace(OTHER, why=why)
    geometry = found[0]
    window = Window(geometry.kernel, geometry.strides, geometry.crop, geometry.dilation, same=True)
    return of_first("conv_transpose", window)


def _pool(kind: Kind) -> Callable[[OnnxCall], Meaning]:
    def build(call: OnnxCall) -> Meaning:
        single = len([name for name in call.node.output if name]) == 1
        return (
            of_first(kind, window_of(call, tuple(call.option("kernel_shape")))) if single else OTHER
        )

    return build


def _pad(call: OnnxCall) -> Meaning:
    """Padding of a map's positions: a window of one cell that reads beyond the border."""
    amounts = call.sources[1] if len(call.sources) > 1 else None
    if call.rank < 3 or amounts is None or amounts.value is None:
        return OTHER
    axes = (
        call.sources[3].value
        if len(call.sources) > 3 and call.sources[3] is not None
        else range(call.rank)
    )
    if axes is None:
        return OTHER
    counts = amounts.value.tolist()
    half = len(counts) // 2
    pairs = {
        int(axis) % call.rank: (int(counts[at]), int(counts[at + half]))
        for at, axis in enumerate(axes)
    }
    if any(pairs.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
        return OTHER
    border = BORDERS.get(bytes(call.option("mode", b"constant")).decode())
    if border is None:
        return OTHER
    ones, pads = (
        (1,) * (call.rank - 2),
        tuple(pairs.get(axis, (0, 0)) for axis in range(2, call.rank)),
    )
    return of_first("pad", Window(ones, ones, pads, ones, border=border))


def _slice(call: OnnxCall) -> Meaning:
    """Some entries of an image's axes, at constant places."""
    values = [None if source is None else source.value for source in call.sources[1:]]
    if any(
        value is None and source is not None
        for value, source in zip(values, call.sources[1:], strict=True)
    ):
        return OTHER
    starts, ends, axes, steps = [
        None if value is None else value.flatten().tolist() for value in values
    ] + [None] * (4 - len(values))
    if starts is None or ends is None:
        starts, ends, axes = call.option("starts"), call.option("ends"), call.option("axes")
    axes = range(len(starts)) if axes is None else axes
    entries = {
        int(axis) % call.rank: slice(first, end, step)
        for axis, first, end, step in zip(
            axes, starts, ends, steps or [1] * len(starts), strict=True
        )
    }
    return _taken(
        call,
        [range(cells)[entries.get(at, slice(None))] for at, cells in enumerate(call.first.shape)],
    )


def _gather(call: OnnxCall) -> Meaning:
    """One entry of an axis."""
    index = call.sources[1]
    if index is None or index.value is None or index.shape or call.first.origin != "image":
        return OTHER
    axis, at = int(call.option("axis", 0)) % call.rank, int(index.value)
    places = [range(cells) for cells in call.first.shape]
    at %= call.first.shape[axis]
    places[axis] = range(at, at + 1)
    return _taken(call, places, (axis,))


def _taken(call: OnnxCall, places: Sequence[range], dropped: tuple[int, ...] = ()) -> Meaning:
    """The slice that takes these places of each axis; it leaves the batch whole."""
    cuts = [(entry.start, len(entry), entry.step) for entry in places]
    whole = [cut == (0, cells, 1) for cut, cells in zip(cuts, call.first.shape, strict=True)]
    if not whole[0] or any(entry.step < 1 for entry in places):
        return OTHER
    if not dropped and all(whole[:1] + whole[2:]) and cuts[1][2] == 1 and call.rank == 4:
        return of_first("part", axes=(1,))
    return of_first("slice", axes=dropped, cuts=tuple(cuts[1:]))


def _reduce(kind: Kind) -> Callable[[OnnxCall], Meaning]:
    def build(call: OnnxCall) -> Meaning:
        axes = call.axes()
        return OTHER if axes is None else of_first(kind, axes=axes)

    return build


def _blocks(kind: Kind) -> Callable[[OnnxCall], Meaning]:
    """Channels that become positions, or the reverse."""

    def build(call: OnnxCall) -> Meaning:
        size = int(call.option("blocksize"))
        return of_first(kind, Window((size, size), (size, size), ((0, 0), (0, 0))))

    return build


def _global_norm(call: OnnxCall) -> Meaning:
    kinds: Mapping[int, Kind] = {1: "norm1", 2: "norm2"}
    order = int(call.option("p", 2))
    return of_first(kinds[order], axes=tuple(range(2, call.rank))) if order in kinds else OTHER


def _unit(call: OnnxCall) -> Meaning:
    return of_first("channelwise", axes=(int(call.option("axis", -1)) % call.rank,))


def _plain(kind: Kind) -> Callable[[OnnxCall], Meaning]:
    return lambda _: of_first(kind)


def _dense(call: OnnxCall) -> Meaning:
    weight = call.sources[1]
    stored = weight is not None and weight.origin == "constant" and len(weight.shape) == 2
    transposed = bool(call.option("transA", 0))
    bias = call.sources[2] if len(call.sources) > 2 else None
    plain = bias is None or (
        bias.origin == "constant" and math.prod(bias.shape) in (1, call.result.shape[-1])
    )
    return of_first("dense") if stored and plain and not transposed else OTHER


def _permute(call: OnnxCall) -> Meaning:
    axes = call.option("perm", range(call.rank - 1, -1, -1))
    return of_first("permute", axes=tuple(axes))


def _softmax(call: OnnxCall) -> Meaning:
    """Before operator set 13 a softmax runs over `axis` and all axes behind it."""
    axis = int(call.option("axis", 1 if call.opset < 13 else -1)) % call.rank
    if call.opset >= 13 or math.prod(call.first.shape[axis + 1 :]) == 1:
        return of_first("softmax", axes=(axis,))
    return of_first("softmax", axes=tuple(range(axis, call.rank)))


def _layer_norm(call: OnnxCall) -> Meaning:
    axis = int(call.option("axis", -1)) % call.rank
    return of_first("layer_norm", features=math.prod(call.first.shape[axis:]))


def _concat(call: OnnxCall) -> Meaning:
    return Meaning("concat", axes=(int(call.option("axis")) % call.rank,))


def _prelu(call: OnnxCall) -> Meaning:
    slope = call.sources[1]
    if slope is None or slope.origin != "constant":
        return OTHER
    cells = call.rank - 2
    if (
        cells
        and math.prod(slope.shape) > 1
        and (len(slope.shape) <= cells or math.prod(slope.shape[-cells:]) > 1)
    ):
        return OTHER
    return of_first("activation", features=math.prod(slope.shape))


def _lrn(call: OnnxCall) -> Meaning:
    return of_first("activation") if call.rank > 2 else OTHER


OPERATORS: Mapping[str, Callable[[OnnxCall], Meaning]] = {
    "AveragePool": _pool("avg_pool"),
    "BatchNormalization": _plain("batch_norm"),
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _blocks("conv_transpose"),
    "Dropout": _plain("dropout"),
    "Expand": _plain("expand"),
    "Gemm": _dense,
    "GlobalAveragePool": _plain("adaptive_avg_pool"),
    "GlobalMaxPool": _plain("adaptive_max_pool"),
    "GroupNormalization": lambda call: of_first(
        "whole_norm", factors=(int(call.option("num_groups")),)
    ),
    "InstanceNormalization": lambda _: of_first("whole_norm", factors=(0,)),
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax,
    "LpPool": _pool("avg_pool"),
    "MatMul": _dense,
    "MaxPool": _pool("max_pool"),
    "PRelu": _prelu,
    "Pad": _pad,
    "Gather": _gather,
    "GlobalLpPool": _global_norm,
    "LpNormalization": _unit,
    "Resize": resize,
    "ReduceL1": _reduce("norm1"),
    "ReduceL2": _reduce("norm2"),
    "ReduceMax": _reduce("amax"),
    "ReduceMean": _reduce("mean"),
    "ReduceMin": _reduce("amin"),
    "ReduceSum": _reduce("sum"),
    "Slice": _slice,
    "Softmax": _softmax,
    "SpaceToDepth": _blocks("unshuffle"),
    "Transpose": _permute,
}
