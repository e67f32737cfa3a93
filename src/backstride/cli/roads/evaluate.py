"""backstride roads evaluate."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backstride.cli.roads.config import present
from backstride.cli.roads.counting import counting
from backstride.roads.data.folders import require_there

if TYPE_CHECKING:
    from backstride.roads.evaluation.evaluate import Evaluation

SHOWN = ("maxf", "f", "ap", "pre", "rec", "fpr", "fnr", "iou")


def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint, or the folder of a run.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the figures, the curve and the worst pictures.")
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Folder of pictures with masks; that of the training if left out."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            help="A table of the pictures' classes, a file or a name; by default the training's."
        ),
    ] = None,
    part: Annotated[
        str, typer.Option(help="held-out, train or all of the pictures; all where --data is new.")
    ] = "",
    worst: Annotated[
        int, typer.Option(min=0, help="How many of the worst pictures are drawn.")
    ] = 10,
    threshold: Annotated[
        float | None,
        typer.Option(
            help=(
                "Probabilities from here on are road, 0 to 1; by default what is kept with the "
                "checkpoint."
            )
        ),
    ] = None,
    keep_threshold: Annotated[
        bool,
        typer.Option(
            "--keep-threshold",
            help="Keep the best threshold found here with the checkpoint, for predict.",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The checkpoint's encoder, where that is package.module:factory: it runs.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the measures as JSON, and nothing else.")
    ] = False,
) -> None:
    r"""Measure a trained network: MaxF, average precision and more.

    By category, and in bird's-eye view, too.

    Needs: pip install "backstride\[roads]".
    Example: backstride roads evaluate --checkpoint run --out run/evaluation
    """
    present("checkpoint", checkpoint)
    if data is not None:
        require_there(Path(data))
    from backstride.roads.data.sources import open_part  # noqa: PLC0415  the same
    from backstride.roads.evaluation.evaluate import evaluate as measure  # noqa: PLC0415  the same
    from backstride.roads.network import checkpoint as files  # noqa: PLC0415  keeps PyTorch out of the other commands

    network, config = files.load(checkpoint, encoder)
    meaning = files.meaning_of(checkpoint)
    if len(meaning.classes) > 2 and (threshold is not None or keep_threshold):
        message = (
            f"a threshold is for two classes; the network has {len(meaning.classes)}: leave it out"
        )
        raise ValueError(message)
    pictures = open_part(config, data, part, table)
    _check_classes(pictures.classes, meaning.classes)
    done = itertools.count(1)
    with counting("picture", quiet=as_json) as count:
        found = measure(
            network,
            pictures,
            out,
            size=config.data.size,
            device=device,
            worst=worst,
            threshold=meaning.threshold if threshold is None else threshold,
            on_image=lambda: count(next(done), len(pictures.samples)),
        )
    if keep_threshold:
        _ = files.keep_threshold(checkpoint, found.best_threshold)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    console = Console()
    if len(meaning.classes) > 2:
        _print_classes(console, found.classes, found.miou)
    _print_views(console, found, f"; of {meaning.classes[1]}" if len(meaning.classes) > 2 else "")
    if len(meaning.classes) == 2:
        console.print(
            _of_thresholds(found.threshold, found.best_threshold, kept=keep_threshold),
            soft_wrap=True,
        )
    console.print(f"written to {out}", style="dim", markup=False, soft_wrap=True)


def _check_classes(pictures: Sequence[str], network: Sequence[str]) -> None:
    if len(pictures) != len(network):
        message = (
            f"the pictures have {len(pictures)} classes ({', '.join(pictures)}), and the network "
            f"has {len(network)} ({', '.join(network)}); name the table of the pictures: --table"
        )
        raise ValueError(message)
    for label, name in enumerate(pictures):
        if name in network and network.index(name) != label:
            message = (
                f"the class {name!r} has label {label} in the pictures and {network.index(name)} "
                "in the network; name a table with the classes in its order, "
                f"{', '.join(network)}: --table"
            )
            raise ValueError(message)


def _print_views(console: Console, found: Evaluation, of: str) -> None:
    title = escape(f"{found.images} pictures, in percent{of}")
    # ten columns in 80, which is what a file and a narrow terminal have; where that is not enough,
    # names are folded
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("view", no_wrap=True)
    table.add_column("category", overflow="fold")
    for name in SHOWN:
        table.add_column(
            {"maxf": "MaxF", "iou": "IoU"}.get(name, name.upper()), justify="right", no_wrap=True
        )
    for view, categories in found.views.items():
        for category, measures in categories.items():
            values = asdict(measures)
            table.add_row(view, escape(category), *(f"{100 * values[name]:.2f}" for name in SHOWN))
    console.print(table)


def _print_classes(console: Console, classes: dict[str, float], mean: float) -> None:
    table = Table(title="IoU of the classes, in percent", title_justify="left")
    table.add_column("class")
    table.add_column("IoU", justify="right")
    for name, value in classes.items():
        table.add_row(escape(name), f"{100 * value:.2f}")
    table.add_section()
    table.add_row("mean", f"{100 * mean:.2f}")
    console.print(table)


def _of_thresholds(used: float, best: float, *, kept: bool) -> str:
    text = f"F is at a threshold of {used:.4g}, MaxF at {best:.4g}"
    if kept:
        return f"{text}, which is kept with the checkpoint now"
    return text if used == best else f"{text}; --keep-threshold keeps that one with the checkpoint"
