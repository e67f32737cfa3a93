"""A transposed convolution from one framework to another.

A program that runs, and kernels in its layout. `port` takes what `backstride.calls` reads. Each
target is one file, all alike: candidates in its own arguments, and lines of code; `rule` decides
between candidates by what `backstride.conventions` says they crop. `check` runs call and program
side by side.
"""

from typing import TYPE_CHECKING

from backstride.lazy import attach

if TYPE_CHECKING:
    from backstride.port.api import Port, port
    from backstride.port.weight_files import convert_file
    from backstride.port.weights import port_weights
else:
    __getattr__, __dir__ = attach(
        __name__, api=("Port", "port"), weight_files=("convert_file",), weights=("port_weights",)
    )

__all__ = ["Port", "convert_file", "port", "port_weights"]
