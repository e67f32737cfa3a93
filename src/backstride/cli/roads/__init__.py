"""backstride roads: its commands, each the function of its name in the module of its name."""

from __future__ import annotations

import importlib

import typer

COMMANDS = (
    "train",
    "evaluate",
    "crossvalidate",
    "predict",
    "export",
    "synthesize",
    "labels",
    "import",
)

roads = typer.Typer(
    name="roads",
    help=(
        "Road segmentation with transposed layers: train, evaluate and predict on your own images."
    ),
    epilog="Try: backstride roads train --out run --epochs 5",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name in COMMANDS:
    _word = "import_" if _name == "import" else _name  # Python keeps the word for itself
    _ = roads.command(_name)(
        getattr(importlib.import_module(f"backstride.cli.roads.{_word}"), _word)
    )
