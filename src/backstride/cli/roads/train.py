"""backstride roads train."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.cli.ending import EndedError
from backstride.cli.roads.config import given, with_settings


@with_settings()
def train(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the run: checkpoints, curves, logs.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Options in TOML, such as a run's config.toml; those given here go first.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run in --out, bit for bit; begin where there is none."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
    *,
    options: dict[str, object],
) -> None:
    r"""Train FCN-8s to find the road; without --data on synthetic driving scenes.

    Needs: pip install "backstride\[roads]".
    A run that was stopped goes on with --resume, as if it had not been.

    Examples:
    backstride roads train --out run --size 96x160 --epochs 5

    backstride roads train --data data_road --size 192x640 --out run

    backstride roads train --data data_road --encoder resnet34 --out run

    backstride roads train --data photographs --start scenes --out run

    backstride roads train --out run --resume
    """
    chosen = given(config, out, options, resume=resume)
    from backstride.roads.evaluation.metrics import title_of  # noqa: PLC0415  used here only
    from backstride.roads.stopping import Stopped  # noqa: PLC0415  used here only
    from backstride.roads.training.run import train as run  # noqa: PLC0415  keeps PyTorch out of the other commands

    try:
        result = run(chosen, out, resume=resume, console=Console(quiet=as_json))
    except Stopped as stopped:
        raise EndedError(str(stopped), 128 + stopped.signal) from None
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result), default=str, indent=2))
    else:
        best = (
            f"best {title_of(result.measure)} {result.score:.4f} (epoch {result.best_epoch}); "
            f"{result.best}"
        )
        Console().print(best, soft_wrap=True, markup=False)
