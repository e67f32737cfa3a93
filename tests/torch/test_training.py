"""Ordinary convolutions in training: outputs and gradients are torch's, and only what is asked for
is computed.
"""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
kernels: Any = importlib.import_module("backstride.torch.operator.kernels")
shapes: Any = importlib.import_module("backstride.torch.operator.shapes")
columns: Any = importlib.import_module("backstride.torch.operator.columns")
fallback: Any = importlib.import_module("backstride.torch.operator.fallback")
training: Any = importlib.import_module("backstride.torch.acceleration.training")
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
KINDS: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}


def spied(monkeypatch: pytest.MonkeyPatch, module: Any, *names: str) -> list[str]:
    """The names of functions of a module, as they are called."""
    calls: list[str] = []

    def spy_on(name: str) -> Any:
        run = getattr(module, name)

        def spy(*arguments: Any, **words: Any) -> Any:
            calls.append(name)
            return run(*arguments, **words)

        return spy

    for name in names:
        monkeypatch.setattr(module, name, spy_on(name))
    return calls


@pytest.fixture(name="calls")
def calls_of_the_faces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return spied(monkeypatch, kernels, "conv", "conv_transpose", "conv_kernel_gradient")


@pytest.fixture(name="compiler")
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def close(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).detach().abs().max()) <= 1e-5 * float(
        expected.detach().abs().max()
    )


