"""Beside the sizes: weight layout, flip and data layout of each framework, as plain data.

Layouts name axes in the words of `backstride.conv_transpose`, which maps C_small to C_big:
`C_small` are the input channels of the transposed convolution. A framework that flips writes the
kernel as a correlation with the dilated input: its tap `j` is our tap `k - 1 - j`, on every spatial
axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backstride.conventions.jax_family import equinox, flax, jax
from backstride.conventions.onnx_family import onnx, onnxruntime, openvino
from backstride.conventions.tensorflow_family import keras, tensorflow
from backstride.conventions.torch_family import torch
from backstride.geometry import Geometry
from backstride.layout import DataFormat

TORCH_LAYOUT = ("C_small", "C_big", "*k")
TENSORFLOW_LAYOUT = ("*k", "C_big", "C_small")


@dataclass(frozen=True, slots=True)
class Convention:
    """One framework's way to write a transposed convolution.

    Args:
        weight_layout: The kernel's axes without groups.
        grouped_layout: The same with groups, or None where the framework has none; the axis that
            `/groups` stands at holds one group's channels.
    """

    name: str
    constructor: Callable[..., Geometry]
    flips: bool
    weight_layout: tuple[str, ...]
    grouped_layout: tuple[str, ...] | None
    data_format: DataFormat
    source: str


CONVENTIONS = {
    record.name: record
    for record in (
        Convention(
            "torch",
            torch,
            flips=False,
            weight_layout=TORCH_LAYOUT,
            grouped_layout=("C_small", "C_big/groups", "*k"),
            data_format="channels_first",
            source="torch/nn/modules/conv.py, torch 2.13",
        ),
        Convention(
            "tensorflow",
            tensorflow,
            flips=False,
            weight_layout=TENSORFLOW_LAYOUT,
            grouped_layout=None,
            data_format="channels_last",
            source="tensorflow/core/kernels/conv_grad_shape_utils.cc, tensorflow 2.21",
        ),
        Convention(
            "keras",
            keras,
            flips=False,
            weight_layout=TENSORFLOW_LAYOUT,
            grouped_layout=None,
            data_format="channels_last",
            source="keras/src/backend/common/backend_utils.py, keras 3.15",
        ),
        Convention(
            "jax",
            jax,
            flips=True,
            weight_layout=("*k", "C_small", "C_big"),
            grouped_layout=None,
            data_format="channels_last",
            source="jax/_src/lax/convolution.py, jax 0.10",
        ),
        Convention(
            "jax, transpose_kernel=True",
            jax,
            flips=False,
            weight_layout=TENSORFLOW_LAYOUT,
            grouped_layout=None,
            data_format="channels_last",
            source="jax/_src/lax/convolution.py, jax 0.10",
        ),
        Convention(
            "flax",
            flax,
            flips=True,
            weight_layout=("*k", "C_small", "C_big"),
            grouped_layout=None,
            data_format="channels_last",
            source="flax/nnx/nn/linear.py, flax 0.12",
        ),
        Convention(
            "flax, transpose_kernel=True",
            flax,
            flips=False,
            weight_layout=TENSORFLOW_LAYOUT,
            grouped_layout=None,
            data_format="channels_last",
            source="flax/nnx/nn/linear.py, flax 0.12",
        ),
        Convention(
            "equinox",
            equinox,
            flips=True,
            weight_layout=("C_big", "C_small", "*k"),
            grouped_layout=("C_big", "C_small/groups", "*k"),
            data_format="channels_first",
            source="equinox/nn/_conv.py, equinox 0.13",
        ),
        Convention(
            "onnx",
            onnx,
            flips=False,
            weight_layout=TORCH_LAYOUT,
            grouped_layout=("C_small", "C_big/groups", "*k"),
            data_format="channels_first",
            source="docs/Operators.md, ConvTranspose-22, onnx 1.23",
        ),
        Convention(
            "onnxruntime",
            onnxruntime,
            flips=False,
            weight_layout=TORCH_LAYOUT,
            grouped_layout=("C_small", "C_big/groups", "*k"),
            data_format="channels_first",
            source=(
                "onnxruntime/core/providers/cpu/nn/conv_transpose_attributes.h, onnxruntime 1.32"
            ),
        ),
        Convention(
            "openvino",
            openvino,
            flips=False,
            weight_layout=TORCH_LAYOUT,
            grouped_layout=("groups", "C_small/groups", "C_big/groups", "*k"),
            data_format="channels_first",
            source=(
                "src/core/shape_inference/include/convolution_backprop_shape_inference_util.hpp, "
                "openvino 2026.4"
            ),
        ),
    )
}
