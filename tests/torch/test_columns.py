"""Operators as products with the weight as it lies: equal to PyTorch's, in every format, for NaN
and infinity, too.
"""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
bt: Any = importlib.import_module("backstride.torch")
columns: Any = importlib.import_module("backstride.torch.operator.columns")
fallback: Any = importlib.import_module("backstride.torch.operator.fallback")
kernels: Any = importlib.import_module("backstride.torch.operator.kernels")
ways: Any = importlib.import_module("backstride.torch.operator.ways")
Integers: Any = importlib.import_module("backstride.torch.operator.shapes").Integers

CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], Any]] = {
    "1-D": ((2, 7, 5), (4,), Integers((2,), (1, 1), (1,), 1)),
    "2-D": ((3, 5, 4, 3), (4, 4), Integers((2, 2), (1, 1, 1, 1), (1, 1), 1)),
    "one cell": ((1, 5, 1, 1), (4, 4), Integers((1, 1), (0, 0, 0, 0), (1, 1), 1)),
    "dilation and crops": ((1, 4, 3, 5), (3, 2), Integers((2, 1), (-1, 1, 2, -2), (2, 3), 1)),
    "stride beyond the kernel": ((2, 4, 3, 2), (2, 2), Integers((3, 3), (0, 0, 0, -1), (1, 1), 1)),
    "3-D": ((1, 3, 2, 3, 2), (2, 3, 3), Integers((2, 2, 1), (0, 0, 1, 0, 1, 1), (1, 1, 1), 1)),
}
FORMATS = columns.FORMATS


def whole(*shape: int) -> Any:
    return torch.randint(-9, 10, shape).float()


def formed(tensor: Any, last: bool) -> Any:
    return tensor.contiguous(memory_format=FORMATS[tensor.dim()]) if last else tensor


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_faces_are_exact_on_whole_numbers(name: str, dtype: Any) -> None:
    shape, taps, integers = CASES[name]
    for last_x, last_weight in (
        itertools.product((False, True), repeat=2) if len(taps) > 1 else [(False, False)]
    ):
        x = formed(whole(*shape), last_x)
        weight = formed(whole(shape[1], 6, *taps), last_weight)
        y = fallback.conv_transpose(x, weight, None, integers)
        grad = formed(whole(*y.shape), last_x)
        one, other = (whole(size) for size in (6, shape[1]))
        down = fallback.conv(grad, weight, integers, other)
        gradient = fallback.conv_kernel_gradient(x, grad, integers)
        x, weight, grad, one, other = (tensor.to(dtype) for tensor in (x, weight, grad, one, other))
        side = (-1, *(1,) * len(taps))
        if dtype == torch.float32:
            found = columns.conv_transpose(x, weight, one, integers, "relu")
            assert torch.equal(found, (y + one.reshape(side)).relu())
            assert torch.equal(columns.conv(grad, weight, integers, other), down)
        plain = down - other.float().reshape(side)
        assert torch.equal(columns.conv(grad, weight, integers), plain.to(dtype))
        for last in (last_x, last_weight):
            assert torch.equal(
                columns.conv_kernel_gradient(x, grad, integers, last=last), gradient.to(dtype)
            )


def test_what_is_not_finite_stays_where_it_belongs() -> None:
    """A border tap meets zeros in the columns, and an infinite weight there would give NaN: the
    engine computes.
    """
    integers = Integers((2, 2), (1, 1, 1, 1), (1, 1), 1)
    weight = torch.ones(256, 64, 4, 4)
    weight[3, 5, 0, 0] = torch.inf
    y = torch.ones(1, 64, 8, 8)
    assert columns.is_preferred("x", y, weight, integers)
    assert columns.conv(y, weight, integers) is None
    assert torch.equal(kernels.conv(y, weight, integers), fallback.conv(y, weight, integers))
    x = torch.ones(1, 256, 4, 4)
    x[0, 3, 0, 0] = torch.inf
    assert columns.conv_kernel_gradient(x, y, integers, last=False) is None
    found = kernels.conv_kernel_gradient(x, y, integers)
    assert not found.isnan().any()
    assert found.isinf().any()


def test_sums_of_several_taps_are_not_rounded_one_by_one() -> None:
    x, weight = (
        torch.ones(1, 256, 4, 4, dtype=torch.bfloat16),
        torch.ones(256, 64, 4, 4, dtype=torch.bfloat16),
    )
    assert not columns.supports("y", x, weight, Integers((2, 2), (1, 1, 1, 1), (1, 1), 1))
    assert columns.supports(
        "y", x.float(), weight.float(), Integers((2, 2), (1, 1, 1, 1), (1, 1), 1)
    )


@pytest.mark.parametrize("fastest", ["engine", "stock", "columns"])
def test_each_face_goes_the_way_that_was_the_fastest(
    fastest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured while layers are; followed then, and only within them; never in deterministic
    mode.
    """
    integers = Integers((2, 2), (1, 1, 1, 1), (1, 1), 1)
    x, weight = torch.ones(1, 256, 4, 4), torch.ones(256, 64, 4, 4)
    asked: list[str] = []

    def race(runs: Any, input: Any, *, keeps: bool) -> list[float]:
        _ = input
        assert not keeps
        asked.extend(names := list(runs_of["now"]))
        assert len(runs) == len(names)
        return [float(name != fastest) for name in names]

    runs_of: dict[str, Any] = {"now": dict.fromkeys(("engine", "stock", "columns"), lambda: None)}
    monkeypatch.setattr(ways, "race", race)
    monkeypatch.setattr(ways, "_ways", {})

    def way() -> str:
        return ways.way_of("y", x, weight, integers, runs_of["now"], last=False)

    assert way() == "columns"
    assert not asked
    with ways.MeasuredWays(measured=True):
        assert way() == "columns"
        assert not asked
        with ways.MeasuredWays(measured=True, trying=True):
            assert way() == fastest
            assert len(asked) == 3
        assert way() == fastest
        assert len(asked) == 3
        torch.use_deterministic_algorithms(True)
        try:
            assert way() == "columns"
        finally:
            torch.use_deterministic_algorithms(False)
        with ways.MeasuredWays(measured=False):
            assert way() == "columns"
    assert way() == "columns"


def test_derivatives_go_the_way_of_their_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their own calls come later, from the outside of the layer."""
    seen: list[bool] = []

    def way_of(*_: Any, **__: Any) -> str:
        seen.append(ways.are_measured())
        return "stock"

    monkeypatch.setattr(kernels, "way_of", way_of)
    model = bt.accelerate(torch.nn.Sequential(torch.nn.ConvTranspose2d(64, 32, 4, 2, 1))).model
    for measured in (True, False):
        model[0].backstride_measured = measured
        y = model(torch.ones(1, 64, 5, 5, requires_grad=True))
        y.sum().backward()
        assert seen == [measured] * 3
        seen.clear()


@pytest.mark.parametrize(("keeps", "expected"), [(True, [3, 3, 3]), (False, [1, 3, 3])])
def test_a_way_far_behind_is_left_after_its_first_run(
    keeps: bool, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, counts = [0.0], [0, 0, 0]
    monkeypatch.setattr(ways.time, "perf_counter", lambda: clock[0])

    def taking(which: int, seconds: float) -> Any:
        def run() -> None:
            clock[0] += seconds
            counts[which] += 1

        return run

    found = ways.race(
        [taking(0, 0.5), taking(1, 0.05), taking(2, 0.1)], torch.zeros(1), keeps=keeps
    )
    assert found == pytest.approx([0.5, 0.05, 0.1])
    assert counts == expected
