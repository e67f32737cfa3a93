"""`receptive_field` against gradients: with positive weights, a cell's gradient is not zero on what
it sees.
"""

from __future__ import annotations

from collections.abc import Callable
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
    """Sliding layers of one channel with positive weights and without gaps, and the side of their
    image.
    """
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
            made = (
                nn.Conv2d(1, 1, kernel, stride, pad)
                if kind == "conv"
                else nn.AvgPool2d(kernel, stride, pad)
            )
        layers.append(made)
        cells = made(torch.zeros(1, 1, cells, cells)).shape[2]
        _ = assume(4 <= cells < 70)
    model = nn.Sequential(*layers).double()
    for parameter in model.parameters():
        _ = parameter.data.fill_(1)
    return model, side


def seen_rows(model: nn.Module, side: int, cell: int) -> tuple[int, int]:
    """The first and last row of the image that a cell of row `cell` depends on; its column is in
    the middle.
    """
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
    """All of it lies within; without transposed layers it fills the field, but for what is
    padding.
    """
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


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 0), (4, 2, 1), (3, 1, 1), (5, 3, 1)]
)
def test_one_transposed_layer_attains_both_ends_of_its_field(
    kernel: int, stride: int, pad: int
) -> None:
    """No smaller regular description holds: some inner cell reaches its start, some its end."""
    model: Any = nn.Sequential(
        nn.ConvTranspose2d(1, 1, kernel, stride, padding=pad, bias=False)
    ).double()
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
            return F.interpolate(
                F.conv_transpose2d(x, self.weight, stride=2, padding=1), scale_factor=factor
            )

    (output,) = bs.receptive_field(Up(), (1, 9, 9))
    (again,) = bs.receptive_field(
        nn.Sequential(nn.ConvTranspose2d(1, 1, 3, 2, 1), nn.Upsample(scale_factor=factor)),
        (1, 9, 9),
    )
    assert output.stride[0] == Fraction(1, 2 * factor)
    assert (again.receptive_field, again.stride, again.offset) == (
        output.receptive_field,
        output.stride,
        output.offset,
    )
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
    with pytest.raises(RefusedError, match=r"0 \(Softmax\): sums over positions"):
        _ = bs.receptive_field(nn.Sequential(nn.Softmax(3)), (1, 8, 8))


def test_sounds_and_volumes_have_fields() -> None:
    sound = nn.Sequential(
        nn.Conv1d(4, 4, 3, dilation=4),
        nn.LeakyReLU(),
        nn.AvgPool1d(2),
        nn.BatchNorm1d(4),
        nn.ConstantPad1d((1, 2), 0.0),
    )
    (output,) = bs.receptive_field(sound, (4, 40))
    assert (output.receptive_field, output.stride, output.offset) == (
        (10,),
        (2,),
        (Fraction(5, 2),),
    )
    assert not output.bound
    volume = nn.Sequential(
        nn.Conv3d(1, 2, (1, 3, 5), (1, 2, 1)),
        nn.MaxPool3d(2),
        nn.Flatten(),
        nn.Linear(2 * 2 * 1 * 2, 3),
    )
    (output,) = bs.receptive_field(volume, (1, 4, 7, 8))
    assert output.size == (1, 1, 1)
    assert output.receptive_field == (4, 5, 8)


def test_a_vocoder_is_measured_by_its_gradient() -> None:
    class Vocoder(nn.Module):
        """Sums of branches of several kernels behind a transposed layer, as HiFi-GAN has them
        (arXiv 2010.05646).
        """

        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose1d(2, 2, 8, 4, 2)
            self.branches = nn.ModuleList(
                [nn.Conv1d(2, 2, k, 1, "same", d) for k, d in ((3, 1), (3, 5), (7, 1))]
            )
            self.last = nn.Conv1d(2, 1, 7, padding=3)

        def forward(self, x: Tensor) -> Tensor:
            y = F.leaky_relu(self.up(x), 0.1)
            return self.last(sum(branch(y) for branch in self.branches) / 3)

    model: Any = Vocoder().double()
    for parameter in model.parameters():
        _ = parameter.data.abs_().add_(0.1)
    (output,) = bs.receptive_field(model, (2, 24))
    assert output.stride == (Fraction(1, 4),)
    assert output.bound
    gaps: list[Fraction] = []
    for cell in range(32, 64):
        x = torch.rand(1, 2, 24, dtype=torch.float64, requires_grad=True)
        model(x)[0, 0, cell].backward()
        assert x.grad is not None
        seen = torch.nonzero(x.grad.abs().sum((0, 1))).flatten()
        start, end = interval(output, cell)
        assert start <= int(seen[0]) <= int(seen[-1]) < end
        gaps.append(int(seen[0]) - start)
    assert min(gaps) == 0


