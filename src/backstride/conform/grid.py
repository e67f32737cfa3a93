"""Calls to compare: per convention, a fixed list in that framework's own terms, legal and not.

Drawn from a seed, so that every machine sees the same list; about one call in five may leave the
legal ranges, which shows whether the framework refuses what our rule refuses.
tests/conform/test_grid.py holds the list to its edges: s > k, even k, odd and even crops, d > 1, k
= 1, i = 1, negative crops.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from backstride.conform.calls import Arguments, Call
from backstride.conform.draw import Draw

SIZE = 2200


def grid(convention: str, size: int = SIZE) -> tuple[Call, ...]:
    """The first `size` different calls of a convention, or of a row that takes part of one.

    >>> print(grid("torch", 1)[0] == grid("torch", 2)[0], len(grid("jax", 50)))
    True 50
    """
    random, write = Random(convention), WRITERS[convention]  # noqa: S311  a reproducible list, no secret
    calls: dict[str, Call] = {}
    while len(calls) < size:
        call = _spoiled(random, write(random))
        _ = calls.setdefault(str(call), call)
    return tuple(calls.values())


def _torch(random: Random) -> Call:
    draw = Draw.sizes(random)
    pads = draw.within(
        0,
        [
            min(span, (length - 1) // 2)
            for span, length in zip(draw.spans, draw.lengths, strict=True)
        ],
    )
    arguments: Arguments = {"stride": draw.spell(draw.strides), "padding": draw.spell(pads)}
    arguments["dilation"] = draw.spell(draw.dilation)
    if draw.often(0.3):
        smallest = [length - 2 * pad for length, pad in zip(draw.lengths, pads, strict=True)]
        largest = [size + s - 1 for size, s in zip(smallest, draw.strides, strict=True)]
        arguments["output_size"] = draw.within(smallest, largest)
    elif draw.often(0.7):
        limits = [max(s, d) - 1 for s, d in zip(draw.strides, draw.dilation, strict=True)]
        arguments["output_padding"] = draw.spell(draw.within(0, limits))
    return draw.call(arguments, grouped=True)


def _tensorflow(random: Random) -> Call:
    draw = Draw.sizes(random, most_dilation=2)
    arguments: Arguments = {
        "strides": draw.spell(draw.strides),
        "dilations": draw.spell(draw.dilation),
    }
    pairs = draw.often(0.5 if draw.rank == 2 else 0.05)
    padding = draw.crops(least=0 if draw.legal else -1) if pairs else draw.pick("SAME", "VALID")
    arguments["padding"] = padding
    smallest: list[int] = []
    for axis, (length, span) in enumerate(zip(draw.lengths, draw.spans, strict=True)):
        crop = (
            span - 1 if padding == "SAME" else 0 if isinstance(padding, str) else sum(padding[axis])
        )
        smallest.append(max(length - crop, 1))
    largest = [
        size + s - 1 if size > 1 or padding == "SAME" else size
        for size, s in zip(smallest, draw.strides, strict=True)
    ]
    arguments["output_shape"] = draw.within(smallest, largest)
    return draw.call(arguments)


def _keras(random: Random) -> Call:
    draw = Draw.sizes(random)
    dilated = draw.often(0.3)
    ones = (1,) * draw.rank
    draw = Draw(
        random,
        draw.legal,
        draw.input,
        draw.kernel,
        ones if dilated else draw.strides,
        draw.dilation if dilated else ones,
    )
    arguments: Arguments = {
        "strides": draw.spell(draw.strides),
        "dilation_rate": draw.spell(draw.dilation),
    }
    if not draw.legal and draw.often(0.3):
        arguments["dilation_rate"] = 2
    arguments["padding"] = draw.pick("same", "valid", "same", "valid", "SAME")
    if draw.often(0.6):
        arguments["output_padding"] = draw.spell(draw.within(0, [s - 1 for s in draw.strides]))
    return draw.call(arguments)


def _input_pads(draw: Draw) -> tuple[tuple[int, int], ...]:
    """Crops of either sign as JAX says them: padding of the dilated input."""
    crops = draw.crops(least=-2)
    return tuple(
        (span - 1 - before, span - 1 - after)
        for span, (before, after) in zip(draw.spans, crops, strict=True)
    )


def _jax(random: Random) -> Call:
    draw = Draw.sizes(random)
    arguments: Arguments = {"strides": draw.strides}
    if draw.often(0.7):
        arguments["rhs_dilation"] = draw.dilation
    else:
        draw = Draw(random, draw.legal, draw.input, draw.kernel, draw.strides, (1,) * draw.rank)
    if draw.often(0.5):
        arguments["use_consistent_padding"] = draw.pick(True, False)
    if draw.often(0.5):
        arguments["padding"] = draw.pick(
            "SAME", "SAME", "SAME", "VALID", "VALID", "same", "SAME_LOWER"
        )
    else:
        consistent = arguments.get("use_consistent_padding", False)
        arguments["padding"] = draw.crops(least=-2) if consistent else _input_pads(draw)
    return draw.call(arguments, transpose_kernel=draw.often(0.5))


def _flax(random: Random) -> Call:
    draw = Draw.sizes(random)
    arguments: Arguments = {
        "strides": draw.spell(draw.strides),
        "kernel_dilation": draw.spell(draw.dilation),
    }
    if draw.often(0.55):
        names = (
            "SAME",
            "SAME",
            "SAME",
            "VALID",
            "VALID",
            "CIRCULAR",
            "CIRCULAR",
            "CAUSAL",
            "same",
            "SAME_LOWER",
        )
        arguments["padding"] = draw.pick(*names)
    elif draw.often(0.3):
        arguments["padding"] = draw.spell(draw.within(0, draw.spans))
    else:
        arguments["padding"] = _input_pads(draw)
    return draw.call(arguments, transpose_kernel=draw.often(0.5))


def _equinox(random: Random) -> Call:
    draw = Draw.sizes(random)
    arguments: Arguments = {
        "stride": draw.spell(draw.strides),
        "dilation": draw.spell(draw.dilation),
    }
    if draw.often(0.5):
        arguments["padding"] = draw.pick(
            "SAME", "SAME_LOWER", "SAME", "SAME_LOWER", "VALID", "same"
        )
        if draw.often(0.2):
            arguments["padding_mode"] = "CIRCULAR"
    elif draw.often(0.2):
        arguments["padding"] = draw.spell(
            draw.within(0, [(length - 1) // 2 for length in draw.lengths])
        )
    else:
        arguments["padding"] = draw.crops(least=-2)
    if draw.often(0.6):
        arguments["output_padding"] = draw.spell(draw.within(0, [s - 1 for s in draw.strides]))
    return draw.call(arguments, grouped=True)


def _onnx(random: Random) -> Call:
    draw = Draw.sizes(random)
    arguments: Arguments = {"strides": draw.strides, "dilations": draw.dilation}
    name = draw.pick(
        None, None, "NOTSET", "SAME_UPPER", "SAME_UPPER", "SAME_LOWER", "SAME_LOWER", "VALID"
    )
    arguments["auto_pad"] = name
    extra = (0,) * draw.rank
    if draw.often(0.4):
        limits = [max(s, d) - 1 for s, d in zip(draw.strides, draw.dilation, strict=True)]
        extra = arguments["output_padding"] = draw.within(0, limits)
    if draw.often(0.4):
        low = [
            1 if draw.often(0.3) else max(1, length - span)
            for length, span in zip(draw.lengths, draw.spans, strict=True)
        ]
        arguments["output_shape"] = draw.within(
            low, [length + cells for length, cells in zip(draw.lengths, extra, strict=True)]
        )
    if (name in (None, "NOTSET") and draw.often(0.7)) or draw.often(0.05):
        crops = draw.crops(least=0 if draw.legal else -1)
        arguments["pads"] = (*(before for before, _ in crops), *(after for _, after in crops))
    return draw.call(arguments, grouped=True)


def _openvino(random: Random) -> Call:
    draw = Draw.sizes(random)
    arguments: Arguments = {"strides": draw.strides, "dilations": draw.dilation}
    arguments["auto_pad"] = draw.pick(
        None, "EXPLICIT", "SAME_UPPER", "SAME_UPPER", "SAME_LOWER", "SAME_LOWER", "VALID"
    )
    if draw.often(0.6):
        crops = draw.crops(least=0 if draw.legal else -1)
        arguments["pads_begin"] = tuple(before for before, _ in crops)
        arguments["pads_end"] = tuple(after for _, after in crops)
    if draw.often(0.4):
        arguments["output_padding"] = draw.within(
            0, [max(s, d) for s, d in zip(draw.strides, draw.dilation, strict=True)]
        )
    if draw.often(0.5):
        low = [
            1 if draw.often(0.3) else max(1, length - span)
            for length, span in zip(draw.lengths, draw.spans, strict=True)
        ]
        arguments["output_shape"] = draw.within(low, [length + 3 for length in draw.lengths])
    return draw.call(arguments, grouped=True)


def _ncnn(random: Random) -> Call:
    """PyTorch's calls without a size at call time."""
    while True:
        call = _torch(random)
        if "output_size" not in call.arguments:
            return call


