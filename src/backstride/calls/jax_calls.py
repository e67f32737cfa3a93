"""JAX's function, and the layers of Flax, Haiku and Equinox over it."""

from __future__ import annotations

from backstride.calls.arguments import Arguments, is_tuple
from backstride.calls.functions import function_call
from backstride.calls.kernels import Hints, from_array, open_rank, same_kernel
from backstride.calls.record import SourceCall, convention_of
from backstride.calls.tensorflow_calls import FORMATS
from backstride.conventions import Convention
from backstride.integers import as_sizes
from backstride.layout import DataFormat, check_data_format

JAX = (
    "lhs rhs strides padding rhs_dilation dimension_numbers transpose_kernel precision "
    "preferred_element_type use_consistent_padding"
)
LINEN = (
    "features kernel_size strides padding kernel_dilation use_bias mask dtype param_dtype "
    "precision kernel_init bias_init transpose_kernel promote_dtype preferred_element_type parent "
    "name"
)
NNX = "in_features out_features kernel_size strides"
NNX_ONLY = (
    "padding kernel_dilation use_bias mask dtype param_dtype precision kernel_init bias_init "
    "transpose_kernel promote_dtype preferred_element_type rngs kernel_metadata bias_metadata"
)
HAIKU = (
    "num_spatial_dims output_channels kernel_shape stride output_shape padding with_bias w_init "
    "b_init data_format mask name"
)
HAIKU_RANKED = HAIKU.removeprefix("num_spatial_dims ")
EQUINOX = (
    "num_spatial_dims in_channels out_channels kernel_size stride padding output_padding dilation "
    "groups use_bias padding_mode dtype"
)
# The layers of a fixed rank have two arguments the other way around.
EQUINOX_RANKED = EQUINOX.removeprefix("num_spatial_dims ").replace(
    "padding output_padding", "output_padding padding"
)


