"""Remembered weights are never stale: every way to change a weight is noticed, and hits are
hits.
"""

from __future__ import annotations

import copy
import gc
import importlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
kernels: Any = importlib.import_module("backstride.torch.operator.kernels")
packing: Any = importlib.import_module("backstride.torch.operator.packing")
CHANGES: Any = importlib.import_module("torch_changes").CHANGES

SIZES = [(4, 6, 3), (64, 48, 4)]  # below and above the size whose pages are watched


@pytest.mark.parametrize("watching", [True, False], ids=["watched", "compared"])
@pytest.mark.parametrize("size", SIZES, ids=["small", "large"])
@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_a_weight_is_noticed(
    name: str, size: tuple[int, int, int], watching: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LEAST_WATCHED", packing.LEAST_WATCHED if watching else 1 << 60)
    layer = nn.Sequential(
        nn.ConvTranspose2d(size[0], size[1], size[2], 2), nn.BatchNorm2d(size[1])
    ).eval()
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
            cell = tuple(
                int(torch.randint(size, (), generator=generator)) for size in layer.weight.shape
            )
            views[write]()[cell] += 100
            assert layer.weight._version == version
            assert not torch.equal(layer(x), before)
            torch.testing.assert_close(
                layer(x), nn.ConvTranspose2d.forward(layer, x), rtol=1e-5, atol=1e-3
            )


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


@pytest.fixture
def _swapping() -> Iterator[None]:
    """PyTorch's other way to convert parameters, which refuses what is referred to weakly."""
    torch.__future__.set_swap_module_params_on_conversion(True)
    yield
    torch.__future__.set_swap_module_params_on_conversion(False)


@pytest.mark.usefixtures("_swapping")
@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    ("layer", "norm", "size"),
    [
        (nn.ConvTranspose2d(24, 24, 3), nn.BatchNorm2d(24), (1, 24, 9, 9)),
        (nn.Conv2d(24, 24, 3), nn.BatchNorm2d(24), (1, 24, 9, 9)),
        (nn.Conv2d(512, 512, 3), nn.BatchNorm2d(512), (1, 512, 5, 5)),
        (nn.Conv1d(128, 128, 7), nn.BatchNorm1d(128), (1, 128, 99)),
    ],
    ids=["transposed", "flipped", "ordered", "tiles"],
)
def test_parameters_may_be_swapped(
    layer: Any, norm: Any, size: tuple[int, ...], trust: bool
) -> None:
    stock = nn.Sequential(
        copy.deepcopy(layer), copy.deepcopy(norm), nn.ReLU(), copy.deepcopy(layer)
    ).eval()
    ours, x = bt.accelerate(copy.deepcopy(stock), trust=trust).model, torch.randn(size)
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(ours(x), stock(x), rtol=1e-4, atol=1e-4)
        for model in (ours, stock):
            _ = model.double()
            _ = model.load_state_dict(
                {name: value * 2 for name, value in model.state_dict().items()}
            )
        torch.testing.assert_close(ours(x.double()), stock(x.double()))
        for model in (ours, stock):
            _ = model.float()
        torch.testing.assert_close(ours(x), stock(x), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("trust", [False, True])
def test_a_parameter_that_takes_the_place_of_another_is_noticed(trust: bool) -> None:
    ours = bt.accelerate(nn.ConvTranspose2d(4, 6, 3, bias=False), trust=trust).model
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        before = ours(x)
        torch.utils.swap_tensors(ours.weight, nn.Parameter(ours.weight.detach() * 2))
        torch.testing.assert_close(ours(x), 2 * before)
