from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import nn

from backstride.surgery import prove, transpose
from backstride.surgery.model.fields import IMAGE, Field, fields
from surgery.classifiers import BY_NAME, CASES, Case, lenet

SINGLE = tuple(case for case in CASES if case.name != "heads")
each = pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)


@pytest.mark.parametrize("name", ["lenet", "resnet"])
@pytest.mark.parametrize("skips", ["auto", ()])
def test_the_output_has_the_size_of_every_image(name: str, skips: Any) -> None:
    case = BY_NAME[name]
    network, _ = transpose(case.build(), case.shape, classes=2, skips=skips)
    with torch.no_grad():
        for rows in range(28, 71):
            for columns in {rows, 98 - rows, 28}:
                image = torch.zeros(1, case.shape[0], rows, columns)
                assert network(image).shape == (1, 2, rows, columns)


@each
def test_the_output_has_the_size_of_the_image_for_every_architecture(case: Case) -> None:
    network, _ = transpose(case.build(), case.shape)
    _, rows, columns = case.shape
    with torch.no_grad():
        for extra in (0, 1, 2, 3, 5, 9, 16, 23):
            image = torch.zeros(2, case.shape[0], rows + extra, columns + 3 * extra)
            assert network(image).shape[2:] == image.shape[2:]


def interpolated(
    values: np.ndarray, axis: int, coarse: Field, fine: Field, cells: int
) -> np.ndarray:
    """Linear interpolation along an axis at the fine grid's places; border values beyond the
    ends.
    """
    places = [float(fine.offset + cell * fine.stride) for cell in range(cells)]
    known = [float(coarse.offset + cell * coarse.stride) for cell in range(values.shape[axis])]
    return np.apply_along_axis(lambda row: np.interp(places, known, row), axis, values)


@each
@pytest.mark.parametrize("skips", ["auto", ()])
def test_before_training_each_step_is_bilinear_interpolation(case: Case, skips: Any) -> None:
    network, report = transpose(case.build().double(), case.shape, skips=skips)
    image = torch.randn(
        1, case.shape[0], case.shape[1] + 17, case.shape[2] + 10, dtype=torch.float64
    )
    assert report.decoder is not None
    with torch.no_grad():
        found = fields(report.graph)
        coarse, *taps = network.backbone(image)
        grids = [
            found[report.decoder.top],
            *(found[tap.node] for tap in report.decoder.taps),
            (IMAGE, IMAGE),
        ]
        values = coarse.numpy()
        for (grid, fine), target in zip(pairwise(grids), (*taps, image), strict=True):
            for axis in (0, 1):
                values = interpolated(
                    values, axis + 2, grid[axis], fine[axis], target.shape[axis + 2]
                )
        wanted = network.result(torch.as_tensor(values))
        torch.testing.assert_close(network(image), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "aligned"), [("lenet", False), ("resnet", True)])
def test_without_skips_it_is_torchs_own_bilinear_upsampling_inside(
    name: str, aligned: bool
) -> None:
    case = BY_NAME[name]
    network, report = transpose(case.build(), case.shape, skips=())
    image = torch.randn(1, case.shape[0], 61, 70)
    out = report.outputs[0]
    stride, offset = int(out.stride[0]), out.offset[0]
    with torch.no_grad():
        coarse = network.coarse(image)
        if aligned:  # cell i at pixel offset + i*stride
            size = [(cells - 1) * stride + 1 for cells in coarse.shape[2:]]
            wanted = F.interpolate(coarse, size=size, mode="bilinear", align_corners=True)
            first = int(offset)
            shown = network(image)[:, :, first : first + size[0], first : first + size[1]]
        else:  # cell i in the middle of stride pixels; the outermost half cells are extended
            full = F.interpolate(coarse, scale_factor=stride, mode="bilinear", align_corners=False)
            first = int(offset - (stride - 1) / 2)
            wanted = full
            shown = network(image)[
                :, :, first : first + full.shape[2], first : first + full.shape[3]
            ]
        assert shown.shape == wanted.shape
        torch.testing.assert_close(shown, wanted, rtol=1e-5, atol=1e-5)


def test_border_pixels_repeat_the_outermost_cells() -> None:
    network, _ = transpose(lenet().eval(), (1, 28, 28), skips=())
    with torch.no_grad():
        image = torch.randn(1, 1, 45, 33)
        coarse, result = network.coarse(image), network(image)
    torch.testing.assert_close(result[:, :, 0, 0], coarse[:, :, 0, 0])
    torch.testing.assert_close(result[:, :, -1, -1], coarse[:, :, -1, -1])
    torch.testing.assert_close(result[:, :, :14, :14], coarse[:, :, :1, :1].expand(-1, -1, 14, 14))


