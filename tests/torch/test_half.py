"""Half precision on the CPU: sums in float32, rounded once, forward and backward, under autocast
and accelerated.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
functional: Any = torch.nn.functional
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
choice: Any = importlib.import_module("backstride.torch.operator.policy")
kernels: Any = importlib.import_module("backstride.torch.operator.kernels")
onednn: Any = importlib.import_module("backstride.torch.operator.onednn")
shapes: Any = importlib.import_module("backstride.torch.operator.shapes")
native: Any = importlib.import_module("backstride.native")
calls: Any = importlib.import_module("torch_calls")

HALF = [torch.float16, torch.bfloat16]
BOTH = pytest.mark.parametrize("dtype", HALF)
FLOAT = 2.0**-24
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine computes whatever it can, faster or not."""
    name = (
        "avx512"
        if "avx512" in native._native.instruction_sets()
        else native._native.instruction_sets()[0]
    )
    monkeypatch.setenv("BACKSTRIDE_IMPLEMENTATION", name)
    return name


def results(
    function: Callable[..., Any], tensors: list[Any], upstream: Any, options: dict[str, Any]
) -> list[Any]:
    """The result and its gradients by the tensors."""
    y = function(*tensors, **options)
    wanted = [tensor for tensor in tensors if tensor is not None]
    return [y, *torch.autograd.grad(y, wanted, upstream(y))]


def as_dtype(tensors: list[Any], dtype: Any) -> list[Any]:
    return [
        None if tensor is None else tensor.detach().to(dtype).requires_grad_() for tensor in tensors
    ]


def compare(
    rank: int, tensors: list[Any], options: dict[str, Any], dtype: Any, stock: Any = None
) -> None:
    """Forward and gradients are within half a unit of sums in double precision, whose error in
    float32 is bounded.
    """
    low = as_dtype(tensors, dtype)
    wide, plain = (
        as_dtype(low, torch.float64),
        as_dtype([None if t is None else t.abs() for t in low], torch.float64),
    )

    def upstream(y: Any) -> Any:
        return (
            torch.linspace(-1, 1, y.numel(), dtype=torch.float64)
            .reshape(y.shape)
            .to(dtype)
            .to(y.dtype)
        )

    def positive(y: Any) -> Any:
        return upstream(y).abs()

    found = results(calls.OURS[rank], low, upstream, options)
    function = stock or calls.STOCK[rank]
    exact = results(function, wide, upstream, options)
    sums = results(function, plain, positive, options)
    x, weight = tensors[:2]
    cells, taps = x.numel() // weight.shape[0], math.prod(weight.shape[2:])
    terms = [
        taps * weight.shape[0],
        taps * weight.shape[1],
        cells,
        found[0].numel() // found[0].shape[-rank - 1],
    ]
    for one, truth, size, count in zip(found, exact, sums, terms, strict=False):
        assert one.dtype == dtype
        error = 8 * FLOAT * max(math.sqrt(count), 4.0) * size
        bound = (
            torch.finfo(dtype).eps / 2 * (truth.abs() + error)
            + error
            + torch.finfo(dtype).smallest_normal
        )
        assert bool(((one.double() - truth).abs() <= bound).all())


@BOTH
@pytest.mark.usefixtures(
    "engine"
)  # PyTorch 2.13's bfloat16 conv3d is wrong on processors with AMX: strides (1, 1, 2)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(call=calls.torch_calls())
def test_calls_are_exact_sums_rounded_once(dtype: Any, call: Any) -> None:
    compare(call.rank, call.tensors(torch.float32), call.options, dtype)


