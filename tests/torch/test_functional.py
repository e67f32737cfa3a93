"""The functions equal PyTorch's on every call that PyTorch takes, and keep our laws on those it
does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")


import backstride as bs  # noqa: E402
from strategies import Drawn, calls  # noqa: E402
from torch_calls import OURS, TorchCall, compare, torch_calls  # noqa: E402

functional: Any = torch.nn.functional
bt: Any = importlib.import_module("backstride.torch")
kernels: Any = importlib.import_module("backstride.torch.operator.kernels")


@settings(max_examples=300)
@given(torch_calls())
def test_every_call_equals_pytorch(call: TorchCall) -> None:
    compare(call)


@settings(max_examples=60)
@given(torch_calls())
def test_float32_equals_pytorch(call: TorchCall) -> None:
    compare(call, torch.float32)


@pytest.mark.slow
@settings(max_examples=5000)
@given(torch_calls())
def test_thousands_of_calls_equal_pytorch(call: TorchCall) -> None:
    compare(call)


@pytest.mark.parametrize("engine", [True, False], ids=["engine", "fallback"])
@given(drawn=calls(least_batch=1))
def test_crops_of_any_sign_equal_the_definition(engine: bool, drawn: Drawn) -> None:
    x, kernel, _ = (torch.from_numpy(array) for array in drawn.floats())
    _, bias = (torch.from_numpy(array.astype("float64")) for array in drawn.biases())
    expected = bs.conv_transpose(x, kernel, bias, **drawn.options)
    rank = len(drawn.geometry.input)
    if drawn.data_format == "channels_last":
        x, kernel = x.movedim(-1, 1), kernel.movedim((-1, -2), (0, 1))
        expected = expected.movedim(-1, 1)
    tensors = [tensor.requires_grad_() for tensor in (x, kernel, bias)]
    geometry = drawn.geometry
    options = {
        "stride": geometry.strides,
        "padding": geometry.crop,
        "dilation": geometry.dilation,
        "groups": drawn.groups,
    }
    with pytest.MonkeyPatch.context() as patch:
        if not engine:
            patch.setattr(kernels, "DTYPES", {})
        found = OURS[rank](*tensors, **options)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        upstream = torch.linspace(-1, 1, found.numel(), dtype=found.dtype).reshape(found.shape)
        gradients = torch.autograd.grad(found, tensors, upstream)
    again = torch.autograd.grad(OURS[rank](*tensors, **options), tensors, upstream)
    for one, two in zip(gradients, again, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("padding", ["same", "same_lower", "valid"])
@pytest.mark.parametrize(
    ("size", "taps", "stride"), [(5, 3, 2), (4, 4, 2), (3, 2, 3), (5, 5, 1), (2, 1, 4)]
)
def test_rules_are_tensorflows(padding: Any, size: int, taps: int, stride: int) -> None:
    x, weight = torch.randn(2, 3, size), torch.randn(3, 2, taps)
    where = bs.geometry(size, taps, strides=stride, padding=padding)
    expected = bs.conv_transpose(
        x, weight, strides=stride, padding=padding, data_format="channels_first"
    )
    torch.testing.assert_close(
        bt.conv_transpose1d(x, weight, stride=stride, padding=padding), expected
    )
    for length in range(where.output[0] - stride, where.output[0] + stride):
        try:
            legal = bs.conv_transpose(
                x,
                weight,
                strides=stride,
                padding=padding,
                output_shape=length,
                data_format="channels_first",
            )
        except ValueError:
            with pytest.raises(ValueError, match=r"`output_size` \(=\(-?\d+,\)\) must be "):
                _ = bt.conv_transpose1d(
                    x, weight, stride=stride, padding=padding, output_size=(length,)
                )
        else:
            found = bt.conv_transpose1d(
                x, weight, stride=stride, padding=padding, output_size=(length,)
            )
            torch.testing.assert_close(found, legal)


@settings(max_examples=100)
@given(st.integers(3, 7), st.integers(1, 5), st.integers(1, 3), st.integers(1, 2), st.data())
def test_circular_is_the_adjoint_of_the_circular_convolution(
    size: int, taps: int, stride: int, dilation: int, data: st.DataObject
) -> None:
    before, after = data.draw(st.integers(0, size)), data.draw(st.integers(0, size))
    span = dilation * (taps - 1) + 1
    spare = size + before + after - span
    if spare < 0:
        return
    y = torch.randn(2, 4, size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 2, taps, dtype=torch.float64)
    padded = functional.pad(y, (before, after), mode="circular")
    x = functional.conv1d(padded, weight, stride=stride, dilation=dilation, groups=2)
    upstream = torch.randn_like(x)
    (expected,) = torch.autograd.grad(x, y, upstream)
    found = bt.conv_transpose1d(
        upstream,
        weight,
        stride=stride,
        padding=[(before, after - spare % stride)],
        groups=2,
        dilation=dilation,
        padding_mode="circular",
    )
    if after - spare % stride >= 0:
        torch.testing.assert_close(found, expected)


def test_circular_takes_bias_and_activation() -> None:
    x, weight, bias = torch.randn(1, 2, 4, 4), torch.randn(2, 3, 3, 3), torch.randn(3)
    plain = bt.conv_transpose2d(x, weight, None, padding="same", padding_mode="circular")
    full = bt.conv_transpose2d(
        x, weight, bias, padding="same", padding_mode="circular", activation="relu"
    )
    torch.testing.assert_close(full, (plain + bias.reshape(3, 1, 1)).relu())


@pytest.mark.parametrize("cells", [2, 3, 7])
def test_output_padding_beyond_the_stride_appends_bias(cells: int) -> None:
    x, weight, bias = torch.randn(1, 2, 4), torch.randn(2, 3, 3), torch.randn(3)
    base = functional.conv_transpose1d(x, weight, bias, 2)
    found = bt.conv_transpose1d(x, weight, bias, 2, 0, cells)
    torch.testing.assert_close(found[..., : base.shape[-1]], base)
    torch.testing.assert_close(
        found[..., base.shape[-1] :], bias.reshape(1, 3, 1).expand(1, 3, cells)
    )


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu", "silu"])
def test_activations_are_pytorchs_with_and_without_gradients(name: str) -> None:
    x, weight = torch.randn(1, 2, 5, 5), torch.randn(2, 3, 3, 3, requires_grad=True)
    expected = getattr(functional, name)(functional.conv_transpose2d(x, weight))
    found = bt.conv_transpose2d(x, weight, activation=name)
    torch.testing.assert_close(found, expected)
    (one,), (two,) = (torch.autograd.grad(y.sum(), weight) for y in (found, expected))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(
            bt.conv_transpose2d(x, weight, activation=name), expected.detach()
        )


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 2, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.int64])
def test_any_dtype_and_an_empty_batch(shape: tuple[int, ...], dtype: Any) -> None:
    x = torch.randint(-4, 5, shape).to(dtype)
    weight = torch.randint(-4, 5, (2, 3, 3, 3)).to(dtype)
    torch.testing.assert_close(
        bt.conv_transpose2d(x, weight, None, 2), functional.conv_transpose2d(x, weight, None, 2)
    )
    cropped = bt.conv_transpose2d(x, weight, stride=2, padding=[(0, 3), (2, -1)])
    full = functional.conv_transpose2d(x, weight, None, 2)
    torch.testing.assert_close(cropped, functional.pad(full, (-2, 1, 0, -3)))


def test_views_lazy_negation_and_strides_of_any_kind() -> None:
    base = torch.randn(4, 6, 5, 7)
    weight = torch.randn(3, 4, 2, 6)
    imaginary = torch.view_as_complex(torch.randn(1, 4, 3, 3, 2)).conj().imag
    assert imaginary.is_neg()
    for x, kernel in (
        (base.movedim(0, 1)[::2], weight.permute(1, 0, 2, 3)),
        (
            base.transpose(2, 3),
            torch.randn(6, 2, 3, 3).contiguous(memory_format=torch.channels_last),
        ),
        (base[:, :, ::2, 1:], torch.randn(1, 2, 3, 3).expand(6, 2, 3, 3)),
        (imaginary, weight.permute(1, 0, 2, 3)),
    ):
        torch.testing.assert_close(
            bt.conv_transpose2d(x, kernel), functional.conv_transpose2d(x, kernel)
        )


def test_the_memory_format_is_kept() -> None:
    weight = torch.randn(4, 6, 3, 3)
    for x in (
        torch.randn(2, 4, 5, 5),
        torch.randn(2, 4, 5, 5).contiguous(memory_format=torch.channels_last),
    ):
        y = bt.conv_transpose2d(x, weight, None, 2)
        assert y.stride() == functional.conv_transpose2d(x, weight, None, 2).stride()
    pixel = torch.randn(2, 4, 1, 1)
    y = bt.conv_transpose2d(pixel, weight.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_copied_in(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    implementation = kernels._implementation(torch.float32, None)
    kind = cast("Any", type(implementation))
    run: Any = kind.conv_transpose

    def spy(self: Any, x: Any, *rest: Any) -> Any:
        seen.append(x.ctypes.data)
        result = run(self, x, *rest)
        seen.append(result.ctypes.data)
        return result

    monkeypatch.setattr(kind, "conv_transpose", spy)
    first = torch.randn(2, 4, 5, 5)
    for x in (first, first.contiguous(memory_format=torch.channels_last)):
        y = bt.conv_transpose2d(x, torch.randn(4, 6, 3, 3))
        assert seen[-2:] == [x.data_ptr(), y.data_ptr()]
    line = torch.randn(2, 4, 9)
    y = bt.conv_transpose1d(line, torch.randn(4, 6, 3))
    assert seen[-2:] == [line.data_ptr(), y.data_ptr()]
    assert len(seen) == 6


BIASES: dict[str, Callable[[Any], Any]] = {
    "every second": lambda dtype: torch.randn(12).to(dtype)[::2],
    "expanded": lambda dtype: torch.randn(1).to(dtype).expand(6),
    "a column": lambda dtype: torch.randn(6, 3).to(dtype)[:, 1],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", BIASES)
def test_a_bias_may_lie_in_memory_as_it_will(name: str, dtype: Any) -> None:
    x, weight, bias = (
        torch.randn(2, 4, 5, 6).to(dtype),
        torch.randn(4, 6, 3, 3).to(dtype),
        BIASES[name](dtype),
    )
    assert not bias.is_contiguous()
    expected = bt.conv_transpose2d(x, weight, bias.contiguous())
    torch.testing.assert_close(bt.conv_transpose2d(x, weight, bias), expected, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        expected = bt.conv_transpose2d(x, weight, bias.contiguous())
        torch.testing.assert_close(bt.conv_transpose2d(x, weight, bias), expected, rtol=0, atol=0)
    data, kernel = torch.randn(2, 6, 7, 8).to(dtype), torch.randn(4, 6, 3, 3).to(dtype)
    found = torch.ops.backstride.conv(data, kernel, [1, 1], [0] * 4, [1, 1], 1, bias[:4])
    expected = torch.ops.backstride.conv(
        data, kernel, [1, 1], [0] * 4, [1, 1], 1, bias[:4].contiguous()
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_result_of_no_cells_is_returned(dtype: Any, last: bool) -> None:
    form = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, 3, 1, 4).to(dtype).contiguous(memory_format=form).requires_grad_()
    weight, bias = (
        torch.randn(shape, dtype=dtype, requires_grad=True) for shape in ((3, 2, 2, 3), (2,))
    )
    result = bt.conv_transpose2d(x, weight, bias, 1, (1, 0), activation="relu")
    assert result.shape == (2, 2, 0, 6)
    assert result.dtype == dtype
    if dtype == torch.float32:
        assert (
            torch.nn.functional.conv_transpose2d(x, weight, bias, 1, (1, 0)).shape == result.shape
        )
    result.sum().backward()
    for tensor in (x, weight, bias):
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))
    with pytest.raises(RuntimeError, match="which leaves -1: the output size is too small"):
        _ = bt.conv_transpose2d(x, weight, bias, 1, [(2, 1), (0, 0)])
