"""The cure for a checkerboard.

An even layer with the same sizes, as a call of the framework that was asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from backstride.calls import SourceCall, parse
from backstride.calls.dialect import LISTS, own_name, written
from backstride.calls.signatures import find
from backstride.geometry import Geometry, full_size, geometry
from backstride.integers import RULES

MOST_KERNELS = 4
TARGETS = {
    "tensorflow": "tf",
    "jax, transpose_kernel=True": "jax",
    "flax, transpose_kernel=True": "flax",
}
SIZES = ("kernel_size", "kernel_shape")
PLAIN = "backstride."
DEFAULTS: Mapping[str, int] = {
    **dict.fromkeys(
        ("stride", "dilation", "dilations", "dilation_rate", "rhs_dilation", "kernel_dilation"), 1
    ),
    **dict.fromkeys(("output_padding", "pads_begin", "pads_end"), 0),
}
# Everything that says a geometry is written anew.
REWRITTEN = {
    *DEFAULTS,
    "strides",
    "padding",
    "pads",
    "pad",
    "auto_pad",
    "pad_type",
    "use_consistent_padding",
}


def cure(call: SourceCall, where: Geometry) -> str | None:
    """The nearest even layer that takes `where.input` to `where.output`, written as `call` is.

    None without one.

    >>> asked = parse("nn.ConvTranspose2d(8, 4, 4, 3)").at((7, 7))
    >>> cure(asked, asked.geometry())
    'torch.nn.ConvTranspose2d(8, 4, 6, stride=3, padding=1)'

    What is returned reads back to the geometry of that layer. A kernel that is an array stands
    beside the call.
    """
    for wanted in even(where):
        for arguments in _candidates(call, wanted):
            text = _text(call, wanted, arguments)
            if text is not None and _reads_back(text, call, wanted):
                return (
                    text
                    if _says_kernel(call)
                    else f"{text} with a kernel of {' x '.join(map(str, wanted.kernel))}"
                )
    return None


def even(where: Geometry) -> Iterator[Geometry]:
    """Geometries with even coverage, the same strides, input and output.

    The nearest kernels first.
    """
    axes: list[list[int]] = []
    for i, k, s, size in zip(where.input, where.kernel, where.strides, where.output, strict=True):
        axes.append([wide for wide in _multiples(k, s) if full_size(i, wide, s) >= size])
    for kernel in islice(zip(*axes, strict=False), MOST_KERNELS):
        lengths = list(map(full_size, where.input, kernel, where.strides))
        totals = [length - size for length, size in zip(lengths, where.output, strict=True)]
        halves = [(total // 2, total - total // 2) for total in totals]
        ones = (1,) * len(kernel)
        for crop in dict.fromkeys(
            (tuple(halves), tuple((after, before) for before, after in halves))
        ):
            yield Geometry(where.input, kernel, where.strides, ones, crop)


def own(where: Geometry) -> str:
    """A geometry in our own options.

    >>> own(geometry(7, 4, strides=2, padding="same"))
    'kernel=4, strides=2, padding="same"'
    """
    sizes = f"kernel={_short(where.kernel)}, strides={_short(where.strides)}"
    for rule in RULES:
        try:
            found = geometry(
                where.input,
                where.kernel,
                strides=where.strides,
                padding=rule,
                dilation=where.dilation,
            )
            if found == where:
                return f'{sizes}, padding="{rule}"'
        except ValueError:
            continue
    if len(set(where.crop)) == 1 and where.crop[0][0] == where.crop[0][1]:
        return f"{sizes}, padding={where.crop[0][0]}"
    return f"{sizes}, padding={list(where.crop)}"


def _multiples(kernel: int, stride: int) -> list[int]:
    """Multiples of the stride, the nearest to the kernel first.

    Of two equally near ones, the larger comes first.
    """
    first = max(kernel // stride - MOST_KERNELS, 1)
    found = [stride * count for count in range(first, kernel // stride + MOST_KERNELS + 1)]
    return sorted(found, key=lambda size: (abs(size - kernel), -size))


def _candidates(call: SourceCall, where: Geometry) -> Iterator[Mapping[str, Any]]:
    """The arguments by which the call's framework says this geometry exactly."""
    if call.framework == "backstride":
        yield {}
        return
    from backstride.port.targets import TARGETS as PORTS  # noqa: PLC0415  a third of an explanation's start-up time

    name = call.convention.name
    ability = PORTS[TARGETS.get(name, name)].ability
    for arguments in ability.candidates(where):
        try:
            crop = call.convention.constructor(where.input, where.kernel, **arguments).crop
        except (ValueError, TypeError):
            continue
        if crop == where.crop:
            yield arguments