@BOTH
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("groups", [1, 2, 40])
def test_layers_of_many_channels(dtype: Any, form: Any, groups: int) -> None:
    x, weight = (
        torch.randn(2, 40, 13, 11).contiguous(memory_format=form),
        torch.randn(40, max(1, 48 // groups), 4, 4),
    )
    if groups == 40:
        weight = weight[:, :1].contiguous()
    bias = torch.randn(weight.shape[1] * groups)
    compare(2, [x, weight, bias], {"stride": 2, "padding": 1, "groups": groups}, dtype)


@BOTH
def test_the_memory_format_is_pytorchs(dtype: Any) -> None:
    for form in FORMATS:
        x = torch.randn(2, 4, 5, 5, dtype=dtype).contiguous(memory_format=form).requires_grad_()
        weight = torch.randn(4, 6, 3, 3, dtype=dtype).requires_grad_()
        y = bt.conv_transpose2d(x, weight, None, 2)
        assert y.stride() == functional.conv_transpose2d(x, weight, None, 2).stride()
        assert torch.autograd.grad(y.square().sum(), x)[0].stride() == x.stride()


@BOTH
@pytest.mark.usefixtures("engine")
def test_nothing_is_copied(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    for name in ("conv_transpose", "conv", "conv_kernel_gradient"):
        run = getattr(native.Compiled, name)

        def spy(self: Any, data: Any, *rest: Any, run: Any = run, **words: Any) -> Any:
            result = run(self, data, *rest, **words)
            seen.extend((data.ctypes.data, result.ctypes.data))
            return result

        monkeypatch.setattr(native.Compiled, name, spy)
    for form in FORMATS:
        x = torch.randn(2, 8, 5, 5, dtype=dtype).contiguous(memory_format=form)
        weight = torch.randn(8, 6, 3, 3, dtype=dtype).requires_grad_()
        y = bt.conv_transpose2d(x.requires_grad_(), weight)
        assert seen == [x.data_ptr(), y.data_ptr()]
        upstream = torch.randn_like(y)
        by_x, _ = torch.autograd.grad(y, (x, weight), upstream)
        assert seen[2:5:2] == [upstream.data_ptr(), x.data_ptr()]
        assert seen[3] == by_x.data_ptr()
        seen.clear()


@BOTH
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "gelu", "silu"])
def test_an_activation_is_taken_before_the_rounding(dtype: Any, name: str) -> None:
    x, weight, bias = (torch.randn(shape).to(dtype) for shape in ((2, 6, 8, 8), (6, 5, 3, 3), (5,)))
    with torch.no_grad():
        found = bt.conv_transpose2d(x, weight, bias, 2, activation=name)
    wide = functional.conv_transpose2d(x.double(), weight.double(), bias.double(), 2)
    expected = getattr(functional, name)(wide)
    torch.testing.assert_close(
        found.double(), expected, rtol=torch.finfo(dtype).eps / 2 * 1.01, atol=1e-5
    )


@BOTH
@pytest.mark.parametrize("form", FORMATS)
def test_autocast_rounds_as_it_does_for_pytorch(dtype: Any, form: Any) -> None:
    layer = nn.ConvTranspose2d(32, 24, 4, 2, 1)
    ours = bt.accelerate(copy.deepcopy(layer)).model
    data = torch.randn(2, 32, 12, 12).contiguous(memory_format=form)
    with torch.autocast("cpu", dtype):
        found = ours(data)
        assert found.dtype == dtype
        assert found.stride() == layer(data).stride()
        with torch.no_grad():
            inferred = [
                ours(data) for _ in range(3)
            ]  # with a weight that was packed, from the second on
    rounded = [t.detach().to(dtype).double() for t in (data, layer.weight, layer.bias)]
    exact = functional.conv_transpose2d(*rounded, 2, 1)
    for y in (found, *inferred):
        torch.testing.assert_close(
            y.double(), exact, rtol=torch.finfo(dtype).eps / 2 * 1.01, atol=1e-5
        )
    gradients = torch.autograd.grad(found.float().square().sum(), ours.parameters())
    expected = layer(data).square().sum()
    assert [gradient.dtype for gradient in gradients] == [torch.float32] * 2
    for one, two in zip(gradients, torch.autograd.grad(expected, layer.parameters()), strict=True):
        assert float((one - two).norm() / two.norm()) < 4 * torch.finfo(dtype).eps


def test_autocast_meets_a_weight_that_changes() -> None:
    layer = bt.ConvTranspose2d(16, 12, 4, 2, 1)
    data = torch.randn(1, 16, 8, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        before = layer(data)
        layer.weight.data[0, 0, 0, 0] += 1000
        after = layer(data)
        expected = bt.conv_transpose2d(data.half(), layer.weight.half(), layer.bias.half(), 2, 1)
    assert torch.equal(after, expected)
    assert not torch.equal(before, after)


@BOTH
def test_a_weight_of_another_dtype_is_refused_without_autocast(dtype: Any) -> None:
    with pytest.raises(RuntimeError, match="must be"):
        _ = bt.conv_transpose2d(torch.ones(1, 2, 3, 3, dtype=dtype), torch.ones(2, 2, 3, 3))


@BOTH
def test_other_implementations_round_once_too(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [torch.randn(2, 6, 5, 4), torch.randn(6, 4, 3, 3), torch.randn(4)]
    for name in ("numpy", "direct"):
        monkeypatch.setenv("BACKSTRIDE_IMPLEMENTATION", name)
        compare(2, tensors, {"stride": 2}, dtype)


def test_bfloat16_is_computed_by_whoever_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKSTRIDE_IMPLEMENTATION", raising=False)
    x, weight = torch.randn(1, 64, 16, 16).bfloat16(), torch.randn(64, 32, 2, 2).bfloat16()
    cl = x.contiguous(memory_format=torch.channels_last)
    integers = shapes.Integers((2, 2), (0, 0, 0, 0), (1, 1), 1)
    few = torch.randn(1, 512, 2, 2).bfloat16(), torch.randn(512, 512, 4, 4).bfloat16()
    depthwise = torch.randn(64, 1, 4, 4).bfloat16(), integers._replace(groups=64)
    single = torch.randn(64, 32, 2, 2).bfloat16(), integers
    large = torch.randn(64, 32, 4, 4).bfloat16(), integers._replace(crop=(1, 1, 1, 1))
    maps = torch.randn(16, 64, 33, 33).bfloat16()
    for has_tiles, has_matrices in ((True, False), (True, True), (False, False)):
        monkeypatch.setattr(choice, "HAS_TILES", has_tiles)
        monkeypatch.setattr(choice, "HAS_MATRICES", has_matrices)
        assert choice.packed_bfloat16_is_faster(maps, *large, False) != (
            has_tiles and not has_matrices
        )
        assert not choice.packed_bfloat16_is_faster(maps, *single, True)
        assert choice.packed_bfloat16_is_faster(x, weight, integers, False) != has_tiles
        assert choice.packed_bfloat16_is_faster(*few, integers, False)
        assert choice.packed_bfloat16_is_faster(x, *depthwise, False)
    assert not choice.packed_bfloat16_is_faster(cl, weight, integers, True)
    with torch.no_grad():
        expected = functional.conv_transpose2d(cl, weight, None, 2)
        found = bt.conv_transpose2d(cl, weight, None, 2)
    assert torch.equal(found, expected)
    assert found.stride() == expected.stride()


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each weight that oneDNN puts in order, where the rule prefers it."""
    if onednn.REORDER_TRANSPOSED is None or not onednn.supports(torch.bfloat16):
        pytest.skip("oneDNN has no bfloat16 here")
    found: list[int] = []
    order: Any = onednn.REORDER_TRANSPOSED

    def spy(*arguments: Any) -> Any:
        found.append(1)
        return order(*arguments)

    monkeypatch.setattr(onednn, "REORDER_TRANSPOSED", spy)

    def never(*arguments: Any) -> bool:
        _ = arguments
        return False

    monkeypatch.setattr(kernels, "packed_bfloat16_is_faster", never)
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("words", [{}, {"output_padding": 1}, {"padding": (2, 0)}])
def test_onednns_order_of_a_weight_is_remembered(
    form: Any, words: dict[str, Any], orders: list[int]
) -> None:
    stock = nn.ConvTranspose2d(64, 32, 4, 2, **words).bfloat16()
    ours = bt.accelerate(copy.deepcopy(stock), measure=False).model
    x = torch.randn(2, 64, 5, 6, dtype=torch.bfloat16).contiguous(memory_format=form)
    tolerance = {"rtol": torch.finfo(torch.bfloat16).eps, "atol": 1e-2}
    with torch.no_grad():
        for _ in range(3):
            found, expected = ours(x), stock(x)
            assert found.stride() == expected.stride()
            torch.testing.assert_close(found, expected, **tolerance)
        assert len(orders) == 1
        ours.weight.data[3, 5, 1, 2] += 10
        stock.load_state_dict(ours.state_dict())
        torch.testing.assert_close(ours(x), stock(x), **tolerance)
        torch.testing.assert_close(ours(x[:1, :, 1:]), stock(x[:1, :, 1:]), **tolerance)


@pytest.mark.parametrize(
    "words", [{"dilation": 2}, {"groups": 2}, {"padding": 0, "output_padding": 1, "stride": 3}]
)
def test_what_onednn_has_no_order_for_is_computed(words: dict[str, Any], orders: list[int]) -> None:
    stock = nn.ConvTranspose2d(64, 32, 3, **words).bfloat16()
    ours, x = (
        bt.accelerate(copy.deepcopy(stock), measure=False).model,
        torch.randn(1, 64, 5, 6, dtype=torch.bfloat16),
    )
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(ours(x), stock(x), rtol=1e-2, atol=1e-2)
    assert len(orders) == ("stride" in words)


def test_under_autocast_a_weight_is_rounded_and_ordered_once(orders: list[int]) -> None:
    stock = nn.ConvTranspose2d(64, 32, 4, 2)
    ours, x = bt.accelerate(copy.deepcopy(stock), measure=False).model, torch.randn(1, 64, 5, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            torch.testing.assert_close(
                ours(x), stock(x), rtol=torch.finfo(torch.bfloat16).eps, atol=1e-2
            )
    assert len(orders) == 1
