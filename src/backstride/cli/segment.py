"""backstride segment."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from backstride.cli import parse


def segment(
    network: Annotated[Path, typer.Argument(help="The network: an .onnx or .keras file.")],
    photo: Annotated[Path, typer.Argument(help="A picture of any size.")],
    output: Annotated[Path, typer.Option(help="The overlay, a PNG file.")] = Path("overlay.png"),
    head: Annotated[
        str | None, typer.Option(help="Which of several results has the scores: its name, or its position from 0.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="A text file with the name of a class in each line.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side of the tiles; by default, what memory allows.")] = None,
    mean: Annotated[str, typer.Option(help="Subtracted after the scale: 0.5, or 0.485,0.456,0.406.")] = "0",
    std: Annotated[str, typer.Option(help="Divided by after that: 0.5, or 0.229,0.224,0.225.")] = "1",
    scale: Annotated[float, typer.Option(help="Pixels, 0 to 255, are multiplied by this.")] = 1 / 255,
    opacity: Annotated[float, typer.Option(help="Of the colours over the picture, 0 to 1.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON, and nothing else.")] = False,
) -> None:
    r"""Label every pixel of a picture of any size, and write it with the labels' colours and a legend.

    Needs: pip install "backstride\[segment]". Example: backstride segment fcn.onnx photo.jpg --output overlay.png
    """
    from backstride import segment as room  # noqa: PLC0415  keeps start-up of the other commands short

    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=as_json or not errors.is_terminal) as progress:
        task = progress.add_task("labelling", total=None)
        result = room.segment(
            network,
            photo,
            output,
            head=head,
            names=names,
            tile=tile,
            mean=parse.numbers("mean", mean),
            std=parse.numbers("std", std),
            scale=scale,
            opacity=opacity,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("class", "name", "share"):
        table.add_column(heading, justify="left" if heading == "name" else "right")
    for entry in result.found[:12]:
        table.add_row(str(entry.label), entry.name, f"{entry.share:.1%}")
    console = Console()
    console.print(table)
    tiles = "" if result.tile is None else f", in tiles of {result.tile}"
    console.print(f"{result.size[0]} x {result.size[1]} pixels{tiles}; written to {output}", style="dim", markup=False)
