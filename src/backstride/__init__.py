"""Backstride: the transposed convolution, exact, fast, whole, visible and used."""

from backstride.engine import implementations
from backstride.geometry import Geometry, geometry
from backstride.ops import conv, conv_kernel_gradient, conv_transpose, dense, dense_to_conv, flatten, plan, relu

__all__ = [
    "Geometry",
    "conv",
    "conv_kernel_gradient",
    "conv_transpose",
    "dense",
    "dense_to_conv",
    "flatten",
    "geometry",
    "implementations",
    "plan",
    "relu",
]
