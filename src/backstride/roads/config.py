"""What a run is made of, as frozen dataclasses and as TOML."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

Section = TypeVar("Section")
LARGEST_FILE = 2**20
ENCODERS = ("vgg16", "resnet34", "mobilenetv3", "mobilenetv3-minimal")
LIBRARIES = ("pytorchcv", "timm")  # encoders that they have by name
NAME = re.compile(r"\w+(\.\w+)?")  # no address: timm would follow "hf-hub:..." and "local-dir:..."
LEGAL = f"{', '.join(ENCODERS)}, pytorchcv:NAME, timm:NAME or package.module:factory"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network: FCN-8s on an encoder.

    `encoder`: vgg16, resnet34, mobilenetv3, mobilenetv3-minimal, pytorchcv:NAME, timm:NAME or
    package.module:factory. `weights`: a safetensors file of the encoder's weights, "" for none. `classes`: in
    training, the data's. `skips`, `decoder`, `init`: as `backstride.transpose` takes them. `head`, `head_kernel`,
    `dropout`: channels, kernel and dropout of layers 6 and 7 of vgg16 (dropout also of mobilenetv3). `se`: what
    squeeze and excitation pools, "global" or "local". `engine`: transposed convolutions on Backstride's engine
    instead of PyTorch's kernels.
    """

    encoder: str = "mobilenetv3"
    weights: str = ""
    classes: int = 2
    skips: tuple[int, ...] = (16, 8)
    decoder: str = "fcn"
    init: str = "bilinear"
    head: int = 512
    head_kernel: int = 7
    dropout: float = 0.2
    se: str = "global"
    engine: bool = True


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which pictures.

    `folder`: where they are, "" for synthetic scenes. `table`: a table of classes in TOML. `size`: rows and columns
    that pictures are scaled to, () for none. `group`: what stays together in a split, "name", "clip" or "folder".
    The split: `held_out`, names of groups; or with `folds`, fold number `fold`; or the published one of KITTI Road;
    or a `share` of the groups. `tune`: of the pictures to train on, every so many-th chooses the best epoch and its
    threshold instead of those held out, which then have no say; 0 for none. `scenes`, `held_out_scenes`: how many
    synthetic ones there are without a folder. `extra`: synthetic scenes that are trained beside the folder's
    pictures. `clear`: all scenes are easy ones, by day, without rain, shade or streets. `augment`: change pictures at
    random, "full", only by mirroring, "flip", or "none".
    """

    folder: str = ""
    table: str = ""
    size: tuple[int, ...] = ()
    group: str = "name"
    held_out: tuple[str, ...] = ()
    folds: int = 0
    fold: int = 0
    share: float = 0.2
    tune: int = 0
    scenes: int = 512
    held_out_scenes: int = 64
    extra: int = 0
    clear: bool = False
    augment: str = "full"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How it is trained.

    `epochs`: passes over the data. `batch`: pictures a step, on each process; `accumulate`: batches before the
    weights change. `rate`: learning rate of the decoder; the encoder's is `rate * encoder_rate`. `schedule`: "poly"
    ((1 - t)^0.9), "cosine" or "constant", after `warmup`, a share of all steps. `optimizer`: "adamw" or "sgd"
    (momentum 0.9). `decay`: L2 on kernels, decoupled with adamw. `balance`: "none", "median" (median frequency of
    the classes) or weights joined by commas. `freeze`: names of encoder layers that stay as they are; their batch
    norms, too. `clip`: largest norm of the gradient, 0 for any. `precision`: "32-true", "bf16-mixed" or "16-mixed"
    (GPU). `seed`: of all that is drawn. `measure`: what says which epoch is best, "maxf", "miou", or a class's name
    for its IoU; "auto" is MaxF with two classes and mIoU with more. `patience`: epochs without a better one before it
    stops, 0 for never. `devices`, `nodes`: processes on each machine, and machines. `accelerator`: "auto", "cpu" or
    "cuda". `workers`: processes that read pictures, on each device. `threads`: of each process that trains, 0 for one
    a processor; where workers keep processors busy, leave these out. `start`: a checkpoint or the folder of
    a run, whose network is trained on. `save_minutes`: how old the state to resume from may become within an epoch,
    0 for a state after each epoch only.
    """

    epochs: int = 20
    batch: int = 4
    accumulate: int = 1
    rate: float = 1e-3
    encoder_rate: float = 1.0
    schedule: str = "poly"
    warmup: float = 0.05
    optimizer: str = "adamw"
    decay: float = 1e-3
    clip: float = 1.0
    balance: str = "none"
    freeze: tuple[str, ...] = ()
    precision: str = "32-true"
    measure: str = "auto"
    patience: int = 0
    seed: int = 0
    devices: int = 1
    nodes: int = 1
    accelerator: str = "auto"
    workers: int = 0
    threads: int = 0
    start: str = ""
    save_minutes: float = 5.0


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A whole run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


