"""backstride demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def demo(
    out: Annotated[Path, typer.Option(help="Folder for report.html and the pictures.")] = Path(
        "demo"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="Train less: under 40 seconds instead of 3 minutes.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same numbers.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON, and nothing else.")
    ] = False,
) -> None:
    r"""Train a digit classifier, transpose it into a network that labels every pixel, and prove it.

    Needs: pip install "backstride\[demo]". Example: backstride demo --quick --out demo
    """
    from backstride import demo as main_job  # noqa: PLC0415  keeps PyTorch out of the other commands

    result = main_job.run(out, quick=quick, seed=seed, console=Console(quiet=as_json))
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))
