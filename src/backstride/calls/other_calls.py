"""MLX's layers and functions, Core ML's operation, and a node as `onnx.helper` makes it."""

from __future__ import annotations

from dataclasses import replace

from backstride.calls.arguments import Arguments, is_tuple
from backstride.calls.functions import function_call
from backstride.calls.kernels import Hints, from_array, open_rank, same_kernel
from backstride.calls.record import SourceCall, convention_of
from backstride.conventions.frame import read, require
from backstride.conventions.torch_family import symmetric
from backstride.geometry import Geometry
from backstride.integers import LARGEST, Size, as_sizes

MLX = "in_channels out_channels kernel_size stride padding dilation output_padding bias"
MLX_FUNCTION = "input weight stride padding dilation output_padding groups"


def rule(
    input: Size,
    kernel: Size,
    *,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    output_padding: Size = 0,
) -> Geometry:
    """MLX's formula is PyTorch's: before = p, after = p - output_padding, of either sign.

    >>> rule(5, 3, stride=2, padding=1, output_padding=2).output
    (11,)

    Raises `ValueError` for a padding above K - 1, which MLX takes off the input instead. Source:
    mlx/ops.cpp, conv_transpose_general, mlx 0.32.
    """
    others = {"padding": padding, "output_padding": output_padding}
    frame = read(input, kernel, ("stride", stride), ("dilation", dilation), **others)
    pads, extra = (
        as_sizes(name, value, frame.rank, least=-LARGEST) for name, value in others.items()
    )
    ranges = [(-LARGEST, span - 1) for span in frame.spans]
    require(
        "padding",
        pads,
        ranges,
        "the effective kernel less 1, beyond which MLX cuts the input instead",
    )
    crops = [(pad, pad - cells) for pad, cells in zip(pads, extra, strict=True)]
    sizes = [length - sum(crop) for length, crop in zip(frame.lengths, crops, strict=True)]
    return frame.cropped(crops, "padding", padding, lambda _: {"padding": symmetric(sizes, pads)})


RECORD = convention_of(
    "torch",
    name="mlx",
    constructor=rule,
    weight_layout=("C_big", "*k", "C_small"),
    grouped_layout=None,
    data_format="channels_last",
)
COREML = "x weight bias pad output_shape pad_type strides dilations groups name"
NODE = "op_type inputs outputs name doc_string domain overload"
ATTRIBUTES = "auto_pad dilations group kernel_shape output_padding output_shape pads strides"
_OPTIONS = ("stride", "padding", "dilation", "output_padding")


def mlx(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`mlx.nn.ConvTranspose1d/2d/3d`, by PyTorch's formula on channels last."""
    size = as_sizes("kernel_size", arguments.required("kernel_size", "3"), rank)
    return SourceCall(
        hints.text,
        "mlx",
        arguments.function,
        RECORD,
        {name: arguments.literal(name) for name in _OPTIONS},
        rank,
        same_kernel(arguments, size, hints),
        arguments.count("in_channels"),
        arguments.count("out_channels"),
        1,
        "channels_last",
        arguments.flag("bias", default=True),
        words=("in_channels", "out_channels"),
        arguments=arguments.texts,
    )


def mlx_function(arguments: Arguments, hints: Hints, rank: int) -> SourceCall:
    """`mx.conv_transpose1d/2d/3d`."""
    if arguments.groups() > 1:
        arguments.refuse("groups", "1, the only number that MLX supports here", "1")
    kernel = from_array(arguments, "weight", hints, RECORD, rank=rank)
    options = {name: arguments.literal(name) for name in _OPTIONS}
    return function_call(
        arguments,
        hints,
        RECORD,
        options,
        kernel,
        source="input",
        rank=rank,
        data_format="channels_last",
    )


def coreml(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`mb.conv_transpose`.

    Pads of both ends of each axis together, where ONNX has all begins first.
    """
    rule = str(arguments.literal("pad_type") or "valid")
    given = arguments.literal("pad")
    if rule not in {"custom", "valid"}:
        arguments.refuse(
            "pad_type",
            '"custom" or "valid": which end of "same" loses its cell is not documented',
            '"custom"',
        )
    if "output_shape" in arguments:
        arguments.refuse(
            "output_shape", "None: which end loses a cell is not documented; pads say it", "None"
        )
    pads = given if rule == "custom" else None
    if pads is not None and (not is_tuple(pads) or len(pads) not in {2, 4, 6}):
        zeros = [0, 0] * open_rank(arguments, "weight", hints, "strides", "dilations")
        arguments.refuse("pad", "a list with two entries for each of 1 to 3 axes", str(zeros))
    options: dict[str, object] = {
        name: arguments.literal(name) for name in ("strides", "dilations")
    }
    options["pads"] = None if pads is None else (*pads[::2], *pads[1::2])
    lengths = (
        len(value) for value in (options["strides"], options["dilations"]) if is_tuple(value)
    )
    return _onnx(
        arguments,
        hints,
        options,
        ("x", "weight"),
        next(lengths, None if pads is None else len(pads) // 2),
    )


def make_node(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2])`, from opset 11."""
    if arguments.literal("op_type") != "ConvTranspose":
        arguments.refuse("op_type", '"ConvTranspose"', '"ConvTranspose"')
    inputs = arguments.literal("inputs")
    names = [name for name in ATTRIBUTES.split() if name not in {"group", "kernel_shape"}]
    options = {name: arguments.literal(name) for name in names}
    size = arguments.literal("kernel_shape")
    ranks = [len(value) for name, value in options.items() if is_tuple(value) and name != "pads"]
    if is_tuple(size):
        ranks.insert(0, len(size))
        if hints.kernel is None:
            hints = Hints(hints.text, size, hints.applied)
    bias = len(inputs) > 2 and bool(inputs[2]) if is_tuple(inputs) else False
    return _onnx(
        arguments, hints, options, ("inputs", "inputs"), ranks[0] if ranks else None, bias=bias
    )


def _onnx(
    arguments: Arguments,
    hints: Hints,
    options: dict[str, object],
    arrays: tuple[str, str],
    rank: int | None,
    *,
    bias: bool = False,
) -> SourceCall:
    """A call by ONNX's rule."""
    convention = convention_of("onnx")
    groups = arguments.groups("group" if "op_type" in arguments else "groups")
    source, weight = arrays
    kernel = from_array(arguments, weight, hints, convention, rank=rank, groups=groups)
    call = function_call(
        arguments,
        hints,
        convention,
        options,
        kernel,
        source=source,
        rank=rank or kernel.rank,
        data_format="channels_first",
        groups=groups,
        bias="bias" if "bias" in arguments else None,
    )
    return call if not bias else replace(call, has_bias=True)
