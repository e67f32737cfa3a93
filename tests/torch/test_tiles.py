"""Convolutions cut into tiles: what torch computes, NaN and infinity included, in any memory
order.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
tiles: Any = importlib.import_module("backstride.torch.operator.tiles")
native: Any = importlib.import_module("backstride.native")
functional: Any = nn.functional
pytestmark = pytest.mark.skipif(
    native._native is None, reason="only the compiled kernels are given tiles"
)
FUNCTIONS: dict[int, Any] = {1: functional.conv1d, 3: functional.conv3d}


def close(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("taps", [3, 4])
def test_the_matrices_are_those_of_a_convolution(taps: int) -> None:
    kernel, data, output = tiles.transforms(taps)
    w, x = torch.randn(taps, dtype=torch.float64), torch.randn(taps + 3, dtype=torch.float64)
    found = output.double() @ ((kernel @ w) * (data.double() @ x))
    torch.testing.assert_close(found, x.unfold(0, taps, 1) @ w, rtol=1e-6, atol=1e-6)


@settings(max_examples=100)
@given(st.data())
def test_tiles_compute_what_torch_does(data: Any) -> None:
    draw = data.draw
    rank = draw(st.sampled_from([1, 1, 3]))
    taps = (
        (3, draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        if rank == 3
        else (draw(st.integers(2, 13)),)
    )
    dilation = 1 if rank == 3 else draw(st.integers(1, 5))
    pairs = [(draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in taps]
    sizes = [
        max(1, dilation * (k - 1) + 1 - sum(pair)) + draw(st.integers(0, 20))
        for k, pair in zip(taps, pairs, strict=True)
    ]
    channels, out, batch = (
        draw(st.integers(1, 40)),
        draw(st.integers(1, 40)),
        draw(st.integers(1, 2)),
    )
    with_bias, moved, last, rows = (draw(st.booleans()) for _ in range(4))
    last, rows = last and rank == 3, rows and rank == 1
    torch.manual_seed(draw(st.integers(0, 2**32)))
    x, weight = torch.randn(batch, channels, *sizes), torch.randn(out, channels, *taps)
    bias = torch.randn(out) if with_bias else None
    if last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    elif moved:
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    found = tiles.convolution(x, weight, bias, pairs, dilation, rows=rows)
    padded = functional.pad(x, [cells for pair in reversed(pairs) for cells in pair]).double()
    run, offset = FUNCTIONS[rank], None if bias is None else bias.double()
    expected = run(padded, weight.double(), offset, dilation=dilation)
    magnitude = run(
        padded.abs(),
        weight.double().abs(),
        None if offset is None else offset.abs(),
        dilation=dilation,
    )
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 2e-6 * float(magnitude.max())
    if not rows and min(channels, batch) > 1:
        assert found.is_contiguous(
            memory_format=torch.channels_last_3d if last else torch.contiguous_format
        )


@pytest.mark.parametrize("strip", [1, 1000])
def test_strips_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch, strip: int) -> None:
    x, weight = torch.randn(1, 5, 100), torch.randn(6, 5, 11)
    expected = tiles.convolution(x, weight, None, [(5, 5)], 3)
    monkeypatch.setattr(tiles, "STRIP", strip)
    torch.testing.assert_close(
        tiles.convolution(x, weight, None, [(5, 5)], 3), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("size", "taps", "dilation"), [((900,), (7,), 1), ((901,), (11,), 3), ((9, 7, 6), (3, 3, 3), 1)]
)
def test_any_number_of_threads_gives_the_same_bits(size: Any, taps: Any, dilation: int) -> None:
    x, weight = torch.randn(1, 96, *size), torch.randn(40, 96, *taps)
    found: list[Any] = []
    for threads in (1, 2, 3):
        native.set_num_threads(threads)
        found.append(tiles.convolution(x, weight, None, [(1, 1)] * len(size), dilation))
    native.set_num_threads(0)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nan_and_infinity_reach_no_other_cells(value: float) -> None:
    layer = nn.Conv1d(128, 128, 7, padding=3)
    stock = copy.deepcopy(layer)
    assert bt.accelerate(layer).report.accelerated
    x = torch.randn(1, 128, 300)
    with torch.no_grad():
        close(layer(x), stock(x))
        x[0, 3, 40] = value
        found, expected = layer(x), stock(x)
    assert torch.equal(found.isfinite(), expected.isfinite())
    assert not found.isfinite().all()


def always(weight: Any) -> bool:
    _ = weight
    return True


def listener(module: Any, arguments: Any, result: Any) -> None:
    _ = module, arguments, result


class Residual(nn.Module):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        first = nn.Conv1d(64, 64, 11, padding=15, dilation=3), nn.Conv1d(64, 64, 11, padding=5)
        self.layers = nn.Sequential(
            nn.LeakyReLU(0.1), first[0], nn.LeakyReLU(0.1), first[1], nn.Tanh()
        )

    def forward(self, x: Any) -> Any:
        return x + self.layers(x)


def test_a_chain_hands_on_rows_and_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    run = tiles.convolution

    def spy(*arguments: Any, rows: bool) -> Any:
        asked.append(rows)
        return run(*arguments, rows=rows)

    monkeypatch.setattr(tiles, "convolution", spy)
    model = Residual()
    stock, x = copy.deepcopy(model), torch.randn(2, 64, 300)
    kept = x.clone()
    report = bt.accelerate(model, verify=x).report
    assert len(report.accelerated) == 3
    asked.clear()
    with torch.no_grad():
        close(model(x), stock(x))
        assert asked == [True, False]
        assert model.layers(x).is_contiguous()
        _ = model.layers[3].register_forward_hook(listener)
        asked.clear()
        close(model(x), stock(x))
        assert asked == [False, False]
        model.layers[1].weight.data[0, 0, 0] += 10
        stock.load_state_dict(model.state_dict())
        close(model(x), stock(x))
    assert torch.equal(x, kept)
    close(model(x).detach(), stock(x).detach())


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv1d(256, 256, 3, padding=9, dilation=9), (400,)),
        (nn.Conv3d(40, 48, 3, padding=1), (5, 8, 9)),
    ],
)
def test_layers_of_the_rule_take_tiles(
    layer: Any, size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, stock = torch.randn(1, layer.in_channels, *size), copy.deepcopy(layer)
    assert bt.accelerate(layer, verify=x).report.accelerated
    with torch.no_grad():
        expected = stock(x)
        close(layer(x), expected)
        assert torch.equal(layer(x[:, :, :1]), stock(x[:, :, :1]))  # too few cells
        monkeypatch.setattr(tiles, "note_change", always)
        bt.forget()
        assert torch.equal(layer(x), expected)
