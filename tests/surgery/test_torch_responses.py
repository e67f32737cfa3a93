"""Global response normalisation and other gates by statistics of a map, in the layouts and words
that models have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from backstride.surgery import RefusedError, convolutionalize, prove
from surgery.classifiers import Calls

loose: Any = torch  # some of it is untyped
length: Callable[..., Tensor] = loose.linalg.vector_norm


def over_mean(size: Tensor, axis: int) -> Tensor:
    return size / (size.mean(axis, keepdim=True) + 1e-6)


def first(x: Tensor) -> Tensor:
    """What a channels-first map is weighed with, said plainly."""
    return over_mean(x.square().sum((2, 3), keepdim=True).sqrt(), 1)


FIRST: dict[str, Callable[[Any], Tensor]] = {  # (N, C, h, w)
    "norm": lambda x: over_mean(x.norm(p=2, dim=(2, 3), keepdim=True), 1),
    "vector norm": lambda x: over_mean(length(x, dim=(-2, -1), keepdim=True), -3),
    "root of the sum": first,
    "vector": lambda x: over_mean(x.norm(dim=(2, 3)), 1)[:, :, None, None],
    "flattened": lambda x: over_mean(x.flatten(2).norm(dim=2), 1)[:, :, None, None],
}
LAST: dict[str, Callable[[Any], Tensor]] = {  # (N, h, w, C)
    "vector norm": lambda x: over_mean(length(x, ord=2, dim=(1, 2), keepdim=True), -1),
    "norm": lambda x: over_mean(x.norm(p=2, dim=(1, 2), keepdim=True), 3),
    "root of the sum": lambda x: over_mean(x.pow(2).sum((1, 2), keepdim=True) ** 0.5, -1),
    "vector": lambda x: over_mean(x.norm(dim=(1, 2)), 1)[:, None, None, :],
}
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean of everything": lambda x: 1 / (1 + x.mean((1, 2, 3), keepdim=True).square()),
    "largest of everything": lambda x: x.amax((1, 2, 3), keepdim=True),
    "length of everything": lambda x: 1 / (1 + length(x, dim=(1, 2, 3)))[:, None, None, None],
}
TURNED: dict[str, Callable[[Tensor], Tensor]] = {
    "means, twice": lambda x: (
        x.mean((1, 2), keepdim=True).tanh() * x.mean((1, 2), keepdim=True).sigmoid()
    ),
    "layer norm of means": lambda x: F.layer_norm(x.mean((1, 2), keepdim=True), (4,)),
    "largest of everything": lambda x: x.amax((1, 2, 3), keepdim=True),
}


def weighed(gate: Callable[[Tensor], Tensor], *, last: bool) -> nn.Module:
    """A map that is multiplied by what is computed from all of it, scaled, shifted and added to
    itself.
    """

    def forward(x: Tensor, layers: Any) -> Tensor:
        y, scales = layers["conv"](x), [layers["norm"].weight, layers["norm"].bias]
        y = y.permute(0, 2, 3, 1) if last else y
        scale, shift = scales if last else [each.view(1, -1, 1, 1) for each in scales]
        y = scale * (y * gate(y)) + shift + y
        return layers["head"]((y.permute(0, 3, 1, 2) if last else y).mean((2, 3)))

    model = (
        Calls(forward, conv=nn.Conv2d(3, 4, 3), norm=nn.GroupNorm(4, 4), head=nn.Linear(4, 2))
        .double()
        .eval()
    )
    layers: Any = model.layers
    for weight in (layers["norm"].weight, layers["norm"].bias):
        _ = weight.data.uniform_(0.5, 1.5)
    return model


MODELS = {
    **{f"{name}, channels first": (gate, False) for name, gate in {**FIRST, **OTHERS}.items()},
    **{f"{name}, channels last": (gate, True) for name, gate in {**LAST, **TURNED}.items()},
}
RESPONSES = [
    *(f"{name}, channels first" for name in FIRST),
    *(f"{name}, channels last" for name in LAST),
]


@pytest.mark.parametrize("size", [(9, 8), (3, 3)], ids=["many cells", "one cell"])
@pytest.mark.parametrize("name", MODELS)
def test_each_choice_is_the_classifier_at_native_size(name: str, size: tuple[int, int]) -> None:
    gate, last = MODELS[name]
    model = weighed(gate, last=last)
    with pytest.raises(
        RefusedError, match=r'pooled over the whole image .* state se="global" or se="local"'
    ):
        _ = convolutionalize(model, (3, *size))
    x = torch.randn(3, 3, *size, dtype=torch.float64)
    for se in ("global", "local"):
        network, report = convolutionalize(model, (3, *size), se=se)
        torch.testing.assert_close(network(x)[:, :, 0, 0], model(x))
        assert prove(model, network, report, torch.randn(3, size[0] + 4, size[1] + 5)).holds


def applied(model: nn.Module, y: Tensor, gate: Tensor) -> Tensor:
    """The scores of each 7 x 6 window of a map that is weighed with `gate`."""
    layers: Any = model.layers
    scale, shift = layers["norm"].weight.view(-1, 1, 1), layers["norm"].bias.view(-1, 1, 1)
    pooled = F.avg_pool2d(scale * y * gate + shift + y, (7, 6), 1)
    return layers["head"](pooled.movedim(1, -1)).movedim(-1, 1)


@pytest.mark.parametrize("name", RESPONSES)
def test_a_global_response_is_that_of_all_of_the_image(name: str) -> None:
    gate, last = MODELS[name]
    model: Any = weighed(gate, last=last)
    network, _ = convolutionalize(model, (3, 9, 8), se="global")
    image = torch.randn(1, 3, 15, 13, dtype=torch.float64)
    y = model.layers["conv"](image)
    size = (
        y.square().mean((2, 3), keepdim=True) * 42
    ).sqrt()  # a sum is the mean of the native number of cells
    torch.testing.assert_close(network(image), applied(model, y, over_mean(size, 1)))


@pytest.mark.parametrize("name", RESPONSES)
def test_a_local_response_is_that_of_the_window_around_each_cell(name: str) -> None:
    gate, last = MODELS[name]
    model: Any = weighed(gate, last=last)
    network, _ = convolutionalize(model, (3, 9, 8), se="local")
    image = torch.randn(1, 3, 15, 13, dtype=torch.float64)
    y = model.layers["conv"](image)  # 13 x 11 cells, the native map has 7 x 6
    gates = torch.empty_like(y)
    for row in range(13):
        for column in range(11):
            top, left = min(max(row - 3, 0), 6), min(max(column - 2, 0), 5)
            gates[:, :, row, column] = first(y[:, :, top : top + 7, left : left + 6])[:, :, 0, 0]
    torch.testing.assert_close(network(image), applied(model, y, gates))


def test_a_mean_over_all_axes_of_one_cell_is_that_cells() -> None:
    """On a larger image it would be the mean of all cells, did it stay as it is written."""

    def forward(x: Tensor, layers: Any) -> Tensor:
        return layers["head"](layers["conv"](x).mean((1, 2, 3), keepdim=True).flatten(1))

    model = Calls(forward, conv=nn.Conv2d(3, 4, 3), head=nn.Linear(1, 2)).eval()
    network, report = convolutionalize(model, (3, 3, 3))
    proof = prove(model, network, report, torch.randn(3, 6, 5))
    assert proof.holds
    assert proof.expected.all()


def test_a_vector_is_divided_by_the_mean_of_its_channels_without_a_choice() -> None:
    def forward(x: Tensor, layers: Any) -> Tensor:
        size = length(layers["conv"](x).permute(0, 2, 3, 1), dim=(1, 2), keepdim=True)
        return layers["head"](over_mean(size, -1).flatten(1))

    model = Calls(forward, conv=nn.Conv2d(3, 4, 3), head=nn.Linear(4, 2)).eval()
    network, report = convolutionalize(model, (3, 9, 8))
    proof = prove(model, network, report, torch.randn(3, 12, 13))
    assert proof.holds
    assert proof.expected.all()


@pytest.mark.parametrize("se", ["global", "local"])
def test_names_of_steps_are_no_other_layers(se: Any) -> None:
    """Layers called `mean` and `mean_1`, the first of which becomes several steps."""

    def forward(x: Tensor, layers: Any) -> Tensor:
        for name in ("conv", "down"):
            y = layers[name](x).permute(0, 2, 3, 1)
            x = (y * y.mean((1, 2), keepdim=True).sigmoid()).permute(0, 3, 1, 2)
        return layers["head"](x.mean((2, 3)))

    model = Calls(
        forward, conv=nn.Conv2d(3, 4, 3), down=nn.Conv2d(4, 5, 2, 2), head=nn.Linear(5, 2)
    ).eval()
    network, report = convolutionalize(model, (3, 12, 10), se=se)
    assert len({node.name for node in report.graph}) == len(report.graph.nodes)
    assert prove(model, network, report, torch.randn(3, 19, 16)).holds
