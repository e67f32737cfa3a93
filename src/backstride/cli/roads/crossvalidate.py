"""backstride roads crossvalidate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from backstride.cli.ending import EndedError
from backstride.cli.roads.config import given, with_settings

if TYPE_CHECKING:
    from backstride.roads.training.crossvalidate import CrossValidation

SHOWN = {
    "maxf": "MaxF",
    "best_threshold": "at",
    "pre": "PRE",
    "rec": "REC",
    "iou": "IoU",
    "f": "F",
    "threshold": "at",
}
SETTINGS = {
    "data__folder": "Pictures with masks, of at least two groups (drives).",
    "data__group": "What is held out together: clip or folder; polygons say it.",
    "data__tune": "Every N-th picture of the other drives chooses epoch and threshold (default 5).",
    "model__weights": "Trained weights of the encoder: safetensors.",
    "train__epochs": "",
    "train__start": "A run or checkpoint that each drive's training begins from.",
}


@with_settings(SETTINGS)
def crossvalidate(
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder for a run of each drive, and the summary."),
    ],
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Options of train in TOML; those given here go first."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in --out; begin where there is nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the measures as JSON, and nothing else.")
    ] = False,
    *,
    options: dict[str, object],
) -> None:
    r"""Hold out each drive in turn: what to expect on a drive that nothing was trained on.

    Needs: pip install "backstride\[roads]".
    MaxF is at the best threshold for the drive held out, which nobody knows beforehand; F is at the
    one that other drives chose and that is kept with the network.

    Example:
    backstride roads crossvalidate --data drives --group folder --out held-out
    """
    chosen = given(config, out, options, resume=False)
    from backstride.roads.stopping import Stopped  # noqa: PLC0415  used here only
    from backstride.roads.training.crossvalidate import crossvalidate as run  # noqa: PLC0415  keeps PyTorch out of the others

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
    table = Table(
        title=f"{len(found.folds)} groups, each held out once, in percent", title_justify="left"
    )
    for name in ("held out", "pictures", *SHOWN.values()):
        if name == "held out":
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for fold in found.folds:
        table.add_row(
            fold.group, str(fold.images), *(f"{100 * getattr(fold, name):.2f}" for name in SHOWN)
        )
    table.add_section()
    for what, one in (("mean", found.mean), ("worst", found.worst)):
        table.add_row(
            what, "", *("" if "threshold" in name else f"{100 * one(name):.2f}" for name in SHOWN)
        )
    return table
