"""What a run is made of, as frozen dataclasses.

Each setting with its default, its meaning and what it may be.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

Section = TypeVar("Section")
Value = TypeVar("Value")
ENCODERS = ("vgg16", "resnet34", "mobilenetv3", "mobilenetv3-minimal")
LIBRARIES = ("pytorchcv", "timm")  # encoders that they have by name
NAME = re.compile(r"\w+(\.\w+)?")  # no address: timm would follow "hf-hub:..." and "local-dir:..."
LEGAL = f"{', '.join(ENCODERS)}, pytorchcv:NAME, timm:NAME or package.module:factory"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a field of a section.

    Args:
        text: what it means, one sentence.
        metavar: what a value looks like in the help of the commands; "" for a setting that only a
            file can give.
        panel: where the help shows it.
        least: the least legal number beside the default, None where any is.
        choices: the legal texts, () where any is.
        option: the name of its option where that is not the field's; of a switch, both names.
    """

    text: str
    metavar: str = ""
    panel: str = ""
    least: int | None = None
    choices: tuple[str, ...] = ()
    option: str = ""


def settings_of(section: object) -> Iterator[tuple[dataclasses.Field[object], Setting]]:
    """The fields of a section, or of its class, each with what is known of it."""
    assert dataclasses.is_dataclass(section)
    for entry in dataclasses.fields(section):
        yield entry, cast("Setting", entry.metadata["setting"])


def _setting(
    default: Value,
    text: str,
    metavar: str = "",
    panel: str = "",
    *,
    least: int | None = None,
    choices: tuple[str, ...] = (),
    option: str = "",
) -> Value:
    return field(
        default=default, metadata={"setting": Setting(text, metavar, panel, least, choices, option)}
    )


def _documented(kind: type[Section]) -> type[Section]:
    """Write the fields into a section's docstring, so that each is described in one place."""
    lines = [f"    {entry.name}: {known.text}" for entry, known in settings_of(kind)]
    kind.__doc__ = "\n".join([str(kind.__doc__), "", "Args:", *lines])
    return kind


DATA, NETWORK, TRAINING, MACHINE = "Data", "Network", "Training", "Machine"  # panels of the help


@_documented
@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network: FCN-8s on an encoder."""

    encoder: str = _setting(
        "mobilenetv3",
        "The encoder: vgg16, resnet34, mobilenetv3, mobilenetv3-minimal, pytorchcv:NAME, timm:NAME "
        "or package.module:factory.",
        "NAME",
        NETWORK,
    )
    weights: str = _setting(
        "",
        "Trained weights of the encoder: a safetensors file; without it, they are random.",
        "FILE",
        NETWORK,
    )
    classes: int = _setting(2, "Number of classes; in training, that of the data.")
    skips: tuple[int, ...] = _setting(
        (16, 8),
        "Strides, in pixels, whose last maps are scored, too: 16,8 is FCN-8s, none at all FCN-32s.",
        "S,S",
        NETWORK,
    )
    decoder: str = _setting(
        "fcn",
        "What climbs to the size of the picture, as `backstride.transpose` takes it: fcn, unet or "
        "linknet.",
    )
    init: str = _setting(
        "bilinear",
        "What transposed kernels begin with, as `backstride.transpose` takes it: bilinear, nearest "
        "or icnr.",
    )
    head: int = _setting(
        512, "Channels of vgg16's layers 6 and 7; 4096 in the paper.", "N", NETWORK, least=1
    )
    head_kernel: int = _setting(7, "Kernel of vgg16's layer 6, in cells, odd.", least=1)
    dropout: float = _setting(
        0.2,
        "Share of cells that dropout clears, in vgg16's layers 6 and 7 and in mobilenetv3's head.",
    )
    se: str = _setting(
        "global",
        "What squeeze and excitation pools: global, the whole picture, or local, a window of the "
        "native size.",
    )
    engine: bool = _setting(
        True,
        "Transposed layers on Backstride's engine instead of PyTorch's kernels.",
        "on",
        NETWORK,
        option="--engine/--no-engine",
    )


@_documented
@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which pictures, and how they are split."""

    folder: str = _setting(
        "",
        "Pictures with masks: KITTI Road, images/ and masks/, polygons.json; without it, synthetic "
        "scenes.",
        "FOLDER",
        DATA,
        option="--data",
    )
    table: str = _setting(
        "",
        "A table of classes in TOML, or cityscapes, camvid, bdd100k, comma10k, mapillary, "
        "mapillary2.",
        "FILE",
        DATA,
    )
    size: tuple[int, ...] = _setting(
        (),
        "Scale pictures to rows x columns, in pixels, 192x352; by default as they are.",
        "RxC",
        DATA,
    )
    group: str = _setting(
        "name", "What stays together in a split: name, clip or folder.", "NAME", DATA
    )
    held_out: tuple[str, ...] = _setting(
        (), "A group to hold out, by its name; repeatable.", "NAME", DATA
    )
    folds: int = _setting(0, "Split the data in so many folds; 0 for none.", "N", DATA, least=2)
    fold: int = _setting(0, "The fold that is held out, from 0.", "N", DATA, least=0)
    share: float = _setting(
        0.2, "Hold out this share of the groups, where nothing else says which.", "X", DATA
    )
    tune: int = _setting(
        0,
        "Every N-th picture to train on chooses epoch and threshold, not those held out; 0 for "
        "none.",
        "N",
        DATA,
        least=2,
    )
    scenes: int = _setting(
        512, "Synthetic scenes to train on, without a folder.", "N", DATA, least=1
    )
    held_out_scenes: int = _setting(
        64, "Synthetic scenes held out, without a folder.", "N", DATA, least=1
    )
    extra: int = _setting(0, "Synthetic scenes to train on beside a folder.", "N", DATA, least=0)
    clear: bool = _setting(
        False,
        "Easy scenes: by day, no rain, shade or streets.",
        "on",
        DATA,
        option="--clear/--any-weather",
    )
    augment: str = _setting(
        "full",
        "Change pictures at random: full (a bonnet or a wall painted into some, too), flip "
        "(mirrored only) or none.",
        "NAME",
        DATA,
    )


