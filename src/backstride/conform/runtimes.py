"""One call run by a framework.

Our x and kernel in, our layout out, nothing between but layout and flip. Each function here imports
its framework, and returns the versions that ran and a `Prepare`: called with a call and its
operands it lays them out, and hands back the framework's own call to make. What that raises is the
framework's refusal; what laying out raises is a fault of ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from backstride.conform import libraries
from backstride.conform.calls import Arguments, Call
from backstride.conform.libraries import (
    Equinox,
    Evaluated,
    FlaxNnx,
    Jax,
    Keras,
    KerasLayer,
    Operation,
    Tensor,
    TensorFlow,
    Weighted,
)
from backstride.conventions import CONVENTIONS, convert_kernel
from backstride.layout import AnyArray, data_unview, data_view

if TYPE_CHECKING:
    import onnx

Run: TypeAlias = Callable[[], AnyArray]
Prepare: TypeAlias = Callable[[Call, AnyArray, AnyArray], Run]
Runtime: TypeAlias = tuple[str, Prepare]


def torch() -> Runtime:
    """`torch.nn.functional.conv_transpose*d`, and the module where `output_size` is given."""
    import torch as lib  # noqa: PLC0415  each row loads its framework

    lib.set_num_threads(1)

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("torch", call, x, kernel)
        source, taps = lib.as_tensor(data), lib.as_tensor(weight)
        options = dict(call.arguments)
        size = options.pop("output_size", None)

        def run() -> AnyArray:
            if size is None:
                function = getattr(lib.nn.functional, f"conv_transpose{call.rank}d")
                return _channels_last(function(source, taps, groups=call.groups, **options).numpy())
            make = getattr(lib.nn, f"ConvTranspose{call.rank}d")
            layer = make(
                call.small, call.big, call.kernel, groups=call.groups, bias=False, **options
            )
            with lib.no_grad():
                layer.weight.copy_(taps)
                return _channels_last(layer(source, output_size=list(size)).numpy())

        return run

    return f"torch {lib.__version__}", prepare


def tensorflow_function(lib: TensorFlow, call: Call) -> Callable[[Tensor, Tensor], Evaluated]:
    """`tf.nn.conv*d_transpose` of x and the kernel, in TensorFlow's words."""
    options = dict(call.arguments)
    shape = [call.batch, *options.pop("output_shape"), call.big]
    if not isinstance(options["padding"], str):
        options["padding"] = [[0, 0], *map(list, options["padding"]), [0, 0]]
    function = getattr(lib.nn, f"conv{call.rank}d_transpose")
    return lambda source, taps: function(source, taps, shape, **options)


def tensorflow(*, compiled: bool = False) -> Runtime:
    """`tf.nn.conv*d_transpose` on the CPU: its own kernels, or `compiled` by XLA."""
    lib = libraries.tensorflow()

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("tensorflow", call, x, kernel)
        function = tensorflow_function(lib, call)

        def run() -> AnyArray:
            ran = lib.function(function, jit_compile=True) if compiled else function
            return ran(data, weight).numpy()

        return run

    return f"tensorflow {lib.__version__}", prepare


def keras_layer(lib: Keras, call: Call, shape: tuple[int, ...], weight: AnyArray) -> KerasLayer:
    """`keras.layers.Conv*DTranspose` with this kernel, built for x of `shape`."""
    make = getattr(lib.layers, f"Conv{call.rank}DTranspose")
    options = {
        "use_bias": False,
        "data_format": "channels_last",
        "kernel_initializer": "zeros",
        **call.arguments,
    }
    layer: KerasLayer = make(call.big, call.kernel, **options)
    layer.build(shape)
    _ = layer.kernel.assign(weight)
    return layer


def keras() -> Runtime:
    """`keras.layers.Conv*DTranspose` on the backend that KERAS_BACKEND names."""
    lib = libraries.keras()

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("keras", call, x, kernel)

        def run() -> AnyArray:
            layer = keras_layer(lib, call, data.shape, weight)
            return np.asarray(lib.ops.convert_to_numpy(layer(lib.ops.convert_to_tensor(data))))

        return run

    return f"keras {lib.__version__}", prepare


def jax_function(lib: Jax, call: Call) -> Operation:
    """`jax.lax.conv_transpose` of x and the kernel."""
    # JAX has no default layout in 3-D that names depth first, so all ranks name theirs.
    axes = "DHW"[-call.rank :]
    numbers = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    options = {
        "dimension_numbers": numbers,
        "transpose_kernel": call.transpose_kernel,
        **call.arguments,
    }
    return lambda source, taps: lib.lax.conv_transpose(source, taps, **options)


def jax() -> Runtime:
    """`jax.lax.conv_transpose`."""
    lib = libraries.jax()

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("jax", call, x, kernel)
        function = jax_function(lib, call)
        return lambda: np.asarray(function(data, weight))

    return f"jax {lib.__version__}", prepare


def flax_function(nnx: FlaxNnx, call: Call) -> Operation:
    """`flax.nnx.ConvTranspose` of x and the kernel, made where it is called."""

    def function(source: Tensor, taps: Tensor) -> Tensor:
        def kernel_init(*_: object) -> Tensor:
            return taps

        options = {
            "use_bias": False,
            "kernel_init": kernel_init,
            "rngs": nnx.Rngs(0),
            **call.arguments,
        }
        layer = nnx.ConvTranspose(
            call.small, call.big, call.kernel, transpose_kernel=call.transpose_kernel, **options
        )
        return layer(source)

    return function


