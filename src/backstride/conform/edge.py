"""Runtimes of phones and small devices: one operation each, in a model made in memory.

As in `runtimes`: our x and kernel in, our layout out, nothing between but layout and flip.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypedDict, cast

import numpy as np

from backstride.conform.calls import Call
from backstride.conform.runtimes import Run, Runtime
from backstride.conventions import CONVENTIONS, convert_kernel
from backstride.layout import AnyArray

# Source: src/layer/deconvolution.h and its neighbours, ncnn 1.0.20261020.
NCNN = replace(
    CONVENTIONS["torch"],
    name="ncnn",
    weight_layout=("C_big", "C_small", "*k"),
    grouped_layout=("groups", "C_big/groups", "C_small/groups", "*k"),
)
# Parameter numbers for width, height and depth.
NUMBERS = {
    "kernel": (1, 11, 21),
    "dilation": (2, 12, 22),
    "stride": (3, 13, 23),
    "padding": (4, 14, 24),
    "end": (15, 16, 17),
    "output_padding": (18, 19, 20),
}
NAMES = {1: "1D", 2: "", 3: "3D"}


class NcnnOptions(Protocol):
    """`ncnn.Option`; the others are set by name."""

    num_threads: int


class NcnnExtractor(Protocol):
    """`ncnn.Extractor`."""

    input: Callable[[str, object], int]
    extract: Callable[[str], tuple[int, object]]


class NcnnNet(Protocol):
    """`ncnn.Net`."""

    opt: NcnnOptions
    load_param_mem: Callable[[str], int]
    load_model_mem: Callable[[bytes], int]
    create_extractor: Callable[[], NcnnExtractor]


class Ncnn(Protocol):
    """`ncnn`."""

    __version__: str
    Net: Callable[[], NcnnNet]
    Mat: Callable[[AnyArray], object]


class LiteRtTensor(TypedDict):
    """What the interpreter tells of a tensor, and more."""

    index: int


class LiteRtInterpreter(Protocol):
    """`ai_edge_litert.interpreter.Interpreter`."""

    allocate_tensors: Callable[[], None]
    invoke: Callable[[], None]
    set_tensor: Callable[[int, AnyArray], None]
    get_tensor: Callable[[int], AnyArray]
    get_input_details: Callable[[], Sequence[LiteRtTensor]]
    get_output_details: Callable[[], Sequence[LiteRtTensor]]


class LiteRt(Protocol):
    """`ai_edge_litert.interpreter`."""

    Interpreter: Callable[..., LiteRtInterpreter]


def ncnn() -> Runtime:
    """Deconvolution of ncnn in 1-D to 3-D and its grouped form, in float32."""
    lib = cast("Ncnn", importlib.import_module("ncnn"))

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        text = _ncnn_text(call, kernel.size)
        # The first four bytes say that the weights are float32.
        weights = bytes(4) + convert_kernel(kernel, NCNN, groups=call.groups).tobytes()
        samples = [np.ascontiguousarray(np.moveaxis(sample, -1, 0)) for sample in x]

        def run() -> AnyArray:
            net = lib.Net()
            net.opt.num_threads = 1
            for option in (
                "use_fp16_storage",
                "use_fp16_packed",
                "use_fp16_arithmetic",
                "use_bf16_storage",
            ):
                setattr(net.opt, option, False)
            if net.load_param_mem(text) != 0:
                message = "the parameters were not loaded"
                raise ValueError(message)
            _ = net.load_model_mem(weights)
            found: list[AnyArray] = []
            for sample in samples:
                extractor = net.create_extractor()
                _ = extractor.input("x", lib.Mat(sample))
                status, y = extractor.extract("y")
                if status != 0:
                    message = f"the layer ended with {status}"
                    raise ValueError(message)
                found.append(np.moveaxis(np.array(y), 0, -1))
            return np.stack(found)

        return run

    return f"ncnn {lib.__version__}", prepare


def _ncnn_text(call: Call, size: int) -> str:
    values = {
        name: call.per_axis(name, default)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    }
    values["kernel"], values["end"] = call.kernel, values["padding"]
    values["output_padding"] = call.per_axis("output_padding", 0)
    fields = {0: call.big, 5: 0, 6: size}
    for name, numbers in NUMBERS.items():
        fields.update(zip(numbers, reversed(values[name]), strict=False))
    name = f"Deconvolution{NAMES[call.rank]}"
    if call.groups > 1:
        name, fields[7] = f"DeconvolutionDepthWise{NAMES[call.rank]}", call.groups
    words = " ".join(f"{number}={value}" for number, value in sorted(fields.items()))
    return f"7767517\n2 2\nInput in 0 1 x\n{name} up 1 1 x y {words}\n"


def litert() -> Runtime:
    """LiteRT's TRANSPOSE_CONV, the operation of `tf.nn.conv2d_transpose`."""
    lib = cast("LiteRt", importlib.import_module("ai_edge_litert.interpreter"))

    def prepare(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        # The kernel's axes here are C_big, kH, kW, C_small.
        weights = np.ascontiguousarray(np.moveaxis(kernel, 2, 0))
        size = np.array([call.batch, *call.arguments["output_shape"], call.big], np.int32)
        model = _litert_model(call, (size, weights, np.ascontiguousarray(x)))

        def run() -> AnyArray:
            interpreter = lib.Interpreter(model_content=model, num_threads=1)
            interpreter.allocate_tensors()
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
            interpreter.invoke()
            return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

        return run

    return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}", prepare


def _litert_model(call: Call, arrays: tuple[AnyArray, AnyArray, AnyArray]) -> bytes:
    """A model of one operation: tensors 0 to 3 are the size, the weights, x and y."""
    schema = importlib.import_module(
        "ai_edge_litert.schema_py_generated"
    )  # records of a flat file, untyped
    model = schema.ModelT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [schema.SubGraphT()]
    graph, tensors = model.subgraphs[0], list[object]()
    graph.inputs, graph.outputs = [2], [3]
    shapes = [(4,), arrays[1].shape, arrays[2].shape, tuple(arrays[0])]
    for place, shape in enumerate(shapes):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = f"tensor{place}".encode(), np.array(shape, np.int32)
        tensor.type = schema.TensorType.INT32 if place == 0 else schema.TensorType.FLOAT32
        if place < 2:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(arrays[place].tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        tensors.append(tensor)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.TRANSPOSE_CONV
    code.version = 1
    model.operatorCodes = [code]
    options = schema.TransposeConvOptionsT()
    options.strideH, options.strideW = call.per_axis("strides", 1)
    options.padding = (
        schema.Padding.SAME if call.arguments["padding"] == "SAME" else schema.Padding.VALID
    )
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, 2], [3]
    operator.builtinOptionsType, operator.builtinOptions = (
        schema.BuiltinOptions.TransposeConvOptions,
        options,
    )
    graph.tensors, graph.operators = tensors, [operator]
    builder = importlib.import_module("flatbuffers").Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
