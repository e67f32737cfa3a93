"""backstride segment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from backstride.cli import parse
from backstride.cli.runs import Ray, Workers, close, show, watched

if TYPE_CHECKING:
    from backstride.segment import Segmentation


def segment(
    network: Annotated[Path, typer.Argument(help="The network: an .onnx or .keras file.")],
    photos: Annotated[
        list[Path],
        typer.Argument(
            help="A picture of any size; with --out also several, videos and folders.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="The overlay of one picture, a PNG file.", show_default="overlay.png"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for overlays, masks and manifest.json.")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="Which of several results has the scores: its name, or its position from 0."
        ),
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="A text file with the name of a class in each line.")
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Side of the tiles; by default, what memory allows.")
    ] = None,
    mean: Annotated[
        str, typer.Option(help="Subtracted after the scale: 0.5, or 0.485,0.456,0.406.")
    ] = "0",
    std: Annotated[
        str, typer.Option(help="Divided by after that: 0.5, or 0.229,0.224,0.225.")
    ] = "1",
    scale: Annotated[float, typer.Option(help="Pixels, 0 to 255, are multiplied by this.")] = 1
    / 255,
    opacity: Annotated[float, typer.Option(help="Of the colours over the picture, 0 to 1.")] = 0.5,
    write: Annotated[
        str, typer.Option(help="With --out: some of overlay,mask; by default both.")
    ] = "",
    ray: Ray = False,
    workers: Workers = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was found as JSON, and nothing else.")
    ] = False,
) -> None:
    r"""Label every pixel of a picture of any size, and write it with colours and a legend.

    With --out, of pictures, videos and folders: outputs keep the names and folders of the inputs.
    What is finished in the output folder is left as it is: the same command goes on after any stop.
    Exit code 1: some inputs could not be read; they are listed.

    Needs: pip install "backstride\[segment]"; --ray also "backstride\[ray]".
    Example: backstride segment fcn.onnx photo.jpg --output overlay.png

    backstride segment fcn.onnx photos/ drive.mp4 --out labelled
    """
    from backstride import segment as labels  # noqa: PLC0415  keeps start-up of the other commands short

    numbers = parse.numbers("mean", mean), parse.numbers("std", std)
    if out is not None:
        if output is not None:
            message = (
                f"`output` (={str(output)!r}) is for one picture and `out` (={str(out)!r}) a "
                "folder; give one"
            )
            raise ValueError(message)
        labelling = labels.Labelling(network, head, names, tile, *numbers, scale, opacity)
        with watched(quiet=as_json) as rates:
            done = labels.segment_many(
                labelling,
                photos,
                out,
                write=parse.words(write),
                workers=workers if ray else None,
                progress=rates,
            )
        if not as_json:
            show(
                done, "labelled", None if ray else rates.speed()
            )  # a cluster hands results over in heaps
        close(done, out, as_json=as_json)
        return
    photo = _alone(photos, folder_needed="write" if write else "ray" if ray else None)
    output = Path("overlay.png") if output is None else output
    errors = Console(stderr=True)
    with Progress(
        console=errors, transient=True, disable=as_json or not errors.is_terminal
    ) as progress:
        task = progress.add_task("labelling", total=None)
        found = labels.segment(
            network,
            photo,
            output,
            head=head,
            names=names,
            tile=tile,
            mean=numbers[0],
            std=numbers[1],
            scale=scale,
            opacity=opacity,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _show(found, output)


def _alone(photos: Sequence[Path], folder_needed: str | None) -> Path:
    """The only picture; `ValueError` for what needs `--out`.

    `folder_needed`: an option that does.
    """
    from backstride.pictures.items import VIDEOS  # noqa: PLC0415  the same

    if folder_needed is not None:
        message = (
            f"`{folder_needed}` needs a folder for what is written; name it, for example --out "
            "labelled"
        )
        raise ValueError(message)
    if len(photos) > 1 or photos[0].is_dir() or photos[0].suffix.lower() in VIDEOS:
        shown = ", ".join(map(str, photos))
        message = (
            f"`photos` (={shown!r}) is more than one picture and needs a folder for what is "
            "written; name it, for example --out labelled"
        )
        raise ValueError(message)
    return photos[0]


def _show(found: Segmentation, output: Path) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("class", "name", "share"):
        table.add_column(heading, justify="left" if heading == "name" else "right")
    for entry in found.found[:12]:
        table.add_row(str(entry.label), entry.name, f"{entry.share:.1%}")
    console = Console()
    console.print(table)
    tiles = "" if found.tile is None else f", in tiles of {found.tile}"
    console.print(
        f"{found.size[0]} x {found.size[1]} pixels{tiles}; written to {output}",
        style="dim",
        markup=False,
    )