def flax() -> Runtime:
    """`flax.nnx.ConvTranspose`."""
    (lib, nnx), base = libraries.flax(), libraries.jax()

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("flax", call, x, kernel)
        function = flax_function(nnx, call)
        return lambda: np.asarray(base.jit(function)(data, weight))

    return f"flax {lib.__version__}, jax {base.__version__}", prepare


def equinox_function(lib: Equinox, base: Jax, call: Call) -> Operation:
    """`equinox.nn.ConvTranspose` of x and the kernel.

    It takes one sample, and users batch it with `jax.vmap`.
    """
    key = base.random.PRNGKey(0)

    def weight_of(layer: Weighted) -> Tensor:
        return layer.weight

    def function(source: Tensor, taps: Tensor) -> Tensor:
        options = {"groups": call.groups, "use_bias": False, "key": key, **call.arguments}
        # Shapes only: drawing weights to throw away would cost a compilation per call.
        layer = lib.filter_eval_shape(
            lib.nn.ConvTranspose, call.rank, call.small, call.big, call.kernel, **options
        )
        return base.vmap(lib.tree_at(weight_of, layer, taps))(source)

    return function


def equinox() -> Runtime:
    """`equinox.nn.ConvTranspose`."""
    lib, base = libraries.equinox(), libraries.jax()

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("equinox", call, x, kernel)
        function = equinox_function(lib, base, call)
        # One compilation for all that the layer does beside the convolution.
        return lambda: _channels_last(np.asarray(base.jit(function)(data, weight)))

    return f"equinox {lib.__version__}, jax {base.__version__}", prepare


def onnxruntime() -> Runtime:
    """ONNX Runtime's CPU provider on a model of one ConvTranspose, opset 22."""
    lib = libraries.onnxruntime()
    lib.set_default_logger_severity(4)

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("onnxruntime", call, x, kernel)
        model = _onnx_model(call, data, weight)

        def run() -> AnyArray:
            options = lib.SessionOptions()
            options.intra_op_num_threads = 1
            session = lib.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return _channels_last(session.run(None, {"x": data, "w": weight})[0])

        return run

    return f"onnxruntime {lib.__version__}", prepare


def onnx_reference() -> Runtime:
    """ONNX's own `ReferenceEvaluator` on the same model."""
    lib = libraries.onnx()

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("onnx", call, x, kernel)
        model = _onnx_model(call, data, weight)

        def run() -> AnyArray:
            lib.checker.check_model(model, full_check=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _channels_last(
                    lib.reference.ReferenceEvaluator(model).run(None, {"x": data, "w": weight})[0]
                )

        return run

    return f"onnx {lib.__version__}", prepare


def openvino() -> Runtime:
    """OpenVINO's CPU plugin on a model of one ConvolutionBackpropData or its grouped form."""
    lib, ops = libraries.openvino()
    core = lib.Core()

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        data, weight = laid_out("openvino", call, x, kernel)
        # The Python API requires both pads; without them they are 0, as the specification says.
        options: Arguments = {
            "pads_begin": (0,) * call.rank,
            "pads_end": (0,) * call.rank,
            **call.arguments,
        }
        for argument in ("strides", "dilations", "pads_begin", "pads_end", "output_padding"):
            if argument in options:
                options[argument] = list(options[argument])
        strides, size = options.pop("strides"), options.pop("output_shape", None)
        if size is not None:
            options["output_shape"] = ops.constant(np.asarray(size, np.int64))
        name = (
            "convolution_backprop_data" if call.groups == 1 else "group_convolution_backprop_data"
        )

        def run() -> AnyArray:
            source = ops.parameter(list(data.shape), np.float32)
            node = getattr(ops, name)(source, ops.constant(weight), strides, **options)
            settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
            compiled = core.compile_model(lib.Model([node], [source]), "CPU", settings)
            return _channels_last(np.array(compiled([data])[0]))

        return run

    return f"openvino {lib.__version__.partition('-')[0]}", prepare


def _onnx_model(call: Call, data: AnyArray, weight: AnyArray) -> onnx.ModelProto:
    from onnx import TensorProto, helper  # noqa: PLC0415  loaded by the row

    kind = TensorProto.FLOAT
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=call.groups, **call.arguments)
    inputs = [
        helper.make_tensor_value_info(name, kind, a.shape)
        for name, a in (("x", data), ("w", weight))
    ]
    graph = helper.make_graph(
        [node], "call", inputs, [helper.make_tensor_value_info("y", kind, [None] * data.ndim)]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def laid_out(name: str, call: Call, x: AnyArray, kernel: AnyArray) -> tuple[AnyArray, AnyArray]:
    """X and kernel as `CONVENTIONS` says the framework takes them."""
    convention = CONVENTIONS[f"{name}, transpose_kernel=True" if call.transpose_kernel else name]
    data = np.ascontiguousarray(data_unview(x, convention.data_format))
    return data, convert_kernel(kernel, convention, groups=call.groups)


def _channels_last(y: AnyArray) -> AnyArray:
    return data_view(y, "channels_first")
