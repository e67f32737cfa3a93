"""The frameworks' convolutions.

Read as their transposes are, into our own options of a convolution.
"""

from __future__ import annotations

from backstride.calls.arguments import Arguments, is_tuple
from backstride.calls.functions import function_call
from backstride.calls.jax_calls import EQUINOX, HAIKU, spatial_dims
from backstride.calls.kernels import Hints, from_array, same_kernel
from backstride.calls.record import SourceCall, convention_of
from backstride.calls.tensorflow_calls import FORMATS, KERAS, LAYERS, nearest_format, pads, per_axis
from backstride.conventions.frame import spread
from backstride.geometry import span
from backstride.integers import as_sizes
from backstride.layout import check_data_format

TORCH = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode"
TORCH_FUNCTION = "input weight bias stride padding dilation groups"
KERAS_LAYER = KERAS.replace("output_padding ", "").replace("dilation_rate", "dilation_rate groups")
KERAS_LAYERS = LAYERS.replace("data_format", "data_format dilation_rate")
NN = "input filters strides padding data_format dilations name"
LINEN = (
    "features kernel_size strides padding input_dilation kernel_dilation feature_group_count "
    "use_bias mask dtype param_dtype precision kernel_init bias_init"
)
NNX = "in_features out_features kernel_size strides"
NNX_ONLY = (
    "padding input_dilation kernel_dilation feature_group_count use_bias mask dtype param_dtype "
    "precision kernel_init bias_init conv_general_dilated promote_dtype preferred_element_type "
    "rngs kernel_metadata bias_metadata"
)
HAIKU_CONV = HAIKU.replace("output_shape ", "rate ").replace(
    "data_format mask name", "data_format mask feature_group_count name"
)
EQUINOX_CONV = EQUINOX.replace("output_padding ", "")
LAX = "lhs rhs window_strides padding precision preferred_element_type"
OWN = "x kernel bias"
OWN_ONLY = "strides padding dilation groups data_format activation"
# The kernel of a convolution, whose output has C_small channels, in the layout that TensorFlow and
# JAX have for it.
HWIO = ("*k", "C_big", "C_small")
OIHW = ("C_small", "C_big", "*k")


