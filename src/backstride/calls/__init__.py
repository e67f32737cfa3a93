"""A transposed convolution as people have it in front of them, read into one record.

>>> call = parse('Conv2DTranspose(128, 3, strides=2, padding="same")')
>>> call.framework, call.function, call.big, call.kernel
('keras', 'keras.layers.Conv2DTranspose', 128, (3, 3))
>>> call.geometry(7).crop
((0, 1), (0, 1))

A call is parsed with `ast` and never run. `read` finds out what the text is; a file for each family
of frameworks turns its arguments into those of the rule in `backstride.conventions`; the rule does
the arithmetic.
"""

from backstride.calls.read import parse, parse_layers
from backstride.calls.record import SourceCall

__all__ = ["SourceCall", "parse", "parse_layers"]
