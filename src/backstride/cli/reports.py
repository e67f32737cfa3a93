"""The report and the proof for a terminal, with rich."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from backstride.surgery import Proof, Report

MARKS = {
    (True, True): ("■", "green"),
    (True, False): ("■", "red"),
    (False, True): ("■", "blue"),
    (False, False): ("·", "dim"),
}
WIDEST = 60  # cells of a row that a terminal shows


def shown_report(report: Report) -> Group:
    """A table for each part."""
    parts: list[RenderableType] = [Text(report.summary, style="bold")]
    for title, columns, rows in report.sections():
        table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        parts += [Text(), table]
    return Group(*parts, Text(), Text(report.exactness))


def shown_proof(proof: Proof) -> Group:
    """The sentences, and the map of cells.

    Green must be and are equal, red fail, blue happen to be equal.
    """
    parts: list[RenderableType] = [Text(line) for line in proof.lines()]
    rows, columns = proof.deviation.shape
    cells = Text()
    for row in range(min(rows, WIDEST)):
        for column in range(min(columns, WIDEST)):
            mark, style = MARKS[bool(proof.expected[row, column]), bool(proof.exact[row, column])]
            _ = cells.append(mark + " ", style)
        _ = cells.append("\n")
    legend = Text(
        "green: must be equal and is; red: must be and is not; blue: is equal; dots: differ, as "
        "they may"
    )
    return Group(*parts, cells, legend)