@_documented
@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How it is trained."""

    epochs: int = _setting(20, "Passes over the data.", "N", TRAINING, least=1)
    batch: int = _setting(4, "Pictures in a batch, on each process.", "N", TRAINING, least=1)
    accumulate: int = _setting(1, "Batches before the weights change.", "N", TRAINING, least=1)
    rate: float = _setting(1e-3, "Learning rate of the decoder.", "X", TRAINING, least=0)
    encoder_rate: float = _setting(
        1.0, "Learning rate of the encoder, as a share of the decoder's.", "X", TRAINING, least=0
    )
    schedule: str = _setting(
        "poly",
        "How rates fall: poly, which is (1 - t)^0.9, cosine or constant.",
        "NAME",
        TRAINING,
        choices=("poly", "cosine", "constant"),
    )
    warmup: float = _setting(
        0.05, "Share of all steps in which rates rise from zero first.", least=0
    )
    optimizer: str = _setting(
        "adamw",
        "What changes the weights: adamw, or sgd with momentum 0.9.",
        "NAME",
        TRAINING,
        choices=("adamw", "sgd"),
    )
    decay: float = _setting(
        1e-3,
        "L2 on all kernels, and on nothing else; decoupled with adamw.",
        "X",
        TRAINING,
        least=0,
    )
    clip: float = _setting(1.0, "Largest norm of the gradient; 0 for any.", least=0)
    balance: str = _setting(
        "none",
        "Weights of the classes in the loss: none, median (median frequency), or one each, 1,2.5.",
        "X",
        TRAINING,
    )
    freeze: tuple[str, ...] = _setting(
        (),
        "Layers of the encoder to hold, with their batch norms, by how their names begin: block1; "
        "repeatable.",
        "NAME",
        TRAINING,
    )
    precision: str = _setting(
        "32-true",
        "Numbers that layers compute in: 32-true, bf16-mixed, or 16-mixed on a GPU.",
        "NAME",
        TRAINING,
        choices=("32-true", "bf16-mixed", "16-mixed"),
    )
    measure: str = _setting(
        "auto",
        "Which epoch is best: maxf, miou, or a class's name for its IoU; auto is maxf of two "
        "classes, miou of more.",
        "NAME",
        TRAINING,
    )
    patience: int = _setting(
        0, "Stop after so many epochs without a better one; 0 for never.", "N", TRAINING, least=0
    )
    seed: int = _setting(
        0,
        "Seed of weights, order, changes and dropout: the same one trains the same network.",
        "N",
        TRAINING,
        least=0,
    )
    devices: int = _setting(1, "Processes or GPUs on each machine.", "N", MACHINE, least=1)
    nodes: int = _setting(1, "Number of machines; docs/roads.md says how.", "N", MACHINE, least=1)
    accelerator: str = _setting(
        "auto",
        "What computes: auto, cpu or cuda.",
        "NAME",
        MACHINE,
        choices=("auto", "cpu", "cuda"),
    )
    workers: int = _setting(
        0,
        "Processes that read pictures, on each device; 0 for the one that trains.",
        "N",
        MACHINE,
        least=0,
    )
    threads: int = _setting(
        0,
        "Threads of each process that trains, less those that workers keep busy; 0 for one a "
        "processor.",
        "N",
        MACHINE,
        least=0,
    )
    start: str = _setting(
        "",
        "A run's folder or checkpoint whose network is trained on, such as one that learned from "
        "scenes.",
        "RUN",
        NETWORK,
    )
    save_minutes: float = _setting(
        5.0,
        "Save what --resume needs also within an epoch, every N minutes; 0 for after each epoch "
        "only.",
        "N",
        MACHINE,
        least=0,
    )


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A whole run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def check_config(config: RunConfig) -> None:
    """Raise `ValueError` for what no run can have; needs no library and no data."""
    check_model(config.model)
    _check_settings(config.data)
    _check_settings(config.train)
    size = config.data.size
    if size and (len(size) != 2 or min(size) < 32):
        message = (
            f"`size` (={size}) must be rows and columns of at least 32, or () for the pictures' own"
        )
        raise ValueError(message)


def _check_settings(section: object) -> None:
    for entry, known in settings_of(section):
        value = getattr(section, entry.name)
        least = known.least
        if least is not None and value != entry.default and not least <= value < float("inf"):
            rule = f"at least {least}" if least else "not be negative"
            message = (
                f"`{entry.name}` (={value}) must {'be ' if least else ''}{rule}; the nearest legal "
                f"value is {least}"
            )
            raise ValueError(message)
        if known.choices and value not in known.choices:
            message = f"`{entry.name}` (={value!r}) must be one of {', '.join(known.choices)}"
            raise ValueError(message)


def check_model(config: ModelConfig) -> None:
    """The same for the network alone."""
    source, _, model = config.encoder.partition(":")
    code = (
        is_code(config.encoder)
        and model.isidentifier()
        and all(part.isidentifier() for part in source.split("."))
    )
    if (
        config.encoder not in ENCODERS
        and not code
        and not (source in LIBRARIES and NAME.fullmatch(model))
    ):
        message = f"`encoder` (={config.encoder!r}) must be {LEGAL}"
        raise ValueError(message)
    _check_settings(config)
    if config.classes < 2:
        message = f"`classes` (={config.classes}) must be at least 2, background and road"
        raise ValueError(message)
    if config.head_kernel % 2 == 0:
        message = (
            f"`head_kernel` (={config.head_kernel}) must be odd; the nearest legal value is "
            f"{config.head_kernel + 1}"
        )
        raise ValueError(message)
    if not 0 <= config.dropout < 1:
        message = f"`dropout` (={config.dropout}) must be at least 0 and below 1"
        raise ValueError(message)


def located(config: RunConfig, folder: Path) -> RunConfig:
    """The config with the files that it names found beside it, in `folder`.

    So it is where they are not in the current folder. So the examples run from anywhere, and names
    that were written from the current folder mean what they did.
    """

    def found(name: str) -> str:
        beside = folder / name
        return str(beside) if name and not Path(name).exists() and beside.exists() else name

    data, model, training = config.data, config.model, config.train
    return changed(
        config,
        data__folder=found(data.folder),
        data__table=found(data.table),
        model__weights=found(model.weights),
        train__start=found(training.start),
    )


def is_code(encoder: str) -> bool:
    """Whether an encoder's name is that of a function somewhere, which runs when it is imported.

    >>> is_code("own.networks:make"), is_code("vgg16"), is_code("timm:resnet18")
    (True, False, False)
    """
    return ":" in encoder and encoder.partition(":")[0] not in LIBRARIES


def require_named(encoder: str, named: str | None, source: str) -> None:
    """Refuse to run code because a file names it.

    `named` is the encoder that the user named, None for none. Raises `ValueError` naming the file
    `source`.
    """
    if named is not None and named != encoder:
        message = f"`encoder` (={named!r}) is not that of {source}, which is {encoder!r}"
        raise ValueError(message)
    if is_code(encoder) and named is None:
        message = (
            f"{source} names the encoder {encoder!r}, whose code would run; files are not followed "
            f"there: where you trust it, name it yourself: --encoder {encoder}"
        )
        raise ValueError(message)


def changed(config: RunConfig, **values: object) -> RunConfig:
    """The config with other values, given as `section__key=value`; None leaves a value as it is.

    >>> changed(RunConfig(), train__epochs=3, model__encoder=None).train.epochs
    3
    """
    sections: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        section, _, key = name.partition("__")
        if value is not None:
            sections.setdefault(section, {})[key] = value
    made = {
        name: dataclasses.replace(getattr(config, name), **new) for name, new in sections.items()
    }
    return dataclasses.replace(config, **made)
