"""backstride roads synthesize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.cli import parse
from backstride.cli.roads.counting import counting


def synthesize(
    out: Annotated[Path, typer.Option(help="Folder for the scenes, in the layout of KITTI Road.")],
    count: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 100,
    size: Annotated[str, typer.Option(help="Rows x columns.")] = "180x320",
    seed: Annotated[int, typer.Option(min=0, help="The same seed renders the same scenes.")] = 0,
    clear: Annotated[
        bool, typer.Option("--clear", help="Easy scenes: by day, no rain, shade or streets.")
    ] = False,
) -> None:
    r"""Render driving scenes with exact masks and calibration files.

    Needs: pip install "backstride\[roads]".
    Example: backstride roads synthesize --out scenes --count 300 --size 375x1242
    """
    from backstride.roads.synthetic import write  # noqa: PLC0415  keeps NumPy's work out of the other commands

    shape = parse.pair("size", size)
    with counting("scene") as counted:
        write(out, count, shape, seed, counted, clear=clear)
    Console().print(f"{count} scenes written to {out}", soft_wrap=True, highlight=False)
