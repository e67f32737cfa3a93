"""TensorFlow's functions, old and new, and Keras's layers."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from backstride.calls.arguments import Arguments, Opaque, is_tuple
from backstride.calls.functions import function_call
from backstride.calls.kernels import Hints, from_array, same_kernel
from backstride.calls.record import SourceCall, convention_of
from backstride.integers import as_sizes
from backstride.layout import DataFormat, check_data_format

_REGULARIZERS = (
    "kernel_regularizer bias_regularizer activity_regularizer kernel_constraint bias_constraint"
)
_INITIALIZERS = "activation use_bias kernel_initializer bias_initializer"
KERAS = (
    f"filters kernel_size strides padding output_padding data_format dilation_rate {_INITIALIZERS} "
    f"{_REGULARIZERS}"
)
# Keras's 3-D layer has two of these the other way around.
KERAS_1D = KERAS
KERAS_3D = KERAS.replace("output_padding data_format", "data_format output_padding")
KERAS_ONLY = "name dtype trainable input_shape autocast"
OPS = "inputs kernel strides padding output_padding data_format dilation_rate"
NN = "input filters output_shape strides padding data_format dilations name"
NN_V1 = "value filter output_shape strides padding data_format name input filters dilations"
LAYERS = (
    f"inputs filters kernel_size strides padding data_format {_INITIALIZERS} {_REGULARIZERS} "
    "trainable name reuse"
)
# Keras's activations by name, without underscores.
ACTIVATIONS = (
    "celu elu exponential gelu glu hardshrink hardsigmoid hardsilu hardswish hardtanh leakyrelu "
    "linear logsigmoid logsoftmax mish relu relu6 selu sigmoid silu softmax softplus softshrink "
    "softsign sparsemax sparseplus sparsesigmoid squareplus swish tanh tanhshrink threshold"
)
FORMATS: dict[str, DataFormat] = {
    **dict.fromkeys(("NWC", "NHWC", "NDHWC"), "channels_last"),
    **dict.fromkeys(("NCW", "NCHW", "NCDHW"), "channels_first"),
}


def keras(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`keras.layers.Conv1DTranspose`, `Conv2DTranspose`, `Conv3DTranspose`.

    Also `tf.layers`, by the same rule.
    """
    size = as_sizes("kernel_size", arguments.required("kernel_size", "3"), rank)
    layout = arguments.literal("data_format")
    names = ("strides", "padding", "output_padding", "dilation_rate")
    activation = _activation(arguments)
    if arguments.values.get("padding") and "padding" not in arguments:
        arguments.refuse("padding", '"valid" or "same"', '"valid"')
    return SourceCall(
        hints.text,
        "keras",
        arguments.function,
        convention_of("keras"),
        {name: arguments.literal(name) for name in names},
        rank,
        same_kernel(arguments, size, hints),
        None,
        arguments.count("filters"),
        1,
        "channels_last" if layout is None else check_data_format(layout),
        arguments.flag("use_bias", default=True),
        None if activation == "linear" else activation,
        words=("the input's channels", "filters"),
        arguments=arguments.texts,
    )


def _activation(arguments: Arguments) -> str:
    """An activation's name in lower case; Keras looks up those that are strings."""
    activation = (arguments.word("activation") or "linear").lower()
    if (
        isinstance(arguments.raw("activation"), str)
        and activation.replace("_", "") not in ACTIVATIONS.split()
    ):
        arguments.refuse(
            "activation", f"one of Keras's, {', '.join(ACTIVATIONS.split())}", '"relu"'
        )
    return activation


