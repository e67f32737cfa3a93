"""Legal calls of PyTorch's functions drawn by hypothesis, and how results are compared; shared by
these tests.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

torch: Any = importlib.import_module("torch")
bt: Any = importlib.import_module("backstride.torch")
functional: Any = torch.nn.functional

STOCK: dict[int, Callable[..., Any]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
OURS: dict[int, Callable[..., Any]] = {
    1: bt.conv_transpose1d,
    2: bt.conv_transpose2d,
    3: bt.conv_transpose3d,
}
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True)
class TorchCall:
    """One legal call: shapes, options, and a seed for the values."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    bias: bool
    options: dict[str, Any]
    batched: bool
    channels_last: bool
    seed: int

    @property
    def rank(self) -> int:
        return len(self.weight) - 2

    def tensors(self, dtype: Any = torch.float64) -> list[Any]:
        """(input, weight, bias) that want gradients."""
        random = torch.Generator().manual_seed(self.seed)
        channels = self.weight[1] * self.options["groups"]
        shapes = [self.input if self.batched else self.input[1:], self.weight, (channels,)]
        made: list[Any] = [torch.randn(shape, generator=random, dtype=dtype) for shape in shapes]
        if self.channels_last and self.batched and self.rank > 1:
            assert made[0] is not None
            made[0] = made[0].contiguous(memory_format=FORMATS[self.rank])
        if not self.bias:
            made[2] = None
        return [None if tensor is None else tensor.requires_grad_() for tensor in made]


@st.composite
def torch_calls(draw: st.DrawFn) -> TorchCall:
    """Any call that PyTorch takes, small."""
    rank = draw(st.integers(1, 3))
    most = {1: 7, 2: 5, 3: 3}[rank]
    axes: list[tuple[int, ...]] = []
    for _ in range(rank):
        size, taps = draw(st.integers(1, most)), draw(st.integers(1, most - 1))
        stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        extra = draw(st.integers(0, max(stride, dilation) - 1))
        length = (size - 1) * stride + dilation * (taps - 1) + 1 + extra
        axes.append((size, taps, stride, dilation, extra, draw(st.integers(0, (length - 1) // 2))))
    sizes, taps, stride, dilation, extra, padding = zip(*axes, strict=True)
    groups = draw(st.integers(1, 3))
    small, big = groups * draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return TorchCall(
        input=(draw(st.integers(1, 3)), small, *sizes),
        weight=(small, big, *taps),
        bias=draw(st.booleans()),
        options={
            "stride": stride,
            "padding": padding,
            "output_padding": extra,
            "groups": groups,
            "dilation": dilation,
        },
        batched=draw(st.booleans()),
        channels_last=draw(st.booleans()),
        seed=draw(st.integers(0, 2**31)),
    )


def compare(call: TorchCall, dtype: Any = torch.float64) -> None:
    """Forward, gradients and the gradients' gradients equal PyTorch's."""
    tensors = call.tensors(dtype)
    found = values(OURS[call.rank], tensors, call.options)
    expected = values(STOCK[call.rank], tensors, call.options)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, **tolerance(dtype))


def values(function: Callable[..., Any], tensors: list[Any], options: dict[str, Any]) -> list[Any]:
    """The result, its gradients by all tensors, and the gradients of a function of those."""
    y = function(*tensors, **options)
    wanted = [tensor for tensor in tensors if tensor is not None]
    upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    first = torch.autograd.grad(y, wanted, upstream, create_graph=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in first[:2]), wanted[:2])
    return [y, *first, *second]


def tolerance(dtype: Any) -> dict[str, float]:
    """Rounding: sums of up to a few hundred products, squared once."""
    return {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-3}
