"""Each framework's rule: cases worked by hand, laws that relate the rules, and whole messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import backstride as bs
from backstride import conventions as cv

sizes = st.integers(1, 7)
steps = st.integers(1, 5)
spacings = st.integers(1, 3)

# Worked by hand from the formula in each docstring: rule, sizes, arguments, crop.
CASES: list[tuple[Callable[..., bs.Geometry], int, int, dict[str, Any], tuple[int, int]]] = [
    (cv.torch, 4, 3, {"stride": 2, "padding": 1}, (1, 1)),
    (cv.torch, 4, 3, {"stride": 2, "padding": 1, "output_padding": 1}, (1, 0)),
    (cv.torch, 4, 3, {"stride": 1, "dilation": 3, "output_padding": 2}, (0, -2)),
    (cv.torch, 4, 3, {"stride": 3, "padding": 1, "output_size": 12}, (1, -1)),
    (cv.tensorflow, 4, 3, {"strides": 2, "output_shape": 8}, (0, 1)),
    (cv.tensorflow, 4, 3, {"strides": 2, "output_shape": 7}, (1, 1)),
    (cv.tensorflow, 4, 2, {"strides": 3, "output_shape": 12}, (0, -1)),
    (cv.tensorflow, 4, 3, {"strides": 2, "output_shape": 10, "padding": "VALID"}, (0, -1)),
    (cv.keras, 4, 5, {"strides": 2, "padding": "same"}, (1, 2)),
    (cv.keras, 4, 5, {"strides": 2, "padding": "same", "output_padding": 0}, (2, 2)),
    (cv.keras, 4, 4, {"strides": 2, "padding": "SAME", "output_padding": 0}, (2, 2)),
    (cv.keras, 4, 2, {"strides": 3}, (0, -1)),
    (cv.keras, 4, 3, {"dilation_rate": 2, "padding": "same"}, (2, 2)),
    (cv.jax, 4, 3, {"strides": 2, "padding": "SAME"}, (0, 1)),
    (cv.jax, 4, 2, {"strides": 3, "padding": "VALID"}, (0, -1)),
    (cv.jax, 4, 3, {"strides": 2, "padding": [(0, 3)]}, (2, -1)),
    (cv.jax, 4, 4, {"strides": 1, "padding": "SAME_LOWER"}, (1, 2)),
    (cv.jax, 4, 4, {"strides": 1, "padding": "same"}, (2, 1)),
    (cv.jax, 4, 4, {"strides": 1, "padding": "SAME"}, (1, 2)),
    (cv.jax, 4, 3, {"strides": 1, "padding": "valid"}, (2, 2)),
    (cv.flax, 4, 3, {"strides": 2, "padding": 0}, (2, 2)),
    (cv.flax, 4, 2, {"strides": 3, "padding": "CIRCULAR"}, (0, -1)),
    (cv.equinox, 4, 3, {"stride": 2, "padding": 1, "output_padding": 1}, (1, 0)),
    (cv.equinox, 4, 4, {"stride": 3, "padding": "SAME"}, (0, 1)),
    (cv.equinox, 4, 4, {"stride": 3, "padding": "same_lower"}, (1, 0)),
    (cv.equinox, 4, 4, {"stride": 3, "padding": "SAME", "output_padding": 2}, (1, 2)),
    (cv.equinox, 4, 2, {"stride": 4, "padding": "SAME_LOWER", "output_padding": 1}, (0, -1)),
    (cv.equinox, 4, 2, {"stride": 2, "padding": [(0, -3)], "output_padding": -1}, (0, -2)),
    (cv.onnx, 4, 3, {"strides": 2, "auto_pad": "SAME_UPPER"}, (0, 1)),
    (cv.onnx, 4, 3, {"strides": 2, "auto_pad": "SAME_LOWER"}, (1, 0)),
    (cv.onnx, 4, 3, {"strides": 2, "output_shape": 8}, (1, 0)),
    (cv.onnx, 4, 3, {"strides": 2, "output_shape": 8, "auto_pad": "VALID"}, (1, 0)),
    (cv.onnx, 4, 3, {"strides": 2, "output_shape": 8, "output_padding": 1}, (1, 0)),
    (cv.onnx, 4, 3, {"strides": 2, "pads": [2, 1], "output_padding": 1}, (2, 0)),
    (cv.onnxruntime, 4, 2, {"strides": 3, "auto_pad": "SAME_LOWER"}, (0, 0)),
    (cv.onnxruntime, 4, 2, {"strides": 3, "auto_pad": "SAME_LOWER", "output_padding": 2}, (1, -2)),
    (cv.onnxruntime, 4, 2, {"strides": 3, "output_shape": 13}, (0, -2)),
    (cv.openvino, 4, 3, {"strides": 2, "auto_pad": "SAME_UPPER"}, (0, 0)),
    (cv.openvino, 4, 3, {"strides": 2, "auto_pad": "same_upper", "output_shape": 8}, (1, 0)),
    (cv.openvino, 4, 3, {"strides": 2, "auto_pad": "SAME_LOWER", "output_shape": 8}, (0, 1)),
    (
        cv.openvino,
        4,
        3,
        {"strides": 2, "auto_pad": "VALID", "output_shape": 6, "pads_begin": 1},
        (0, 3),
    ),
    (cv.openvino, 4, 3, {"strides": 2, "output_shape": 6, "pads_begin": 1}, (1, 2)),
    (cv.openvino, 4, 3, {"strides": 2, "output_padding": 5, "pads_end": 1}, (0, -4)),
]


@pytest.mark.parametrize(("rule", "input", "kernel", "arguments", "crop"), CASES)
def test_cases_by_hand(
    rule: Callable[..., bs.Geometry],
    input: int,
    kernel: int,
    arguments: dict[str, Any],
    crop: tuple[int, int],
) -> None:
    assert rule(input, kernel, **arguments).crop == (crop,)


@given(sizes, sizes, steps, spacings, st.integers(0, 8), st.integers(0, 4))
def test_torch_output_size_is_output_shape(
    i: int, k: int, s: int, d: int, p: int, more: int
) -> None:
    length = (i - 1) * s + d * (k - 1) + 1
    size = length - 2 * p + more % s
    _ = assume(size > 0)
    ours = bs.geometry(i, k, strides=s, padding=p, dilation=d, output_shape=size)
    assert cv.torch(i, k, stride=s, padding=p, dilation=d, output_size=size) == ours
    assert cv.torch(i, k, stride=s, padding=p, dilation=d, output_padding=more % s) == ours


@given(sizes, sizes, steps, spacings, st.sampled_from(["same", "valid"]), st.data())
def test_tensorflow_is_our_strings(
    i: int, k: int, s: int, d: int, padding: Any, data: st.DataObject
) -> None:
    default = bs.geometry(i, k, strides=s, padding=padding, dilation=d)
    tf = cv.tensorflow(
        i, k, strides=s, padding=padding.upper(), dilations=d, output_shape=default.output[0]
    )
    assert tf == default == cv.jax(i, k, strides=s, padding=padding.upper(), rhs_dilation=d)
    low = (i - 1) * s + (1 if padding == "same" else d * (k - 1) + 1)
    size = data.draw(st.integers(low, low + s - 1))
    assert cv.tensorflow(
        i, k, strides=s, padding=padding.upper(), dilations=d, output_shape=size
    ) == bs.geometry(i, k, strides=s, padding=padding, dilation=d, output_shape=size)


@given(sizes, sizes, steps, spacings)
def test_defaults_of_keras_flax_and_equinox_same_are_tensorflows(
    i: int, k: int, s: int, d: int
) -> None:
    same = bs.geometry(i, k, strides=s, padding="same", dilation=d)
    assert cv.flax(i, k, strides=s, kernel_dilation=d) == same
    assert cv.equinox(i, k, stride=s, dilation=d, padding="SAME") == same
    assert cv.equinox(i, k, stride=s, dilation=d, padding="SAME_LOWER") == bs.geometry(
        i, k, strides=s, padding="same_lower", dilation=d
    )
    if s == 1 or d == 1:
        assert cv.keras(i, k, strides=s, dilation_rate=d, padding="same") == same


@given(
    sizes, sizes, steps, spacings, st.integers(0, 4), st.sampled_from(["SAME_UPPER", "SAME_LOWER"])
)
def test_onnx_same_is_ours_and_openvino_reverses_it(
    i: int, k: int, s: int, d: int, less: int, name: str
) -> None:
    length, size = (i - 1) * s + d * (k - 1) + 1, i * s - less % s
    rule: Any = "same" if name == "SAME_UPPER" else "same_lower"
    ours = bs.geometry(i, k, strides=s, padding=rule, dilation=d, output_shape=size)
    other = "SAME_LOWER" if name == "SAME_UPPER" else "SAME_UPPER"
    assert cv.openvino(i, k, strides=s, dilations=d, auto_pad=other, output_shape=size) == ours
    arguments: dict[str, Any] = {
        "strides": s,
        "dilations": d,
        "auto_pad": name,
        "output_shape": size,
    }
    assert cv.onnxruntime(i, k, **arguments) == ours
    if size <= length:
        assert cv.onnx(i, k, **arguments) == ours
    else:
        with pytest.raises(ValueError, match="negative total_padding"):
            _ = cv.onnx(i, k, **arguments)


@given(sizes, sizes, steps, spacings, st.integers(-3, 9), st.integers(-3, 9))
def test_jax_pairs_pad_the_input_or_crop_the_output(
    i: int, k: int, s: int, d: int, low: int, high: int
) -> None:
    span = d * (k - 1) + 1
    _ = assume((i - 1) * s + span - low - high > 0)
    crop = cv.jax(
        i, k, strides=s, padding=[(low, high)], rhs_dilation=d, use_consistent_padding=True
    )
    inverse = [(span - 1 - low, span - 1 - high)]
    assert crop == cv.jax(i, k, strides=s, padding=inverse, rhs_dilation=d)
    assert crop == cv.equinox(i, k, stride=s, padding=[(low, high)], dilation=d)
    assert crop == bs.geometry(i, k, strides=s, padding=[(low, high)], dilation=d)


@given(sizes, sizes, steps, spacings, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_explicit_pads_agree_across_frameworks(
    i: int, k: int, s: int, d: int, b: int, e: int, op: int
) -> None:
    extra = op % s
    _ = assume((i - 1) * s + d * (k - 1) + 1 - b - e > 0)
    expected = bs.geometry(i, k, strides=s, dilation=d, padding=[(b, e)], output_padding=extra)
    ends: dict[str, Any] = {"strides": s, "dilations": d, "output_padding": extra}
    assert cv.onnx(i, k, pads=[b, e], **ends) == expected
    assert cv.onnxruntime(i, k, pads=[b, e], **ends) == expected
    assert cv.openvino(i, k, pads_begin=b, pads_end=e, **ends) == expected
    assert (
        cv.equinox(i, k, stride=s, dilation=d, padding=[(b, e)], output_padding=extra) == expected
    )
    two = cv.tensorflow((i, 1), (k, 1), strides=(s, 1), dilations=(d, 1), padding=[(b, e), (0, 0)],
                        output_shape=(expected.output[0], 1))  # fmt: skip
    assert two.crop[0] == expected.crop[0]


MESSAGES: list[tuple[Callable[[], bs.Geometry], str]] = [
    (
        lambda: cv.torch(5, 3, stride=2, output_padding=2),
        (
            "`output_padding` (=2) must be 0 to 1 on axis 0: below the larger of stride and "
            "dilation; the nearest legal value is 1"
        ),
    ),
    (
        lambda: cv.torch(5, 3, stride=2, padding=1, output_size=11),
        (
            "`output_size` (=11) must be 9 to 10 on axis 0: the sizes that a convolution with this "
            "stride and padding maps to `input`; the nearest legal value is 10"
        ),
    ),
    (
        lambda: cv.torch((5, 1), 1, padding=(0, 1)),
        (
            "`padding` (=(0, 1)) must leave at least 1 of the 1 cells of the full output of axis "
            "1, not -1; the nearest legal call has padding=(0, 0)"
        ),
    ),
    (
        lambda: cv.torch(1, 1, padding=3, output_size=1),
        (
            "`output_size` (=1) has no legal value on axis 0: the sizes that a convolution with "
            "this stride and padding maps to `input`"
        ),
    ),
    (
        lambda: cv.tensorflow(5, 3, strides=2, padding="same", output_shape=10),
        '`padding` (=\'same\') must be one of "SAME", "VALID"; the nearest legal value is "SAME"',
    ),
    (
        lambda: cv.tensorflow(5, 3, strides=2, output_shape=11),
        (
            "`output_shape` (=11) must be 9 to 10 on axis 0: the sizes that a convolution with "
            "padding='SAME' maps to `input`; the nearest legal value is 10"
        ),
    ),
    (
        lambda: cv.tensorflow(5, 3, strides=2, padding=[(1, 1)], output_shape=9),
        (
            '`padding` (=[(1, 1)]) must be "SAME" or "VALID" in 1-D: TensorFlow takes pairs in 2-D '
            'only; the nearest legal value is "SAME"'
        ),
    ),
    (
        lambda: cv.tensorflow((5, 5), 3, strides=2, padding=[(1, 1), (-1, 0)], output_shape=9),
        (
            "`padding` (=[(1, 1), (-1, 0)]) must not be negative; the nearest legal call has "
            "padding=[(1, 1), (0, 0)]"
        ),
    ),
    (
        lambda: cv.keras((5, 5), 3, strides=(1, 2), dilation_rate=(2, 1)),
        (
            "`dilation_rate` (=(2, 1)) must be 1 beside `strides` (=(1, 2)) above 1; the nearest "
            "legal value is 1"
        ),
    ),
    (
        lambda: cv.keras(5, 3, strides=2, output_padding=2),
        (
            "`output_padding` (=2) must be 0 to 1 on axis 0: below the stride; the nearest legal "
            "value is 1"
        ),
    ),
    (
        lambda: cv.jax(5, 3, strides=2, padding="SAME_LOWER"),
        (
            '`padding` (=\'SAME_LOWER\') must be one of "SAME", "VALID"; the nearest legal value '
            'is "SAME"'
        ),
    ),
    (
        lambda: cv.flax(5, 3, padding="CAUSAL"),
        (
            '`padding` (=\'CAUSAL\') must be one of "SAME", "VALID", "CIRCULAR"; the nearest legal '
            'value is "SAME"'
        ),
    ),
    (
        lambda: cv.flax(5, 3, strides=2, padding="CIRCULAR"),
        (
            '`padding` (="CIRCULAR") wraps 1 cells around axis 0, where the kernel spans 3 and the '
            "stride is 2: that "
            "is no crop of the full output; legal with strides from 3 on"
        ),
    ),
    (
        lambda: cv.equinox(5, 3, padding_mode="CIRCULAR", padding="VALID"),
        (
            '`padding` (=\'VALID\') must be one of "SAME", "SAME_LOWER"; the nearest legal value '
            'is "SAME"'
        ),
    ),
    (
        lambda: cv.onnx(5, 2, strides=3, auto_pad="SAME_UPPER"),
        (
            "`auto_pad` (='SAME_UPPER') asks for 15 cells on axis 0, of 14: a negative "
            "total_padding, which the text does not split; the nearest legal call has "
            "output_padding=(1,)"
        ),
    ),
    (
        lambda: cv.onnx(5, 3, pads=[1, 1], auto_pad="VALID"),
        (
            '`pads` (=[1, 1]) cannot be used with `auto_pad` (="VALID"); the nearest legal call '
            'leaves `pads` out, or auto_pad="NOTSET"'
        ),
    ),
    (
        lambda: cv.onnx((5, 5), 3, pads=[1, 1, 1, 1, 1]),
        "`pads` (=[1, 1, 1, 1, 1]) must list all begins, then all ends: 4 entries",
    ),
    (
        lambda: cv.onnxruntime(5, 3, dilations=3, output_padding=2),
        (
            "`output_padding` (=2) must be 0 on axis 0: the sizes that map back to `input`; the "
            "nearest legal value is 0"
        ),
    ),
    (
        lambda: cv.onnxruntime(5, 3, strides=2, output_shape=13),
        (
            "`output_shape` (=13) must be 1 to 12 on axis 0: the sizes that map back to `input`; "
            "the nearest legal value is 12"
        ),
    ),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES)
def test_messages(call: Callable[[], bs.Geometry], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message is compared
        _ = call()
    assert str(caught.value) == message


REFUSED: list[Callable[[], bs.Geometry]] = [
    lambda: cv.torch(5, 3, padding=-1),
    lambda: cv.torch(5, 3, stride=0),
    lambda: cv.keras(5, 3, padding="causal"),
    lambda: cv.keras(5, 3, strides=2, output_padding=-1),
    lambda: cv.jax(5, 3, strides=2, padding="valid"),
    lambda: cv.jax(5, 3, strides=1, padding="SAME_LOWER", use_consistent_padding=True),
    lambda: cv.flax(5, 3, padding="circular"),
    lambda: cv.equinox(5, 3, output_padding=1),
    lambda: cv.equinox(5, 3, padding_mode="REFLECT"),
    lambda: cv.equinox(5, 3, stride=3, padding="SAME", output_padding=1, padding_mode="CIRCULAR"),
    lambda: cv.onnx(5, 3, auto_pad="same_upper"),
    lambda: cv.onnx(5, 3, pads=[-1, 0]),
    lambda: cv.onnx(5, 3, output_padding=1),
    lambda: cv.openvino(5, 3, strides=2, pads_begin=-1),
    lambda: cv.openvino(5, 3, strides=2, output_padding=-1),
    lambda: cv.openvino((5, 5), 3, strides=2, auto_pad="VALID", pads_begin=(1, 1, 1)),
]


@pytest.mark.parametrize("call", REFUSED)
def test_refused(call: Callable[[], bs.Geometry]) -> None:
    with pytest.raises(ValueError, match="`"):
        _ = call()


def test_openvino_ignores_pads_beside_auto_pad() -> None:
    assert cv.openvino(5, 3, strides=2, auto_pad="VALID", pads_begin=-1, pads_end=4).crop == (
        (0, 0),
    )


def test_records_name_their_rule() -> None:
    for name, record in cv.CONVENTIONS.items():
        assert record.name == name
        assert record.constructor.__name__ == name.partition(",")[0]
        assert sorted(axis for axis in record.weight_layout if "/" not in axis) == [
            "*k",
            "C_big",
            "C_small",
        ]
    flipping = {name for name, record in cv.CONVENTIONS.items() if record.flips}
    assert flipping == {"jax", "flax", "equinox"}


@pytest.mark.parametrize("name", cv.CONVENTIONS)
@pytest.mark.parametrize("groups", [1, 2])
def test_kernel_layouts_entry_by_entry(name: str, groups: int) -> None:
    record = cv.CONVENTIONS[name]
    kernel = np.arange(3 * 2 * 2 * 4).reshape(3, 2, 2, 4)  # (*k, C_big/groups, C_small)
    if groups > 1 and record.grouped_layout is None:
        with pytest.raises(ValueError, match="takes no groups"):
            _ = cv.convert_kernel(kernel, record, groups=groups)
        return
    laid = cv.convert_kernel(kernel, record, groups=groups)
    layout = record.weight_layout if groups == 1 else record.grouped_layout
    for (row, column, b, c), value in np.ndenumerate(kernel):
        group, within = divmod(c, 4 // groups)
        taps = (2 - row, 1 - column) if record.flips else (row, column)
        where = {
            "*k": taps,
            "C_big": (group * 2 + b,),
            "C_big/groups": (b,),
            "C_small": (c,),
            "C_small/groups": (within,),
            "groups": (group,),
        }
        assert layout is not None
        assert laid[tuple(entry for axis in layout for entry in where[axis])] == value
