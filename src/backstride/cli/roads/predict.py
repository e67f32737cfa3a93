"""backstride roads predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backstride.cli import parse
from backstride.cli.runs import Ray, Workers, close, show, watched


def predict(
    images: Annotated[
        list[Path], typer.Argument(help="Pictures, videos and folders of them.", show_default=False)
    ],
    checkpoint: Annotated[
        Path, typer.Option(help="A checkpoint, the folder of a run, or an exported .onnx file.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for overlays, masks, probabilities and manifest.json.")
    ],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    runtime: Annotated[
        str | None, typer.Option(help="torch or onnx; by default what the checkpoint is.")
    ] = None,
    write: Annotated[
        str,
        typer.Option(
            help="Some of overlay,mask,probability; by default all, of videos no probability."
        ),
    ] = "",
    threshold: Annotated[
        float | None,
        typer.Option(
            help=(
                "Probabilities from here on are road, 0 to 1; by default what is kept with the "
                "checkpoint."
            )
        ),
    ] = None,
    opacity: Annotated[
        float, typer.Option(help="Of the road's colour in overlays, 0 to 1.")
    ] = 0.45,
    size: Annotated[
        str | None,
        typer.Option(
            help=(
                "The network sees pictures scaled to 192x352, say, or as they are: own. By default "
                "as it was trained."
            )
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            help="Side of tiles in pixels; by default pictures that fit into memory stay whole."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Pictures of one size that run together; by default 4, on a GPU 16."),
    ] = None,
    ray: Ray = False,
    workers: Workers = 2,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The checkpoint's encoder, where that is package.module:factory: it runs.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was done as JSON, and nothing else.")
    ] = False,
) -> None:
    r"""Find the road in pictures and videos, and draw it over them.

    Outputs keep the names and the folders of the inputs.
    What is finished in the output folder is left as it is: the same command goes on after any stop.
    Exit code 1: some inputs could not be read; they are listed.

    Needs: pip install "backstride\[roads]"; --ray also "backstride\[ray]", --runtime onnx
    "backstride\[onnx]".

    Examples:
    backstride roads predict photo.jpg --checkpoint run --out road

    backstride roads predict drive.mp4 --checkpoint run --out road --write overlay

    backstride roads predict photos/ --checkpoint run --out road --ray --workers 8
    """
    from backstride.roads import prediction  # noqa: PLC0415  keeps start-up of the other commands short

    with watched(quiet=as_json) as rates:
        found = prediction.predict(
            images,
            checkpoint,
            out,
            device=device,
            runtime=runtime,
            write=parse.words(write),
            threshold=threshold,
            opacity=opacity,
            size=None if size is None else () if size == "own" else parse.pair("size", size),
            tile=tile,
            batch=batch,
            workers=workers if ray else None,
            encoder=encoder,
            progress=rates,
        )
    if not as_json:
        show(
            found, "predicted", None if ray else rates.speed()
        )  # a cluster hands results over in heaps
    labels = ", ".join(f"{label} {name}" for label, name in enumerate(found.classes))
    several = len(found.classes) > 2
    said = (
        f"labels: {labels}" if several else f"road from a probability of {found.threshold:.4g} on"
    )
    close(found, out, said, as_json=as_json)
