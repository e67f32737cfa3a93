"""Backstride: the transposed convolution, exact, fast, whole, visible and used."""

from backstride.engine import implementations
from backstride.geometry import Geometry, geometry
from backstride.native import get_num_threads, set_num_threads
from backstride.ops import conv, conv_kernel_gradient, conv_transpose, dense, dense_to_conv, flatten, plan, relu
from backstride.sizes import LegalCall, sizes
from backstride.surgery import convolutionalize, prove, receptive_field, transpose

__all__ = [
    "Geometry",
    "LegalCall",
    "conv",
    "conv_kernel_gradient",
    "conv_transpose",
    "convolutionalize",
    "dense",
    "dense_to_conv",
    "flatten",
    "geometry",
    "get_num_threads",
    "implementations",
    "plan",
    "prove",
    "receptive_field",
    "relu",
    "set_num_threads",
    "sizes",
    "transpose",
]
