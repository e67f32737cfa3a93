"""ncnn on the CPU, float32 everywhere.

One Deconvolution layer of any rank, grouped ones included.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from typing import Any

import numpy as np
from problem import Problem, Runner

KERNEL, STRIDE, BEFORE, AFTER, EXTRA = (
    (1, 11, 21),
    (3, 13, 23),
    (4, 14, 24),
    (15, 16, 17),
    (18, 19, 20),
)
NAMES = {1: "1D", 2: "", 3: "3D"}


def run(problem: Problem) -> Runner | None:
    """A net of one layer; a batch is ncnn's own, of images one after another."""
    layer = problem.layer
    if importlib.util.find_spec("ncnn") is None or any(before < 0 for before, _ in layer.crop):
        return None
    ncnn: Any = importlib.import_module("ncnn")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = problem.threads
    for name in dir(net.opt):
        if name.startswith(("use_fp16", "use_bf16", "use_int8")):
            setattr(net.opt, name, False)
    lines = ["Input input 0 1 x", f"{_kind(problem)} layer 1 1 x y {_parameters(problem)}"]
    _ = net.load_param_mem("\n".join(["7767517", "2 2", *lines, ""]))
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        _ = file.write(bytes(4) + _weights(problem).tobytes())  # the four bytes say: float32
        _ = file.write(b"" if problem.bias is None else problem.bias.tobytes())
        file.flush()
        if net.load_model(file.name) != 0:
            return None
    x = ncnn.Mat(problem.x_first, 0)

    def call() -> Any:
        extractor = net.create_extractor()
        _ = extractor.input("x", x)
        return extractor.extract("y")[1]

    def result(found: Any) -> Any:
        return np.stack([np.moveaxis(np.array(found.batch(n)), 0, -1) for n in range(layer.batch)])

    return Runner(call, result)


def _kind(problem: Problem) -> str:
    depthwise = "DepthWise" if problem.layer.groups > 1 else ""
    return f"Deconvolution{depthwise}{NAMES[len(problem.layer.input)]}"


def _parameters(problem: Problem) -> str:
    layer = problem.layer
    words = {0: layer.big, 5: int(problem.variant.fused), 6: problem.kernel.size, 7: layer.groups}
    for axis, stride in enumerate(reversed(layer.strides)):  # width first
        before, after = layer.crop[-1 - axis]
        words |= {KERNEL[axis]: layer.kernel[-1 - axis], STRIDE[axis]: stride, BEFORE[axis]: before}
        words |= {AFTER[axis]: max(0, after), EXTRA[axis]: max(0, -after)}
    if problem.variant.fused:
        words[9] = 1  # ReLU
    if layer.groups == 1:
        del words[7]
    return " ".join(f"{key}={word}" for key, word in sorted(words.items()))


def _weights(problem: Problem) -> Any:
    """(groups, C_big / groups, C_small / groups, *k)."""
    layer, first = problem.layer, problem.kernel_first
    grouped = first.reshape(
        layer.groups, layer.small // layer.groups, layer.big // layer.groups, *layer.kernel
    )
    return np.ascontiguousarray(grouped.swapaxes(1, 2))
