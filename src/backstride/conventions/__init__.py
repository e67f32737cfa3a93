"""Each framework's rule of the transposed convolution, in its own words, as a `Geometry`.

>>> torch((5, 5), 3, stride=2, padding=1, output_padding=1).crop
((1, 0), (1, 0))
>>> tensorflow((5, 5), 3, strides=2, padding="SAME", output_shape=(10, 10)).crop
((0, 1), (0, 1))
>>> CONVENTIONS["equinox"].flips, CONVENTIONS["equinox"].weight_layout
(True, ('C_big', 'C_small', '*k'))

Each constructor takes the spatial sizes of the input and the kernel, then the framework's own
arguments with its own defaults, and raises `ValueError` or `TypeError` where the framework refuses.
What differs beside sizes, the weight layout and the flip, is plain data in `CONVENTIONS`.
A package rather than one file, since each rule carries its formula, example and source: one file
for each family of rules that share arithmetic.
"""

from backstride.conventions.jax_family import equinox, flax, jax
from backstride.conventions.onnx_family import onnx, onnxruntime, openvino
from backstride.conventions.records import CONVENTIONS, Convention
from backstride.conventions.tensorflow_family import keras, tensorflow
from backstride.conventions.torch_family import torch
from backstride.conventions.weights import convert_kernel

__all__ = [
    "CONVENTIONS",
    "Convention",
    "convert_kernel",
    "equinox",
    "flax",
    "jax",
    "keras",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorflow",
    "torch",
]
