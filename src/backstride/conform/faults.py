"""Known reasons why a framework departs from a rule.

Each one named, and as narrow as it could be made. `kind` says what the framework did: it "refuses"
what the rule takes, "accepts" what the rule refuses, or "differs" in size or values. A fault says
to which calls it applies; one that "differs" says with which geometry the framework's result is
right after all, and is only believed where that holds bit for bit. A disagreement that no entry
explains is unexplained, and fails the tests. docs/findings.md tells of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from backstride import reference
from backstride.conform import gradients
from backstride.conform.calls import Call
from backstride.geometry import Geometry, output_size, span
from backstride.layout import AnyArray

Kind: TypeAlias = Literal["refuses", "accepts", "differs"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    Our geometry or None, the framework's array or None, and the two refusals. `gradient`: the
    convention in whose layout the array is a gradient; "" for the output itself.
    """

    call: Call
    geometry: Geometry | None
    refusal: str
    array: AnyArray | None
    message: str
    gradient: str = ""

    def matches(self, geometry: Geometry) -> bool:
        """Whether the framework's array is what the definition gives, bit for bit."""
        if self.array is None:
            return False
        if self.gradient:
            return np.array_equal(
                self.array, gradients.expected(self.call, geometry, self.gradient)
            )
        return equals(self.array, self.call, geometry)


@dataclass(frozen=True, slots=True)
class Fault:
    """A reason, when it applies, and with which geometry a differing result would be right.

    `chance`: what comes out is whatever memory holds, so a call counts as differing even where the
    bits are right.
    """

    kind: Kind
    reason: str
    applies: Callable[[Outcome], bool]
    instead: Callable[[Call, Geometry], Geometry] | None = None
    chance: bool = False

    def explains(self, outcome: Outcome) -> bool:
        """Whether this is why; a differing result must be bit-equal to the one it claims."""
        if not self.applies(outcome):
            return False
        if self.instead is None or outcome.geometry is None or outcome.array is None:
            return self.instead is None
        return outcome.matches(self.instead(outcome.call, outcome.geometry))


def equals(array: AnyArray, call: Call, geometry: Geometry) -> bool:
    """Whether a framework's result has the size and every bit of the reference's."""
    x, kernel = (operand.astype(np.int64) for operand in call.operands())
    expected = reference.conv_transpose(x, kernel, geometry, groups=call.groups)
    return array.shape == expected.shape and np.array_equal(array, expected.astype(np.float32))


def by_chance(row: str, outcome: Outcome) -> bool:
    """Whether the result is known to depend on what memory holds."""
    ran = outcome.geometry is not None and outcome.array is not None
    return ran and any(fault.chance and fault.applies(outcome) for fault in FAULTS[row])


def chances(row: str) -> set[str]:
    """The reasons whose results depend on what memory holds."""
    return {fault.reason for fault in FAULTS[row] if fault.chance}


def explain(row: str, kind: Kind, outcome: Outcome) -> str | None:
    """The reason of the first fault that explains the outcome, or None."""
    return next(
        (fault.reason for fault in FAULTS[row] if fault.kind == kind and fault.explains(outcome)),
        None,
    )


def _empty(outcome: Outcome) -> bool:
    return outcome.array is not None and outcome.array.size == 0


def _dilated_pairs(outcome: Outcome) -> bool:
    pairs = not isinstance(outcome.call.arguments["padding"], str)
    return pairs and max(outcome.call.per_axis("dilations", 1)) > 1


def _keras_size(outcome: Outcome) -> bool:
    """`output_padding` with "same" asks for a size that TensorFlow's SAME cannot map back."""
    call = outcome.call
    if call.arguments["padding"].lower() != "same" or call.arguments.get("output_padding") is None:
        return False
    spans = list(map(span, call.kernel, call.per_axis("dilation_rate", 1)))
    return any(
        cells % 2 + extra < 1
        for cells, extra in zip(spans, call.per_axis("output_padding", 0), strict=True)
    )


def _truncated(outcome: Outcome) -> bool:
    """VALID, one input cell, and a size below the kernel by less than the stride."""
    call, size = outcome.call, outcome.call.arguments["output_shape"]
    if call.arguments["padding"] != "VALID" or len(size) != call.rank:
        return False
    spans = list(map(span, call.kernel, call.per_axis("dilations", 1)))
    steps = call.per_axis("strides", 1)
    return any(
        i == 1 and k - s < o < k for i, k, s, o in zip(call.input, spans, steps, size, strict=True)
    )