def _text(call: SourceCall, where: Geometry, arguments: Mapping[str, Any]) -> str | None:
    """The call with these arguments of its rule and all others as they stand."""
    if call.framework == "backstride":
        return _own_text(call, where)
    function = "onnx.helper.make_node" if call.function == "onnx.ConvTranspose" else call.function
    signature = find(function)
    assert signature is not None
    given = {own_name(function, name): value for name, value in arguments.items()}
    order = [*signature.parameters.split(), *signature.keyword_only.split()]
    if any(name not in order and not _is_default(name, value) for name, value in given.items()):
        return None
    kept = {name: text for name, text in _arguments(call).items() if name not in REWRITTEN}
    lists = function.startswith(LISTS)
    values = {
        own_name(function, name): written(call, function, name, value)
        for name, value in arguments.items()
    }
    if function.startswith("coremltools."):
        values["pad_type"] = '"custom"'
    new = {
        name: text
        for name, text in values.items()
        if not _is_default(name, given.get(name))
        or (lists and name.startswith(("pads_", "dilations")))
    }
    size = next((name for name in SIZES if name in order), None)
    if size is not None:
        new[size] = str(
            list(where.kernel)
            if lists
            else where.kernel
            if function.startswith("flax.")
            else _short(where.kernel)
        )
    _ = kept.pop("output_shape", None)
    if "output_shape" in given:  # the same size in the call's own words
        new["output_shape"] = call.arguments["output_shape"]
    return f"{function}({_listed({**kept, **new}, signature.parameters.split(), order)})"


def _own_text(call: SourceCall, where: Geometry) -> str:
    text = own(where)
    kept = {
        name: value
        for name, value in call.arguments.items()
        if name not in {"kernel", *_OWN_RULE, "input"}
    }
    words = ", ".join(
        f"{name}={value}" for name, value in kept.items() if name not in {"x", "bias"}
    )
    if call.function == "backstride.geometry":
        return f"backstride.geometry({call.arguments['input']}, {text.removeprefix('kernel=')})"
    if "x" not in call.arguments and "(" not in call.text.partition("=")[0]:
        return f"{text}, {words}" if words else text
    arrays = ", ".join(
        call.arguments[name] for name in ("x", "kernel", "bias") if name in call.arguments
    )
    text = text.partition(", ")[2]
    return f"backstride.conv_transpose({', '.join(filter(None, [arrays, text, words]))})"


_OWN_RULE = ("strides", "padding", "output_padding", "output_shape", "dilation")


def _arguments(call: SourceCall) -> Mapping[str, str]:
    """As they are written; those of a node of a file as `make_node` takes them."""
    if call.arguments:
        return call.arguments
    inputs = '["x", "w", "b"]' if call.has_bias else '["x", "w"]'
    group = {} if call.groups == 1 else {"group": str(call.groups)}
    return {"op_type": '"ConvTranspose"', "inputs": inputs, "outputs": '["y"]', **group}


def _is_default(name: str, value: Any) -> bool:
    if name == "padding" and value is not None and not isinstance(value, str):
        return all(entry == 0 for entry in value)
    if name == "pads":
        return not any(value or ())
    return name in DEFAULTS and all(entry == DEFAULTS[name] for entry in value or ())


def _listed(values: Mapping[str, str], positional: list[str], order: list[str]) -> str:
    """Arguments by position as far as the sizes and arrays go, by name from there on."""
    parts: list[str] = []
    by_name = False
    for name in order:
        if name not in values:
            by_name = True
            continue
        parts.append(
            values[name] if not by_name and name in positional else f"{name}={values[name]}"
        )
        by_name = by_name or name in {
            *SIZES,
            "weight",
            "kernel",
            "rhs",
            "filters" if "input" in values else "outputs",
        }
    return ", ".join(parts)


def _says_kernel(call: SourceCall) -> bool:
    function = find(call.function)
    order = (
        () if function is None else (*function.parameters.split(), *function.keyword_only.split())
    )
    return (
        not call.arguments
        or call.function == "backstride.geometry"
        or "kernel_size" in order
        or (
            "kernel_shape" in order
            or ("x" not in call.arguments and call.framework == "backstride")
        )
    )


def _reads_back(text: str, call: SourceCall, where: Geometry) -> bool:
    """Whether our own reader takes the call, and to this geometry."""
    try:
        found = parse(text, kernel=None if _says_kernel(call) else where.kernel)
        return found.at(where.input).geometry() == where and found.groups == call.groups
    except (ValueError, TypeError):
        return False


def _short(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else str(values)
