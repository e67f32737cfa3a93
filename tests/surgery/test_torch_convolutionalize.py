from __future__ import annotations

import copy
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from backstride.surgery import convolutionalize, prove
from backstride.surgery.model.fields import reach, sizes
from backstride.surgery.torch.layers import layers_of
from surgery.classifiers import BY_NAME, CASES, Case, leaves, lenet

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each
def test_equals_the_classifier_at_native_size(case: Case) -> None:
    model = case.build()
    network, _ = convolutionalize(model, case.shape)
    x = torch.randn(5, *case.shape)
    for wanted, got in zip(leaves(model(x)), leaves(network(x)), strict=True):
        assert got.shape == (*wanted.shape, 1, 1)
        torch.testing.assert_close(got[:, :, 0, 0], wanted, rtol=1e-5, atol=1e-5)


@each
def test_cells_of_larger_images_equal_the_classifier_on_their_crops(case: Case) -> None:
    model = case.build()
    network, report = convolutionalize(model, case.shape)
    size = (case.shape[1] + 19, case.shape[2] + 13)
    image = np.random.default_rng(0).normal(size=(case.shape[0], *size)).astype(np.float32)
    for output, described in enumerate(report.outputs):
        proof = prove(model, network, report, image, head=output)
        cells = leaves(network(torch.as_tensor(image)[None]))[output].shape[2:]
        assert (
            tuple(cells)
            == proof.deviation.shape
            == sizes(report.graph, size)[report.graph.outputs[output].name]
        )
        assert min(cells) > 1, described
        assert proof.holds
        assert proof.expected[~np.isnan(proof.deviation)].all() == case.exact
        assert proof.exact.any() == case.exact
        assert (not report.padded) == case.exact


@each
def test_the_receptive_field_is_where_the_gradient_is(case: Case) -> None:
    """With positive weights and kinks taken out, a cell's gradient is not zero on exactly what it
    sees.
    """
    model = case.build()
    network, report = convolutionalize(linear(model), case.shape)
    size = (case.shape[1] + 11, case.shape[2] + 14)
    x = torch.rand(1, case.shape[0], *size, dtype=torch.float64, requires_grad=True)
    result: Any = leaves(network.double()(x))[0]
    name = report.graph.outputs[0].name
    found = sizes(report.graph, size)
    row, column = result.shape[2] // 2, result.shape[3] // 2
    result[0, 0, row, column].backward()
    assert x.grad is not None
    seen = x.grad.abs().sum((0, 1)) > 0
    for axis, cell in enumerate((row, column)):
        pixels = torch.nonzero(seen.any(1 - axis)).flatten()
        first, last = reach(report.graph, found, name, axis, cell)[report.graph.input.name]
        assert (int(pixels[0]), int(pixels[-1])) == (max(first, 0), min(last, size[axis] - 1))
        field = report.outputs[0]
        start = (
            field.offset[axis] + cell * field.stride[axis] - (field.receptive_field[axis] - 1) / 2
        )
        if start >= 0 and start + field.receptive_field[axis] <= size[axis]:
            assert (first, last + 1) == (start, start + field.receptive_field[axis])


def linear(model: nn.Module) -> nn.Module:
    """The model with positive weights and averages in place of maxima."""
    for tensor in model.parameters():
        _ = tensor.data.abs_()
    for name, layer in layers_of(model).items():
        if isinstance(layer, nn.MaxPool2d):
            pooled = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, pooled)
    return model


def test_the_given_model_stays_as_it_was() -> None:
    model = BY_NAME["functional"].build().train()
    before = copy.deepcopy(model.state_dict())
    network, _ = convolutionalize(model, (3, 26, 22))
    assert all(module.training for module in model.modules())
    with torch.no_grad():
        for parameter in network.parameters():
            _ = parameter.add_(1)
    _ = network(torch.randn(4, 3, 26, 22))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_weights_keep_their_names_and_numbers() -> None:
    model = BY_NAME["vgg"].build()
    network, _ = convolutionalize(model, (3, 32, 32))
    state = model.state_dict()
    assert list(network.state_dict()) == list(state)
    for name, value in network.state_dict().items():
        assert torch.equal(value.flatten(), state[name].flatten())
    assert network.get_submodule("2").weight.shape == (24, 16, 4, 4)
    again, _ = convolutionalize(BY_NAME["vgg"].make(), (3, 32, 32))
    assert not again.load_state_dict(network.state_dict()).missing_keys
    x = torch.randn(2, 3, 40, 40)
    assert torch.equal(again.eval()(x), network(x))


