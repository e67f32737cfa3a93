"""What a user would otherwise pick, each as one function that runs a layer: weights packed beforehand.

A peer gives None where it cannot express the layer, or is not installed. All take and return float32;
the layout is the peer's own, so that nobody pays for a conversion. The crop is part of the layer: where a
peer's call cannot say it, a slice of the result (a view) does.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from layers import Layer

import backstride as bs

Run = Callable[[], Any]
Random = np.random.Generator


def backstride_last(layer: Layer, random: Random, threads: int) -> Run | None:
    """This library, channels last."""
    bs.set_num_threads(threads)
    x = _normal(random, layer.batch, *layer.input, layer.small)
    kernel = _normal(random, *layer.kernel, layer.big // layer.groups, layer.small)
    plan = bs.plan(kernel, strides=layer.strides, padding=layer.crop, groups=layer.groups)
    return lambda: plan(x)


def backstride_first(layer: Layer, random: Random, threads: int) -> Run | None:
    """This library, channels first."""
    bs.set_num_threads(threads)
    x = _normal(random, layer.batch, layer.small, *layer.input)
    kernel = _normal(random, layer.small, layer.big // layer.groups, *layer.kernel)
    plan = bs.plan(kernel, strides=layer.strides, padding=layer.crop, groups=layer.groups, data_format="channels_first")
    return lambda: plan(x)


def torch_first(layer: Layer, random: Random, threads: int) -> Run | None:
    """PyTorch, contiguous."""
    return _torch(layer, random, threads, channels_last=False)


def torch_last(layer: Layer, random: Random, threads: int) -> Run | None:
    """PyTorch, channels_last memory format; 1-D as 2-D with a height of 1, which is how PyTorch runs it."""
    return None if len(layer.input) == 3 else _torch(layer, random, threads, channels_last=True)


def _torch(layer: Layer, random: Random, threads: int, *, channels_last: bool) -> Run | None:
    if importlib.util.find_spec("torch") is None:
        return None
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(threads)
    lead = (1,) if channels_last and len(layer.input) == 1 else ()
    zero = (0,) if lead else ()
    size, kernel, strides = (*lead, *layer.input), (*lead, *layer.kernel), (*lead, *layer.strides)
    x = torch.from_numpy(_normal(random, layer.batch, layer.small, *size))
    weight = torch.from_numpy(_normal(random, layer.small, layer.big // layer.groups, *kernel))
    if channels_last:
        x, weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
    pads = (*zero, *(before for before, _ in layer.crop))
    extra = (*zero, *(before - after for before, after in layer.crop))
    legal = all(0 <= cells < stride for cells, stride in zip(extra, strides, strict=True))
    call = getattr(torch.nn.functional, f"conv_transpose{len(size)}d")
    options = {"stride": strides, "groups": layer.groups}
    options |= {"padding": pads, "output_padding": extra} if legal else {}
    cut = None if legal else (..., *_cut(layer))

    def run() -> Any:
        with torch.inference_mode():
            y = call(x, weight, **options)
            return y if cut is None else y[cut]

    return run


def onnxruntime(layer: Layer, random: Random, threads: int) -> Run | None:
    """ONNX Runtime, channels first: one node."""
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None:
        return None
    onnx: Any = importlib.import_module("onnx")
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    model = _onnx_model(onnx, layer, random)
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"x": _normal(random, layer.batch, layer.small, *layer.input)}
    return lambda: session.run(None, feed)


def openvino(layer: Layer, random: Random, threads: int) -> Run | None:
    """OpenVINO's CPU plugin, on the same one node."""
    if importlib.util.find_spec("openvino") is None or importlib.util.find_spec("onnx") is None:
        return None
    onnx: Any = importlib.import_module("onnx")
    vino: Any = importlib.import_module("openvino")
    core = vino.Core()
    model = core.read_model(_onnx_model(onnx, layer, random).SerializeToString())
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    x = _normal(random, layer.batch, layer.small, *layer.input)
    return lambda: request.infer([x], share_inputs=True, share_outputs=True)


def _onnx_model(onnx: Any, layer: Layer, random: Random) -> Any:
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    pads = [before for before, _ in layer.crop] + [before for before, _ in layer.crop]
    extra = [before - after for before, after in layer.crop]
    if min(extra) < 0 or any(cells >= s for cells, s in zip(extra, layer.strides, strict=True)):
        pads, extra = [before for before, _ in layer.crop] + [after for _, after in layer.crop], [0] * len(extra)
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], strides=layer.strides, pads=pads, output_padding=extra, group=layer.groups
    )
    weight = _normal(random, layer.small, layer.big // layer.groups, *layer.kernel)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", number, [layer.batch, layer.small, *layer.input])],
        [helper.make_tensor_value_info("y", number, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _cut(layer: Layer) -> tuple[slice, ...]:
    full = bs.geometry(layer.input, layer.kernel, strides=layer.strides, padding=[(0, 0)] * len(layer.input)).full
    return tuple(slice(before, size - after) for (before, after), size in zip(layer.crop, full, strict=True))


def _normal(random: Random, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return random.standard_normal(shape, np.float32)


OURS: dict[str, Callable[[Layer, Random, int], Run | None]] = {
    "ours, channels last": backstride_last,
    "ours, channels first": backstride_first,
}
PEERS: dict[str, Callable[[Layer, Random, int], Run | None]] = {
    "torch": torch_first,
    "torch, channels last": torch_last,
    "ONNX Runtime": onnxruntime,
    "OpenVINO": openvino,
}
