"""Gates, channel shuffles, parts, padding layers, weight norm and branches on shapes, on whole
models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from backstride.ops import dense_to_conv
from backstride.surgery import RefusedError, convolutionalize, prove, transpose
from backstride.surgery.model.fields import sizes
from backstride.surgery.model.graph import Node, Window
from backstride.surgery.torch.layers import convolution
from surgery.classifiers import Calls


def excited(form: str) -> Calls:
    """A block whose gate is built with convolutions, dense layers, a maximum, or repeated over the
    map.
    """

    def forward(x: Tensor, layers: Any) -> Tensor:
        y = torch.tanh(layers["conv"](x))
        match form:
            case "dense":
                weight = layers["dense"](y.mean((2, 3))).view(y.shape[0], 4, 1, 1)
            case "max":
                weight = layers["mix"](F.adaptive_max_pool2d(y, 1))
            case "repeated":
                weight = layers["dense"](F.avg_pool2d(y, y.shape[2:]).flatten(1))[
                    :, :, None, None
                ].expand_as(y)
            case _:
                weight = layers["mix"](F.adaptive_avg_pool2d(y, 1))
        return layers["head"]((y * torch.sigmoid(weight)).mean((2, 3)))

    layers = {"conv": nn.Conv2d(3, 4, 3, 2), "head": nn.Linear(4, 2)}
    layers |= (
        {"dense": nn.Linear(4, 4)} if form in ("dense", "repeated") else {"mix": nn.Conv2d(4, 4, 1)}
    )
    return Calls(forward, **layers)


FORMS = ("convolutions", "dense", "max", "repeated")


@pytest.mark.parametrize("se", ["global", "local"])
@pytest.mark.parametrize("form", FORMS)
def test_gates_equal_the_classifier_at_native_size(form: str, se: Any) -> None:
    model = excited(form).eval()
    network, report = convolutionalize(model, (3, 13, 11), se=se)
    x = torch.randn(4, 3, 13, 11)
    torch.testing.assert_close(network(x)[:, :, 0, 0], model(x))
    cells = network(torch.randn(1, 3, 20, 33)).shape[2:]
    assert tuple(cells) == sizes(report.graph, (20, 33))[report.graph.outputs[0].name]
    assert any(rewrite.rule == "squeeze and excitation" for rewrite in report.rewrites)
    assert report.padded


@pytest.mark.parametrize("form", FORMS)
def test_a_global_gate_pools_all_of_the_image(form: str) -> None:
    """Each cell is a mean over its window of the map that was weighed by the whole image's
    vector.
    """
    model = excited(form).eval()
    network, _ = convolutionalize(model, (3, 13, 11), se="global")
    image = torch.randn(1, 3, 17, 15)
    layers: Any = model.layers
    with torch.no_grad():
        y = torch.tanh(layers["conv"](image))
        pooled = y.amax((2, 3)) if form == "max" else y.mean((2, 3))
        weight = (
            layers["dense"](pooled)
            if "dense" in layers
            else layers["mix"](pooled[:, :, None, None]).flatten(1)
        )
        wanted = F.avg_pool2d(y * torch.sigmoid(weight)[:, :, None, None], (6, 5), 1).movedim(1, -1)
        torch.testing.assert_close(network(image), layers["head"](wanted).movedim(-1, 1))


def test_a_local_gate_pools_the_window_around_each_cell() -> None:
    model = excited("convolutions").eval()
    network, _ = convolutionalize(model, (3, 13, 11), se="local")
    image = torch.randn(1, 3, 21, 21)
    layers: Any = model.layers
    with torch.no_grad():
        y = torch.tanh(layers["conv"](image))  # 10 x 10 cells, the native map has 6 x 5
        weighed = torch.empty_like(y)
        for row in range(10):
            for column in range(10):
                top, left = min(max(row - 2, 0), 4), min(max(column - 2, 0), 5)
                pooled = y[:, :, top : top + 6, left : left + 5].mean((2, 3), keepdim=True)
                weight = torch.sigmoid(layers["mix"](pooled))[:, :, 0, 0]
                weighed[:, :, row, column] = y[:, :, row, column] * weight
        wanted = layers["head"](F.avg_pool2d(weighed, (6, 5), 1).movedim(1, -1)).movedim(-1, 1)
        torch.testing.assert_close(network(image), wanted)


@pytest.mark.parametrize("se", ["global", "local"])
def test_gated_cells_of_larger_images_are_promised_nothing(se: Any) -> None:
    model = excited("dense").eval()
    network, report = convolutionalize(model, (3, 13, 11), se=se)
    proof = prove(model, network, report, torch.randn(3, 21, 21))
    assert proof.holds
    assert not proof.expected.any()
    assert not proof.exact.any()


@pytest.mark.parametrize("se", ["global", "local"])
def test_gated_classifiers_transpose(se: Any) -> None:
    network, _ = transpose(excited("dense").eval(), (3, 13, 11), se=se, classes=3)
    assert network(torch.zeros(1, 3, 30, 19)).shape == (1, 3, 30, 19)


def test_a_gate_without_a_choice_is_refused() -> None:
    with pytest.raises(RefusedError, match='state se="global" or se="local"'):
        _ = convolutionalize(excited("dense"), (3, 13, 11))


def shuffled(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x)
    n, c, h, w = y.shape
    y = y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
    first, second = y.chunk(2, dim=1)
    third = torch.split(y, [1, 5], 1)[1][:, 1:4]
    return layers["head"](torch.cat([first + second, third], 1).mean((2, 3)))


def branching(x: Tensor, layers: Any) -> Tensor:
    if x.shape[1] != 3:
        message = "three channels"
        raise ValueError(message)
    y = layers["conv"](x)
    for _ in range(y.shape[2] // 3):
        y = torch.tanh(y)
    pad = int(y.shape[2]) % 4
    y = F.pad(y, (0, pad, pad, 0))
    return layers["head"](y.mean((2, 3)) if len(y.shape) == 4 and y.dim() > 3 else y)


def padded(x: Tensor, layers: Any) -> Tensor:
    y = layers["reflect"](layers["conv"](F.pad(x, (1, 2, 0, 3))))
    return layers["head"](F.pad(y, (0, 0, 0, 0, 0, 2)).mean((2, 3)))


def normed(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x).permute(0, 2, 3, 1)
    y = F.layer_norm(y, (6,)).permute(0, 3, 1, 2).mean((2, 3))
    return layers["head"](F.layer_norm(y, (6,)) * 2)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "shuffle and parts": lambda: Calls(shuffled, conv=nn.Conv2d(3, 6, 3), head=nn.Linear(6, 2)),
    "branches on shapes": lambda: Calls(branching, conv=nn.Conv2d(3, 6, 3), head=nn.Linear(6, 2)),
    "padding": lambda: Calls(
        padded,
        conv=nn.Conv2d(3, 6, 3),
        reflect=nn.ReflectionPad2d((2, 1, 0, 1)),
        head=nn.Linear(8, 2),
    ),
    "layer norms": lambda: Calls(normed, conv=nn.Conv2d(3, 6, 3), head=nn.Linear(6, 2)),
    "shuffle layer": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ChannelShuffle(3),
        nn.LocalResponseNorm(3),
        nn.Flatten(),
        nn.Linear(6 * 7 * 8, 2),
    ),
    "one window over the map": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.AvgPool2d(50, ceil_mode=True), nn.Flatten(), nn.Linear(6, 2)
    ),
    "weight norm": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.Flatten(),
        nn.utils.parametrizations.weight_norm(nn.Linear(6 * 7 * 8, 5)),
        nn.utils.parametrizations.weight_norm(nn.Linear(5, 2)),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_many_kinds_convert(name: str) -> None:
    model = MODELS[name]().eval()
    network, report = convolutionalize(model, (3, 9, 10))
    x = torch.randn(3, 3, 9, 10)
    torch.testing.assert_close(network(x)[:, :, 0, 0], model(x))
    proof = prove(model, network, report, torch.randn(3, 16, 15))
    assert proof.holds
    assert proof.deviation.shape > (1, 1)
    assert bool(proof.expected.all()) == (not report.padded)


@pytest.mark.parametrize("order", ["channels_first", "channels_last"])
def test_dense_layers_turn_as_dense_to_conv_does(order: Any) -> None:
    window = Window((2, 3), (1, 1), ((0, 0), (0, 0)))
    weight = torch.randn(5, 24)
    letters = "chw" if order == "channels_first" else "hwc"
    made = convolution(
        weight, None, Node("it", "conv", (), (5, 1, 1), window=window, order=letters)
    )
    kernel = dense_to_conv(weight.T, (2, 3), data_format=order)
    wanted = kernel if order == "channels_first" else kernel.permute(3, 2, 0, 1)
    assert torch.equal(made.weight, wanted)
    assert made.weight.data_ptr() != weight.data_ptr()


def test_weight_norm_stays_and_trains() -> None:
    model = MODELS["weight norm"]().train()
    network, _ = convolutionalize(model, (3, 9, 10))
    layer: Any = network.get_submodule("2")
    pieces = layer.parametrizations.weight
    assert pieces.original0.shape == (5, 1, 1, 1)
    assert pieces.original1.shape == (5, 6, 7, 8)
    before, x = layer.weight.detach().clone(), torch.randn(2, 3, 9, 10)
    with torch.no_grad():
        _ = pieces.original1.mul_(2)
    torch.testing.assert_close(layer.weight, before)
    network(x).sum().backward()
    assert pieces.original0.grad.any()


def test_other_parametrizations_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.orthogonal(nn.Linear(12, 2)))
    with pytest.raises(
        RefusedError, match=r"1 \(ParametrizedLinear\): no rule knows this operation"
    ):
        _ = convolutionalize(model, (3, 2, 2))


def test_what_counts_the_images_is_refused() -> None:
    def forward(x: Tensor, layers: Any) -> Tensor:
        return layers["head"](x.flatten(1)) / int(x.shape[0])

    with pytest.raises(RefusedError, match="the number of images decides"):
        _ = convolutionalize(Calls(forward, head=nn.Linear(12, 2)), (3, 2, 2))


def test_parts_of_positions_are_refused() -> None:
    def forward(x: Tensor, layers: Any) -> Tensor:
        return layers["head"](x.chunk(2, dim=2)[0].mean((2, 3)))

    with pytest.raises(RefusedError, match="chunk: cuts positions, whose number is fixed"):
        _ = convolutionalize(Calls(forward, head=nn.Linear(3, 2)), (3, 4, 4))


def grn(x: Tensor, layers: Any) -> Tensor:
    """Global response normalisation as ConvNeXt V2 has it (arXiv 2301.00808), channels last."""
    y = layers["conv"](x).permute(0, 2, 3, 1)
    loose: Any = torch  # some of it is untyped
    size: Tensor = loose.linalg.vector_norm(y, dim=(1, 2), keepdim=True)
    y = (
        layers["norm"].weight * (y * (size / (size.mean(dim=-1, keepdim=True) + 1e-6)))
        + layers["norm"].bias
        + y
    )
    return layers["head"](y.permute(0, 3, 1, 2).mean([-2, -1]))


def group_norm(x: Tensor, layers: Any) -> Tensor:
    y = F.group_norm(layers["conv"](x), 2, layers["norm"].weight, layers["norm"].bias)
    return layers["head"](layers["norm"](F.instance_norm(y)).mean((2, 3)))


NORMS: dict[str, Callable[[], nn.Module]] = {
    "group": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.GroupNorm(3, 6), nn.Flatten(), nn.Linear(6 * 7 * 8, 2)
    ),
    "instance": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.InstanceNorm2d(6, affine=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 7 * 8, 2),
    ),
    "functions": lambda: Calls(
        group_norm, conv=nn.Conv2d(3, 6, 3), norm=nn.GroupNorm(6, 6), head=nn.Linear(6, 2)
    ),
    "response": lambda: Calls(
        grn, conv=nn.Conv2d(3, 6, 3), norm=nn.GroupNorm(6, 6), head=nn.Linear(6, 2)
    ),
}


@pytest.mark.parametrize("se", ["global", "local"])
@pytest.mark.parametrize("name", NORMS)
def test_norms_of_whole_maps_follow_the_choice(name: str, se: Any) -> None:
    model = NORMS[name]().eval()
    for weight in model.parameters():
        if weight.ndim == 1:
            _ = weight.data.uniform_(0.5, 1.5)
    network, report = convolutionalize(model, (3, 9, 10), se=se)
    x = torch.randn(3, 3, 9, 10) + 5
    torch.testing.assert_close(network(x)[:, :, 0, 0], model(x), rtol=1e-5, atol=1e-5)
    proof = prove(model, network, report, torch.randn(3, 13, 14))
    assert proof.holds
    assert not proof.expected.any()
    assert report.padded


def test_a_local_norm_takes_the_window_around_each_cell() -> None:
    model: Any = nn.Sequential(nn.GroupNorm(2, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    network, _ = convolutionalize(model, (4, 4, 5), se="local")
    image = torch.randn(1, 4, 9, 8, dtype=torch.float64)
    (normed,) = (layer for name, layer in network.named_children() if name == "0")
    found = normed(image)
    for row in range(9):
        for column in range(8):
            top, left = min(max(row - 1, 0), 5), min(max(column - 2, 0), 3)
            window = F.group_norm(image[:, :, top : top + 4, left : left + 5], 2)
            torch.testing.assert_close(
                found[:, :, row, column], window[:, :, row - top, column - left]
            )


def test_a_norm_of_vectors_needs_no_choice() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.GroupNorm(2, 6),
        nn.Flatten(),
        nn.GroupNorm(3, 6),
        nn.Linear(6, 2),
    ).eval()
    network, report = convolutionalize(model, (3, 9, 10))
    assert prove(model, network, report, torch.randn(3, 13, 14)).expected.all()
    assert prove(model, network, report, torch.randn(3, 13, 14)).holds