def torch(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`torch.nn.Conv1d/2d/3d`, lazy or not, and MLX's."""
    return _layer(
        arguments,
        hints,
        rank,
        "torch",
        ("kernel_size", "stride", "dilation", "bias"),
        "channels_first",
    )


def mlx(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`mlx.nn.Conv1d/2d/3d`."""
    return _layer(
        arguments,
        hints,
        rank,
        "torch",
        ("kernel_size", "stride", "dilation", "bias"),
        "channels_last",
    )


def equinox(arguments: Arguments, hints: Hints, rank: int | None) -> SourceCall:
    """`equinox.nn.Conv` and its 1d, 2d and 3d."""
    rank = rank or spatial_dims(arguments)
    return _layer(
        arguments,
        hints,
        rank,
        "equinox",
        ("kernel_size", "stride", "dilation", "use_bias"),
        "channels_first",
    )


def keras(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`keras.layers.Conv1D/2D/3D`, and `tf.layers`."""
    layout = arguments.literal("data_format")
    words = ("kernel_size", "strides", "dilation_rate", "use_bias")
    call = _layer(
        arguments, hints, rank, "keras", words, layout or "channels_last", ("", "filters")
    )
    if (
        max(as_sizes("strides", call.strides, rank)) > 1
        and max(as_sizes("dilation_rate", call.dilation, rank)) > 1
    ):
        arguments.refuse("dilation_rate", "1 beside strides above 1", "1")
    return call


def linen(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`flax.linen.Conv` and `flax.nnx.Conv`."""
    size = arguments.required("kernel_size", "(3, 3)")
    rank = len(size) if is_tuple(size) else 1
    out = "features" if "features" in arguments else "out_features"
    words = ("kernel_size", "strides", "kernel_dilation", "use_bias")
    return _layer(
        arguments,
        hints,
        rank,
        "flax",
        words,
        "channels_last",
        ("in_features", out),
        "feature_group_count",
        "SAME",
    )


def haiku(arguments: Arguments, hints: Hints, rank: int | None) -> SourceCall:
    """`haiku.ConvND` and its 1D, 2D and 3D."""
    rank = rank or spatial_dims(arguments)
    layout = str(arguments.literal("data_format") or "channels_last")
    words = ("kernel_shape", "stride", "rate", "with_bias")
    channels = ("", "output_channels")
    return _layer(
        arguments,
        hints,
        rank,
        "jax",
        words,
        FORMATS.get(layout, layout),
        channels,
        "feature_group_count",
        "SAME",
    )


def torch_function(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`torch.nn.functional.conv1d/2d/3d`."""
    convention = convention_of(
        "torch", weight_layout=OIHW, grouped_layout=("C_small", "C_big/groups", "*k")
    )
    groups = arguments.groups()
    kernel = from_array(arguments, "weight", hints, convention, rank=rank, groups=groups)
    options = _options(arguments, rank, ("stride", "dilation"), 0)
    return function_call(
        arguments,
        hints,
        convention,
        options,
        kernel,
        source="input",
        rank=rank,
        data_format="channels_first",
        groups=groups,
        bias="bias",
        forward=True,
    )


def nn(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`tf.nn.conv1d`, `conv2d`, `conv3d`."""
    layout = arguments.literal("data_format") or list(FORMATS)[rank - 1]
    if layout not in FORMATS:
        nearest_format(arguments, rank)
    data_format = FORMATS[str(layout)]
    channel = 1 if data_format == "channels_first" else rank + 1
    strides = "stride" if rank == 1 else "strides"
    steps, dilation = (
        per_axis(arguments, name, value, rank, channel)
        for name, value in (
            (strides, arguments.required(strides, "2")),
            ("dilations", arguments.literal("dilations")),
        )
    )
    padding = pads(arguments, arguments.required("padding", '"SAME"'), rank, channel)
    convention = convention_of("tensorflow", weight_layout=HWIO)
    kernel = from_array(arguments, "filters", hints, convention, rank=rank)
    options = {
        "strides": steps,
        "dilation": dilation,
        "padding": _padding(arguments, padding, rank),
    }
    return function_call(
        arguments,
        hints,
        convention,
        options,
        kernel,
        source="input",
        rank=rank,
        data_format=data_format,
        forward=True,
    )


def lax(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`jax.lax.conv`, whose data are channels first."""
    strides = arguments.required("window_strides", "(2, 2)")
    rank = len(strides) if is_tuple(strides) else 1
    convention = convention_of("jax", weight_layout=OIHW)
    kernel = from_array(arguments, "rhs", hints, convention, rank=rank)
    options = {
        "strides": strides,
        "padding": _padding(arguments, arguments.required("padding", '"SAME"'), rank),
    }
    return function_call(
        arguments,
        hints,
        convention,
        options,
        kernel,
        source="lhs",
        rank=rank,
        data_format="channels_first",
        forward=True,
    )


def own(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`backstride.conv`."""
    layout = arguments.literal("data_format")
    data_format = "channels_last" if layout is None else check_data_format(layout)
    changes = {} if data_format == "channels_last" else {"weight_layout": OIHW}
    convention = convention_of("backstride", **changes)
    options = {name: arguments.literal(name) for name in ("strides", "padding", "dilation")}
    rank = next((len(value) for value in options.values() if is_tuple(value)), None)
    groups = arguments.groups()
    kernel = from_array(arguments, "kernel", hints, convention, rank=rank, groups=groups)
    return function_call(
        arguments,
        hints,
        convention,
        options,
        kernel,
        source="x",
        rank=rank or kernel.rank,
        data_format=data_format,
        groups=groups,
        bias="bias",
        forward=True,
    )


def _layer(  # noqa: PLR0917  what frameworks differ in, by position
    arguments: Arguments,
    hints: Hints,
    rank: int,
    framework: str,
    words: tuple[str, str, str, str],
    data_format: object,
    channels: tuple[str, str] = ("in_channels", "out_channels"),
    groups: str = "groups",
    default: str | int | None = None,
) -> SourceCall:
    """A layer.

    `words` are its names of kernel, strides, dilation and bias, `channels` those of input and
    output.
    """
    size_name, stride, dilation, bias = words
    size = as_sizes(size_name, arguments.required(size_name, "3"), rank)
    for name, legal in (("padding_mode", "zeros"), ("input_dilation", 1), ("mask", None)):
        value = arguments.literal(name)
        if value is not None and value != legal and str(value).lower() != legal:
            arguments.refuse(name, f"{legal!r} to be explained", repr(legal))
    if default is None:
        default = "valid" if framework == "keras" else 0
    small, big = channels[1], channels[0]
    return SourceCall(
        hints.text,
        framework,
        arguments.function,
        convention_of(framework),
        _options(arguments, rank, (stride, dilation), default, size),
        rank,
        same_kernel(arguments, size, hints),
        arguments.count(small),
        arguments.count(big) if big else None,
        arguments.groups(groups),
        check_data_format(data_format),
        arguments.flag(bias, default=True),
        words=(small, big or "the input's channels"),
        arguments=arguments.texts,
        forward=True,
    )


def _options(
    arguments: Arguments,
    rank: int,
    words: tuple[str, str],
    default: str | int,
    size: tuple[int, ...] = (),
) -> dict[str, object]:
    stride, dilation = words
    steps = as_sizes(stride, arguments.literal(stride) or 1, rank)
    spread_by = as_sizes(dilation, arguments.literal(dilation) or 1, rank)
    value = arguments.literal("padding")
    value = default if value is None else value
    if isinstance(value, str) and value.lower() == "causal" and size:
        padding: object = [(span(k, d) - 1, 0) for d, k in zip(spread_by, size, strict=True)]
    elif isinstance(value, str) and value == "same" and stride == "stride" and max(steps) > 1:
        arguments.refuse("padding", "numbers where the stride is above 1", "1")
    else:
        padding = _padding(arguments, value, rank)
    return {"strides": steps, "dilation": spread_by, "padding": padding}


def _padding(arguments: Arguments, value: object, rank: int) -> object:
    """A framework's padding in our words."""
    if isinstance(value, str):
        name = value.lower().removesuffix("_upper")
        if name not in {"same", "same_lower", "valid"}:
            arguments.refuse("padding", '"same" or "valid", an integer or pairs', '"same"')
        return name
    return list(spread("padding", value, rank))
