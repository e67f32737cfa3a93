"""PyTorch's layers and functions."""

from __future__ import annotations

from backstride.calls.arguments import Arguments, is_tuple
from backstride.calls.functions import function_call
from backstride.calls.kernels import Hints, from_array, same_kernel
from backstride.calls.record import SourceCall, convention_of
from backstride.integers import as_sizes

LAYER = (
    "in_channels out_channels kernel_size stride padding output_padding groups bias dilation "
    "padding_mode"
)
LAZY = LAYER.removeprefix("in_channels ")
FUNCTION = "input weight bias stride padding output_padding groups dilation"
OPTIONS = ("stride", "padding", "output_padding", "dilation")


def layer(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`torch.nn.ConvTranspose1d/2d/3d`, with `output_size` where the text calls the layer too."""
    size = as_sizes("kernel_size", arguments.required("kernel_size", "3"), rank)
    if arguments.literal("padding_mode", "zeros") != "zeros":
        arguments.refuse("padding_mode", '"zeros", the only one that PyTorch takes here', '"zeros"')
    options = _options(arguments)
    if hints.applied is not None:
        applied = hints.applied.bind(f"{arguments.function}'s result", ("input", "output_size"), ())
        output = applied.literal("output_size")
        # PyTorch takes the size with or without batch and channels.
        options["output_size"] = output[-rank:] if is_tuple(output) else output
    return SourceCall(
        hints.text,
        "torch",
        arguments.function,
        convention_of("torch"),
        options,
        rank,
        same_kernel(arguments, size, hints),
        arguments.count("in_channels"),
        arguments.count("out_channels"),
        arguments.groups(),
        "channels_first",
        arguments.flag("bias", default=True),
        words=("in_channels", "out_channels"),
        arguments=arguments.texts,
    )


def function(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`torch.nn.functional.conv_transpose1d/2d/3d`."""
    convention, groups = convention_of("torch"), arguments.groups()
    kernel = from_array(arguments, "weight", hints, convention, rank=rank, groups=groups)
    options = _options(arguments)
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
    )


def _options(arguments: Arguments) -> dict[str, object]:
    """The rule's arguments; PyTorch spreads a tuple of one entry over all axes."""
    values = {name: arguments.literal(name) for name in OPTIONS}
    return {
        name: value[0] if is_tuple(value) and len(value) == 1 else value
        for name, value in values.items()
    }
