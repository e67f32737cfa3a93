"""backstride roads export."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.cli.roads.config import present


def export(
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint, or the folder of a run.")],
    output: Annotated[Path, typer.Option(help="The ONNX file.")],
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The checkpoint's encoder, where that is package.module:factory: it runs.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON, and nothing else.")
    ] = False,
) -> None:
    r"""Write a trained network as ONNX, for pictures of any size, and check it.

    ONNX Runtime's results are compared with PyTorch's.

    Needs: pip install "backstride\[roads,onnx]".
    Example: backstride roads export --checkpoint run --output net.onnx
    """
    present("checkpoint", checkpoint)
    from backstride.roads.prediction.export import export as write  # noqa: PLC0415  loads torch

    checked = write(checkpoint, output, encoder)
    if as_json:
        typer.echo(json.dumps(asdict(checked), indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    sizes = ", ".join(f"{count} of {rows} x {columns}" for count, rows, columns in checked.sizes)
    console.print(
        f"ONNX Runtime differs from PyTorch by {checked.worst:.1e} at most; pictures: {sizes}"
    )
    console.print(f"written to {output}", style="dim", markup=False)
