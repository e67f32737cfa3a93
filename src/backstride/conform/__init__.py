"""Does every framework do what our rules say? Thousands of calls each, compared bit for bit.

`run` holds each framework's transposed convolution against its rule in `backstride.conventions` and
the exact scatter of `backstride.reference`; `to_markdown` prints the table of docs/conformance.md,
and `scripts` makes a program of the simplest example of each disagreement.
"""

from backstride.conform.driver import run
from backstride.conform.markdown import to_markdown
from backstride.conform.rows import ROWS
from backstride.conform.script import replay, scripts
from backstride.conform.table import Disagreement, Result

__all__ = ["ROWS", "Disagreement", "Result", "replay", "run", "scripts", "to_markdown"]