def _spare_size(outcome: Outcome) -> bool:
    return outcome.call.rank == 3 and len(outcome.call.arguments["output_shape"]) == 4


def _spare_pair(outcome: Outcome) -> bool:
    arguments = outcome.call.arguments
    return (
        arguments.get("use_consistent_padding", False)
        and len(arguments["padding"]) == outcome.call.rank + 1
    )


def _wraps(outcome: Outcome) -> bool:
    arguments = outcome.call.arguments
    return "wraps" in outcome.refusal and "CIRCULAR" in (
        arguments.get("padding"),
        arguments.get("padding_mode"),
    )


def _reaches_stride(outcome: Outcome) -> bool:
    call = outcome.call
    extras, steps = call.per_axis("output_padding", 0), call.per_axis("strides", 1)
    return any(extra >= s for extra, s in zip(extras, steps, strict=True))


def _sized(outcome: Outcome) -> bool:
    """`output_shape` without SAME: the evaluator keeps `pads`, or 0, and does not work pads out."""
    arguments = outcome.call.arguments
    return "output_shape" in arguments and not arguments.get("auto_pad", "").startswith("SAME")


def _misread(outcome: Outcome) -> bool:
    """The same, where as many windows fit as there are inputs, but not as many on each axis."""
    call = outcome.call
    if not _sized(outcome) or outcome.geometry is None:
        return False
    ends = call.arguments.get("pads", (0,) * (2 * call.rank))
    pads = zip(ends[: call.rank], ends[call.rank :], strict=True)
    found = outcome.geometry
    windows = list(map(output_size, found.output, found.effective_kernel, found.strides, pads))
    return tuple(windows) != call.input and math.prod(windows) == math.prod(call.input)


def _below_input(outcome: Outcome) -> bool:
    size = outcome.call.arguments.get("output_shape", outcome.call.input)
    return any(o < i for o, i in zip(size, outcome.call.input, strict=True))


def _ungrouped(outcome: Outcome) -> bool:
    call = outcome.call
    return call.groups > 1 and not call.small == call.big == call.groups


def _negative_total(outcome: Outcome) -> bool:
    return "total_padding" in outcome.refusal


def _grouped_begin(outcome: Outcome) -> bool:
    call = outcome.call
    explicit = call.arguments.get("auto_pad", "EXPLICIT") == "EXPLICIT"
    return call.groups > 1 and explicit and "output_shape" in call.arguments


def _negative(outcome: Outcome) -> bool:
    names = ("pads_begin", "pads_end", "output_padding")
    return any(min(outcome.call.per_axis(name, 0)) < 0 for name in names)


def _grouped_length(outcome: Outcome) -> bool:
    call = outcome.call
    return call.groups > 1 and any(
        len(call.per_axis(name, 0)) != call.rank for name in ("pads_begin", "pads_end")
    )


def _narrow_gradient(outcome: Outcome) -> bool:
    """tf.nn.conv3d to maps one cell wide, whose width stride does not divide the kernel's.

    Numbers from elsewhere.
    """
    call = outcome.call
    if call.rank != 3 or outcome.geometry is None:
        return False
    (_, rows, columns), (_, down, across), width = (
        call.input,
        outcome.geometry.strides,
        call.kernel[2],
    )
    return columns == 1 < rows and down == 1 < across and width % across != 0


def _crop_then_zeros(outcome: Outcome) -> bool:
    """The gradient by x, a convolution, omits front cells and reads zeros behind the last.

    So it is on one axis.
    """
    return outcome.geometry is not None and any(
        before < 0 < after for before, after in outcome.geometry.crop
    )


def _permuted(outcome: Outcome) -> bool:
    """PyTorch's 1-D and 2-D kernels for one sample, beside a kernel that Keras has permuted."""
    call = outcome.call
    return call.rank < 3 and call.batch == call.small == 1 < min(call.big, math.prod(call.kernel))


def _uncropped(_: Call, geometry: Geometry) -> Geometry:
    """The same size with nothing cut off the front."""
    return _cut(geometry, (0,) * len(geometry.input))


def _cut_pads(call: Call, geometry: Geometry) -> Geometry:
    """The same size with the call's own `pads` cut off the front, none without."""
    return _cut(geometry, call.arguments.get("pads", (0,) * call.rank)[: call.rank])


