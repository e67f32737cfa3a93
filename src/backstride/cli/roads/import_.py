"""backstride roads import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.cli.roads.counting import counting


def import_(
    kind: Annotated[str, typer.Argument(help="yolo (segments), coco, labelme or polygons.")],
    source: Annotated[
        Path, typer.Argument(metavar="FROM", help="The folder of the labels, or their JSON file.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="TO", help="A new folder: images, masks and classes.toml.")
    ],
    road: Annotated[
        list[str] | None,
        typer.Option(help="A class that is road, again for more; all others are background then."),
    ] = None,
) -> None:
    r"""Bring labels of other tools into the layout that train takes as --data.

    Needs: pip install "backstride\[roads]".
    Example: backstride roads import coco annotations.json pictures --road street
    """
    from backstride.roads.data.importing import import_labels  # noqa: PLC0415  keeps NumPy's work out of other commands

    with counting("picture") as count:
        classes = import_labels(kind, source, out, road=road or (), progress=count)
    labels = ", ".join(f"{label} {name}" for label, name in enumerate(classes))
    Console().print(
        f"labels: {labels}; written to {out}", soft_wrap=True, highlight=False, markup=False
    )