def _litert(random: Random) -> Call:
    """TensorFlow's 2-D calls by name, without dilation: all that the operation can say."""
    while True:
        call = _tensorflow(random)
        named = isinstance(call.arguments["padding"], str)
        if call.rank == 2 and named and max(call.per_axis("dilations", 1)) == 1:
            return call


WRITERS: dict[str, Callable[[Random], Call]] = {
    "torch": _torch,
    "tensorflow": _tensorflow,
    "keras": _keras,
    "jax": _jax,
    "flax": _flax,
    "equinox": _equinox,
    "onnx": _onnx,
    "onnxruntime": _onnx,
    "openvino": _openvino,
    "ncnn": _ncnn,
    "litert": _litert,
}


def _spoiled(random: Random, call: Call) -> Call:
    """One call in thirty gets an argument that no framework takes.

    A wrong name, a zero, an axis too many.
    """
    if random.random() > 1 / 30:
        return call
    names = [name for name in call.arguments if name != "use_consistent_padding"]
    name = random.choice(names)
    value = call.arguments[name]
    if isinstance(value, str):
        spoiled: object = random.choice(("FULL", "REFLECT", ""))
    elif name in (
        "stride",
        "strides",
        "dilation",
        "dilations",
        "dilation_rate",
        "rhs_dilation",
        "kernel_dilation",
    ):
        spoiled = random.choice(((0,) * call.rank, (-1,) * call.rank, (2,) * (call.rank + 1)))
    else:
        spoiled = (value,) * 2 if isinstance(value, int) else (*value, value[0])
        spoiled = (*spoiled, spoiled[0]) if len(spoiled) == call.rank else spoiled
    changed: Arguments = {**call.arguments, name: spoiled}
    return Call(
        call.input,
        call.kernel,
        changed,
        call.groups,
        call.small,
        call.big,
        call.batch,
        call.transpose_kernel,
    )
