"""The ways to run a PyTorch model on a CPU, ours among them.

Each gives a call that can be timed.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_overview import OURS

import backstride.torch as bt

Run = Callable[[], Any]
Inputs = tuple[Tensor, ...]

_torch: Any = torch  # its compile is not wholly typed


def eager(model: nn.Module, inputs: Inputs) -> Run:
    """PyTorch as it comes."""
    return inference(model, inputs)


def channels_last(model: nn.Module, inputs: Inputs) -> Run | None:
    """PyTorch with model and data in channels-last memory format, where the rank has one."""
    changed = last(model, inputs)
    return None if changed is None else inference(*changed)


def compiled(model: nn.Module, inputs: Inputs) -> Run:
    """torch.compile's Inductor."""
    return inference(_torch.compile(model), inputs)


def accelerated(model: nn.Module, inputs: Inputs) -> Run:
    """Ours."""
    return inference(bt.accelerate(model).model, inputs)


def trusting(model: nn.Module, inputs: Inputs) -> Run:
    """Ours, which compares no bytes of weights: as the runtimes that hold weights fixed."""
    return inference(bt.accelerate(model, trust=True).model, inputs)


def trusting_last(model: nn.Module, inputs: Inputs) -> Run | None:
    """The same with model and data in channels-last memory format, where the rank has one."""
    changed = last(model, inputs)
    return None if changed is None else trusting(*changed)


def accelerated_compiled(model: nn.Module, inputs: Inputs) -> Run:
    """Ours inside torch.compile."""
    return inference(_torch.compile(bt.accelerate(model).model), inputs)


def onnxruntime(model: nn.Module, inputs: Inputs) -> Run | None:
    """ONNX Runtime's CPU provider."""
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None:
        return None
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(
        exported(model, inputs), options, providers=["CPUExecutionProvider"]
    )
    names = [entry.name for entry in session.get_inputs()]
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return lambda: session.run(None, feed)


def openvino(model: nn.Module, inputs: Inputs, precision: str = "f32") -> Run | None:
    """OpenVINO's CPU plugin, float32 in and out.

    With "bf16" it computes in bfloat16 where the processor does.
    """
    if importlib.util.find_spec("openvino") is None or importlib.util.find_spec("onnx") is None:
        return None
    vino: Any = importlib.import_module("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,
    }
    core = vino.Core()
    request = core.compile_model(
        core.read_model(exported(model, inputs)), "CPU", settings
    ).create_infer_request()
    arrays = [tensor.numpy() for tensor in inputs]
    return lambda: request.infer(arrays, share_inputs=True, share_outputs=True)


RUNNERS: dict[str, Callable[[nn.Module, Inputs], Run | None]] = {
    "eager": eager,
    "channels last": channels_last,
    "compile": compiled,
    "ONNX Runtime": onnxruntime,
    "OpenVINO": openvino,
    "accelerate": accelerated,
    "accelerate + trust": trusting,
    "accelerate + trust + channels last": trusting_last,
    "accelerate + compile": accelerated_compiled,
}
TRAINED = (
    "eager",
    "channels last",
    "compile",
    "accelerate",
    "accelerate + channels last",
    "accelerate + compile",
)


def inference(model: Any, inputs: Inputs) -> Run:
    """A call of the model without gradients."""

    def run() -> Any:
        with torch.no_grad():
            return model(*inputs)

    return run


def prepared(name: str, model: nn.Module, inputs: Inputs, *, autocast: bool = False) -> Run | None:
    """A runner's call, under autocast to bfloat16 where asked.

    None where it cannot run the model in such precision.
    """
    if not autocast and inputs[0].dtype == torch.float32:
        return RUNNERS[name](model, inputs)
    if name == "ONNX Runtime":  # its CPU provider has no convolution in bfloat16
        return None
    if name == "OpenVINO":
        return openvino(model.float(), tuple(tensor.float() for tensor in inputs), "bf16")
    run = RUNNERS[name](model, inputs)
    if run is None or not autocast:
        return run

    def lowered() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return run()

    return lowered


def training(name: str, model: nn.Module, inputs: Inputs, *, autocast: bool = False) -> Run | None:
    """One step of SGD on the result's mean square, the forward pass autocast where asked."""
    if name.endswith("channels last"):
        changed = last(model, inputs)
        if changed is None:
            return None
        model, inputs = changed
    model = bt.accelerate(model).model if name in OURS else model
    optimizer: Any = _torch.optim.SGD(model.parameters(), 1e-4)
    call: Any = _torch.compile(model) if name.endswith("compile") else model

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            result = call(*inputs)
        result.float().square().mean().backward()
        optimizer.step()

    return run


def last(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs] | None:
    """Model and inputs in channels-last memory format."""
    forms = {4: torch.channels_last, 5: torch.channels_last_3d}
    form = forms.get(inputs[0].dim())
    if form is None:
        return None
    rank = inputs[0].dim()  # others, as the latent of a style, have no such format
    changed = tuple(
        tensor.contiguous(memory_format=form) if tensor.dim() == rank else tensor
        for tensor in inputs
    )
    anything: Any = model  # PyTorch's stubs know no memory format for modules
    return anything.to(memory_format=form), changed


def exported(model: nn.Module, inputs: Inputs) -> bytes:
    """The model as ONNX."""
    target, export = io.BytesIO(), cast("Any", torch.onnx.export)  # its stubs know no buffer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(model, inputs, target, dynamo=False)
    return target.getvalue()