@pytest.mark.parametrize("classes", [3, 10, 14])
def test_classes_replace_the_last_layer(classes: int) -> None:
    model = lenet().eval()
    network, _ = transpose(model, (1, 28, 28), classes=classes)
    image = torch.randn(2, 1, 28, 28)
    scores, kept = network.coarse(image)[:, :, 0, 0], min(classes, 10)
    torch.testing.assert_close(scores[:, :kept], model(image)[:, :kept], rtol=1e-5, atol=1e-5)
    assert not scores[:, kept:].any()
    assert network(image).shape == (2, classes, 28, 28)
    assert model[-1].out_features == 10


def test_classes_replace_a_single_dense_layer_over_the_map() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 6)).eval()
    network, _ = transpose(model, (1, 8, 8), classes=2)
    image = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(network.coarse(image)[:, :, 0, 0], model(image)[:, :2])


def test_classes_replace_a_convolution_before_global_pooling() -> None:
    head = (nn.Conv2d(4, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), *head).eval()
    network, _ = transpose(model, (1, 9, 9), classes=2)
    image = torch.randn(2, 1, 9, 9)
    torch.testing.assert_close(network.coarse(image)[:, :, 0, 0], model(image)[:, :2])


def test_classes_replace_the_last_of_two_functional_layers() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (
                nn.Parameter(torch.randn(6, 16)),
                nn.Parameter(torch.randn(4, 6)),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(F.linear(x.flatten(1), self.first), self.second)

    network, _ = transpose(Functional(), (1, 4, 4), classes=2)
    assert network(torch.zeros(1, 1, 9, 6)).shape == (1, 2, 9, 6)


def test_a_last_softmax_runs_per_pixel() -> None:
    case = BY_NAME["functional"]
    network, report = transpose(case.build(), case.shape)
    with torch.no_grad():
        total = network(torch.randn(1, 3, 40, 31)).exp().sum(1)
    torch.testing.assert_close(total, torch.ones_like(total))
    assert report.steps[-1] == "log_softmax, per pixel instead of per coarse cell"


def test_the_coarse_scores_prove_equal_to_the_classifier() -> None:
    case = BY_NAME["functional"]
    model = case.build()
    network, report = transpose(model, case.shape)
    proof = prove(model, network, report, torch.randn(3, 40, 40))
    assert proof.holds
    assert proof.expected.all()


def test_gradients_reach_every_weight() -> None:
    network, _ = transpose(lenet().train(), (1, 28, 28), classes=4)
    image = torch.randn(2, 1, 37, 41)
    labels = (image[:, 0] > 0).long()  # what a network with skips can learn
    optimizer: Any = torch.optim.SGD(network.parameters(), lr=0.05)
    losses: list[float] = []
    for _ in range(8):
        optimizer.zero_grad()
        loss: Any = F.cross_entropy(network(image), labels)
        loss.backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad.any() for parameter in network.parameters())
    assert losses[-1] < losses[0]


def test_a_state_dict_goes_round() -> None:
    network, _ = transpose(lenet(), (1, 28, 28), classes=4)
    with torch.no_grad():
        for parameter in network.parameters():
            _ = parameter.normal_()
    other, _ = transpose(lenet(), (1, 28, 28), classes=4)
    _ = other.load_state_dict(network.state_dict())
    image = torch.randn(1, 1, 30, 39)
    assert torch.equal(other.eval()(image), network.eval()(image))


def test_a_network_can_be_copied() -> None:
    network, _ = transpose(BY_NAME["branches"].build(), (2, 23, 31))
    image = torch.randn(1, 2, 40, 33)
    assert torch.equal(copy.deepcopy(network)(image), network(image))


def test_skips_name_strides_coarsest_first() -> None:
    case = BY_NAME["vgg"]
    keys = {
        skips: list(transpose(case.build(), case.shape, skips=skips)[0].ups)
        for skips in ((), (4,), (2, 4), (1,))
    }
    assert keys == {
        (): ["image"],
        (4,): ["4", "image"],
        (2, 4): ["4", "2", "image"],
        (1,): ["1", "image"],
    }
    network, _ = transpose(case.build(), case.shape)
    assert list(network.ups) == ["4", "2", "1", "image"]
    assert [tuple(skip.weight.shape) for skip in network.skips.values()] == [
        (9, 16, 1, 1),
        (9, 12, 1, 1),
        (9, 8, 1, 1),
    ]
    assert (
        all(
            above > below
            for above, below in pairwise(
                step.factor for step in network.steps if step.factor > (1, 1)
            )
        )
        is False
    )


def test_rectangular_strides_have_their_own_keys() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, (2, 1)), nn.ReLU(), nn.Conv2d(3, 4, 3, (2, 3)), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(4 * 2 * 2, 5)),
    ).eval()
    network, report = transpose(model, (1, 12, 9))
    assert report.outputs[0].stride == (4, 3)
    assert list(network.ups) == ["2x1", "image"]
    assert network(torch.zeros(1, 1, 17, 22)).shape == (1, 5, 17, 22)


def test_modes_follow_the_classifier() -> None:
    assert not any(
        module.training for module in transpose(lenet().eval(), (1, 28, 28))[0].modules()
    )
    assert all(module.training for module in transpose(lenet().train(), (1, 28, 28))[0].modules())
