"""Backstride: the transposed convolution, exact, fast, whole, visible and used."""

from typing import TYPE_CHECKING

from backstride.lazy import attach

if TYPE_CHECKING:
    from backstride.engine import implementations
    from backstride.explain import explain
    from backstride.geometry import Geometry, geometry
    from backstride.machine import Machine, machine
    from backstride.native import get_num_threads, set_num_threads
    from backstride.ops import (
        conv,
        conv_kernel_gradient,
        conv_transpose,
        dense,
        dense_to_conv,
        flatten,
        relu,
    )
    from backstride.plans import plan
    from backstride.port import port, port_weights
    from backstride.sizes import LegalCall, sizes
    from backstride.surgery import convolutionalize, prove, receptive_field, transpose
    from backstride.version import __version__ as __version__
else:
    __getattr__, __dir__ = attach(
        __name__,
        engine=("implementations",),
        explain=("explain",),
        geometry=("Geometry", "geometry"),
        machine=("Machine", "machine"),
        native=("get_num_threads", "set_num_threads"),
        ops=(
            "conv",
            "conv_kernel_gradient",
            "conv_transpose",
            "dense",
            "dense_to_conv",
            "flatten",
            "relu",
        ),
        plans=("plan",),
        port=("port", "port_weights"),
        sizes=("LegalCall", "sizes"),
        surgery=("convolutionalize", "prove", "receptive_field", "transpose"),
        version=("__version__",),
    )

__all__ = [
    "Geometry",
    "LegalCall",
    "Machine",
    "conv",
    "conv_kernel_gradient",
    "conv_transpose",
    "convolutionalize",
    "dense",
    "dense_to_conv",
    "explain",
    "flatten",
    "geometry",
    "get_num_threads",
    "implementations",
    "machine",
    "plan",
    "port",
    "port_weights",
    "prove",
    "receptive_field",
    "relu",
    "set_num_threads",
    "sizes",
    "transpose",
]