def ops(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`keras.ops.conv_transpose`, by the layer's rule."""
    names = ("strides", "padding", "output_padding", "dilation_rate")
    options = {name: arguments.literal(name) for name in names}
    written = next((len(value) for value in options.values() if is_tuple(value)), None)
    convention = convention_of("keras")
    kernel = from_array(arguments, "kernel", hints, convention, rank=written)
    rank = written or kernel.rank
    layout = arguments.literal("data_format")
    data_format: DataFormat = "channels_last" if layout is None else check_data_format(layout)
    return function_call(
        arguments,
        hints,
        convention,
        options,
        kernel,
        source="inputs",
        rank=rank,
        data_format=data_format,
    )


def nn(arguments: Arguments, hints: Hints, rank: int | None) -> SourceCall:
    """`tf.nn.conv1d_transpose` to `conv3d_transpose`, `conv_transpose`, and `tf.compat.v1`'s."""
    weight = "filter" if "filter" in arguments else "filters"
    shape = _output_shape(arguments, rank)
    sizes_alone = rank is not None and len(shape) == rank
    rank = rank if sizes_alone and rank is not None else len(shape) - 2
    layout = arguments.literal("data_format") or "channels_last"
    if layout not in {*FORMATS, "channels_last"}:
        nearest_format(arguments, rank)
    data_format: DataFormat = FORMATS.get(str(layout), "channels_last")
    channel = 1 if data_format == "channels_first" else rank + 1
    sizes = (
        shape
        if sizes_alone
        else tuple(size for axis, size in enumerate(shape) if axis not in {0, channel})
    )
    if not all(isinstance(size, int) for size in sizes):
        arguments.refuse(
            "output_shape",
            "a shape with its spatial sizes written out",
            "[n, 14, 14, 128]",
            known=False,
        )
    convention = convention_of("tensorflow")
    kernel = from_array(arguments, weight, hints, convention, rank=rank)
    padding = arguments.literal("padding")
    big = None if sizes_alone else shape[channel]
    options = {
        "strides": per_axis(
            arguments, "strides", arguments.required("strides", "2"), rank, channel
        ),
        "dilations": per_axis(
            arguments, "dilations", arguments.literal("dilations"), rank, channel
        ),
        "padding": pads(arguments, padding, rank, channel),
        "output_shape": sizes,
    }
    if isinstance(big, int) and kernel.big not in {None, big}:
        message = f"`output_shape` (={shape}) has {big} channels; the kernel has {kernel.big}"
        raise ValueError(message)
    source = "value" if "value" in arguments else "input"
    batch = arguments.shape(source)
    if batch is not None and not sizes_alone and isinstance(shape[0], int) and batch[0] != shape[0]:
        legal = [batch[0], *shape[1:]]
        arguments.refuse("output_shape", f"of the input's batch, {batch[0]}", str(legal))
    if isinstance(big, int):
        kernel = replace(kernel, big=big)
    return function_call(
        arguments,
        hints,
        convention,
        options,
        kernel,
        source=source,
        rank=rank,
        data_format=data_format,
    )


def nearest_format(arguments: Arguments, rank: int) -> NoReturn:
    """Refuse a data format that TensorFlow does not know."""
    arguments.refuse("data_format", f"one of {', '.join(FORMATS)}", f'"{list(FORMATS)[rank - 1]}"')


def _output_shape(arguments: Arguments, rank: int | None) -> tuple[object, ...]:
    """Batch, sizes and channels, of which batch and channels may be names."""
    if "output_shape" not in arguments or isinstance(arguments.raw("output_shape"), Opaque):
        _ = arguments.required("output_shape", "[64, 14, 14, 128]")
    shape = arguments.raw("output_shape")
    if not is_tuple(shape) or len(shape) not in ({rank, rank + 2} if rank else {3, 4, 5}):
        sizes = ", ".join(["size"] * (rank or 2))
        arguments.refuse(
            "output_shape",
            "the whole shape of the output",
            f"[batch, {sizes}, channels]",
            known=False,
        )
    return shape


def per_axis(arguments: Arguments, name: str, value: object, rank: int, channel: int) -> object:
    """Strides with or without the entries of batch and channels, which must be 1."""
    if not is_tuple(value):
        return value
    if len(value) in {1, rank}:
        return value[0] if len(value) == 1 else value
    if len(value) != rank + 2 or not value[0] == value[channel] == 1:
        steps = [entry for entry in value if isinstance(entry, int) and entry > 1] or [1]
        nearest = [steps[0]] * rank
        nearest.insert(channel - 1, 1)
        arguments.refuse(
            name,
            f"one, {rank} or {rank + 2} entries, with 1 for batch and channels",
            f"{[1, *nearest]}",
        )
    return tuple(entry for axis, entry in enumerate(value) if axis not in {0, channel})


def pads(arguments: Arguments, value: object, rank: int, channel: int) -> object:
    """A rule's name, or the pairs of the spatial axes."""
    if value is None or isinstance(value, str):
        return value
    entries: list[object] = list(value) if is_tuple(value) else []
    whole = len(entries) == rank + 2
    if not whole or not entries[0] == entries[channel] == (0, 0):
        edges = {0, channel}
        nearest = '"SAME"'
        pairs = [pair for pair in entries if is_tuple(pair)]
        if whole and len(pairs) == len(entries):
            nearest = str(
                [[0, 0] if axis in edges else list(pair) for axis, pair in enumerate(pairs)]
            )
        arguments.refuse(
            "padding", '"SAME", "VALID" or a pair for every axis of the output', nearest
        )
    return tuple(pair for axis, pair in enumerate(entries) if axis not in {0, channel})
