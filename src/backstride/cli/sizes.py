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
        key = (call.input, call.kernel, call.strides, call.geometry.crop, call.output_padding, call.output_shape)
        rows.setdefault(key, []).append(call)
    console.print(_table(list(rows.values())[:limit]))
    shown = min(limit, len(rows))
    console.print(
        f"{shown} of {len(rows)} geometries ({len(found)} calls). even: every output cell gets equally many taps, "
        "no checkerboard.",
        style="dim",
    )


def _table(rows: list[list[LegalCall]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("input", "output", "kernel", "strides", "padding", "and", "crop", "even"):
        table.add_column(heading, justify="left" if heading in ("padding", "and") else "right")
    for calls in rows:
        first = calls[0]
        crop = " ".join(f"{before},{after}" for before, after in dict.fromkeys(first.geometry.crop))
        extra = [
            f"{name}={_joined(value)}" for name in ("output_padding", "output_shape") if (value := getattr(first, name))
        ]
        table.add_row(
            _joined(first.input),
            _joined(first.output),
            str(first.kernel),
            str(first.strides),
            " | ".join(str(call.padding) for call in calls),
            " ".join(extra),
            crop,
            "yes" if first.is_even else "no",
        )
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
