"""Remembered weights are never stale: every way to change a weight is noticed, and hits are hits."""

from __future__ import annotations

import copy
import gc
import importlib
from collections.abc import Callable
from typing import Any, cast

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
kernels: Any = importlib.import_module("backstride.torch.kernels")
packing: Any = importlib.import_module("backstride.torch.packing")
CHANGES: Any = importlib.import_module("torch_changes").CHANGES

SIZES = [(4, 6, 3), (64, 48, 4)]  # below and above what is compared byte by byte


@pytest.mark.parametrize("size", SIZES, ids=["small", "large"])
@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_a_weight_is_noticed(name: str, size: tuple[int, int, int]) -> None:
    layer = nn.Sequential(nn.ConvTranspose2d(size[0], size[1], size[2], 2), nn.BatchNorm2d(size[1])).eval()
    ours = bt.accelerate(layer).model
    x = torch.randn(1, size[0], 5, 5)
    with torch.no_grad():
        _ = ours(x)
        _ = ours(x)
    CHANGES[name](ours[0])
    with torch.no_grad():
        found = ours(x)
        expected = bt.restore(copy.deepcopy(ours))(x)
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
def test_every_change_of_a_folded_norm_is_noticed(name: str) -> None:
    ours = bt.accelerate(nn.Sequential(nn.ConvTranspose2d(4, 6, 3), nn.BatchNorm2d(6)).eval()).model
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        before = ours(x)
        getattr(ours[1], name).data.add_(0.5)
        found = ours(x)
        expected = bt.restore(copy.deepcopy(ours))(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, before, atol=1e-3)


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that a kernel is packed."""
    found: list[int] = []
    kind = cast("Any", type(kernels._implementation(torch.float32, None)))
    pack: Any = kind.pack

    def spy(self: Any, *arguments: Any, **words: Any) -> Any:
        found.append(1)
        return pack(self, *arguments, **words)

    monkeypatch.setattr(kind, "pack", spy)
    return found


def test_a_weight_is_packed_once_and_forgotten_with_its_layer(packs: list[int]) -> None:
    layer, x = bt.ConvTranspose2d(4, 6, 3, 2), torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        for _ in range(5):
            _ = layer(x)
    assert len(packs) == 1
    bt.forget()
    with torch.no_grad():
        _ = layer(x)
    assert len(packs) == 2
    entries = len(packing._entries)
    del layer
    _ = gc.collect()
    assert len(packing._entries) == entries - 1


def test_training_keeps_no_packed_copies() -> None:
    bt.forget()
    layer = bt.ConvTranspose2d(4, 6, 3, 2)
    layer(torch.randn(1, 4, 5, 5)).sum().backward()
    assert not packing._entries


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("write", ["data", "numpy", "dlpack"])
def test_one_cell_of_a_large_weight_behind_pytorchs_back_is_noticed(write: str, form: Any) -> None:
    layer, x = bt.ConvTranspose2d(64, 48, 4).to(memory_format=form), torch.ones(1, 64, 2, 2)
    views: dict[str, Callable[[], Any]] = {
        "data": lambda: layer.weight.data,
        "numpy": lambda: layer.weight.detach().numpy(),
        "dlpack": lambda: torch.from_dlpack(layer.weight.detach().numpy()),
    }
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(20):
            before, version = layer(x), layer.weight._version
            cell = tuple(int(torch.randint(size, (), generator=generator)) for size in layer.weight.shape)
            views[write]()[cell] += 100
            assert layer.weight._version == version
            assert not torch.equal(layer(x), before)
            torch.testing.assert_close(layer(x), nn.ConvTranspose2d.forward(layer, x), rtol=1e-5, atol=1e-3)


def test_a_weight_that_keeps_changing_is_not_packed_until_it_rests(packs: list[int]) -> None:
    layer, x = bt.ConvTranspose2d(64, 48, 4), torch.ones(1, 64, 2, 2)
    with torch.no_grad():
        _ = layer(x)
        assert len(packs) == 1
        for _ in range(3):
            _ = layer.weight.mul_(2)
            torch.testing.assert_close(layer(x), nn.ConvTranspose2d.forward(layer, x))
        assert len(packs) == 1
        for _ in range(3):
            torch.testing.assert_close(layer(x), nn.ConvTranspose2d.forward(layer, x))
        assert len(packs) == 2
