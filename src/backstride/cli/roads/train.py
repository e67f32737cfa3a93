"""backstride roads train."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.cli import EndedError, parse
from backstride.cli.roads.config import given

DATA, NETWORK, TRAINING, MACHINE = "Data", "Network", "Training", "Machine"  # panels of the help


def train(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the run: checkpoints, curves, logs.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=DATA,
            help="Pictures with masks: KITTI Road, images/ and masks/, polygons.json; without it, synthetic scenes.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Options in TOML, such as a run's config.toml; those given here go first."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, bit for bit; begin where there is none.")
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=NETWORK,
            help="vgg16, resnet34, mobilenetv3 (default), mobilenetv3-minimal, pytorchcv:NAME, timm:NAME, "
            "or package.module:factory.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", rich_help_panel=NETWORK, help="Trained weights of the encoder: safetensors."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            rich_help_panel=NETWORK,
            help="A run's folder or checkpoint whose network is trained on, such as one that learned from scenes.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="RxC",
            rich_help_panel=DATA,
            help="Scale pictures to rows x columns, 192x352; by default as they are.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=TRAINING, help="Passes over the data (20).")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel=TRAINING, help="Pictures in a batch, on each process (4)."),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel=TRAINING, help="Batches before the weights change (1)."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0, metavar="X", rich_help_panel=TRAINING, help="Learning rate of the decoder (0.001)."),
    ] = None,
    encoder_rate: Annotated[
        float | None,
        typer.Option(min=0, metavar="X", rich_help_panel=TRAINING, help="The encoder's, as a share of it (1)."),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=TRAINING, help="poly (default), cosine or constant.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=TRAINING, help="adamw (default) or sgd.")
    ] = None,
    decay: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="X", rich_help_panel=TRAINING, help="L2 on all kernels, and on nothing else (0.001)."
        ),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(
            metavar="X", rich_help_panel=TRAINING, help="Weights of the classes: none (default), median, or 1,2.5."
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", rich_help_panel=TRAINING, help="Layers of the encoder to hold: block1. Repeatable."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=TRAINING, help="32-true (default), bf16-mixed, or 16-mixed on a GPU."
        ),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=TRAINING,
            help="Which epoch is best: maxf (default of two classes), miou (of more), or a class's name for its IoU.",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            rich_help_panel=TRAINING,
            help="Stop after so many epochs without a better MaxF; 0, the default: never.",
        ),
    ] = None,
    skips: Annotated[
        str | None,
        typer.Option(metavar="S,S", rich_help_panel=NETWORK, help="Strides to tap; 16,8, the default, is FCN-8s."),
    ] = None,
    head: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel=NETWORK, help="Channels of vgg16's layers 6 and 7 (512)."),
    ] = None,
    engine: Annotated[
        bool | None,
        typer.Option("--engine/--no-engine", rich_help_panel=NETWORK, help="Transposed layers on Backstride's engine."),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=DATA, help="Change pictures at random: full (default), flip or none."
        ),
    ] = None,
    scenes: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", rich_help_panel=DATA, help="Synthetic scenes to train on, without --data (512)."
        ),
    ] = None,
    held_out_scenes: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=DATA, help="Synthetic scenes held out (64).")
    ] = None,
    extra: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", rich_help_panel=DATA, help="Synthetic scenes to train on beside --data (0)."),
    ] = None,
    clear: Annotated[
        bool | None,
        typer.Option(
            "--clear/--any-weather", rich_help_panel=DATA, help="Easy scenes: by day, no rain, shade or streets."
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=DATA,
            help="A table of classes in TOML, or cityscapes, camvid, bdd100k, comma10k, mapillary, mapillary2.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=DATA, help="What stays together in a split: name (default), clip or folder."
        ),
    ] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(metavar="NAME", rich_help_panel=DATA, help="A group to hold out. Repeatable.")
    ] = None,
    share: Annotated[
        float | None, typer.Option(metavar="X", rich_help_panel=DATA, help="Hold out this share of the groups (0.2).")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, metavar="N", rich_help_panel=DATA, help="Split the data in so many folds.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, metavar="N", rich_help_panel=DATA, help="The fold that is held out, from 0.")
    ] = None,
    tune: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            rich_help_panel=DATA,
            help="Every N-th picture to train on chooses epoch and threshold, not those held out.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", rich_help_panel=TRAINING, help="The same seed trains the same network (0)."),
    ] = None,
    accelerator: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=MACHINE, help="auto (default), cpu or cuda.")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel=MACHINE, help="Processes or GPUs on this machine (1)."),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel=MACHINE, help="Machines (1); docs/roads.md says how."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", rich_help_panel=MACHINE, help="Processes that read pictures (0: the one that trains)."
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            rich_help_panel=MACHINE,
            help="Of each process that trains; 0, the default: one a processor.",
        ),
    ] = None,
    save_minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="N",
            rich_help_panel=MACHINE,
            help="Save what --resume needs also within an epoch, every N minutes (5); 0: after each epoch only.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    r"""Train FCN-8s to find the road; without --data on synthetic driving scenes.

    Needs: pip install "backstride\[roads]".
    A run that was stopped goes on with --resume, as if it had not been.

    Examples:
    backstride roads train --out run --size 96x160 --epochs 5

    backstride roads train --data data_road --size 192x640 --out run

    backstride roads train --data data_road --encoder resnet34 --out run

    backstride roads train --data photographs --start scenes --out run

    backstride roads train --out run --resume
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
        "data__tune": tune,
        "data__augment": augment,
        "model__encoder": encoder,
        "model__weights": weights,
        "model__skips": None if skips is None else parse.skips(skips),
        "model__head": head,
        "model__engine": engine,
        "train__start": start,
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
        "train__measure": measure,
        "train__patience": patience,
        "train__seed": seed,
        "train__accelerator": accelerator,
        "train__devices": devices,
        "train__nodes": nodes,
        "train__workers": workers,
        "train__threads": threads,
        "train__save_minutes": save_minutes,
    }
    chosen = given(config, out, options, resume=resume)
    from backstride.roads.metrics import title_of  # noqa: PLC0415  used here only
    from backstride.roads.stopping import Stopped  # noqa: PLC0415  used here only
    from backstride.roads.training import train as run  # noqa: PLC0415  keeps PyTorch out of the other commands

    try:
        result = run(chosen, out, resume=resume, console=Console(quiet=as_json))
    except Stopped as stopped:
        raise EndedError(str(stopped), 128 + stopped.signal) from None
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result), default=str, indent=2))
    else:
        best = f"best {title_of(result.measure)} {result.score:.4f} (epoch {result.best_epoch}); {result.best}"
        Console().print(best, soft_wrap=True, markup=False)