def _cut(geometry: Geometry, befores: Sequence[int]) -> Geometry:
    crop = tuple((cut, sum(pair) - cut) for cut, pair in zip(befores, geometry.crop, strict=True))
    return Geometry(geometry.input, geometry.kernel, geometry.strides, geometry.dilation, crop)


def _bad_name(outcome: Outcome) -> bool:
    return outcome.call.arguments.get("auto_pad") in ("FULL", "REFLECT", "")


EMPTY = Fault("accepts", "returns an array without cells, which no Geometry has", _empty)
WRAPPED = Fault("accepts", "CIRCULAR wraps around, which is no crop", _wraps)
ZEROS = "gives a size where ONNX's text has a negative total_padding"

FAULTS: dict[str, tuple[Fault, ...]] = {
    "torch": (EMPTY,),
    "tensorflow": (
        EMPTY,
        Fault(
            "refuses",
            "no dilation beside pairs: oneDNN's kernels do not run, TensorFlow's own refuse",
            _dilated_pairs,
        ),
        Fault(
            "accepts",
            "oneDNN rounds (o - K)/s toward zero, so one input cell takes sizes below K",
            _truncated,
        ),
        Fault("accepts", "conv3d_transpose ignores an entry too many in output_shape", _spare_size),
    ),
    "tensorflow-xla": (EMPTY,),
    "keras": (
        EMPTY,
        Fault(
            "refuses",
            "TensorFlow's SAME has no size of (i-1)s: even K with output_padding=0",
            _keras_size,
        ),
    ),
    "keras-jax": (EMPTY,),
    "keras-torch": (EMPTY,),
    "jax": (EMPTY, Fault("accepts", "use_consistent_padding ignores a pair too many", _spare_pair)),
    "flax": (EMPTY, WRAPPED),
    "equinox": (EMPTY, WRAPPED),
    "onnxruntime": (Fault("accepts", 'auto_pad="" counts as NOTSET', _bad_name),),
    "onnx-onnxruntime": (
        Fault("accepts", 'auto_pad="" counts as NOTSET', _bad_name),
        Fault("accepts", ZEROS, _negative_total),
        Fault(
            "refuses",
            "output_padding must stay below the stride, whatever the dilation",
            _reaches_stride,
        ),
    ),
    "onnx-reference": (
        EMPTY,
        Fault("accepts", "auto_pad is not checked", _bad_name),
        Fault("accepts", ZEROS, _negative_total),
        Fault("accepts", "output_padding is not checked", _reaches_stride),
        Fault(
            "refuses",
            "shape inference leaves out axes where output_shape is below the input",
            _below_input,
        ),
        Fault("refuses", "groups crash unless depthwise", _ungrouped),
        Fault("refuses", "output_shape without SAME is not turned into pads", _sized),
        Fault("refuses", "output_padding that reaches the stride crashes", _reaches_stride),
        Fault("differs", "output_shape without SAME is not turned into pads", _sized, _cut_pads),
        Fault("differs", "output_shape without SAME: the map is read in another shape", _misread),
    ),
    "openvino": (
        EMPTY,
        Fault(
            "accepts",
            "takes negative pads and output_padding, which its specification excludes",
            _negative,
        ),
        Fault("accepts", "the grouped operation does not count its pads", _grouped_length),
        Fault(
            "differs",
            "the grouped operation ignores pads beside output_shape",
            _grouped_begin,
            _uncropped,
        ),
    ),
    "litert": (),
    "ncnn": (),
}

NARROW = Fault(
    "differs",
    "tf.nn.conv3d, the gradient, reads foreign memory for maps one cell wide",
    _narrow_gradient,
)
FOREIGN = Fault(
    "differs",
    "XLA's convolution reads foreign memory for zeros behind a cropped front",
    _crop_then_zeros,
    chance=True,
)
PERMUTED = Fault(
    "refuses", "no gradient by a permuted kernel of one input channel, for one sample", _permuted
)
FAULTS["torch-gradient"] = FAULTS["torch"]
FAULTS["tensorflow-gradient"] = (
    *(fault for fault in FAULTS["tensorflow"] if fault.applies is not _spare_size),
    NARROW,
)
FAULTS["keras-gradient"] = FAULTS["keras"]
FAULTS["keras-jax-gradient"] = FAULTS["keras-jax"]
FAULTS["keras-torch-gradient"] = (*FAULTS["keras-torch"], PERMUTED)
for _row in ("jax", "flax", "equinox"):
    FAULTS[f"{_row}-gradient"] = (*FAULTS[_row], FOREIGN)
