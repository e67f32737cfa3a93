"""`receptive_field` against gradients: with positive weights, a cell's gradient is not zero on what it sees."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

import backstride as bs
from backstride.surgery import Output, RefusedError


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Sequential, int]:
    """Sliding layers of one channel with positive weights and without gaps, and the side of their image."""
    side = draw(st.integers(10, 22))
    layers: list[nn.Module] = []
    cells = side
    for _ in range(draw(st.integers(1, 4))):
        stride = draw(st.integers(1, 3))
        kernel = draw(st.integers(stride, 4))
        kind = draw(st.sampled_from(["conv", "pool", "up"]))
        if kind == "up":
            pad = draw(st.integers(0, (kernel - stride) // 2))
            made: Any = nn.ConvTranspose2d(1, 1, kernel, stride, padding=pad, bias=False)
        else:
            _ = assume(cells >= 2 * kernel)
            pad = draw(st.integers(0, (kernel - 1) // 2))
            made = nn.Conv2d(1, 1, kernel, stride, pad) if kind == "conv" else nn.AvgPool2d(kernel, stride, pad)
        layers.append(made)
        cells = made(torch.zeros(1, 1, cells, cells)).shape[2]
        _ = assume(4 <= cells < 70)
    model = nn.Sequential(*layers).double()
    for parameter in model.parameters():
        _ = parameter.data.fill_(1)
    return model, side


def seen_rows(model: nn.Module, side: int, cell: int) -> tuple[int, int]:
    """The first and last row of the image that a cell of row `cell` depends on; its column is in the middle."""
    image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    result: Any = model(image)
    result[0, 0, cell, result.shape[3] // 2].backward()
    assert image.grad is not None
    rows = torch.nonzero(image.grad[0, 0].abs().sum(1) > 0).flatten()
    return int(rows[0]), int(rows[-1])


def interval(output: Output, cell: int) -> tuple[Fraction, Fraction]:
    """The first pixel that a cell may see and the end of the last one."""
    start = output.offset[0] + cell * output.stride[0] - (output.receptive_field[0] - 1) / 2
    return start, start + output.receptive_field[0]


@given(networks())
def test_the_gradient_is_where_the_field_is(drawn: tuple[nn.Sequential, int]) -> None:
    """All of it lies within; without transposed layers it fills the field, but for what is padding."""
    model, side = drawn
    (output,) = bs.receptive_field(model, (1, side, side))
    transposed = any(isinstance(layer, nn.ConvTranspose2d) for layer in model)
    for cell in range(output.size[0]):
        first, last = seen_rows(model, side, cell)
        start, end = interval(output, cell)
        assert start <= first
        assert last + 1 <= end
        if not transposed and start >= 0 and end <= side:
            assert (first, last + 1) == (start, end)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 0), (4, 2, 1), (3, 1, 1), (5, 3, 1)])
def test_one_transposed_layer_attains_both_ends_of_its_field(kernel: int, stride: int, pad: int) -> None:
    """No smaller regular description holds: some inner cell reaches its start, some its end."""
    model = nn.Sequential(nn.ConvTranspose2d(1, 1, kernel, stride, padding=pad, bias=False)).double()
    _ = model[0].weight.data.fill_(1)
    (output,) = bs.receptive_field(model, (1, 16, 16))
    assert output.stride[0] == Fraction(1, stride)
    inner = range(3 * stride, 10 * stride)
    gaps = [(seen_rows(model, 16, cell), interval(output, cell)) for cell in inner]
    assert min(first - start for (first, _), (start, _) in gaps) == 0
    assert min(end - (last + 1) for (_, last), (_, end) in gaps) == 0


def test_a_u_net_of_maps_has_a_field() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(1, 2, 4, 2, 1)
            self.up = nn.ConvTranspose2d(2, 2, 4, 2, 1)
            self.last = nn.Conv2d(3, 1, 3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.cat([self.up(torch.relu(self.down(x))), x], 1))

    (output,) = bs.receptive_field(Tiny(), (1, 16, 16))
    assert (output.stride, output.offset) == ((1, 1), (0, 0))
    assert output.receptive_field == (9, 9)
    assert output.size == (16, 16)


@pytest.mark.parametrize("factor", [2, 3])
def test_repeated_cells_and_functional_layers_count(factor: int) -> None:
    class Up(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, 1, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(F.conv_transpose2d(x, self.weight, stride=2, padding=1), scale_factor=factor)

    (output,) = bs.receptive_field(Up(), (1, 9, 9))
    (again,) = bs.receptive_field(
        nn.Sequential(nn.ConvTranspose2d(1, 1, 3, 2, 1), nn.Upsample(scale_factor=factor)), (1, 9, 9)
    )
    assert output.stride[0] == Fraction(1, 2 * factor)
    assert (again.receptive_field, again.stride, again.offset) == (output.receptive_field, output.stride, output.offset)
    model: Any = Up().double()
    for cell in range(output.size[0]):
        first, last = seen_rows(model, 9, cell)
        start, end = interval(output, cell)
        assert start <= first <= last < end


def test_a_classifiers_vector_is_the_cell_of_its_network() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, 2), nn.Flatten(), nn.Linear(2 * 7 * 7, 3))
    _, report = bs.convolutionalize(model, (1, 15, 15))
    assert bs.receptive_field(model, (1, 15, 15)) == report.outputs


def test_what_has_no_field_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match=r"interpolate: no rule knows this operation"):
        _ = bs.receptive_field(Bilinear(), (1, 8, 8))


class Bilinear(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear")
