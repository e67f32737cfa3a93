"""backstride explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backstride.cli import parse

if TYPE_CHECKING:
    from backstride.explain import Explanation, Section


def explain(
    call: Annotated[
        str,
        typer.Argument(
            help="A framework's call, options such as 'k=4 s=2 p=1', or model.onnx:node."
        ),
    ],
    input: Annotated[
        str | None, typer.Option(help="Input size, with or without channels: 7x7, or 7x7x256.")
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(help="Kernel size, for calls that take the kernel as an array: 3x3."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="The value of a name in the call: --set k=4; once for each."),
    ] = None,
    convolution: Annotated[
        bool,
        typer.Option(
            "--convolution", help="Options are those of a convolution, as nn.Conv2d's always are."
        ),
    ] = False,
    view: Annotated[
        str | None,
        typer.Option(help="scatter, gather, convolution, coverage, subsampling or channels."),
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Write an animated SVG.")] = None,
    gif: Annotated[Path | None, typer.Option(help="Write an animated GIF.")] = None,
    mp4: Annotated[Path | None, typer.Option(help="Write a video.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the still picture.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with every view, to step through.")
    ] = None,
    x: Annotated[
        str | None, typer.Option(help="Numbers of the input: '1 2; 3 4', or a .npy file.")
    ] = None,
    w: Annotated[str | None, typer.Option(help="Numbers of the kernel, the same way.")] = None,
    numbers: Annotated[
        bool, typer.Option("--numbers", help="Small numbers to follow by hand.")
    ] = False,
    theme: Annotated[
        str | None, typer.Option(help="light, dark, or auto (SVG and HTML only, the default).")
    ] = None,
    matrix: Annotated[
        bool,
        typer.Option(
            "--matrix", help="Print the convolution's matrix beside its transpose, with the proof."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON, and nothing else.")
    ] = False,
) -> None:
    """Explain a transposed convolution, and draw it.

    Sizes, crops, phases, checkerboard, cost, other frameworks.

    Example: backstride explain 'Conv2DTranspose(128, 3, strides=2)' --input 7x7x256 --svg out.svg
    """
    from backstride.explain import Request, answer, matrix_data, matrix_text  # noqa: PLC0415  keeps start-up short

    request = Request(
        call=call,
        input=parse.size("input", input),
        names=parse.names(values),
        kernel=parse.size("kernel", kernel),
        convolution=convolution,
        view=view,
        x=x,
        w=w,
        numbers=numbers,
        theme=theme,
    )
    files = {"svg": svg, "gif": gif, "mp4": mp4, "png": png, "html": html}
    wanted = {kind: path for kind, path in files.items() if path is not None}
    explanations = answer(request, wanted).explanations
    if as_json:
        data = [found.as_data() for found in explanations]
        if matrix:
            for entry, found in zip(data, explanations, strict=True):
                entry["matrix"] = matrix_data(found.geometry)
        typer.echo(json.dumps(data[0] if len(data) == 1 else data))
        return
    console = Console(highlight=False, emoji=False)
    for number, found in enumerate(explanations):
        if len(explanations) > 1:
            console.print(
                f"{number + 1} of {len(explanations)}: {found.call}\n",
                markup=False,
                style="bold cyan",
            )
        _print(console, found)
        if matrix:
            console.print(matrix_text(found.geometry), markup=False, soft_wrap=True)
        if number + 1 < len(explanations):
            console.print()
    for path in wanted.values():
        console.print(f"wrote {path}", markup=False, style="dim")


def _print(console: Console, explanation: Explanation) -> None:
    from backstride.explain import headline, sections  # noqa: PLC0415  keeps start-up of the other commands short

    console.print(headline(explanation), style="bold", markup=False)
    for section in sections(explanation):
        console.print()
        console.print(section.title, style="bold cyan", markup=False)
        for line in section.lines:
            console.print(line, markup=False)
        if section.rows:
            console.print(_table(section))


def _table(section: Section) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in section.header:
        table.add_column(heading)
    for row in section.rows:
        table.add_row(*map(Text, row))  # brackets are indices here, no markup
    return table
