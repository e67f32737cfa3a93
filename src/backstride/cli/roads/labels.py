"""backstride roads labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.cli.roads.counting import counting


def labels(
    data: Annotated[
        Path, typer.Argument(help="Pictures with masks or polygons: what train takes as --data.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the drawings.")],
    table: Annotated[str | None, typer.Option(help="A table of classes, a file or a name.")] = None,
    zoom: Annotated[int, typer.Option(min=1, max=8, help="How many times enlarged.")] = 2,
) -> None:
    r"""Draw labels over their photographs, to check them by eye.

    Needs: pip install "backstride\[roads]".
    Example: backstride roads labels examples/roads/udacity.json --out drawn
    """
    from backstride.roads.data.folders import open_data  # noqa: PLC0415  keeps NumPy's work out of the other commands
    from backstride.roads.evaluation.labelled import draw_labels  # noqa: PLC0415  the same

    pictures = open_data(data, classes=None if table is None else Path(table))
    with counting("picture") as count:
        draw_labels(pictures, out, zoom, count)
    Console().print(
        f"{len(pictures.samples)} drawings written to {out}", soft_wrap=True, highlight=False
    )
