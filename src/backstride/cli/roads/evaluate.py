"""backstride roads evaluate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

SHOWN = ("maxf", "f", "ap", "pre", "rec", "fpr", "fnr", "iou")


def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint, or the folder of a run.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures, the curve and the worst pictures.")],
    data: Annotated[
        str | None, typer.Option(help="Folder of pictures with masks; that of the training if left out.")
    ] = None,
    part: Annotated[str, typer.Option(help="held-out, train or all of the pictures; all where --data is new.")] = "",
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst pictures are drawn.")] = 10,
    threshold: Annotated[
        float | None,
        typer.Option(help="Probabilities from here on are road, 0 to 1; by default what is kept with the checkpoint."),
    ] = None,
    keep_threshold: Annotated[
        bool,
        typer.Option("--keep-threshold", help="Keep the best threshold found here with the checkpoint, for predict."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The checkpoint's encoder, where that is package.module:factory: it runs."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measures as JSON, and nothing else.")] = False,
) -> None:
    r"""Measure a trained network: MaxF, average precision and more, by category, and in bird's-eye view.

    Needs: pip install "backstride\[roads]".
    Example: backstride roads evaluate --checkpoint run --out run/evaluation
    """
    from backstride.roads import checkpoint as files  # noqa: PLC0415  keeps PyTorch out of the other commands
    from backstride.roads.evaluate import evaluate as measure  # noqa: PLC0415  the same
    from backstride.roads.sources import open_part  # noqa: PLC0415  the same

    network, config = files.load(checkpoint, encoder)
    meaning = files.meaning_of(checkpoint)
    several = len(meaning.classes) > 2
    if several and (threshold is not None or keep_threshold):
        message = f"a threshold is for two classes; the network has {len(meaning.classes)}: leave it out"
        raise ValueError(message)
    pictures = open_part(config, data, part)
    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=as_json or not errors.is_terminal) as progress:
        task = progress.add_task("pictures", total=len(pictures.samples))
        found = measure(
            network,
            pictures,
            out,
            size=config.data.size,
            device=device,
            worst=worst,
            threshold=meaning.threshold if threshold is None else threshold,
            on_image=lambda: progress.advance(task),
        )
    if keep_threshold:
        _ = files.keep_threshold(checkpoint, found.best_threshold)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    if several:
        _print_classes(found.classes, found.miou)
    title = (
        f"{found.images} pictures, in percent; of {meaning.classes[1]}"
        if several
        else f"{found.images} pictures, in percent"
    )
    table = Table(title=escape(title), title_justify="left")
    table.add_column("view", no_wrap=True)
    table.add_column("category")
    for name in SHOWN:
        table.add_column({"maxf": "MaxF", "iou": "IoU"}.get(name, name.upper()), justify="right")
    for view, categories in found.views.items():
        for category, measures in categories.items():
            values = asdict(measures)
            table.add_row(view, category, *(f"{100 * values[name]:.2f}" for name in SHOWN))
    console = Console()
    console.print(table)
    if not several:
        console.print(_of_thresholds(found.threshold, found.best_threshold, kept=keep_threshold), soft_wrap=True)
    console.print(f"written to {out}", style="dim", markup=False, soft_wrap=True)


def _print_classes(classes: dict[str, float], mean: float) -> None:
    table = Table(title="IoU of the classes, in percent", title_justify="left")
    table.add_column("class")
    table.add_column("IoU", justify="right")
    for name, value in classes.items():
        table.add_row(escape(name), f"{100 * value:.2f}")
    table.add_section()
    table.add_row("mean", f"{100 * mean:.2f}")
    Console().print(table)


def _of_thresholds(used: float, best: float, *, kept: bool) -> str:
    text = f"F is at a threshold of {used:.4g}, MaxF at {best:.4g}"
    if kept:
        return f"{text}, which is kept with the checkpoint now"
    return text if used == best else f"{text}; --keep-threshold keeps that one with the checkpoint"
