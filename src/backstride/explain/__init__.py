"""See it: any transposed convolution explained and drawn, everything from one trace.

>>> from backstride.calls import parse
>>> found = explain(parse("k=3 s=2 p=same").at((7, 7)))
>>> print(headline(found))
7 x 7  ->  14 x 14
>>> found.evenness.fix
'kernel=4, strides=2, padding="same"'
>>> draw(found.geometry, "gather").frames
196

A drawing is plain data too; `backstride.explain.svg.to_svg` and `backstride.explain.raster` write
it.
"""

from backstride.explain.explanation import Explanation, explain
from backstride.explain.matrix_text import matrix_data, matrix_text
from backstride.explain.record import Elsewhere
from backstride.explain.request import Answer, Request, answer
from backstride.explain.trace import Meeting, Trace, trace
from backstride.explain.views import View, draw
from backstride.explain.words import Section, headline, sections

__all__ = [
    "Answer",
    "Elsewhere",
    "Explanation",
    "Meeting",
    "Request",
    "Section",
    "Trace",
    "View",
    "answer",
    "draw",
    "explain",
    "headline",
    "matrix_data",
    "matrix_text",
    "sections",
    "trace",
]
