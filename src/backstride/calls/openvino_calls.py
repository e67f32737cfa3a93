"""OpenVINO's operations, from any opset."""

from __future__ import annotations

from backstride.calls.arguments import Arguments, is_tuple
from backstride.calls.functions import function_call
from backstride.calls.kernels import Hints, Kernel, from_array, from_shape, open_rank
from backstride.calls.record import SourceCall, convention_of
from backstride.conventions import Convention
from backstride.integers import as_sizes

PARAMETERS = (
    "data filters strides output_shape pads_begin pads_end dilations auto_pad output_padding name"
)
OPTIONS = (
    "strides",
    "output_shape",
    "pads_begin",
    "pads_end",
    "dilations",
    "auto_pad",
    "output_padding",
)
GROUPED_LAYOUT = ("groups", "C_small/groups", "C_big/groups", "*k")


def plain(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`convolution_backprop_data`."""
    convention = convention_of("openvino")
    kernel = from_array(arguments, "filters", hints, convention, rank=_rank(arguments, hints))
    return _call(arguments, hints, convention, kernel)


def grouped(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`group_convolution_backprop_data`, whose kernel always has an axis for the groups."""
    convention = convention_of("openvino", weight_layout=GROUPED_LAYOUT)
    shape = arguments.shape("filters") or hints.kernel
    if shape is None or isinstance(shape, int) or len(shape) != _rank(arguments, hints) + 3:
        message = (
            f"`kernel` (={shape}) must be the whole shape ({', '.join(GROUPED_LAYOUT)}) for "
            f"{arguments.function}: the groups stand nowhere else"
        )
        raise ValueError(message)
    sizes = as_sizes("kernel", shape, len(shape))
    return _call(arguments, hints, convention, from_shape(sizes, convention, sizes[0]), sizes[0])


def _rank(arguments: Arguments, hints: Hints) -> int:
    strides = arguments.required("strides", "[2, 2]")
    if not is_tuple(strides) or len(strides) not in {1, 2, 3}:
        step = strides if isinstance(strides, int) else 1
        nearest = [step] * open_rank(arguments, "filters", hints, "dilations", "pads_begin")
        arguments.refuse("strides", "a list with one entry for each of 1 to 3 axes", str(nearest))
    return len(strides)


def _call(
    arguments: Arguments, hints: Hints, convention: Convention, kernel: Kernel, groups: int = 1
) -> SourceCall:
    options = {name: arguments.literal(name) for name in OPTIONS}
    rank = _rank(arguments, hints)
    return function_call(
        arguments,
        hints,
        convention,
        options,
        kernel,
        source="data",
        rank=rank,
        data_format="channels_first",
        groups=groups,
    )
