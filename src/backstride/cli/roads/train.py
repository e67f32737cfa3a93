"""backstride roads train."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.cli import parse
from backstride.cli.roads.config import given


def train(
    out: Annotated[Path, typer.Option(help="Folder for the run: checkpoints, curves, logs.")],
    data: Annotated[
        str | None, typer.Option(help="Folder of pictures with masks: KITTI Road, images/masks, or a class table.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of options, such as a run's config.toml.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT, bit for bit.")] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="vgg16, resnet34, mobilenetv3, mobilenetv3-minimal, pytorchcv:NAME, timm:NAME, package.module:factory."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Trained weights of the encoder, a safetensors file.")] = None,
    size: Annotated[str | None, typer.Option(help="Scale pictures to rows x columns: 192x352.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pictures in a batch, on each process.")] = None,
    accumulate: Annotated[int | None, typer.Option(min=1, help="Batches before the weights change.")] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="Learning rate of the decoder.")] = None,
    encoder_rate: Annotated[float | None, typer.Option(min=0, help="The encoder's, as a share of it.")] = None,
    schedule: Annotated[str | None, typer.Option(help="poly, cosine or constant.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw or sgd.")] = None,
    decay: Annotated[float | None, typer.Option(min=0, help="L2 on all kernels, and on nothing else.")] = None,
    balance: Annotated[str | None, typer.Option(help="Weights of the classes: none, median, or 1,2.5.")] = None,
    freeze: Annotated[list[str] | None, typer.Option(help="Layers of the encoder to hold: block1. Repeatable.")] = None,
    precision: Annotated[str | None, typer.Option(help="32-true, bf16-mixed, or 16-mixed on a GPU.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=0, help="Stop after so many epochs without a better MaxF.")
    ] = None,
    skips: Annotated[str | None, typer.Option(help="Strides to tap: 16,8 is FCN-8s.")] = None,
    head: Annotated[int | None, typer.Option(min=1, help="Channels of vgg16's layers 6 and 7.")] = None,
    engine: Annotated[
        bool | None, typer.Option("--engine/--no-engine", help="Transposed layers on Backstride's engine.")
    ] = None,
    augment: Annotated[str | None, typer.Option(help="Change pictures at random: full, flip or none.")] = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="Synthetic scenes to train on, without --data.")] = None,
    held_out_scenes: Annotated[int | None, typer.Option(min=1, help="Synthetic scenes held out.")] = None,
    extra: Annotated[int | None, typer.Option(min=0, help="Synthetic scenes to train on beside --data.")] = None,
    clear: Annotated[
        bool | None, typer.Option("--clear/--any-weather", help="Easy scenes: by day, no rain, shade or streets.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="A table of classes in TOML, for masks of other values.")] = None,
    group: Annotated[str | None, typer.Option(help="What stays together in a split: name, clip or folder.")] = None,
    held_out: Annotated[list[str] | None, typer.Option(help="A group to hold out. Repeatable.")] = None,
    share: Annotated[float | None, typer.Option(help="Hold out this share of the groups.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Split the data in so many folds.")] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="The fold that is held out, from 0.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed trains the same network.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Processes on this machine (DDP).")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines; see docs/roads.md.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read pictures.")] = None,
    threads: Annotated[int | None, typer.Option(min=0, help="Of each process that trains; 0: one a processor.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    r"""Train FCN-8s to find the road; without --data on synthetic driving scenes.

    Needs: pip install "backstride\[roads]".
    Example: backstride roads train --data data_road --encoder vgg16 --weights vgg16.safetensors --out run
    """
    options: dict[str, object] = {
        "data__folder": data,
        "data__size": None if size is None else parse.pair("size", size),
        "data__scenes": scenes,
        "data__held_out_scenes": held_out_scenes,
        "data__extra": extra,
        "data__clear": clear,
        "data__table": table,
        "data__group": group,
        "data__held_out": tuple(held_out) if held_out else None,
        "data__share": share,
        "data__folds": folds,
        "data__fold": fold,
        "data__augment": augment,
        "model__encoder": encoder,
        "model__weights": weights,
        "model__skips": None if skips is None else parse.skips(skips),
        "model__head": head,
        "model__engine": engine,
        "train__epochs": epochs,
        "train__batch": batch,
        "train__accumulate": accumulate,
        "train__rate": rate,
        "train__encoder_rate": encoder_rate,
        "train__schedule": schedule,
        "train__optimizer": optimizer,
        "train__decay": decay,
        "train__balance": balance,
        "train__freeze": tuple(freeze) if freeze else None,
        "train__precision": precision,
        "train__patience": patience,
        "train__seed": seed,
        "train__accelerator": accelerator,
        "train__devices": devices,
        "train__nodes": nodes,
        "train__workers": workers,
        "train__threads": threads,
    }
    chosen = given(config, out, options, resume=resume)
    from backstride.roads.training import train as run  # noqa: PLC0415  keeps PyTorch out of the other commands

    result = run(chosen, out, resume=resume, console=Console(quiet=as_json))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result), default=str, indent=2))
    else:
        Console().print(f"best MaxF {result.maxf:.4f} (epoch {result.best_epoch}); {result.best}", soft_wrap=True)
