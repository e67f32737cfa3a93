"""Gradients by each framework's own differentiation.

One call's vector-Jacobian product, with integers. As in `runtimes`, but what a run returns is flat:
the gradient by x and then that by the kernel, both in the framework's own layout, for the upstream
gradient `upstream`. `expected` is the same by the definition.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from backstride import reference
from backstride.conform import libraries
from backstride.conform.calls import Call, integers
from backstride.conform.libraries import Jax, Operation, Tensor, TensorFlow, Versioned
from backstride.conform.runtimes import (
    Run,
    Runtime,
    equinox_function,
    flax_function,
    jax_function,
    keras_layer,
    laid_out,
    tensorflow_function,
)
from backstride.conventions import CONVENTIONS, convert_kernel
from backstride.geometry import Geometry
from backstride.layout import AnyArray, DataFormat, data_unview

if TYPE_CHECKING:
    import torch as pytorch


def upstream(shape: tuple[int, ...], data_format: DataFormat) -> AnyArray:
    """Integers for an output of this shape; the same cell has the same number in both layouts."""
    last = shape if data_format == "channels_last" else (shape[0], *shape[2:], shape[1])
    return np.ascontiguousarray(data_unview(integers(last, 7), data_format))


def expected(call: Call, geometry: Geometry, name: str) -> AnyArray:
    """What a run returns if the framework is right."""
    convention = CONVENTIONS[f"{name}, transpose_kernel=True" if call.transpose_kernel else name]
    x, kernel = (operand.astype(np.int64) for operand in call.operands())
    y = integers((call.batch, *geometry.output, call.big), 7).astype(np.int64)
    by_x = reference.conv(y, kernel, geometry, groups=call.groups)
    by_kernel = reference.conv_kernel_gradient(x, y, geometry, groups=call.groups)
    parts = (
        data_unview(by_x, convention.data_format),
        convert_kernel(by_kernel, convention, groups=call.groups),
    )
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


def torch() -> Runtime:
    """`torch.autograd` through the function, or through the module for `output_size`."""
    import torch as lib  # noqa: PLC0415  each row loads its framework

    lib.set_num_threads(1)

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("torch", call, x, kernel)
        options = dict(call.arguments)
        size = options.pop("output_size", None)

        def run() -> AnyArray:
            source, taps = (
                lib.as_tensor(data).requires_grad_(),
                lib.as_tensor(weight).requires_grad_(),
            )
            if size is None:
                function = getattr(lib.nn.functional, f"conv_transpose{call.rank}d")
                y = function(source, taps, groups=call.groups, **options)
            else:
                make = getattr(lib.nn, f"ConvTranspose{call.rank}d")
                layer = make(
                    call.small, call.big, call.kernel, groups=call.groups, bias=False, **options
                )
                y = lib.func.functional_call(layer, {"weight": taps}, (source, list(size)))
            return _autograd(y, source, taps, "channels_first")

        return run

    return f"torch {lib.__version__}", prepare


def tensorflow() -> Runtime:
    """`tf.GradientTape` on the CPU's own kernels."""
    lib = libraries.tensorflow()

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("tensorflow", call, x, kernel)
        function = tensorflow_function(lib, call)

        def run() -> AnyArray:
            return _tape(lib, function, lib.constant(data), lib.constant(weight))

        return run

    return f"tensorflow {lib.__version__}", prepare


def jax() -> Runtime:
    """`jax.vjp` of `jax.lax.conv_transpose`."""
    lib = libraries.jax()
    return f"jax {lib.__version__}", _prepared(lib, "jax", lambda call: jax_function(lib, call))


def flax() -> Runtime:
    """`jax.vjp` of `flax.nnx.ConvTranspose`."""
    (lib, nnx), base = libraries.flax(), libraries.jax()
    prepare = _prepared(base, "flax", lambda call: flax_function(nnx, call))
    return f"flax {lib.__version__}, jax {base.__version__}", prepare


def equinox() -> Runtime:
    """`jax.vjp` of `equinox.nn.ConvTranspose` under `jax.vmap`."""
    lib, base = libraries.equinox(), libraries.jax()
    prepare = _prepared(
        base, "equinox", lambda call: equinox_function(lib, base, call), "channels_first"
    )
    return f"equinox {lib.__version__}, jax {base.__version__}", prepare


def keras(backend: str) -> Runtime:
    """The backend's own differentiation of `keras.layers.Conv*DTranspose`."""
    lib = libraries.keras()
    base = cast("Versioned", importlib.import_module(backend))

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("keras", call, x, kernel)

        def run() -> AnyArray:
            layer = keras_layer(lib, call, data.shape, weight)
            if backend == "jax":

                def function(source: Tensor, taps: Tensor) -> Tensor:
                    return layer.stateless_call([taps], [], source)[0]

                return _vjp(libraries.jax(), function, data, weight, "channels_last")
            source, taps = lib.ops.convert_to_tensor(data), layer.kernel.value
            if backend == "tensorflow":
                return _tape(libraries.tensorflow(), lambda source, _: layer(source), source, taps)
            given, weights = cast("pytorch.Tensor", source), cast("pytorch.Tensor", taps)
            y = cast("pytorch.Tensor", layer(given.requires_grad_()))
            return _autograd(y, given, weights, "channels_last")

        return run

    return f"keras {lib.__version__}, {backend} {base.__version__}", prepare


def _autograd(
    y: pytorch.Tensor, source: pytorch.Tensor, taps: pytorch.Tensor, data_format: DataFormat
) -> AnyArray:
    import torch as lib  # noqa: PLC0415  loaded by the row

    if 0 in y.shape:
        return np.empty(0, np.float32)
    given = lib.as_tensor(upstream(y.shape, data_format))
    return _flat(lib.autograd.grad(y, (source, taps), given))


def _tape(lib: TensorFlow, function: Operation, source: Tensor, taps: Tensor) -> AnyArray:
    with lib.GradientTape() as tape:
        tape.watch([source, taps])
        y = function(source, taps)
    if 0 in y.shape:
        return np.empty(0, np.float32)
    given = upstream(tuple(y.shape), "channels_last")
    return _flat(tape.gradient(y, [source, taps], output_gradients=lib.constant(given)))


def _prepared(
    lib: Jax,
    name: str,
    function_of: Callable[[Call], Operation],
    data_format: DataFormat = "channels_last",
) -> Callable[[Call, AnyArray, AnyArray], Run]:
    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out(name, call, x, kernel)
        return lambda: _vjp(lib, function_of(call), data, weight, data_format)

    return prepare


def _vjp(
    lib: Jax, function: Operation, data: AnyArray, weight: AnyArray, data_format: DataFormat
) -> AnyArray:
    shape = lib.eval_shape(function, data, weight).shape
    if 0 in shape:
        return np.empty(0, np.float32)

    # One compilation for both gradients.
    def both(source: Tensor, taps: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        return lib.vjp(function, source, taps)[1](given)

    return _flat(lib.jit(both)(data, weight, upstream(shape, data_format)))


def _flat(parts: Iterable[object]) -> AnyArray:
    return np.concatenate([np.asarray(part).ravel() for part in parts])