def jax(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`jax.lax.conv_transpose`."""
    strides = arguments.required("strides", "(2, 2)")
    for sizes in ("strides", "rhs_dilation"):
        value = arguments.literal(sizes)
        if value is not None and not is_tuple(value):
            axes = open_rank(arguments, "rhs", hints, "strides", "rhs_dilation")
            arguments.refuse(sizes, "a tuple with one entry for each axis", str((value,) * axes))
    transposed = arguments.flag("transpose_kernel", default=False)
    name = "jax, transpose_kernel=True" if transposed else "jax"
    numbers = arguments.literal("dimension_numbers")
    rank = len(strides) if is_tuple(strides) else None
    data_format: DataFormat = "channels_last"
    convention = convention_of(name)
    if numbers is not None:
        rank, data_format, convention = _dimensions(
            arguments, numbers, convention, transposed=transposed
        )
    kernel = from_array(arguments, "rhs", hints, convention, rank=rank)
    rank = rank or kernel.rank
    padding = arguments.required("padding", '"SAME"')
    options = {
        "strides": strides,
        "padding": padding,
        "rhs_dilation": arguments.literal("rhs_dilation"),
        "use_consistent_padding": arguments.literal("use_consistent_padding"),
    }
    return function_call(
        arguments,
        hints,
        convention,
        options,
        kernel,
        source="lhs",
        rank=rank,
        data_format=data_format,
    )


def _dimensions(
    arguments: Arguments, numbers: object, convention: Convention, *, transposed: bool
) -> tuple[int, DataFormat, Convention]:
    """Rank, data format and kernel layout of `dimension_numbers` in words.

    ("NHWC", "HWIO", "NHWC").
    """
    nearest = '("NHWC", "HWIO", "NHWC")'
    entries = numbers if is_tuple(numbers) else ()
    words = [word for word in entries if isinstance(word, str) and 3 <= len(word) <= 5]
    if not len(words) == len(entries) == 3:
        arguments.refuse("dimension_numbers", "three words of 3 to 5 letters", nearest)
    lhs, rhs, out = words
    axes = lhs[2:] if lhs.startswith("NC") else lhs[1:-1]
    data_format: DataFormat = "channels_first" if lhs == f"NC{axes}" else "channels_last"
    spatial = rhs.replace("I", "").replace("O", "")
    if (
        lhs not in {f"NC{axes}", f"N{axes}C"}
        or out != lhs
        or spatial != axes
        or axes not in rhs
        or len(set(lhs)) < 3
    ):
        rule = (
            "the same batch-first word for both data, and a kernel with its spatial letters "
            "together in that order"
        )
        arguments.refuse("dimension_numbers", rule, nearest)
    # With transpose_kernel, I and O are those of the forward convolution.
    small, big = ("O", "I") if transposed else ("I", "O")
    names = {axes: "*k", small: "C_small", big: "C_big"}
    order = sorted(names, key=rhs.index)
    changed = convention_of(convention.name, weight_layout=tuple(names[word] for word in order))
    return len(axes), data_format, changed


def linen(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`flax.linen.ConvTranspose`."""
    return _flax(arguments, hints, None, arguments.count("features"))


def nnx(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`flax.nnx.ConvTranspose`."""
    return _flax(arguments, hints, arguments.count("in_features"), arguments.count("out_features"))


def _flax(arguments: Arguments, hints: Hints, small: int | None, big: int | None) -> SourceCall:
    size = _kernel_size(arguments.required("kernel_size", "(3, 3)"))
    if "mask" in arguments:
        arguments.refuse("mask", "None: multiply the kernel by it instead", "None")
    transposed = arguments.flag("transpose_kernel", default=False)
    name = "flax, transpose_kernel=True" if transposed else "flax"
    return SourceCall(
        hints.text,
        name,
        arguments.function,
        convention_of(name),
        {
            "strides": arguments.literal("strides"),
            "padding": arguments.literal("padding"),
            "kernel_dilation": arguments.literal("kernel_dilation"),
        },
        len(size),
        same_kernel(arguments, size, hints),
        small,
        big,
        1,
        "channels_last",
        arguments.flag("use_bias", default=True),
        words=("in_features", "features" if "features" in arguments else "out_features"),
        arguments=arguments.texts,
    )


def _kernel_size(value: object) -> tuple[int, ...]:
    """Flax takes an integer for one axis only."""
    sizes = value if is_tuple(value) else (value,)
    return as_sizes("kernel_size", sizes, len(sizes))


def haiku(arguments: Arguments, hints: Hints, rank: int | None) -> SourceCall:
    """`haiku.ConvNDTranspose` and its 1D, 2D and 3D.

    `jax.lax.conv_transpose` on a kernel (*k, C_big, C_small).
    """
    rank = rank or spatial_dims(arguments)
    size = as_sizes("kernel_shape", arguments.required("kernel_shape", "3"), rank)
    if "mask" in arguments:
        arguments.refuse("mask", "None: multiply the kernel by it instead", "None")
    if "output_shape" in arguments:
        arguments.refuse(
            "output_shape", "None: the size follows from `padding`, a name or pairs", "None"
        )
    layout = arguments.literal("data_format", "channels_last")
    if layout not in {*FORMATS, "channels_first", "channels_last"}:
        arguments.refuse(
            "data_format", f"one of {', '.join(FORMATS)}", f'"{list(FORMATS)[rank - 1]}"'
        )
    return SourceCall(
        hints.text,
        "jax",
        arguments.function,
        convention_of("jax", weight_layout=("*k", "C_big", "C_small")),
        {
            "strides": as_sizes("stride", arguments.literal("stride", 1), rank),
            "padding": arguments.literal("padding", "SAME"),
        },
        rank,
        same_kernel(arguments, size, hints),
        None,
        arguments.count("output_channels"),
        1,
        check_data_format(FORMATS.get(str(layout), layout)),
        arguments.flag("with_bias", default=True),
        words=("the input's channels", "output_channels"),
        arguments=arguments.texts,
    )


def spatial_dims(arguments: Arguments) -> int:
    """Equinox's and Haiku's number of axes, as both name it."""
    rank = arguments.required("num_spatial_dims", "2")
    if not isinstance(rank, int) or rank not in {1, 2, 3}:
        arguments.refuse("num_spatial_dims", "1, 2 or 3", "2")
    return rank


def equinox(arguments: Arguments, hints: Hints, rank: int | None) -> SourceCall:
    """`equinox.nn.ConvTranspose` and its 1d, 2d and 3d."""
    rank = rank or spatial_dims(arguments)
    size = as_sizes("kernel_size", arguments.required("kernel_size", "3"), rank)
    names = ("stride", "padding", "output_padding", "dilation", "padding_mode")
    return SourceCall(
        hints.text,
        "equinox",
        arguments.function,
        convention_of("equinox"),
        {name: arguments.literal(name) for name in names},
        rank,
        same_kernel(arguments, size, hints),
        arguments.count("in_channels"),
        arguments.count("out_channels"),
        arguments.groups(),
        "channels_first",
        arguments.flag("use_bias", default=True),
        words=("in_channels", "out_channels"),
        arguments=arguments.texts,
    )
