"""The modules are PyTorch's in all that is not speed: values, names, copies, parametrisations."""

from __future__ import annotations

import copy
import importlib
import pickle
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
parametrizations: Any = importlib.import_module("torch.nn.utils.parametrizations")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")


RANKS = [1, 2, 3]


def pair(rank: int, *arguments: Any, **words: Any) -> tuple[Any, Any]:
    made: list[Any] = []
    packages: tuple[Any, ...] = (bt, nn)
    for package in packages:
        torch.manual_seed(3)
        made.append(getattr(package, f"ConvTranspose{rank}d")(*arguments, **words))
    return made[0], made[1]


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((4, 6, 3), {}),
        ((4, 6, 3, 2, 1, 1, 2, False, 2, "zeros"), {}),
        ((4, 6, 3, 2, 1, 1, 2, True, 1, "zeros", "cpu", torch.float64), {}),
        ((4, 6, 2), {"stride": 3, "bias": False, "dtype": torch.float64}),
    ],
)
def test_the_same_numbers_under_the_same_seed(
    rank: int, arguments: tuple[Any, ...], words: dict[str, Any]
) -> None:
    ours, stock = pair(rank, *arguments, **words)
    assert repr(ours) == repr(stock)
    assert list(ours.state_dict()) == list(stock.state_dict())
    for one, two in zip(ours.parameters(), stock.parameters(), strict=True):
        assert torch.equal(one, two)
    x = torch.randn(2, 4, *(5,) * rank, dtype=ours.weight.dtype)
    torch.testing.assert_close(ours(x), stock(x))
    _ = ours.load_state_dict(stock.state_dict())
    _ = stock.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("rank", RANKS)
def test_output_size_at_call_time(rank: int) -> None:
    ours, stock = pair(rank, 4, 6, 3, 2, 1)
    x = torch.randn(2, 4, *(5,) * rank)
    for size in ((10,) * rank, (2, 6, *(9,) * rank), torch.Size((10,) * rank), [9] * rank):
        torch.testing.assert_close(ours(x, size), stock(x, list(size)))
    torch.testing.assert_close(ours(x[0], (10,) * rank), stock(x[0], [10] * rank))
    for size in ((8,) * rank, (11,) * rank, (9,) * (rank + 3)):
        for module in (ours, stock):
            with pytest.raises(ValueError, match=r"output_size|output size"):
                module(x, size)


@pytest.mark.parametrize(
    "words", [{}, {"padding": "same"}, {"padding": [(0, 1), (1, -1)], "padding_mode": "zeros"}]
)
def test_copies_and_pickles(words: dict[str, Any]) -> None:
    layer, x = bt.ConvTranspose2d(4, 6, 3, 2, **words), torch.randn(1, 4, 5, 5)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(twin) == repr(layer)
        torch.testing.assert_close(twin(x), layer(x))


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_parametrisations(norm: Any) -> None:
    ours, stock = pair(2, 4, 6, 3, 2, 1)
    for module in (ours, stock):
        torch.manual_seed(5)
        _ = norm(module)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(ours(x), stock(x))
    gradients = [
        torch.autograd.grad(m(x).square().sum(), list(m.parameters()))
        for m in (ours.eval(), stock.eval())
    ]
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_options_that_are_ours_are_shown() -> None:
    assert repr(bt.ConvTranspose2d(4, 6, 3, 2, "same")).endswith("stride=(2, 2), padding=same)")
    layer = bt.ConvTranspose1d(4, 6, 3, padding=[(0, 1)], padding_mode="circular")
    assert repr(layer).endswith("padding=((0, 1),), padding_mode=circular)")


def test_circular_layers_keep_the_size() -> None:
    layer = bt.ConvTranspose2d(4, 6, 3, padding=1, padding_mode="circular")
    x = torch.randn(1, 4, 5, 5)
    rolled = layer(x.roll((2, 1), (2, 3)))
    torch.testing.assert_close(rolled, layer(x).roll((2, 1), (2, 3)))
