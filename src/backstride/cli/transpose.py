"""backstride transpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.cli import parse


def transpose(
    model: Annotated[
        str,
        typer.Argument(help="The classifier: an .onnx or .keras file, or package.module:factory."),
    ],
    input: Annotated[
        str, typer.Option(help="Its native size, channels x rows x columns: 3x224x224.")
    ],
    output: Annotated[
        Path, typer.Option(help="The network: .onnx, .keras, or .safetensors of a factory's.")
    ],
    report: Annotated[
        Path | None, typer.Option(help="Write the report and the proof to this HTML file.")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="Which of several results to take: its name, or its position from 0."),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Another number of classes to train for.")
    ] = None,
    skips: Annotated[
        str, typer.Option(help="Strides to tap, such as 16,8; auto, or none.")
    ] = "auto",
    decoder: Annotated[
        str, typer.Option(help="fcn; or unet or linknet, which lift features too.")
    ] = "fcn",
    init: Annotated[
        str, typer.Option(help="How the decoder starts: bilinear, nearest or icnr.")
    ] = "bilinear",
    se: Annotated[
        str | None,
        typer.Option(help="Squeeze and excitation pools the image (global) or a window (local)."),
    ] = None,
    coarse: Annotated[
        bool, typer.Option("--coarse", help="No decoder: a score for each crop.")
    ] = False,
    dense: Annotated[
        str,
        typer.Option(
            help="With --coarse: padded, valid (no padding seen) or shift_and_stitch (every pixel)."
        ),
    ] = "padded",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")
    ] = False,
) -> None:
    r"""Turn a classifier into a network that labels every pixel of images of any size.

    Needs: pip install "backstride\[onnx]", or keras, or torch.
    Example: backstride transpose vgg.onnx --input 3x224x224 --output fcn.onnx --report fcn.html
    """
    from backstride.cli.reports import shown_proof, shown_report  # noqa: PLC0415  keeps start-up of others short
    from backstride.surgery import convert_file  # noqa: PLC0415  the same

    errors = Console(stderr=True, quiet=as_json)
    with errors.status("transposing"):
        made, proofs = convert_file(
            model,
            parse.shape("input", input),
            output,
            report_path=report,
            head=head,
            classes=classes,
            skips=parse.skips(skips),
            decoder=decoder,
            init=init,
            dense=dense,
            coarse=coarse,
            se=se,
        )
    if as_json:
        data = {
            "model": made.model,
            "rewrites": [
                [rewrite.layer, rewrite.result, rewrite.reason] for rewrite in made.rewrites
            ],
            "kept": made.kept,
            "heads": [head.name for head in made.heads],
            "head": None if made.head is None else made.head.name,
            "outputs": [[out.name, *map(str, (*out.stride, *out.offset))] for out in made.outputs],
            "padded": made.padded,
            "decoder": made.steps,
            "left_out": [str(refusal) for refusal in made.refusals],
            "proof": {
                "holds": all(proof.holds for proof in proofs),
                "native_difference": max(proof.native_difference for proof in proofs),
            }
            if proofs
            else None,
        }
        typer.echo(json.dumps(data, indent=2))
        return
    console = Console()
    console.print(shown_report(made))
    for proof in proofs:
        console.print(shown_proof(proof))
    console.print(f"written to {output}", style="dim", markup=False)
