"""The page of all rows."""

from __future__ import annotations

from collections.abc import Iterable

from backstride.survey.row import Row

BAR = "\\|"

HEAD = """# Architectures

Classifiers with random weights from libraries that are not ours, made fully convolutional. `make architectures`
writes this page anew. Error: the largest difference at native size, relative to the largest score. Exact cells: on
an image three strides larger on each axis, the share of cells that equal the classifier on their crops, within 1e-5
of the largest score; zero padding inside the receptive field makes the others differ. Speed-up: the classifier on a
batch of all those crops over the network on the image, in the time of one core, one after the other in one process.

"""  # noqa: E501
COLUMNS = (
    *(
        "architecture",
        "framework",
        "from",
        "input",
        "rewrites",
        "largest error at native size",
        "exact cells",
    ),
    "speed-up over the sliding window",
)
RULER = "|---|---|---|---|--:|--:|--:|--:|"


def to_markdown(rows: Iterable[Row]) -> str:
    """The page.

    >>> from backstride.survey.row import Entry, Row
    >>> entry = Entry("LeNet", "PyTorch", "by hand", (1, 28, 28), lambda: None)
    >>> print(to_markdown([Row(entry, 4, 0.1, 2e-7, True, 1.0, 3.21)]).splitlines()[-1])
    | LeNet | PyTorch | by hand | 1x28x28 | 4 | 2.0e-07 | 100% | 3.2 |
    """
    return HEAD + f"| {' | '.join(COLUMNS)} |\n{RULER}\n" + "".join(_line(row) for row in rows)


def _line(row: Row) -> str:
    entry = row.entry
    name = f"{entry.name}, `{entry.options}`" if entry.options else entry.name
    cells = [name, entry.framework, entry.library, "x".join(map(str, entry.shape))]
    if row.failed is not None:
        cells += [f"FAILS: {row.failed}", "", "", ""]
    elif row.refused is None:
        error = f"{row.error:.1e}" if row.holds else f"FAILS: {row.error:.1e}"
        cells += [str(row.rewrites), error, f"{row.exact:.0%}", f"{row.speed:.1f}"]
    else:
        cells += [f"refused: {row.refused}", "", "", ""]
    return "|" + "|".join(f" {cell.replace('|', BAR)} " if cell else " " for cell in cells) + "|\n"
