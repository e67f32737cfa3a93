"""The operators under everything in PyTorch that may look at one: autograd, transforms, compilers,
casts, modes.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
functional: Any = torch.nn.functional
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")


# PyTorch's forward-mode derivatives still script some functions, which warns
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
OPERATORS = torch.ops.backstride
INTEGERS = ([2], [1, -1], [2], 2)
TESTS = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)


def tensor(*shape: int, dtype: Any = torch.float64) -> Any:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def with_integers(operator: Any) -> Any:
    def call(*tensors: Any) -> Any:
        return operator(*tensors, *INTEGERS)

    return call


def biased_conv(y: Any, weight: Any, bias: Any) -> Any:
    return OPERATORS.conv(y, weight, *INTEGERS, bias)


def operators(dtype: Any = torch.float64) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Each operator with tensors that meet: 4 channels of 3 cells and 2 of 9, kernel 2."""
    x, weight, bias, y = (
        tensor(*shape, dtype=dtype) for shape in ((2, 4, 3), (4, 1, 2), (2,), (2, 2, 9))
    )
    return {
        "conv_transpose": (with_integers(OPERATORS.conv_transpose), (x, weight, bias)),
        "conv": (with_integers(OPERATORS.conv), (y, weight)),
        "biased conv": (biased_conv, (y, weight, tensor(4, dtype=dtype))),
        "conv_kernel_gradient": (with_integers(OPERATORS.conv_kernel_gradient), (x, y)),
    }


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["conv_transpose", "conv", "conv_kernel_gradient"])
def test_opcheck(name: str) -> None:
    _, tensors = operators()[name]
    if name == "conv":
        biased = (*tensors, *INTEGERS, tensor(4))
        _ = torch.library.opcheck(OPERATORS.conv.default, biased, test_utils=TESTS)
    _ = torch.library.opcheck(
        getattr(OPERATORS, name).default, (*tensors, *INTEGERS), test_utils=TESTS
    )
    size = (2, 4, 3, 3) if name != "conv" else (2, 2, 6, 6)
    x = torch.randn(size).contiguous(memory_format=torch.channels_last).requires_grad_()
    others = {
        "conv_transpose": ((4, 1, 2, 2), (2,)),
        "conv": ((4, 1, 2, 2),),
        "conv_kernel_gradient": ((2, 2, 6, 6),),
    }
    arguments = (
        x,
        *(tensor(*shape, dtype=torch.float32) for shape in others[name]),
        [2, 2],
        [0] * 4,
        [1, 1],
        2,
    )
    _ = torch.library.opcheck(getattr(OPERATORS, name).default, arguments, test_utils=TESTS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("name", ["conv_transpose", "conv", "biased conv", "conv_kernel_gradient"])
def test_derivatives_of_every_order_and_direction(name: str, dtype: Any) -> None:
    call, tensors = operators(dtype)[name]
    words = {"check_batched_grad": not dtype.is_complex, "fast_mode": dtype.is_complex}
    assert torch.autograd.gradcheck(
        call,
        tensors,
        check_forward_ad=True,
        check_batched_forward_grad=not dtype.is_complex,
        **words,
    )
    assert torch.autograd.gradgradcheck(call, tensors, check_fwd_over_rev=True, **words)


@pytest.mark.parametrize(
    "options", [{"stride": 2, "padding": "same"}, {"padding": 1, "padding_mode": "circular"}]
)
def test_derivatives_of_the_function(options: dict[str, Any]) -> None:
    def call(x: Any, weight: Any, bias: Any) -> Any:
        return bt.conv_transpose2d(x, weight, bias, groups=2, **options)

    tensors = (tensor(2, 4, 3, 4), tensor(4, 1, 3, 2), tensor(2))
    assert torch.autograd.gradcheck(call, tensors, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(call, tensors)


def test_function_transforms_agree_with_pytorch() -> None:
    def ours(x: Any, weight: Any, bias: Any) -> Any:
        return bt.conv_transpose1d(x, weight, bias, 2, 1, 1, 2)

    def stock(x: Any, weight: Any, bias: Any) -> Any:
        return functional.conv_transpose1d(x, weight, bias, 2, 1, 1, 2)

    tensors = [t.detach() for t in (tensor(3, 4, 3), tensor(4, 1, 3), tensor(2))]
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        found, expected = (transform(call, (0, 1, 2))(*tensors) for call in (ours, stock))
        torch.testing.assert_close(found, expected)

    def curvature(call: Any) -> Any:
        def loss(x: Any, weight: Any) -> Any:
            return call(x, weight, tensors[2]).square().sum()

        return torch.func.hessian(loss, (0, 1))(*tensors[:2])

    torch.testing.assert_close(curvature(ours), curvature(stock))


@pytest.mark.parametrize(
    "dims", [(0, None, None), (None, 0, None), (None, None, 0), (1, 0, 0), (2, None, 0), (0, 3, 1)]
)
def test_vmap_over_any_of_the_tensors(dims: tuple[int | None, ...]) -> None:
    tensors = [
        torch.randn(shape).movedim(0, dim) if dim is not None else torch.randn(shape[1:])
        for shape, dim in zip(((5, 2, 4, 3, 3), (5, 4, 3, 2, 2), (5, 6)), dims, strict=True)
    ]

    def call(x: Any, weight: Any, bias: Any) -> Any:
        return bt.conv_transpose2d(x, weight, bias, 2, groups=2)

    found = torch.vmap(call, dims)(*tensors)
    for index in range(5):
        one = [t if d is None else t.select(d, index) for t, d in zip(tensors, dims, strict=True)]
        torch.testing.assert_close(found[index], functional.conv_transpose2d(*one, 2, groups=2))


@pytest.mark.parametrize(
    "dims", [(0, None, None), (None, 0, None), (None, None, 0), (1, 0, 0), (2, None, 0), (0, 3, 1)]
)
def test_vmap_of_the_convolution(dims: tuple[int | None, ...]) -> None:
    tensors = [
        torch.randn(shape).movedim(0, dim) if dim is not None else torch.randn(shape[1:])
        for shape, dim in zip(((5, 2, 6, 7, 8), (5, 4, 3, 2, 2), (5, 4)), dims, strict=True)
    ]

    def call(y: Any, weight: Any, bias: Any) -> Any:
        return OPERATORS.conv(y, weight, [1, 2], [0, 0, 0, 0], [1, 1], 2, bias)

    found = torch.vmap(call, dims)(*tensors)
    for index in range(5):
        one = [t if d is None else t.select(d, index) for t, d in zip(tensors, dims, strict=True)]
        torch.testing.assert_close(found[index], functional.conv2d(*one, (1, 2), groups=2))


def test_gradients_per_sample() -> None:
    module, x = bt.ConvTranspose2d(2, 3, 3, 2, groups=1), torch.randn(4, 2, 3, 3)
    parameters = {name: value.detach() for name, value in module.named_parameters()}

    def loss(parameters: Any, one: Any) -> Any:
        return torch.func.functional_call(module, parameters, (one.unsqueeze(0),)).square().sum()

    found = torch.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for index in range(4):
        expected = torch.func.grad(loss)(parameters, x[index])
        for name in parameters:
            torch.testing.assert_close(found[name][index], expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "rank", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_compiled_whole_with_dynamic_shapes(rank: int) -> None:
    module = getattr(bt, f"ConvTranspose{rank}d")(4, 6, 3, 2, "same", groups=2)
    stock = getattr(nn, f"ConvTranspose{rank}d")(4, 6, 3, 2, 0, groups=2)
    stock.load_state_dict(module.state_dict())
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for size in (3, 5, 7):
        x = torch.randn(2, 4, *(size + axis for axis in range(rank)), requires_grad=True)
        found = compiled(x)
        expected = stock(x)[(..., *(slice(0, -1),) * rank)]
        torch.testing.assert_close(found, expected)
        one, two = (
            torch.autograd.grad(y.square().sum(), [x, *m.parameters()])
            for y, m in ((found, module), (expected, stock))
        )
        for first, second in zip(one, two, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
    found = compiled(torch.randn(2, 4, *(9,) * rank), output_size=(17,) * rank)
    assert found.shape[2:] == (17,) * rank


@pytest.mark.slow
def test_compiled_by_inductor_in_both_memory_formats() -> None:
    module = nn.Sequential(
        bt.ConvTranspose2d(4, 6, 4, 2, 1), nn.ReLU(), bt.ConvTranspose2d(6, 2, 3)
    )
    compiled = torch.compile(module, fullgraph=True)
    for form in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 4, 5, 5).contiguous(memory_format=form)
        y = compiled(x)
        torch.testing.assert_close(y, module(x))
        assert y.is_contiguous(memory_format=form)


def test_exported_with_dynamic_shapes() -> None:
    module = bt.ConvTranspose2d(4, 6, 3, 2, "same")
    sizes = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    exported = torch.export.export(module, (torch.randn(2, 4, 5, 6),), dynamic_shapes=(sizes,))
    x = torch.randn(2, 4, 7, 3)
    torch.testing.assert_close(exported.module()(x), module(x))


def test_fake_and_meta_tensors_have_the_right_shape() -> None:
    weight = torch.randn(4, 6, 3, 3)
    y = bt.conv_transpose2d(
        torch.randn(2, 4, 5, 5, device="meta"), weight.to("meta"), stride=2, padding="same"
    )
    assert y.shape == (2, 6, 10, 10)
    assert y.device.type == "meta"
    with torch._subclasses.FakeTensorMode() as mode:
        x = mode.from_tensor(torch.randn(2, 4, 5, 5).contiguous(memory_format=torch.channels_last))
        y = bt.conv_transpose2d(x, mode.from_tensor(weight), stride=2)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_autocast_is_pytorchs() -> None:
    x, weight = torch.randn(2, 4, 5, 5), torch.randn(4, 6, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = functional.conv_transpose2d(x, weight)
        torch.testing.assert_close(bt.conv_transpose2d(x, weight), expected)
        raw = OPERATORS.conv_transpose(x, weight, None, [1, 1], [0] * 4, [1, 1], 1)
        assert bt.conv_transpose2d(x.double(), weight.double()).dtype == torch.float64
    assert expected.dtype == torch.bfloat16
    torch.testing.assert_close(raw, expected)


def test_inference_mode_and_its_tensors() -> None:
    module = bt.ConvTranspose2d(4, 6, 3, 2)
    x = torch.randn(2, 4, 5, 5)
    expected = module(x).detach()
    with torch.inference_mode():
        torch.testing.assert_close(module(x), expected)
        made = bt.ConvTranspose2d(4, 6, 3, 2)
        _ = made.load_state_dict(module.state_dict())
        torch.testing.assert_close(made(x + 0), expected)
        _ = made.weight.mul_(2)
        assert not torch.allclose(made(x), expected)


def test_profiler_and_fx_and_dispatch_modes_see_it() -> None:
    module, x = bt.ConvTranspose2d(4, 6, 3, 2), torch.randn(2, 4, 5, 5)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        _ = module(x)
    assert "backstride::conv_transpose" in {event.key for event in profile.key_averages()}
    traced = torch.fx.symbolic_trace(nn.Sequential(module))
    torch.testing.assert_close(traced(x), module(x))
    seen: list[str] = []

    class Listen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with Listen():
        _ = module(x)
    assert "backstride.conv_transpose.default" in seen


def test_a_tensor_subclass_sees_the_function() -> None:
    class Named(torch.Tensor):
        pass

    x = torch.randn(1, 4, 3, 3).as_subclass(Named)
    y = bt.conv_transpose2d(x, torch.randn(4, 6, 2, 2), stride=2)
    assert type(y) is Named


def test_the_bias_gradient_is_exact_where_pytorchs_drifts() -> None:
    x, weight, bias = (
        torch.randn(2, 4, 23, 23),
        torch.randn(4, 3, 2, 2),
        torch.randn(3, requires_grad=True),
    )
    upstream = torch.full((2, 3, 46, 46), 0.123)
    (found,) = torch.autograd.grad(bt.conv_transpose2d(x, weight, bias, 2), bias, upstream)
    torch.testing.assert_close(found.double(), upstream.double().sum((0, 2, 3)), rtol=1e-7, atol=0)
