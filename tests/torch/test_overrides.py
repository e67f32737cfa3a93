"""Who has a say in PyTorch's functions keeps it: subclasses of tensors, modes of functions and of
operators.
"""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Callable
from typing import Any, cast

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
functional: Any = torch.nn.functional
bt: Any = importlib.import_module("backstride.torch")
overrides: Any = importlib.import_module("torch.overrides")
dispatch: Any = importlib.import_module("torch.utils._python_dispatch")
flop_counter: Any = importlib.import_module("torch.utils.flop_counter")
SHOWN = re.compile("conv|norm|^relu$")


class Meta(torch.Tensor):
    """A tensor that knows where it comes from."""

    @classmethod
    def of(cls, tensor: Any, meta: str) -> Any:
        made = tensor.as_subclass(cls)
        made.meta = meta
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        parent: Any = super()
        result = parent.__torch_function__(func, types, args, kwargs or {})
        known: list[Any] = [getattr(value, "meta", None) for value in args]
        if isinstance(result, Meta) and any(known):
            cast("Any", result).meta = max(name for name in known if name)
        return result


class Knows(torch.Tensor):
    """A tensor that knows PyTorch's convolutions alone."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = [
            value.as_subclass(torch.Tensor) if isinstance(value, Knows) else value for value in args
        ]
        known = (
            torch.conv1d,
            torch.conv2d,
            torch.conv3d,
            torch.conv_transpose2d,
            torch.conv_transpose1d,
        )
        return func(*plain, **(kwargs or {})).as_subclass(cls) if func in known else NotImplemented


class Seen(overrides.TorchFunctionMode):
    names: list[str]

    def __enter__(self) -> Any:
        self.names = []
        parent: Any = super()
        return parent.__enter__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


class SeenBelow(dispatch.TorchDispatchMode):
    names: list[str]

    def __enter__(self) -> Any:
        self.names = []
        parent: Any = super()
        return parent.__enter__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class Calls(nn.Module):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.randn(8, 6, 3, 3))

    def forward(self, x: Any) -> Any:
        return functional.conv_transpose2d(x, self.weight, stride=2)


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "transposed": (lambda: nn.ConvTranspose2d(8, 6, 3, 2), (1, 8, 5, 5)),
    "transposed, one axis": (lambda: nn.ConvTranspose1d(8, 6, 3, 2), (1, 8, 9)),
    "flipped": (lambda: nn.Conv2d(24, 24, 3), (1, 24, 9, 9)),
    "tiles": (lambda: nn.Conv1d(128, 128, 7), (1, 128, 300)),
    "tiles of three axes": (lambda: nn.Conv3d(40, 40, 3), (1, 40, 8, 6, 6)),
    "ordered": (lambda: nn.Conv2d(128, 128, 4, 2, 1), (1, 128, 7, 8)),
    "stock": (lambda: nn.Conv2d(4, 6, 3, groups=2), (1, 4, 9, 9)),
    "routed": (Calls, (1, 8, 5, 5)),
    "chain": (
        lambda: nn.Sequential(nn.ConvTranspose2d(8, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        (1, 8, 5, 5),
    ),
    "chain of convolutions": (
        lambda: nn.Sequential(nn.Conv2d(24, 24, 3), nn.ReLU()),
        (1, 24, 9, 9),
    ),
}


def pair(name: str) -> tuple[Any, Any, Any]:
    build, size = MODELS[name]
    stock = build().eval()
    return bt.accelerate(copy.deepcopy(stock)).model, stock, torch.randn(size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_subclass_keeps_its_class_and_what_it_knows(name: str, grad: bool, dtype: Any) -> None:
    ours, stock, x = pair(name)
    ours, stock, x = ours.to(dtype), stock.to(dtype), x.to(dtype)
    with torch.set_grad_enabled(grad):
        found, expected = ours(Meta.of(x, "here")), stock(Meta.of(x, "here"))
    assert type(found) is type(expected) is Meta
    assert found.meta == "here"
    assert found.requires_grad == expected.requires_grad == grad
    tolerance = (
        {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    )
    torch.testing.assert_close(
        found.as_subclass(torch.Tensor), expected.as_subclass(torch.Tensor), **tolerance
    )


@pytest.mark.parametrize("name", ["transposed", "flipped", "tiles", "ordered", "stock"])
def test_a_subclass_that_knows_pytorchs_functions_alone_meets_them(name: str) -> None:
    ours, stock, x = pair(name)
    with torch.no_grad():
        found = ours(x.as_subclass(Knows))
        assert type(found) is Knows
        torch.testing.assert_close(found.as_subclass(torch.Tensor), stock(x), rtol=0, atol=0)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_mode_of_functions_sees_the_calls_that_it_sees_of_pytorch(name: str, grad: bool) -> None:
    ours, stock, x = pair(name)
    modes: list[Any] = [Seen(), Seen()]
    results: list[Any] = []
    for mode, model in zip(modes, (ours, stock), strict=True):
        with torch.set_grad_enabled(grad), mode:
            results.append(model(x))
    found, expected = ([call for call in mode.names if SHOWN.search(call)] for mode in modes)
    assert found == expected
    assert any("conv" in call for call in found)
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def test_functions_and_modules_of_ours_show_themselves() -> None:
    layer, x = bt.ConvTranspose2d(8, 6, 3), torch.randn(1, 8, 5, 5)
    mode: Any = Seen()
    with mode:
        _ = layer(x), bt.conv_transpose2d(x, layer.weight)
    assert mode.names.count("conv_transpose2d") == 2
    found = bt.conv_transpose2d(Meta.of(x, "here"), layer.weight)
    assert (type(found), found.meta) == (Meta, "here")


@pytest.mark.parametrize("name", ["chain", "chain of convolutions", "flipped"])
def test_a_default_device_hides_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.device` as a context is a mode, too, but has no say in layers."""
    ours, stock, x = pair(name)

    def refuse(*_: Any) -> None:
        pytest.fail("PyTorch computed")

    with torch.no_grad(), torch.device("cpu"):
        expected = stock(x)
        monkeypatch.setattr(torch, "batch_norm", refuse)
        monkeypatch.setattr(functional, "conv2d", refuse)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_mode_of_operators_sees_each_layer(name: str, grad: bool) -> None:
    ours, stock, x = pair(name)
    mode: Any = SeenBelow()
    with torch.set_grad_enabled(grad), mode:
        found = ours(x)
    assert any("conv" in operator for operator in mode.names)
    assert name != "chain" or any("norm" in operator for operator in mode.names)
    torch.testing.assert_close(found, stock(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_operations_are_counted_as_pytorchs_are(name: str) -> None:
    counts: list[list[int]] = []
    for model in pair(name)[:2]:
        x = torch.randn(MODELS[name][1], requires_grad=True)
        with flop_counter.FlopCounterMode(display=False) as forward, torch.no_grad():
            _ = model(x)
        with flop_counter.FlopCounterMode(display=False) as both:
            model(x).sum().backward()
        counts.append([forward.get_total_flops(), both.get_total_flops()])
    assert counts[0][0] == counts[1][0] > 0
    assert (
        counts[0][1] == counts[1][1] or name == "stock"
    )  # PyTorch counts a gradient by grouped weights as one group's


def test_operations_of_our_own_calls_are_counted() -> None:
    x, weight = torch.randn(2, 8, 5, 5), torch.randn(8, 4, 3, 3)
    arguments = (x, weight, None, None, None, None, None, 0.0)
    calls: list[Callable[[], Any]] = [
        lambda: bt.conv_transpose2d(x, weight, stride=2, padding="same", activation="relu"),
        lambda: bt.ConvTranspose2d(8, 4, 3)(x),
        lambda: torch.ops.backstride.layer(*arguments, "transposed", [2, 2], [0] * 4, [1, 1], 1),
    ]
    for call in calls:
        with flop_counter.FlopCounterMode(display=False) as mode:
            _ = call()
        assert mode.get_total_flops() == 2 * 2 * 25 * 8 * 4 * 9


def test_a_traced_graph_calls_pytorchs_layers() -> None:
    stock = nn.Sequential(
        nn.Conv2d(24, 24, 3), nn.ConvTranspose2d(24, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
    ).eval()
    ours = bt.accelerate(copy.deepcopy(stock)).model
    x = torch.randn(1, 24, 9, 9)
    with torch.no_grad():
        traced: Any = torch.fx.symbolic_trace(ours)
        assert [node.op for node in traced.graph.nodes] == [
            "placeholder",
            *["call_module"] * 4,
            "output",
        ]
        torch.testing.assert_close(traced(x), stock(x), rtol=1e-5, atol=1e-5)