CHOICES = {
    "schedule": ("poly", "cosine", "constant"),
    "optimizer": ("adamw", "sgd"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "accelerator": ("auto", "cpu", "cuda"),
}
POSITIVE = ("epochs", "batch", "accumulate", "devices", "nodes")
NOT_NEGATIVE = (
    "rate",
    "encoder_rate",
    "decay",
    "clip",
    "patience",
    "workers",
    "seed",
    "warmup",
    "threads",
    "save_minutes",
)


def check_config(config: RunConfig) -> None:
    """Raise `ValueError` for what no run can have; needs no library and no data."""
    check_model(config.model)
    settings = config.train
    for name in POSITIVE:
        if getattr(settings, name) < 1:
            message = f"`{name}` (={getattr(settings, name)}) must be at least 1; the nearest legal value is 1"
            raise ValueError(message)
    for name in NOT_NEGATIVE:
        if not 0 <= getattr(settings, name) < float("inf"):
            message = f"`{name}` (={getattr(settings, name)}) must not be negative; the nearest legal value is 0"
            raise ValueError(message)
    for name, legal in CHOICES.items():
        if getattr(settings, name) not in legal:
            message = f"`{name}` (={getattr(settings, name)!r}) must be one of {', '.join(legal)}"
            raise ValueError(message)
    size = config.data.size
    if size and (len(size) != 2 or min(size) < 32):
        message = f"`size` (={size}) must be rows and columns of at least 32, or () for the pictures' own"
        raise ValueError(message)


def check_model(config: ModelConfig) -> None:
    """The same for the network alone."""
    source, _, model = config.encoder.partition(":")
    code = is_code(config.encoder) and model.isidentifier() and all(part.isidentifier() for part in source.split("."))
    if config.encoder not in ENCODERS and not code and not (source in LIBRARIES and NAME.fullmatch(model)):
        message = f"`encoder` (={config.encoder!r}) must be {LEGAL}"
        raise ValueError(message)
    for name in ("classes", "head", "head_kernel"):
        if getattr(config, name) < 1:
            message = f"`{name}` (={getattr(config, name)}) must be at least 1; the nearest legal value is 1"
            raise ValueError(message)
    if config.classes < 2:
        message = f"`classes` (={config.classes}) must be at least 2, background and road"
        raise ValueError(message)
    if config.head_kernel % 2 == 0:
        message = (
            f"`head_kernel` (={config.head_kernel}) must be odd; the nearest legal value is {config.head_kernel + 1}"
        )
        raise ValueError(message)
    if not 0 <= config.dropout < 1:
        message = f"`dropout` (={config.dropout}) must be at least 0 and below 1"
        raise ValueError(message)


def located(config: RunConfig, folder: Path) -> RunConfig:
    """The config with the files that it names found beside it, in `folder`, where they are not in the current folder.

    So the examples run from anywhere, and names that were written from the current folder mean what they did.
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
    """Refuse to run code because a file names it: `named` is the encoder that the user named, None for none.

    Raises `ValueError` naming the file `source`.
    """
    if named is not None and named != encoder:
        message = f"`encoder` (={named!r}) is not that of {source}, which is {encoder!r}"
        raise ValueError(message)
    if is_code(encoder) and named is None:
        message = (
            f"{source} names the encoder {encoder!r}, whose code would run; files are not followed there: "
            f"where you trust it, name it yourself: --encoder {encoder}"
        )
        raise ValueError(message)


def to_toml(config: RunConfig, extra: dict[str, dict[str, str]] | None = None) -> str:
    """The text of a config; `extra`: further tables, such as versions.

    >>> print(to_toml(RunConfig()).splitlines()[:3])
    ['[model]', 'encoder = "mobilenetv3"', 'weights = ""']
    """
    tables: dict[str, dict[str, object]] = {**dataclasses.asdict(config)}
    for name, entries in (extra or {}).items():
        tables[name] = dict(entries)
    return "\n".join(_table(name, entries) for name, entries in tables.items())


def from_toml(text: str, source: str = "config") -> RunConfig:
    r"""The config in a text; what it leaves out has its default, tables `versions` and `hashes` are not read.

    >>> from_toml("[train]\nepochs = 3").train.epochs
    3

    Raises `ValueError` for what is no TOML, an unknown key (with the nearest known one), and a value of another type.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"`{source}` is no TOML: {error}"
        raise ValueError(message) from None
    tables = {name: table for name, table in tables.items() if name not in ("versions", "hashes")}
    return _section(RunConfig, tables, source)


def read_config(path: Path) -> RunConfig:
    """The config in a file; raises `ValueError` naming the file."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            message = f"`config` (={str(path)!r}) has more than {LARGEST_FILE} bytes"
            raise ValueError(message)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        message = f"`config` (={str(path)!r}) does not exist"
        raise ValueError(message) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"`config` (={str(path)!r}) cannot be read: {error}"
        raise ValueError(message) from None
    return from_toml(text, str(path))


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
    made = {name: dataclasses.replace(getattr(config, name), **cast("Any", new)) for name, new in sections.items()}
    return dataclasses.replace(config, **cast("Any", made))


def _table(name: str, entries: dict[str, object]) -> str:
    lines = [f"{_key(key)} = {_value(value)}" for key, value in entries.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def toml_text(value: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's strings but for this character


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(entry) for entry in cast('tuple[object, ...]', value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    return toml_text(value) if isinstance(value, str) else str(value)


def _section(kind: type[Section], entries: dict[str, Any], source: str, prefix: str = "") -> Section:
    hints = get_type_hints(kind)
    for key in entries:
        if key not in hints:
            near = (difflib.get_close_matches(key, hints, 1, 0) or list(hints))[0]
            message = f"`{prefix}{key}` in {source} is no key; the nearest is `{prefix}{near}`"
            raise ValueError(message)
    return kind(**{key: _typed(source, prefix + key, hints[key], value) for key, value in entries.items()})


def _typed(source: str, name: str, kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _section(cast("type[Any]", kind), cast("dict[str, Any]", value), source, f"{name}.")
    if get_origin(kind) is tuple and isinstance(value, list):
        entry = get_args(kind)[0]
        return tuple(_typed(source, name, entry, item) for item in cast("list[Any]", value))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind:
        return value
    wanted = "a table" if dataclasses.is_dataclass(kind) else "a list" if get_origin(kind) is tuple else kind.__name__
    message = f"`{name}` (={value!r}) in {source} must be {wanted}"
    raise ValueError(message)
