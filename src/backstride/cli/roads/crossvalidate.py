"""backstride roads crossvalidate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from backstride.cli import EndedError
from backstride.cli.roads.config import given

if TYPE_CHECKING:
    from backstride.roads.crossvalidate import CrossValidation

SHOWN = {"maxf": "MaxF", "best_threshold": "at", "pre": "PRE", "rec": "REC", "iou": "IoU", "f": "F", "threshold": "at"}


def crossvalidate(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for a run of each drive, and the summary.")],
    data: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Pictures with masks, of at least two groups (drives).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Options of train in TOML; those given here go first.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in --out; begin where there is nothing.")] = False,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Trained weights of the encoder: safetensors.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="RUN", help="A run or checkpoint that each drive's training begins from.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="NAME", help="What is held out together: clip or folder; polygons say it.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Passes over the data (20).")] = None,
    tune: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", help="Every N-th picture of the other drives chooses epoch and threshold (5)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measures as JSON, and nothing else.")] = False,
) -> None:
    r"""Hold out each drive in turn: what to expect on a drive that nothing was trained on.

    Needs: pip install "backstride\[roads]".
    MaxF is at the best threshold for the drive held out, which nobody knows beforehand; F is at the one that other
    drives chose and that is kept with the network.

    Example:
    backstride roads crossvalidate --data drives --group folder --out held-out
    """
    options: dict[str, object] = {
        "data__folder": data,
        "data__group": group,
        "data__tune": tune,
        "model__weights": weights,
        "train__start": start,
        "train__epochs": epochs,
    }
    chosen = given(config, out, options, resume=False)
    from backstride.roads.crossvalidate import crossvalidate as run  # noqa: PLC0415  keeps PyTorch out of the others
    from backstride.roads.stopping import Stopped  # noqa: PLC0415  used here only

    try:
        found = run(chosen, out, resume=resume, console=Console(quiet=as_json))
    except Stopped as stopped:
        raise EndedError(str(stopped), 128 + stopped.signal) from None
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    console = Console()
    console.print(_table(found))
    console.print(f"written to {out}", style="dim", markup=False, soft_wrap=True)


def _table(found: CrossValidation) -> Table:
    table = Table(title=f"{len(found.folds)} groups, each held out once, in percent", title_justify="left")
    for name in ("held out", "pictures", *SHOWN.values()):
        if name == "held out":
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for fold in found.folds:
        table.add_row(fold.group, str(fold.images), *(f"{100 * getattr(fold, name):.2f}" for name in SHOWN))
    table.add_section()
    for what, one in (("mean", found.mean), ("worst", found.worst)):
        table.add_row(what, "", *("" if "threshold" in name else f"{100 * one(name):.2f}" for name in SHOWN))
    return table