class Grown(nn.Module):
    """A map that grows to its image's size by an interpolation."""

    def __init__(self, options: dict[str, Any], stride: int = 2) -> None:
        super().__init__()
        self.options = options
        self.down = nn.Conv2d(1, 1, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.down(x), size=x.shape[-2:], **self.options)


@pytest.mark.parametrize("size", [12, 13])
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        *(
            {"mode": "nearest"},
            {"mode": "nearest-exact"},
            {"mode": "bilinear"},
            {"mode": "bicubic"},
        ),
        *({"mode": "bilinear", "align_corners": True}, {"mode": "bicubic", "align_corners": True}),
    ],
)
def test_interpolations_to_a_size_have_a_bound(
    options: dict[str, Any], stride: int, size: int
) -> None:
    model: Any = Grown(options, stride).double()
    _ = model.down.weight.data.fill_(1)
    (output,) = bs.receptive_field(model, (1, size, size))
    assert output.bound
    starts: list[Fraction] = []
    ends: list[Fraction] = []
    for cell in range(size):
        first, last = seen_rows(model, size, cell)
        start, end = interval(output, cell)
        assert start <= first <= last < end
        starts.append(first - start)
        ends.append(end - last - 1)
    assert min(starts) < stride
    assert min(ends) < stride


def test_what_sees_all_of_the_image_is_said() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    normed = nn.Sequential(plain[0], nn.InstanceNorm2d(4), plain[1], plain[2])
    (free,), (whole,) = (bs.receptive_field(model, (1, 9, 9)) for model in (plain, normed))
    assert (free.whole, whole.whole) == (False, True)
    assert free.receptive_field == whole.receptive_field == (5, 5)
    (local,) = bs.receptive_field(normed, (1, 9, 9), se="local")
    assert (local.whole, local.receptive_field) == (False, (11, 11))


SPREAD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bilinear": lambda cell, like: F.interpolate(cell, size=like.shape[2:], mode="bilinear"),
    "aligned": lambda cell, like: F.interpolate(
        cell, size=like.shape[2:], mode="bilinear", align_corners=True
    ),
    "nearest": lambda cell, _: F.interpolate(cell, size=(16, 16)),
    "expanded": lambda cell, like: cell.expand(-1, -1, *like.shape[2:]),
    "expanded as": lambda cell, like: cell.expand_as(like),
    "repeated": lambda cell, like: cell.repeat(1, 1, like.shape[2], like.shape[3]),
}


class Pyramid(nn.Module):
    """DeepLab's ASPP, with and without its branch of the whole image."""

    def __init__(self, spread: Callable[[Tensor, Tensor], Tensor] | None) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(4, 4, 3, padding=6, dilation=6)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.ReLU())
        self.spread = spread

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        branches = [y, self.wide(y)]
        if self.spread is not None:
            branches.append(self.spread(self.pool(y), y))
        return F.interpolate(torch.cat(branches, 1), size=x.shape[2:], mode="bilinear")


@pytest.mark.parametrize("name", SPREAD)
def test_a_pooling_that_is_resized_to_a_map_sees_all(name: str) -> None:
    (plain,) = bs.receptive_field(Pyramid(None), (1, 32, 32))
    (pooled,) = bs.receptive_field(Pyramid(SPREAD[name]), (1, 32, 32))
    assert (plain.whole, pooled.whole) == (False, True)
    assert pooled.size == (32, 32)
    numbers = [
        (found.receptive_field, found.stride, found.offset, found.bound)
        for found in (plain, pooled)
    ]
    assert numbers[0] == numbers[1]


def test_a_map_of_one_pooled_cell_alone_sees_the_whole_image() -> None:
    class Spread(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(F.adaptive_avg_pool2d(x, 1), size=x.shape[2:])

    (output,) = bs.receptive_field(Spread(), (1, 12, 9))
    assert (output.whole, output.size) == (True, (12, 9))
    assert (output.receptive_field, output.stride, output.offset) == (
        (12, 9),
        (0, 0),
        (Fraction(11, 2), 4),
    )


def test_crops_shuffles_and_strided_slices_count() -> None:
    class Cropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 4, 3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return F.pixel_shuffle(self.layer(x)[:, :, 1:-1, ::2], 2)

    (output,) = bs.receptive_field(Cropped(), (1, 15, 15))
    assert output.size == (10, 8)
    assert output.stride == (1, 2)
    model: Any = Cropped().double()
    for cell in range(10):
        first, last = seen_rows(model, 15, cell)
        start, end = interval(output, cell)
        assert start <= first <= last < end


def test_shapes_of_no_image_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"must be the channels and one to three sizes, all positive, without the batch",
    ):
        _ = bs.receptive_field(nn.Identity(), (1, 1, 1, 1, 1))
