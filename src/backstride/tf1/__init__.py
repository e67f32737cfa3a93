"""The TensorFlow 1 calls of a tutorial on transposed convolutions, computed by backstride.

    import backstride.tf1 as tf

is the one line to change. A graph is built first and run later, by a `Session`; shapes are checked
while it is built. Inference in float32 and channels last only: no gradients, optimisers or saved
models.
"""

from backstride.tf1 import contrib, layers, nn
from backstride.tf1.creation import global_variables_initializer, ones, placeholder, random_normal
from backstride.tf1.graph import float32, reset_default_graph
from backstride.tf1.session import Session

__all__ = [
    "Session",
    "contrib",
    "float32",
    "global_variables_initializer",
    "layers",
    "nn",
    "ones",
    "placeholder",
    "random_normal",
    "reset_default_graph",
]
