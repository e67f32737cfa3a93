"""Arrays of any library in, the same kind, dtype and device out; one fixture holds the
libraries.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import array_api_strict
import ml_dtypes
import numpy as np
import pytest

import backstride as bs
from backstride import arrays


@dataclass(frozen=True)
class Backend:
    """How to make an array of one library from NumPy, and what must be kept by a result."""

    make: Callable[[Any], Any]
    traits: Callable[[Any], tuple[object, ...]]
    values: Callable[[Any], Any] = np.asarray


def optional(name: str) -> Any:
    _ = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip(name, reason=f"{name} is not installed")


def kind(array: object) -> object:
    return type(array)


def numpy_traits(array: Any) -> tuple[object, ...]:
    return kind(array), array.dtype


def readonly_numpy() -> Backend:
    def make(values: Any) -> Any:
        copy = np.array(values)
        copy.flags.writeable = False
        return copy

    return Backend(make, numpy_traits)


def viewed_numpy() -> Backend:
    def make(values: Any) -> Any:
        wide = np.full((*values.shape, 2), 99, values.dtype)
        wide[..., 0] = values
        return wide[..., 0]

    return Backend(make, numpy_traits)


def strict(device: str = "CPU_DEVICE") -> Backend:
    space: Any = array_api_strict
    place = space.Device(device)
    return Backend(
        lambda values: space.asarray(values, device=place),
        lambda array: (kind(array), array.dtype, array.device),
        lambda array: (
            np.from_dlpack(space.to_device(array, space.Device("CPU_DEVICE")))
            if hasattr(space, "to_device")
            else np.from_dlpack(array.to_device(space.Device("CPU_DEVICE")))
        ),
    )


def torch_backend(make: Callable[[Any, Any], Any]) -> Callable[[], Backend]:
    def backend() -> Backend:
        torch = optional("torch")
        return Backend(
            lambda values: make(torch, torch.from_numpy(np.array(values, order="C"))),
            lambda tensor: (
                kind(tensor),
                tensor.dtype,
                tensor.device,
                tensor.layout,
                tensor.requires_grad,
            ),
            lambda tensor: tensor.double().numpy(),
        )

    return backend


def torch_strided(torch: Any, tensor: Any) -> Any:
    return torch.stack([tensor, tensor + 1], -1)[..., 0]


def jax_backend(dtype: str) -> Callable[[], Backend]:
    def backend() -> Backend:
        jax = optional("jax")
        return Backend(
            lambda values: jax.numpy.asarray(values, dtype),
            lambda array: (kind(array), array.dtype, array.devices(), array.weak_type),
            lambda array: np.asarray(array, np.float64),
        )

    return backend


def tensorflow_backend(dtype: str) -> Callable[[], Backend]:
    def backend() -> Backend:
        tensorflow = optional("tensorflow")
        return Backend(
            lambda values: tensorflow.constant(values, dtype),
            lambda tensor: (kind(tensor), tensor.dtype, tensor.device),
            lambda tensor: tensor.numpy().astype(np.float64),
        )

    return backend


heavy = pytest.mark.frameworks
BACKENDS = [
    pytest.param(lambda: Backend(np.array, numpy_traits), id="numpy"),
    pytest.param(
        lambda: Backend(lambda values: np.asarray(values, "f2"), numpy_traits), id="numpy-float16"
    ),
    pytest.param(
        lambda: Backend(lambda values: np.asarray(values, ml_dtypes.bfloat16), numpy_traits),
        id="numpy-bfloat16",
    ),
    pytest.param(readonly_numpy, id="numpy-read-only"),
    pytest.param(viewed_numpy, id="numpy-view"),
    pytest.param(strict, id="array-api-strict"),
    pytest.param(lambda: strict("device1"), id="array-api-strict-device1"),
    pytest.param(torch_backend(lambda _, tensor: tensor), id="torch"),
    pytest.param(
        torch_backend(lambda torch, tensor: tensor.to(torch.bfloat16)), id="torch-bfloat16"
    ),
    pytest.param(torch_backend(lambda torch, tensor: tensor.to(torch.float16)), id="torch-float16"),
    pytest.param(torch_backend(lambda torch, tensor: tensor.to(torch.int32)), id="torch-int32"),
    pytest.param(torch_backend(torch_strided), id="torch-strided"),
    pytest.param(
        torch_backend(lambda torch, tensor: torch.complex(-tensor, tensor).imag),
        id="torch-imaginary-part",
    ),
    pytest.param(
        torch_backend(lambda _, tensor: tensor.mul(-1)._neg_view()), id="torch-negative-view"
    ),
    pytest.param(
        torch_backend(lambda torch, tensor: torch.complex(tensor, tensor * 0).conj().real),
        id="torch-conjugate",
    ),
    pytest.param(jax_backend("float32"), id="jax", marks=heavy),
    pytest.param(jax_backend("bfloat16"), id="jax-bfloat16", marks=heavy),
    pytest.param(tensorflow_backend("float32"), id="tensorflow", marks=heavy),
    pytest.param(tensorflow_backend("bfloat16"), id="tensorflow-bfloat16", marks=heavy),
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param()


X = np.arange(-9.0, 9.0, dtype=np.float32).reshape(1, 3, 3, 2)
KERNEL = np.arange(-6.0, 6.0, dtype=np.float32).reshape(2, 2, 3, 1)
BIAS = np.array([1, -2, 3], np.float32)


def test_what_goes_in_comes_out(backend: Backend) -> None:
    x, kernel, bias = backend.make(X), backend.make(KERNEL), backend.make(BIAS)
    wide = bs.conv_transpose(X[..., :1], KERNEL, BIAS, strides=2)
    pairs = [
        (bs.conv_transpose(backend.make(X[..., :1]), kernel, bias, strides=2), wide),
        (bs.plan(kernel, bias, strides=2)(backend.make(X[..., :1])), wide),
        (
            bs.conv(backend.make(wide), kernel, padding="same"),
            bs.conv(wide, KERNEL, padding="same"),
        ),
        (bs.conv_kernel_gradient(x, x, (1, 1, 2, 2)), bs.conv_kernel_gradient(X, X, (1, 1, 2, 2))),
        (bs.dense(x, backend.make(KERNEL[0, :, :2, 0])), bs.dense(X, KERNEL[0, :, :2, 0])),
        (bs.relu(x), bs.relu(X)),
        (bs.flatten(x), bs.flatten(X)),
        (bs.dense_to_conv(backend.make(KERNEL[0, :, :, 0])), bs.dense_to_conv(KERNEL[0, :, :, 0])),
    ]
    expected_traits = backend.traits(x)
    for result, expected in pairs:
        assert backend.traits(result) == expected_traits
        rounded = backend.values(
            backend.make(expected)
        )  # one rounding to the dtype, as a result has
        assert np.array_equal(backend.values(result), rounded)
        assert tuple(result.shape) == expected.shape
    for argument, values in ((x, X), (kernel, KERNEL), (bias, BIAS)):
        assert np.array_equal(backend.values(argument), values)


def test_scalars_of_every_library_have_no_axes(backend: Backend) -> None:
    result = bs.relu(backend.make(np.array(-2, np.float32)))
    assert tuple(result.shape) == ()
    assert float(result) == 0


@pytest.mark.parametrize("dtype", arrays.DTYPES)
def test_torch_knows_every_dtype(dtype: str) -> None:
    torch = optional("torch")
    x = torch.arange(6).reshape(1, 3, 2).to(getattr(torch, dtype))
    result = bs.conv_transpose(x, torch.ones(2, 3, 2).to(x.dtype))
    assert result.dtype == x.dtype
    assert result[0, :, 0].to(torch.complex128).real.tolist() == [1, 6, 14, 9]


@pytest.mark.parametrize("order", ["contiguous_format", "channels_last"])
def test_torch_in_its_own_layout(order: str) -> None:
    torch = optional("torch")
    x, kernel = torch.arange(48.0).reshape(1, 3, 4, 4), torch.arange(54.0).reshape(3, 2, 3, 3)
    data = x.to(memory_format=getattr(torch, order))
    weights = kernel.to(memory_format=getattr(torch, order))
    options: dict[str, Any] = {
        "strides": 2,
        "padding": 1,
        "output_padding": 1,
        "data_format": "channels_first",
    }
    result = bs.conv_transpose(data, weights, **options)
    expected = torch.nn.functional.conv_transpose2d(
        x, kernel, stride=2, padding=1, output_padding=1
    )
    assert torch.equal(result, expected)


def test_a_conjugated_torch_tensor_is_read_as_what_it_means() -> None:
    torch = optional("torch")
    x = torch.tensor([[[1 + 2j]]]).conj()
    assert bs.conv_transpose(x, torch.ones_like(x)).item() == 1 - 2j
    assert bs.flatten(x).item() == 1 - 2j


def test_a_subclass_counts_as_its_library() -> None:
    torch = optional("torch")
    parameter = torch.nn.Parameter(torch.ones(1, 1, 1), requires_grad=False)
    result = bs.conv_transpose(torch.ones(1, 3, 1), parameter)
    assert type(result) is torch.Tensor
    own = type("Own", (torch.Tensor,), {})
    assert arrays.library_of("x", torch.ones(2).as_subclass(own)) == "torch"


@pytest.mark.parametrize("wrong", ["grad", "sparse", "meta"])
def test_torch_tensors_that_cannot_be_read_are_refused(wrong: str) -> None:
    torch = optional("torch")
    x = torch.ones(1, 3, 1)
    tensor, message = {
        "grad": (
            x.clone().requires_grad_(),
            (
                "`x` requires grad, which this function would lose; the nearest legal call is "
                "x.detach(), and conv, conv_transpose and conv_kernel_gradient are each other's "
                "derivatives"
            ),
        ),
        "sparse": (
            x.to_sparse(),
            "`x` has layout torch.sparse_coo; the nearest legal call is x.to_dense()",
        ),
        "meta": (
            x.to("meta"),
            (
                "`x` is on the meta device and has no values; the nearest legal call gives a "
                "tensor with values"
            ),
        ),
    }[wrong]
    with pytest.raises(TypeError) as caught:
        _ = bs.conv_transpose(tensor, torch.ones(2, 1, 1))
    assert str(caught.value) == message


def test_the_way_in_shares_memory_where_it_can() -> None:
    torch = optional("torch")
    tensor = torch.ones(5)
    view = arrays.to_numpy("x", tensor)
    tensor[2] = 7
    assert view[2] == 7
    array = np.ones(3)
    assert arrays.to_numpy("x", array) is array


class Exporter:
    """An array of an unknown library: a shape, a dtype and DLPack, nothing else."""

    def __init__(self, values: Any) -> None:
        self._values = values
        self.shape = values.shape
        self.dtype = values.dtype

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._values.__dlpack_device__()


@pytest.mark.parametrize("hands_back", [True, False])
def test_an_unknown_library_that_speaks_dlpack(
    hands_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = types.ModuleType("newcomer")
    monkeypatch.setitem(sys.modules, "newcomer", library)
    monkeypatch.setattr(Exporter, "__module__", "newcomer.core")
    x: Any = Exporter(np.ones((1, 3, 1)))
    kernel: Any = Exporter(np.ones((2, 1, 1)))
    if hands_back:
        monkeypatch.setattr(library, "from_dlpack", np.from_dlpack, raising=False)
        assert bs.conv_transpose(x, kernel).ravel().tolist() == [1, 2, 2, 1]
        return
    with pytest.raises(TypeError) as caught:
        _ = bs.conv_transpose(x, kernel)
    assert str(caught.value) == (
        "`x` (an array of newcomer) can be read, but no result can be handed back: no from_dlpack"
    )


@pytest.mark.frameworks
def test_jax_under_a_trace_is_refused() -> None:
    jax = optional("jax")
    kernel = jax.numpy.ones((2, 1, 1))
    with pytest.raises(TypeError) as caught:
        jax.jit(partial(bs.plan, strides=2))(kernel)
    assert str(caught.value) == (
        "`kernel` has no values yet: it is traced by jax.jit; the nearest legal call is outside of "
        "it"
    )


@pytest.mark.frameworks
def test_a_jax_result_is_where_the_argument_was() -> None:
    jax = optional("jax")
    x = jax.device_put(jax.numpy.ones((1, 3, 1)), jax.devices()[-1])
    result = bs.conv_transpose(x, jax.numpy.ones((2, 1, 1)))
    assert result.devices() == x.devices()
    assert jax.numpy.array_equal(result.ravel(), jax.numpy.asarray([1, 2, 2, 1]))


@pytest.mark.frameworks
def test_a_tensorflow_variable_is_read_and_a_tensor_comes_back() -> None:
    tensorflow = optional("tensorflow")
    x, kernel = (
        tensorflow.Variable(np.ones((1, 3, 1), "f4")),
        tensorflow.Variable(np.ones((2, 1, 1), "f4")),
    )
    result = bs.conv_transpose(x, kernel)
    assert tensorflow.is_tensor(result)
    assert result.dtype == tensorflow.float32
    assert result.device == x.device
    assert result.numpy().ravel().tolist() == [1, 2, 2, 1]


@pytest.mark.frameworks
@pytest.mark.parametrize("make", ["constant", "Variable"])
def test_tensorflow_without_values_is_refused(make: str) -> None:
    tensorflow = optional("tensorflow")
    given = getattr(tensorflow, make)(np.ones((1, 3, 1), "f4"))

    @tensorflow.function
    def traced(x: Any) -> Any:
        return bs.relu(x)

    with pytest.raises(TypeError) as caught:
        traced(given)
    message = (
        "`x` has no values yet: it is traced by tf.function; the nearest legal call is outside of "
        "it"
    )
    assert message in str(caught.value)  # TensorFlow writes the user's line before it