def gradients(layer: Any, x: Any, gradient: Any) -> list[Any]:
    """The output, and the gradients by input and parameters, None where none was asked for."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_(x.requires_grad)
    layer.zero_grad()
    y = layer(x)
    y.backward(gradient)
    return [y, x.grad, *(parameter.grad for parameter in layer.parameters())]


def layers(data: st.DataObject) -> tuple[Any, Any]:
    """A layer that the engine trains, and an input for it."""
    rank = data.draw(st.sampled_from([2, 2, 3]))
    stride = tuple(data.draw(st.integers(1, 2)) for _ in range(rank))
    depthwise = rank == 2 and data.draw(st.booleans())
    kernel = tuple(step + data.draw(st.integers(1, 3)) for step in stride)
    if depthwise:
        kernel = (data.draw(st.integers(3, 7)), data.draw(st.integers(4, 6)))
    modes = ["zeros", "zeros", "reflect", "circular"] if rank == 2 else ["zeros", "replicate"]
    padding: Any = tuple(data.draw(st.integers(0, taps // 2)) for taps in kernel)
    if set(stride) == {1}:
        padding = data.draw(st.sampled_from(["same", "valid", padding]))
    channels = tuple(
        data.draw(st.sampled_from([64, 71] if rank == 2 else [24, 29])) for _ in range(2)
    )
    words: dict[str, Any] = {
        "padding_mode": data.draw(st.sampled_from(modes)),
        "bias": data.draw(st.booleans()),
    }
    if depthwise:
        channels = (channels[0], channels[0])
        words["groups"] = channels[0]
    layer = KINDS[rank](*channels, kernel, stride, padding, **words)
    largest = 24 if rank == 2 else 8
    x = torch.randn(
        data.draw(st.integers(1, 2)),
        channels[0],
        *(data.draw(st.integers(k, largest)) for k in kernel),
    )
    form = FORMATS[rank] if data.draw(st.booleans()) else torch.contiguous_format
    return layer.to(memory_format=form), x.contiguous(memory_format=form)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@given(st.data())
def test_outputs_and_gradients_are_torchs(data: Any) -> None:
    layer, x = layers(data)
    stock = copy.deepcopy(layer)
    (row,) = bt.accelerate(layer).report.rows
    assert row.accelerated
    wanted = [data.draw(st.booleans()) for _ in range(2)]
    for module in (layer, stock):
        module.weight.requires_grad_(wanted[0])
    if not wanted[0] and stock.bias is None:
        wanted[1] = True
    x.requires_grad_(wanted[1])
    gradient = torch.randn_like(stock(x))
    for found, expected in zip(
        gradients(layer, x, gradient), gradients(stock, x, gradient), strict=True
    ):
        assert (found is None) == (expected is None)
        if expected is not None:
            close(found, expected)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_second_derivatives_are_torchs(form: Any) -> None:
    layer = nn.Conv2d(24, 24, 3, padding=1).to(memory_format=form)
    stock, x = copy.deepcopy(layer), torch.randn(2, 24, 13, 14).contiguous(memory_format=form)
    _ = bt.accelerate(layer)

    def penalty(module: Any) -> list[Any]:
        data = x.clone(memory_format=torch.preserve_format).requires_grad_()
        (slope,) = torch.autograd.grad(module(data).square().sum(), data, create_graph=True)
        return list(torch.autograd.grad(slope.square().sum(), [data, *module.parameters()]))

    for found, expected in zip(penalty(layer), penalty(stock), strict=True):
        close(found, expected)


def test_only_gradients_that_are_asked_for_are_computed(calls: list[str]) -> None:
    layer = bt.accelerate(nn.Conv2d(32, 32, 3, padding=1)).model
    x = torch.randn(1, 32, 20, 20)
    layer(x).sum().backward()
    assert calls == ["conv", "conv_kernel_gradient"]
    layer.weight.requires_grad_(requires_grad=False)
    calls.clear()
    layer(x.requires_grad_()).sum().backward()
    assert calls == ["conv", "conv_transpose"]
    layer.bias.requires_grad_(requires_grad=False)
    calls.clear()
    assert not layer(x.detach()).requires_grad
    assert calls == ["conv"]
    with torch.no_grad():
        _ = layer(x)
    assert calls == ["conv"]


def test_saved_tensors_are_torchs() -> None:
    saved: list[list[Any]] = []
    x = torch.randn(1, 32, 20, 20)

    def keep(tensor: Any) -> Any:
        saved[-1].append((tensor.data_ptr(), tensor.shape))
        return tensor

    layer = nn.Conv2d(32, 32, 3, padding=1)
    for _ in range(2):
        saved.append([])
        with torch.autograd.graph.saved_tensors_hooks(keep, keep):
            _ = layer(x)
        _ = bt.accelerate(layer)
    assert set(saved[0]) == set(saved[1])
    assert len(saved[0]) == len(saved[1])


def test_what_the_engine_cannot_see_through_is_pytorchs(calls: list[str]) -> None:
    layer = nn.Conv2d(32, 32, 3)
    stock = copy.deepcopy(layer)
    assert bt.accelerate(layer).report.accelerated
    x = torch.randn(2, 32, 9, 9)
    torch.testing.assert_close(layer(x[0]), stock(x[0]), rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), stock(x), rtol=0, atol=0)
    assert layer(x[:0]).shape == (0, 32, 7, 7)
    wide = copy.deepcopy(layer).double()
    torch.testing.assert_close(
        wide(x.double()), copy.deepcopy(stock).double()(x.double()), rtol=0, atol=0
    )
    with pytest.raises(RuntimeError, match="to have 32 channels, but got 31 channels instead"):
        _ = layer(x[:, :31])
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        _ = layer(x[:, :, :2])
    with pytest.raises(RuntimeError, match="should be the same"):
        _ = layer(x.double())
    weights = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(weights: Any, x: Any) -> Any:
        return torch.func.functional_call(layer, weights, (x[None],)).square().sum()

    found = torch.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    exported = torch.export.export(layer, (x,)).graph_module.code
    assert not calls
    assert "backstride" not in exported
    stock(x[1:]).square().sum().backward()
    torch.testing.assert_close(found["weight"][1], stock.weight.grad, rtol=1e-4, atol=1e-3)


def test_of_depthwise_layers_the_gradient_by_the_weight_runs_on_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = nn.Conv2d(40, 40, 5, padding=2, groups=40).to(memory_format=torch.channels_last)
    stock = copy.deepcopy(layer)
    _ = bt.accelerate(layer)
    x, gradient = (
        torch.randn(2, 40, 9, 8).contiguous(memory_format=torch.channels_last) for _ in range(2)
    )
    used = spied(monkeypatch, fallback, "conv", "conv_input_gradient", "conv_kernel_gradient")
    for found, expected in zip(
        gradients(layer, x.requires_grad_(), gradient), gradients(stock, x, gradient), strict=True
    ):
        close(found, expected)
    assert used == ["conv", "conv_input_gradient"]


def test_large_weights_over_few_cells_are_read_as_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
    stock = copy.deepcopy(layer)
    _ = bt.accelerate(layer)
    x = torch.randn(1, 256, 4, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    used = spied(monkeypatch, columns, "conv", "conv_transpose", "conv_kernel_gradient")
    gradient = torch.randn(1, 256, 4, 5).contiguous(memory_format=torch.channels_last)
    for found, expected in zip(
        gradients(layer, x, gradient), gradients(stock, x, gradient), strict=True
    ):
        close(found, expected)
    assert used == ["conv", "conv_transpose", "conv_kernel_gradient"]


@given(st.data())
def test_the_derivative_of_a_convolution_is_the_transposed_one(data: Any) -> None:
    taps, step = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    before = data.draw(st.integers(0, taps - 1))
    after = before - data.draw(st.integers(0, min(step - 1, before)))
    x = torch.randn(2, 5, 6, 7).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(5, 4, taps, taps), torch.randn(4)
    integers = shapes.Integers((step,) * 2, (before, after) * 2, (1, 1), 1)
    for given_bias in (None, bias):
        expected = fallback.conv_transpose(x, weight, given_bias, integers, "relu")
        close(fallback.conv_input_gradient(x, weight, given_bias, integers, "relu"), expected)


def test_a_model_in_training_compiles(compiler: None) -> None:
    _ = compiler
    model = nn.Sequential(nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1))
    stock, x = copy.deepcopy(model), torch.randn(2, 24, 12, 13)
    _ = bt.accelerate(model)
    call = torch.compile(model, backend="aot_eager", fullgraph=True)
    gradient = torch.randn_like(stock(x))
    for one, two in ((call(x), stock(x)),):
        close(one, two)
        one.backward(gradient)
        two.backward(gradient)
    for found, expected in zip(model.parameters(), stock.parameters(), strict=True):
        close(found.grad, expected.grad)


def test_a_swapped_convolution_is_copied_pickled_parametrised_and_restored() -> None:
    x = torch.randn(2, 64, 20, 21)
    for layer in (nn.Conv2d(64, 64, 3, 2, 1), nn.Conv2d(64, 64, 3), nn.Conv2d(128, 256, 4, 2, 1)):
        data = x[:, : layer.in_channels].repeat(1, layer.in_channels // 64, 1, 1)
        expected = layer(data)
        swapped = bt.accelerate(copy.deepcopy(layer)).model
        for module in (copy.deepcopy(swapped), pickle.loads(pickle.dumps(swapped)), swapped):
            assert isinstance(module, training.Trained)
            close(module(data), expected)
        assert type(bt.restore(swapped)) is nn.Conv2d
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(32, 32, 3))
    stock, data = copy.deepcopy(layer), torch.randn(2, 32, 12, 12)
    expected = gradients(stock, data, torch.ones(2, 32, 10, 10))
    _ = bt.accelerate(layer)
    for found, wanted in zip(
        gradients(layer, data, torch.ones(2, 32, 10, 10)), expected, strict=True
    ):
        if wanted is not None:
            close(found, wanted)


def test_the_report_says_when_and_verification_looks_at_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = (
        nn.Conv2d(32, 32, 3),
        nn.Conv2d(32, 512, 4, 2, 1),
        nn.Conv2d(512, 24, 2),
        nn.Conv2d(24, 3, 7),
    )
    model, x = nn.Sequential(*layers), torch.randn(1, 32, 24, 24)
    remarks = [row.remark for row in bt.accelerate(model, verify=x).report.rows if row.name]
    assert [remark.partition(";")[0].partition(":")[0] for remark in remarks] == [
        "on the engine",
        "oneDNN's order of its large weight is remembered, in inference",
        "on the engine, in training",
        "on the engine, in inference",
    ]
    assert remarks[1].split("; ")[1] == "on the engine, in training"
    _ = bt.restore(model)
    run = kernels.conv

    def wrong(*arguments: Any) -> Any:
        return run(*arguments).mul_(1.01)

    monkeypatch.setattr(kernels, "conv", wrong)
    refused = bt.accelerate(model, verify=x).report.refused
    assert [row.name for row in refused] == ["0", "1", "2"]
    assert [type(layer) is nn.Conv2d for layer in model] == [True, True, True, False]


def test_on_request_only_training_changes(calls: list[str]) -> None:
    model = nn.Sequential(
        nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 3, 7), nn.ConvTranspose2d(3, 3, 2, 2)
    )
    stock, x = copy.deepcopy(model).eval(), torch.randn(1, 32, 24, 24)
    rows = bt.accelerate(model, convolutions="training").report.rows
    assert [(row.name, row.remark) for row in rows[1:]] == [
        ("0", "on the engine, in training"),
        ("3", "on the engine"),
    ]
    with torch.no_grad():
        torch.testing.assert_close(model[0](x), stock[0](x), rtol=0, atol=0)
    assert not calls
    model(x).sum().backward()
    assert calls.count("conv_kernel_gradient") == 2
    with pytest.raises(ValueError, match='must be True, False or "training"'):
        _ = bt.accelerate(model, convolutions="inference")
