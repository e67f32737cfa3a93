"""The next calls of a kind go straight to the kernel, and everything that could make them wrong is
noticed.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest

from backstride.engine import VARIABLE

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
kernels: Any = importlib.import_module("backstride.torch.operator.kernels")
ready: Any = importlib.import_module("backstride.torch.layers.measured")
norm: Any = importlib.import_module("torch.nn.utils.parametrizations").weight_norm

LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "1-D": (lambda: nn.ConvTranspose1d(24, 16, 4, 2, 1), (2, 24, 50)),
    "2-D": (lambda: nn.ConvTranspose2d(8, 4, 3, 2, 1, 1, groups=2), (1, 8, 9, 7)),
    "no bias": (lambda: nn.ConvTranspose2d(8, 4, 2, 2, bias=False), (1, 8, 9, 7)),
    "3-D": (lambda: nn.ConvTranspose3d(3, 2, 2, 2), (1, 3, 4, 5, 6)),
    "normed": (lambda: norm(nn.ConvTranspose1d(8, 8, 4, 2)), (1, 8, 20)),
    "flipped": (lambda: nn.Conv2d(32, 32, 3, padding=1), (1, 32, 12, 12)),
}


def built(name: str) -> tuple[Any, Any, Any]:
    """An accelerated layer that has been called, its plain copy, and its input."""
    make, shape = LAYERS[name]
    plain, x = make().eval(), torch.randn(shape)
    ours = bt.accelerate(copy.deepcopy(plain), measure=False).model
    _ = call(ours, x), call(ours, x)
    return ours, plain, x


def call(layer: Any, x: Any) -> Any:
    with torch.no_grad():
        return layer(x)


def close(ours: Any, plain: Any, x: Any) -> None:
    for _ in range(2):
        torch.testing.assert_close(call(ours, x), call(plain, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_the_next_call_goes_straight_to_the_kernel(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _, x = built(name)
    expected = call(ours, x)
    monkeypatch.setattr(ours.__class__, "by_engine", None)
    assert torch.equal(call(ours, x), expected)


@pytest.mark.parametrize("form", ["first", "last"])
def test_it_keeps_memory_formats_apart(form: str) -> None:
    ours, plain, x = built("2-D")
    other = x.contiguous(memory_format=torch.channels_last)
    for one in (other, x, other) if form == "last" else (x, other, x):
        close(ours, plain, one)
        assert call(ours, one).stride() == call(plain, one).stride()


def by_data(layer: Any) -> None:
    layer.weight.data.view(-1)[3] += 1


def in_place(layer: Any) -> None:
    with torch.no_grad():
        layer.weight.mul_(2)


def another(layer: Any) -> None:
    torch.manual_seed(3)
    layer.weight = nn.Parameter(torch.randn_like(layer.weight))


def wider(layer: Any) -> None:
    torch.manual_seed(3)
    layer.weight = nn.Parameter(torch.randn(8, 3, 3, 3))
    layer.bias = nn.Parameter(torch.randn(6))


def bias_in_place(layer: Any) -> None:
    layer.bias.data += 1


def no_bias(layer: Any) -> None:
    layer.bias = None


def another_padding(layer: Any) -> None:
    layer.padding = (0, 0)


def more_padding(layer: Any) -> None:
    layer.output_padding = (0, 1)


def no_padding(layer: Any) -> None:
    def none(*given: Any) -> list[int]:
        _ = given
        return [0, 0]

    layer._output_padding = none


CHANGES = (
    by_data,
    in_place,
    another,
    wider,
    bias_in_place,
    no_bias,
    another_padding,
    more_padding,
    no_padding,
)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_layer_is_noticed(change: Callable[[Any], None]) -> None:
    ours, plain, x = built("2-D")
    change(ours)
    change(plain)
    close(ours, plain, x)


def test_a_bias_of_a_wrong_size_is_refused() -> None:
    ours, _, x = built("2-D")
    ours.bias.data = torch.zeros(3)
    with pytest.raises(RuntimeError, match="bias"):
        _ = call(ours, x)


@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_what_is_more_than_a_kernel_is_computed_whole(mode: str) -> None:
    plain = nn.Conv2d(32, 32, 3, padding=1, padding_mode=mode).eval()
    x = torch.randn(1, 32, 12, 12)
    close(bt.accelerate(copy.deepcopy(plain)).model, plain, x)
    unbatched = bt.accelerate(nn.ConvTranspose2d(8, 4, 2, 2), measure=False).model
    close(unbatched, bt.restore(copy.deepcopy(unbatched)), torch.randn(8, 5, 5))


class Seen(torch.overrides.TorchFunctionMode):
    """Notes the functions that are called."""

    names: Any

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        _ = types
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_who_watches_sees_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain, x = built("2-D")
    seen: Any = Seen()
    noted: list[str] = []
    seen.names = noted
    with seen:
        _ = call(ours, x)
    assert "conv_transpose2d" in noted
    batch = torch.randn(3, *x.shape)
    torch.testing.assert_close(
        call(torch.func.vmap(ours), batch), call(torch.func.vmap(plain), batch)
    )
    ours(x.requires_grad_()).sum().backward()
    assert ours.weight.grad is not None
    with torch.autocast("cpu"):
        assert call(ours, x).dtype == torch.bfloat16
    monkeypatch.setenv(VARIABLE, "direct")
    close(ours, plain, x.detach())


def test_nothing_is_held() -> None:
    ours, plain, x = built("2-D")
    assert kernels._recording.runs is None
    bt.forget()
    close(ours, plain, x)
    assert ready.READY not in vars(copy.deepcopy(ours))
    assert ready.READY not in vars(bt.restore(ours))
