"""A transposed convolution from one framework to another: a program that runs, and kernels in its layout.

`port` takes what `backstride.calls` reads. Each target is one file, all alike: candidates in its own arguments, and
lines of code; `rule` decides between candidates by what `backstride.conventions` says they crop. `check` runs
call and program side by side.
"""

from backstride.port.api import Port, convert_file, port
from backstride.port.weights import port_weights

__all__ = ["Port", "convert_file", "port", "port_weights"]
