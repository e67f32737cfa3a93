"""`dense`: valid cells see pixels alone; shifting and stitching gives the classifier on every
crop.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from backstride.surgery import RefusedError, convolutionalize, prove
from surgery.classifiers import BY_NAME, CASES, Case, leaves, lenet

EXACT = tuple(case for case in CASES if case.exact)


def sliding(model: nn.Module, image: Tensor, rows: int, columns: int, output: int = 0) -> Tensor:
    """The classifier on every crop of (1, C, H, W), one pixel apart: (classes, h, w)."""
    crops = image.unfold(2, rows, 1).unfold(3, columns, 1)[0].permute(1, 2, 0, 3, 4)
    h, w = crops.shape[:2]
    found = leaves(model(crops.reshape(-1, *crops.shape[2:])))[output]
    return found.reshape(h, w, -1).permute(2, 0, 1)


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.name)
def test_stitched_cells_are_the_sliding_window(case: Case) -> None:
    model = case.build().double()
    network, report = convolutionalize(model, case.shape, dense="shift_and_stitch")
    channels, rows, columns = case.shape
    image = torch.randn(1, channels, rows + 6, columns + 9, dtype=torch.float64)
    with torch.no_grad():
        for output, got in enumerate(leaves(network(image))):
            torch.testing.assert_close(
                got[0], sliding(model, image, rows, columns, output), rtol=1e-9, atol=1e-9
            )
    assert all(out.stride == (1, 1) for out in report.outputs)
    for head in report.heads:
        proof = prove(model, network, report, image[0], head=head.key)
        assert proof.holds
        assert proof.expected.all()
        assert proof.deviation.shape == (7, 10)


@st.composite
def unpadded(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, int, int]]:
    """Convolutions and poolings of any stride and dilation without padding, and a dense layer."""
    size = (2, draw(st.integers(6, 18)), draw(st.integers(6, 18)))
    layers: list[nn.Module] = []
    channels = 2
    rows, columns = size[1:]
    for _ in range(draw(st.integers(1, 4))):
        kernel, stride, dilation = (
            draw(st.integers(1, 3)),
            draw(st.integers(1, 3)),
            draw(st.integers(1, 2)),
        )
        kind = draw(st.sampled_from(["conv", "max", "avg"]))
        dilation = 1 if kind == "avg" else dilation
        span = dilation * (kernel - 1) + 1
        _ = assume(min(rows, columns) >= span)
        rows, columns = ((side - span) // stride + 1 for side in (rows, columns))
        if kind == "conv":
            layers += [nn.Conv2d(channels, 3, kernel, stride, dilation=dilation), nn.Tanh()]
            channels = 3
        else:
            layers.append(
                nn.MaxPool2d(kernel, stride, dilation=dilation)
                if kind == "max"
                else nn.AvgPool2d(kernel, stride)
            )
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(channels * rows * columns, 3)
    ).double().eval(), size


@given(unpadded(), st.integers(0, 5), st.integers(0, 5))
def test_any_strides_stitch_to_the_sliding_window(
    drawn: tuple[nn.Module, tuple[int, int, int]], more_rows: int, more_columns: int
) -> None:
    model, (channels, rows, columns) = drawn
    network, _ = convolutionalize(model, (channels, rows, columns), dense="shift_and_stitch")
    image = torch.randn(1, channels, rows + more_rows, columns + more_columns, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            network(image)[0], sliding(model, image, rows, columns), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("name", ["vgg", "resnet", "lenet"])
def test_valid_cells_do_not_change_with_what_surrounds_the_image(name: str) -> None:
    """Inside any larger picture, a valid cell has the same value: it has seen pixels alone."""
    case = BY_NAME[name]
    model = case.build().double()
    network, report = convolutionalize(model, case.shape, dense="valid")
    (stride, _), rows = report.outputs[0].stride, int(max(report.outputs[0].receptive_field)) + 21
    around = 2 * int(stride)
    world = torch.randn(1, case.shape[0], rows + 2 * around, rows + 2 * around, dtype=torch.float64)
    with torch.no_grad():
        alone = network(world[:, :, around:-around, around:-around])
        inside = network(world)
    cells = alone.shape[2]
    assert cells > 0
    torch.testing.assert_close(
        inside[:, :, 2 : 2 + cells, 2 : 2 + cells], alone, rtol=1e-9, atol=1e-9
    )


def test_valid_cells_start_where_the_report_says() -> None:
    case = BY_NAME["vgg"]
    _, padded = convolutionalize(case.build(), case.shape)
    _, valid = convolutionalize(case.build(), case.shape, dense="valid")
    before, after = padded.outputs[0], valid.outputs[0]
    assert after.offset[0] - (after.receptive_field[0] - 1) / 2 >= 0
    assert (after.offset[0] - before.offset[0]) % before.stride[0] == 0
    assert after.receptive_field == before.receptive_field


def test_an_unpadded_classifier_has_valid_cells_only() -> None:
    model = lenet().eval()
    image = torch.randn(1, 1, 50, 41)
    padded, valid = (
        convolutionalize(model, (1, 28, 28), dense=dense)[0] for dense in ("padded", "valid")
    )
    assert torch.equal(padded(image), valid(image))


def test_padding_has_no_stitched_form() -> None:
    with pytest.raises(RefusedError) as caught:
        _ = convolutionalize(
            nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 2)),
            (1, 4, 4),
            dense="shift_and_stitch",
        )
    assert str(caught.value) == (
        "`model` (=Sequential) cannot become fully convolutional: 0 (Conv2d): pads, and what it "
        "reads at a crop's border is no pixel of a larger image"
    )


CROPS: dict[str, Callable[[Tensor], Tensor]] = {
    "a crop": lambda x: x[:, :, 1:-2, 2:6],
    "negative padding": lambda x: F.pad(x, (-1, -2, -3, 0)),
    "every second": lambda x: x[:, :, 1::2, ::3],
    "narrow": lambda x: x.narrow(2, 3, 4),
    "a layer": nn.ZeroPad2d(-1),
    "a layer that does nothing": nn.ZeroPad2d(0),
    "channels, too": lambda x: torch.cat([x[:, 1:3, 1:], x[:, :2, :-1]], 1),
    "beside a pooling": lambda x: x[:, :, 1:-1, 1:-1] + F.avg_pool2d(x, 3, 1),
    "twice": lambda x: F.max_pool2d(x[:, :, 1:, 1:], 2)[:, :, :-1, 1:],
}


@pytest.mark.parametrize("name", CROPS)
def test_crops_behind_strides_shift_by_pixels(name: str) -> None:
    class Cropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = (
                nn.Conv2d(1, 4, 3, 2),
                nn.Conv2d(4, 4, 2),
                nn.LazyLinear(3),
            )
            self.crop = CROPS[name]

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.second(self.crop(self.first(x)).relu()).flatten(1))

    model = Cropped().double().eval()
    image = torch.randn(1, 1, 22, 25, dtype=torch.float64)
    with torch.no_grad():
        _ = model(image[:, :, :17, :19])
        network, report = convolutionalize(model, (1, 17, 19), dense="shift_and_stitch")
        torch.testing.assert_close(
            network(image)[0], sliding(model, image, 17, 19), rtol=1e-9, atol=1e-9
        )
    proof = prove(model, network, report, image[0])
    assert proof.holds
    assert proof.expected.all()
    mixed = nn.Sequential(
        nn.Conv2d(1, 1, 3), nn.ZeroPad2d((-1, 1, 0, 0)), nn.Flatten(), nn.Linear(4, 1)
    )
    with pytest.raises(RefusedError, match=r"1 \(ZeroPad2d\): pads, and"):
        _ = convolutionalize(mixed, (1, 4, 4), dense="shift_and_stitch")


def test_a_layer_called_at_two_strides_has_no_one_dilation() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool, self.head = nn.Conv2d(2, 2, 2), nn.MaxPool2d(2), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(self.pool(self.conv(x))).flatten(1))

    with pytest.raises(RefusedError, match=r"conv \(Conv2d\): is called at two strides"):
        _ = convolutionalize(Shared(), (2, 7, 7), dense="shift_and_stitch")


def test_one_cell_has_every_dilation() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool, self.head = nn.Conv2d(2, 2, 1), nn.MaxPool2d(2), nn.Linear(18, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(self.pool(self.conv(x))).flatten(1))

    model = Shared()
    network, report = convolutionalize(model, (2, 6, 6), dense="shift_and_stitch")
    proof = prove(model, network, report, torch.randn(2, 9, 11))
    assert proof.holds
    assert proof.expected.all()


def doubled(_layer: nn.Module, _given: object, found: Tensor) -> Tensor:
    return 2 * found


def test_the_hook_of_a_pooling_is_refused_and_that_of_a_convolution_runs() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    _ = model[0].register_forward_hook(doubled)
    network, report = convolutionalize(model, (1, 5, 5), dense="shift_and_stitch")
    assert prove(model, network, report, torch.randn(1, 8, 7)).holds
    _ = model[1].register_forward_hook(doubled)
    with pytest.raises(RefusedError, match=r"1 \(MaxPool2d\): has a forward hook"):
        _ = convolutionalize(model, (1, 5, 5), dense="shift_and_stitch")


def test_the_choice_is_checked() -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        _ = convolutionalize(lenet(), (1, 28, 28), dense="atrous")
    assert (
        str(caught.value)
        == '`dense` (=\'atrous\') must be "padded" or "valid" or "shift_and_stitch"'
    )


def test_valid_networks_without_a_native_cell_say_so() -> None:
    case = BY_NAME["resnet"]
    model = case.build()
    network, report = convolutionalize(model, case.shape, dense="valid")
    with pytest.raises(ValueError, match="gives no cell at native size"):
        _ = prove(model, network, report, np.zeros((3, 60, 60)))
