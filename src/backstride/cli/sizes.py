"""backstride sizes."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from backstride import sizes as public
from backstride.cli import parse
from backstride.sizes import LegalCall


def sizes(
    input: Annotated[str | None, typer.Option(help="Input size: 12, or 46x62.")] = None,
    output: Annotated[str | None, typer.Option(help="Wanted output size: 375, or 368x489.")] = None,
    kernel: Annotated[int | None, typer.Option(help="Only this kernel size.")] = None,
    strides: Annotated[int | None, typer.Option(help="Only this stride.")] = None,
    padding: Annotated[
        str | None, typer.Option(help="Only this padding: same, same_lower, valid, or an integer.")
    ] = None,
    dilation: Annotated[int, typer.Option(help="The dilation of the kernel.")] = 1,
    limit: Annotated[int, typer.Option(min=1, help="How many rows to print.")] = 12,
    as_json: Annotated[bool, typer.Option("--json", help="Print every call as JSON.")] = False,
) -> None:
    """List every legal call between an input size and an output size, or from only one of them.

    Example: backstride sizes --input 12 --output 375 --strides 32
    """
    found = public(
        parse.size("input", input),
        parse.size("output", output),
        kernel=kernel,
        strides=strides,
        padding=parse.padding(padding),
        dilation=dilation,
    )
    if as_json:
        typer.echo(json.dumps([_as_data(call) for call in found], indent=2))
        return
    console = Console()
    if not found:
        console.print("No legal call: try other --kernel, --strides or --padding.")
        return
    rows: dict[object, list[LegalCall]] = {}
    for call in found:
        key = (
            call.input,
            call.kernel,
            call.strides,
            call.geometry.crop,
            call.output_padding,
            call.output_shape,
        )
        rows.setdefault(key, []).append(call)
    console.print(_table(list(rows.values())[:limit]))
    shown = min(limit, len(rows))
    console.print(
        f"{shown} of {len(rows)} geometries ({len(found)} calls). even: every output cell gets "
        "equally many taps, no checkerboard.",
        style="dim",
    )


def _table(rows: list[list[LegalCall]]) -> Table:
    extras = [
        (name, [getattr(calls[0], name) for calls in rows])
        for name in ("output_padding", "output_shape")
    ]
    columns = {
        "input": [_joined(calls[0].input) for calls in rows],
        "output": [_joined(calls[0].output) for calls in rows],
        "kernel": [str(calls[0].kernel) for calls in rows],
        "strides": [str(calls[0].strides) for calls in rows],
        "padding": [" | ".join(str(call.padding) for call in calls) for calls in rows],
        **{
            name: ["" if value is None else _joined(value) for value in values]
            for name, values in extras
            if any(values)
        },
        "crop": [
            " ".join(f"{a},{b}" for a, b in dict.fromkeys(calls[0].geometry.crop)) for calls in rows
        ],
        "even": ["yes" if calls[0].is_even else "no" for calls in rows],
    }
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        table.add_column(heading, justify="left" if heading == "padding" else "right")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table


def _joined(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _as_data(call: LegalCall) -> dict[str, object]:
    return {
        "input": call.input,
        "output": call.output,
        "kernel": call.kernel,
        "strides": call.strides,
        "padding": call.padding,
        "dilation": call.dilation,
        "output_padding": call.output_padding,
        "output_shape": call.output_shape,
        "crop": call.geometry.crop,
        "is_even": call.is_even,
    }
