"""backstride roads predict."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from backstride.cli import parse
from backstride.cli.roads.speed import Rates
from backstride.roads.lines import Lines

if TYPE_CHECKING:
    from backstride.roads.prediction import Summary

LISTED = 20


def predict(
    images: Annotated[list[Path], typer.Argument(help="Pictures, videos and folders of them.", show_default=False)],
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint, the folder of a run, or an exported .onnx file.")],
    out: Annotated[Path, typer.Option(help="Folder for overlays, masks, probabilities and manifest.json.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    runtime: Annotated[str | None, typer.Option(help="torch or onnx; by default what the checkpoint is.")] = None,
    write: Annotated[
        str, typer.Option(help="Some of overlay,mask,probability; by default all, of videos no probability.")
    ] = "",
    threshold: Annotated[
        float | None,
        typer.Option(help="Probabilities from here on are road, 0 to 1; by default what is kept with the checkpoint."),
    ] = None,
    opacity: Annotated[float, typer.Option(help="Of the road's colour in overlays, 0 to 1.")] = 0.45,
    size: Annotated[
        str | None,
        typer.Option(
            help="The network sees pictures scaled to 192x352, say, or as they are: own. By default as it was trained."
        ),
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Side of tiles in pixels; by default pictures that fit into memory stay whole.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Pictures of one size that run together; by default 4, on a GPU 16.")
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="On a Ray cluster: RAY_ADDRESS's, or one started here.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="How many workers of the cluster.")] = 2,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The checkpoint's encoder, where that is package.module:factory: it runs."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON, and nothing else.")] = False,
) -> None:
    r"""Find the road in pictures and videos, and draw it over them.

    Outputs keep the names and the folders of the inputs.
    What is finished in the output folder is left as it is: the same command goes on after any stop.
    Exit code 1: some inputs could not be read; they are listed.

    Needs: pip install "backstride\[roads]"; --ray also "backstride\[ray]", --runtime onnx "backstride\[onnx]".

    Examples:
    backstride roads predict photo.jpg --checkpoint run --out road

    backstride roads predict drive.mp4 --checkpoint run --out road --write overlay

    backstride roads predict photos/ --checkpoint run --out road --ray --workers 8
    """
    from backstride.roads import prediction  # noqa: PLC0415  keeps start-up of the other commands short

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=as_json or not errors.is_terminal) as progress:
        lines = Lines(lambda line: errors.print(line, soft_wrap=True, highlight=False))
        rates = Rates(progress, None if as_json or errors.is_terminal else lines)
        found = prediction.predict(
            images,
            checkpoint,
            out,
            device=device,
            runtime=runtime,
            write=tuple(word.strip() for word in write.split(",") if word.strip()),
            threshold=threshold,
            opacity=opacity,
            size=None if size is None else () if size == "own" else parse.pair("size", size),
            tile=tile,
            batch=batch,
            workers=workers if ray else None,
            encoder=encoder,
            progress=rates,
        )
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _print(found, out, None if ray else rates.speed())  # a cluster hands results over in heaps
    if found.failed:
        raise typer.Exit(1 if found.done or found.resumed else 2)


def _print(found: Summary, out: Path, speed: float | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for outcome in found.outcomes[:]:
        lost = sum(entry.frames for entry in outcome.skipped)
        if lost:
            console.print(f"{escape(outcome.name)}: {lost} frames skipped", style="yellow")
            for entry in outcome.skipped[:LISTED]:
                at = "" if entry.time is None else f"at {entry.time:.2f} s: "
                many = f" ({entry.frames} frames)" if entry.frames > 1 else ""
                console.print(f"  {at}{escape(entry.reason)}{many}", style="dim")
            if len(outcome.skipped) > LISTED:
                console.print(f"  and {len(outcome.skipped) - LISTED} more, in manifest.json", style="dim")
    for outcome in found.failed[:LISTED]:
        console.print(f"{escape(outcome.name)}: {escape(outcome.reason)}", style="red")
    if len(found.failed) > LISTED:
        console.print(f"and {len(found.failed) - LISTED} more, in manifest.json", style="red")
    frames = sum(outcome.frames for outcome in found.done)
    words = [f"{len(found.done)} predicted"]
    words += [f"{frames} frames"] if frames != len(found.done) else []
    words += [f"{speed:.1f} frames a second"] if speed else []
    words += [f"{found.resumed} finished before"] if found.resumed else []
    words += [f"{len(found.failed)} failed"] if found.failed else []
    console.print(", ".join(words))
    several = len(found.classes) > 2
    labels = ", ".join(f"{label} {name}" for label, name in enumerate(found.classes))
    said = f"labels: {escape(labels)}" if several else f"road from a probability of {found.threshold:.4g} on"
    console.print(said, style="dim")
    console.print(f"written to {escape(str(out))}", style="dim")