def test_training_flags_follow_the_model() -> None:
    model = lenet().train()
    _ = model[9].eval()
    network, _ = convolutionalize(model, (1, 28, 28))
    assert network.training
    assert network.get_submodule("8").training
    assert not network.get_submodule("9").training


@pytest.mark.parametrize("name", ["lenet", "functional"])
def test_dropout_follows_train_and_eval(name: str) -> None:
    case = BY_NAME[name]
    network, _ = convolutionalize(case.build().train(), case.shape)
    x = torch.randn(8, *case.shape)
    assert not torch.equal(network(x), network(x))
    _ = network.eval()
    assert torch.equal(network(x), network(x))


def test_dropout_that_is_always_on_stays_so() -> None:
    class Sampler(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(48, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.dropout(x.flatten(1), 0.5))

    network, _ = convolutionalize(Sampler().eval(), (3, 4, 4))
    x = torch.randn(2, 3, 4, 4)
    assert not torch.equal(network(x), network(x))


def test_batch_normalisation_trains_alike() -> None:
    """In training mode, with one cell per image, statistics over (N, h, w) are those over N."""
    case = BY_NAME["functional"]
    model = case.build().train()
    network, _ = convolutionalize(model, case.shape)
    for layer in (model, network):
        for module in layer.modules():
            if isinstance(module, nn.Dropout):
                _ = module.eval()
    x = torch.randn(16, *case.shape)
    inner_model, inner = model.get_submodule("norm"), network.get_submodule("norm")
    features = torch.randn(16, 20)
    torch.testing.assert_close(inner(features[:, :, None, None])[:, :, 0, 0], inner_model(features))
    torch.testing.assert_close(inner.running_var, inner_model.running_var)
    assert network(x).shape == (16, 7, 1, 1)


def test_gradients_reach_every_weight() -> None:
    case = BY_NAME["resnet"]
    network, _ = convolutionalize(case.build().train(), case.shape)
    network(torch.randn(2, 3, 44, 60)).square().sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.any() for parameter in network.parameters()
    )


def test_frozen_layers_stay_frozen() -> None:
    model = lenet()
    _ = model[7].requires_grad_(False)
    _ = model[10].weight.requires_grad_(False)
    network, _ = convolutionalize(model, (1, 28, 28))
    assert not network.get_submodule("7").weight.requires_grad
    assert not network.get_submodule("7").bias.requires_grad
    assert not network.get_submodule("10").weight.requires_grad
    assert network.get_submodule("10").bias.requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    model = lenet().to(dtype).eval()
    network, _ = convolutionalize(model, (1, 28, 28))
    x = torch.randn(2, 1, 28, 28, dtype=dtype)
    assert network(x).dtype == dtype
    tolerance = max(1e-5, 8 * torch.finfo(dtype).eps)  # rounding of the result and its few sums
    torch.testing.assert_close(network(x)[:, :, 0, 0], model(x), rtol=tolerance, atol=tolerance)


def test_a_layer_called_twice_stays_one() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(12, 5)
            self.again = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.again(self.again(self.first(x.flatten(1))).relu())

    model = Twice()
    network, _ = convolutionalize(model, (3, 2, 2))
    assert len(list(network.parameters())) == 4
    x = torch.randn(2, 3, 2, 2)
    torch.testing.assert_close(network(x)[:, :, 0, 0], model(x))


def test_training_only_branches_are_reported() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.helper = nn.Linear(12, 2), nn.Linear(12, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = x.flatten(1)
            return self.head(y) + self.helper(y) if self.training else self.head(y)

    model = Auxiliary()
    network, report = convolutionalize(model, (3, 2, 2))
    x = torch.randn(2, 3, 2, 2)
    torch.testing.assert_close(network(x)[:, :, 0, 0], model.eval()(x))
    assert [str(note) for note in report.refusals] == [
        "forward: computes more in training mode; the network does what it does in eval()"
    ]


def test_pooling_to_a_divisor_is_a_window() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten(), nn.Linear(4, 3)).eval()
    network, report = convolutionalize(model, (2, 6, 5))
    x = torch.randn(2, 2, 6, 5)
    torch.testing.assert_close(network(x)[:, :, 0, 0], model(x))
    assert report.rewrites[0].result == "average pooling 3x5"
    assert report.outputs[0].stride == (Fraction(3), Fraction(1))


def test_importing_the_package_loads_no_framework() -> None:
    code = (
        "import sys, backstride.surgery; print([name for name in ('torch', 'keras', 'onnx') if "
        "name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown == "[]\n"
