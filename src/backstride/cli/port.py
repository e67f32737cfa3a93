"""backstride port."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.cli import parse


def port(
    call: Annotated[
        str,
        typer.Argument(help="A framework's call, options such as k=4 s=2 p=1, or model.onnx:node."),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="torch, keras, tf, jax, flax, equinox, onnx, openvino, coreml, tflite or mlx."
        ),
    ],
    input: Annotated[
        str | None, typer.Option(help="7x7, or with channels in the call's own order: 7x7x256.")
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            help="For calls that take the kernel as an array: 3x3, or its shape 3x3x128x256."
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="The value of a name in the call: --set k=4; once for each."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help=(
                "A safetensors file with the call's kernel, or the ONNX file of its node, to "
                "convert."
            )
        ),
    ] = None,
    tensor: Annotated[
        str | None, typer.Option(help="The kernel's name in that file, where several fit.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the converted weights go; beside the file, with the target's name."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option(help="Run call and program on random data where they are installed.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print program and verdict as JSON.")
    ] = False,
) -> None:
    """Print a transposed convolution as a program of another framework, and how far the two differ.

    Example: backstride port 'Conv2DTranspose(128, 3, strides=2)' --input 7x7x256 --to torch
    """
    from backstride.port import convert_file, port  # noqa: PLC0415  keeps start-up of the other commands short
    from backstride.port.check import Job, difference  # noqa: PLC0415  the same

    if out is not None and weights is None:
        message = f"`--out` (={out}) is for converted weights; give --weights, or drop --out"
        raise ValueError(message)
    size, kernel_size, named = (
        parse.size("input", input),
        parse.size("kernel", kernel),
        parse.names(values),
    )
    result = port(call, to=to, input=size, kernel=kernel_size, names=named)
    if weights is not None:
        result = convert_file(result, weights, tensor=tensor, out=out)
    if not as_json:
        typer.echo(result.code)
    with Console(stderr=True).status(
        "importing both frameworks to run call and program on the same numbers"
    ):
        found = difference(Job(call, to, size, kernel_size, names=named)) if check else None
    if as_json:
        outcome = None if found is None else {**asdict(found), "text": str(found)}
        typer.echo(json.dumps({**result.as_dict(), "check": outcome}, indent=2))
    elif found is not None:
        typer.echo(f"# {found}")
