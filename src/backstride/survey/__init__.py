"""The table of architectures.

Classifiers that others wrote, transposed, proved and timed, row by row.
"""

from backstride.survey.driver import run
from backstride.survey.row import Entry, Row, measure
from backstride.survey.table import to_markdown

__all__ = ["Entry", "Row", "measure", "run", "to_markdown"]
