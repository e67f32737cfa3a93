"""Ordinary convolutions on the engine: what torch computes, wherever they run, and PyTorch's own
where they must.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
onednn: Any = importlib.import_module("backstride.torch.operator.onednn")
kernels: Any = importlib.import_module("backstride.torch.operator.kernels")
FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}
KINDS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@pytest.fixture(name="calls")
def calls_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    run = kernels.convolution

    def spy(*arguments: Any) -> Any:
        calls.append(arguments[-1])
        return run(*arguments)

    monkeypatch.setattr(kernels, "convolution", spy)
    return calls


def close(found: Any, expected: Any) -> None:
    tolerance = 1e-5 if found.dtype == torch.float32 else torch.finfo(found.dtype).eps
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@given(st.data())
def test_every_swapped_convolution_computes_what_torch_does(data: Any) -> None:
    rank = data.draw(st.integers(1, 3))
    if rank == 2 and data.draw(st.booleans()):
        kernel, channels = (3, 3), (data.draw(st.integers(24, 40)), data.draw(st.integers(24, 40)))
    else:
        kernel = (
            *(data.draw(st.integers(1, 4)) for _ in range(rank - 1)),
            data.draw(st.integers(7, 9)),
        )
        channels = (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 8)))
    mode = data.draw(st.sampled_from(["zeros", "reflect", "circular", "replicate"]))
    names = ["same", "valid"]
    padding = data.draw(
        st.sampled_from(names) | st.tuples(*(st.integers(0, (k + 1) // 2) for k in kernel))
    )
    layer = KINDS[rank](
        *channels, kernel, padding=padding, padding_mode=mode, bias=data.draw(st.booleans())
    )
    x = torch.randn(
        data.draw(st.integers(1, 2)),
        channels[0],
        *(k + data.draw(st.integers(1, 9)) for k in kernel),
    )
    form = FORMATS[rank] if data.draw(st.booleans()) else torch.contiguous_format
    x = x.contiguous(memory_format=form)
    with torch.no_grad():
        expected = layer(x)
        (row,) = bt.accelerate(layer).report.rows
        assert row.accelerated
        found = layer(x)
    assert found.shape == expected.shape
    if (
        mode == "zeros" and channels[0] > 1
    ):  # padding of another kind is PyTorch's, and loses the format of three axes
        assert found.is_contiguous(memory_format=form)
    close(found, expected)


def test_norm_and_activation_are_taken_into_it(calls: list[Any]) -> None:
    model = nn.Sequential(
        nn.Conv2d(24, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 3, 5),
        nn.Tanh(),
    ).eval()
    with torch.no_grad():
        for tensor in model[1].state_dict().values():
            if tensor.is_floating_point():
                _ = tensor.uniform_(0.5, 2)
        x = torch.randn(2, 24, 12, 13)
        expected = model(x)
        assert len(bt.accelerate(model).report.accelerated) == 3
        close(model(x), expected)
        assert calls == ["relu", "tanh"]
        model[0].weight.data[3, 1, 0, 0] += 40
        changed = bt.restore(copy.deepcopy(model))(x)
        close(model(x), changed)
    assert not torch.equal(changed, expected)


def test_other_dtypes_and_modes_are_pytorchs(calls: list[Any]) -> None:
    layer = nn.Conv2d(24, 24, 3)
    stock = copy.deepcopy(layer)
    assert bt.accelerate(layer).report.accelerated
    x = torch.randn(2, 24, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(layer(x[0]), stock(x[0]), rtol=0, atol=0)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(layer(x), stock(x), rtol=0, atol=0)
        torch.testing.assert_close(
            copy.deepcopy(layer).double()(x.double()), stock.double()(x.double())
        )
        with pytest.raises(RuntimeError, match="to have 24 channels, but got 23 channels instead"):
            _ = layer(x[:, :23])
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            _ = layer(x[:, :, :2])
    assert not calls


def test_a_weight_that_changes_at_every_call_goes_to_pytorch(calls: list[Any]) -> None:
    layer = bt.accelerate(nn.Conv2d(24, 24, 3)).model
    x = torch.randn(1, 24, 9, 9)
    with torch.no_grad():
        for _ in range(4):
            close(layer(x), nn.functional.conv2d(x, layer.weight, layer.bias))
            _ = layer.weight.mul_(1.5)
    assert len(calls) == 4


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(32, 32, 3, 2),
        nn.Conv2d(32, 32, 3, groups=2),
        nn.Conv2d(32, 32, 3, dilation=2),
        nn.Conv2d(32, 32, 1),
        nn.Conv2d(8, 32, 3),
        nn.Conv2d(32, 32, 3, dtype=torch.float64),
    ],
)
def test_what_pytorch_computes_as_fast_stays_its_own(layer: Any) -> None:
    assert not bt.accelerate(layer).report.rows


def test_on_request_only_transposed_convolutions_are_swapped() -> None:
    model = nn.Sequential(nn.Conv2d(32, 32, 3), nn.ConvTranspose2d(32, 4, 2, 2))
    assert [row.name for row in bt.accelerate(model, convolutions=False).report.rows] == ["", "1"]
    assert [row.name for row in bt.accelerate(model).report.accelerated] == ["", "0", "1"]
    assert type(bt.restore(model)[0]) is nn.Conv2d


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_a_large_weight_over_few_cells_is_remembered_in_onednns_order(
    form: Any, dtype: Any
) -> None:
    if not onednn.supports(dtype):
        pytest.skip("oneDNN has no bfloat16 on this processor")
    layer = nn.Conv2d(256, 128, 4, 2, 1).to(dtype)
    stock = copy.deepcopy(layer)
    (row,) = bt.accelerate(layer).report.rows
    assert row.remark.startswith("oneDNN's order of its large weight is remembered, in inference")
    few, many = (
        torch.randn(1, 256, *size).to(dtype).contiguous(memory_format=form)
        for size in ((8, 7), (60, 60))
    )
    with torch.no_grad():
        for x in (few, few, many, few[:, :, :5].contiguous(memory_format=form)):
            found, expected = layer(x), stock(x)
            assert found.is_contiguous(memory_format=form)
            close(found, expected)
        layer.weight.data[3, 5, 1, 2] += 100
        stock.load_state_dict(layer.state_dict())
        close(layer(few), stock(few))
        for _ in range(3):
            for module in (layer, stock):
                _ = module.weight.mul_(1.5)
            close(layer(few), stock(few))
        close(layer(few), stock(few))
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            _ = layer(few[:, :, :1, :1])
    close(layer(few).detach(), stock(few).detach())
    assert type(bt.restore(layer)) is nn.Conv2d


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "bias", [torch.randn(256)[::2], torch.randn(1).expand(128), torch.randn(128, 3)[:, 1]]
)
def test_a_bias_behind_a_large_weight_may_lie_in_memory_as_it_will(bias: Any, dtype: Any) -> None:
    if not onednn.supports(dtype):
        pytest.skip("oneDNN has no bfloat16 on this processor")
    layer = nn.Conv2d(256, 128, 4, 2, 1).to(dtype)
    layer.bias = nn.Parameter(bias.to(dtype))
    x = torch.randn(1, 256, 8, 8).to(dtype)
    with torch.no_grad():
        expected = layer(x)
        close(bt.accelerate(layer).model(x), expected)
