"""What a user would otherwise pick.

Each peer makes a `Runner` for a problem, or gives None where it cannot. It cannot where it is not
installed, does not know the layer, or takes no weights with a call. Everybody computes in float32,
in the layout that it likes best, with the input already in its own hands; the result stays there
too. A crop that a peer's call cannot say is a slice of the result, a view. What can be done before
is not timed.

| peer | package | weights packed beforehand | crop | not expressed |
|---|---|---|---|---|
| torch | torch | no | padding, output_padding, slice | |
| torch, channels last | torch | no | the same | 3-D |
| torch, frozen | torch | by the operation that Inductor's freezing emits | the same | 3-D; weights
with the call |
| ONNX Runtime | onnxruntime | by the session | pads, output_padding | weights with the call |
| OpenVINO | openvino | by the compiled model | the same node | weights with the call |
| TensorFlow | tensorflow-cpu | no | explicit or SAME, slice in 3-D | |
| JAX | jax | flipped and transposed | padding | |
| LiteRT | ai-edge-litert | by XNNPACK | SAME, slice | groups; weights with the call |
| ncnn | ncnn | by the pipeline | pads, output_pad | weights with the call |

All of them install from PyPI with `pip install -e '.[bench]'`; the models of ONNX Runtime and
OpenVINO are made with onnx, those of LiteRT with TensorFlow's converter.
"""

from __future__ import annotations

from collections.abc import Callable

import ours
from problem import Problem, Runner, Variant

from peers import jax, litert, ncnn, onnx, tensorflow, torch

Maker = Callable[[Problem], Runner | None]

OURS: dict[str, Maker] = {
    "ours, channels last": ours.channels_last,
    "ours, channels first": ours.channels_first,
}
PEERS: dict[str, Maker] = {
    "torch": torch.contiguous,
    "torch, channels last": torch.channels_last,
    "torch, frozen": torch.frozen,
    "ONNX Runtime": onnx.runtime,
    "OpenVINO": onnx.openvino,
    "TensorFlow": tensorflow.run,
    "JAX": jax.run,
    "LiteRT": litert.run,
    "ncnn": ncnn.run,
}
GRADIENTS: dict[str, Maker] = {
    "torch": torch.contiguous_gradient,
    "torch, channels last": torch.channels_last_gradient,
}
CALLED = ("torch", "torch, channels last", "TensorFlow", "JAX")


def makers(variant: Variant) -> dict[str, Maker]:
    """Everybody who may take part in a variant, this library first."""
    if variant.gradient is not None:
        return {**OURS, **GRADIENTS}
    return {
        **OURS,
        **{name: make for name, make in PEERS.items() if variant.packed or name in CALLED},
    }
