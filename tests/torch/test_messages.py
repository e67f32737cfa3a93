"""Bad calls: the error that PyTorch raises for them, and a message that names argument, value and
way out.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
functional: Any = torch.nn.functional
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")


X, WEIGHT = torch.ones(2, 8, 5, 5), torch.ones(8, 4, 3, 3)

# argument changes, and our message; PyTorch refuses each of these calls with the same class of
# error
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"stride": 0}, "`stride` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    ({"stride": (1, 2, 3)}, "`stride` (=(1, 2, 3)) must have one entry per axis, 2 of them"),
    ({"stride": 1.5}, "`stride` (=1.5) must be an integer or a sequence of integers, not float; the nearest legal value is 2"),
    ({"padding": -1}, "`padding` (=-1) must be at least 0 and below 2**63; the nearest legal value is 0"),
    ({"padding": (9, 0)}, "`padding` crops 9 cells off the front and 9 off the end of axis 0, which leaves -11: the output size is too small; the nearest legal total crop is 6"),
    ({"output_padding": -1}, "`output_padding` (=-1) must be at least 0 and below 2**63; the nearest legal value is 0"),
    ({"dilation": 0}, "`dilation` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    ({"groups": 3}, "`groups` (=3) must be positive and divide the 8 input channels; the nearest legal value is 2"),
    ({"groups": 0}, "`groups` (=0) must be positive and divide the 8 input channels; the nearest legal value is 1"),
    ({"input": torch.ones(2, 7, 5, 5)}, "`input` has shape (2, 7, 5, 5), 7 channels; `weight` (8, 4, 3, 3) with groups=1 takes 8"),
    ({"input": torch.ones(5, 5)}, "`input` has shape (5, 5); conv_transpose2d takes 3-D (unbatched) or 4-D (batched) input: (8, H, W) or (N, 8, H, W)"),
    ({"weight": torch.ones(8, 4, 3)}, "`weight` has shape (8, 4, 3); conv_transpose2d takes 4 axes: (C_in, C_out // groups, kH, kW)"),
    ({"bias": torch.ones(5)}, "`bias` has shape (5,); it must be (4,), one entry for each output channel"),
    ({"weight": WEIGHT.double()}, "`weight` has dtype torch.float64; it must be torch.float32, as `input` is; the nearest legal call has weight.to(torch.float32)"),
    ({"bias": torch.ones(4).double()}, "`bias` has dtype torch.float64; it must be torch.float32, as `input` is; the nearest legal call has bias.to(torch.float32)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"), REFUSED, ids=[str(next(iter(case[0]))) for case in REFUSED]
)
def test_refusals_are_pytorchs_with_better_words(changes: dict[str, Any], message: str) -> None:
    options = {"input": X, "weight": WEIGHT} | changes
    with pytest.raises((RuntimeError, TypeError, ValueError)) as theirs:
        _ = functional.conv_transpose2d(**options)
    with pytest.raises(type(theirs.value), match=f"^{re.escape(message)}$"):
        _ = bt.conv_transpose2d(**options)


OWN: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"padding": (
        "SAME"
    )}, RuntimeError, '`padding` (=\'SAME\') must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis; the nearest legal value is "same"'),
    ({"padding": (
        "same"
    ), "output_padding": 1}, RuntimeError, '`output_padding` (=1) goes with explicit padding only, not with padding="same"; name the size with `output_size`'),
    ({"padding": [(1, 2)]}, RuntimeError, "`padding` (=((1, 2),)) must be one (before, after) pair per axis: [(before, after), (before, after)]"),
    ({"padding_mode": (
        "reflect"
    )}, ValueError, '`padding_mode` (=\'reflect\') must be "zeros" or "circular"; the nearest legal value is "zeros"'),
    ({"padding": 3, "padding_mode": (
        "circular"
    )}, RuntimeError, "`padding` (=(3, 3)) wraps around more than once: the output has 1 cells on axis 0"),
    ({"activation": (
        "swish"
    )}, ValueError, "`activation` (='swish') must be None or one of relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu"),
    ({"stride": 2, "padding": 1, "output_size": (12, 9)}, ValueError, "`output_size` (=(12, 9)) must be 9 to 10 on axis 0: the sizes that a convolution with this stride and padding maps to 5; the nearest legal value is 10"),
    ({"output_size": (7,)}, ValueError, "`output_size` (=(7,)) must have 2 entries, or those of the whole shape"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), OWN)
def test_our_own_words_are_checked(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        _ = bt.conv_transpose2d(**({"input": X, "weight": WEIGHT} | changes))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"groups": 3}, ValueError),
        ({"groups": 0}, ValueError),
        ({"padding_mode": "reflect"}, ValueError),
        ({"kernel_size": 1.5}, TypeError),
    ],
)
def test_constructors_refuse_what_pytorchs_refuse(
    changes: dict[str, Any], error: type[Exception]
) -> None:
    options: dict[str, Any] = {"in_channels": 8, "out_channels": 4, "kernel_size": 3} | changes
    for cls in (nn.ConvTranspose2d, bt.ConvTranspose2d):
        with pytest.raises(error):
            _ = cls(**options)


def test_a_constructor_refuses_negative_padding_at_once() -> None:
    message = "`padding` (=-1) must be at least 0 and below 2**63; the nearest legal value is 0"
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        _ = bt.ConvTranspose2d(8, 4, 3, padding=-1)


def test_the_raw_operators_refuse_tensors_that_do_not_meet() -> None:
    operators = torch.ops.backstride
    with pytest.raises(
        RuntimeError, match=r"^`grad` has shape \(2, 4, 8, 8\); with these options its size must be"
    ):
        operators.conv(torch.ones(2, 4, 8, 8), WEIGHT, [2, 2], [0, 0, 0, 0], [1, 1], 1)
    with pytest.raises(
        RuntimeError, match=r"^`crop` \(=\[0\]\) and `dilation` \(=\[1, 1\]\) must fit 2 strides$"
    ):
        operators.conv_transpose(X, WEIGHT, None, [1, 1], [0], [1, 1], 1)
    with pytest.raises(RuntimeError, match=r"must have the same batch$"):
        operators.conv_kernel_gradient(X, torch.ones(1, 4, 7, 7), [1, 1], [0, 0, 0, 0], [1, 1], 1)
