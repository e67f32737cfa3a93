"""`train`: a config and pictures in, a run's folder out; interrupted runs go on bit for bit."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import sys
import time
import types
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

import torch
from lightning import Trainer
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from backstride.files import check_folder, make_folder, write_beside
from backstride.native import get_num_threads, set_num_threads
from backstride.roads.config import RunConfig, TrainConfig, changed, check_config, require_named
from backstride.roads.data.feed import Feed, Order, loader
from backstride.roads.data.folders import require_sound
from backstride.roads.data.sources import Split, open_split
from backstride.roads.evaluation import curves
from backstride.roads.evaluation.metrics import measure_named
from backstride.roads.network import checkpoint
from backstride.roads.network.model import build
from backstride.roads.seeding import kept_stream
from backstride.roads.stopping import Stop, stoppable
from backstride.roads.synthetic import SyntheticDataset
from backstride.roads.toml import read_config, to_toml
from backstride.roads.training.bars import Bars
from backstride.roads.training.failures import sentence
from backstride.roads.training.halt import Halt
from backstride.roads.training.keeper import (
    CLASS,
    FILES,
    STATE,
    Keeper,
    Row,
    WholeFiles,
    read_state,
)
from backstride.roads.training.lightning import Training
from backstride.roads.training.optimise import class_weights
from backstride.roads.training.record import file_hash, hash_of, require_same, versions

Precision: TypeAlias = Literal["32-true", "bf16-mixed", "16-mixed"]
RUN_FILES = (checkpoint.CONFIG, *FILES)


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: its checkpoints, epochs done, seconds of this call.

    `maxf`: the best held-out MaxF of an epoch. `best_epoch`: the one that `best` is of, by
    `measure`, which gave `score`.
    """

    out: Path
    best: Path
    last: Path
    maxf: float
    best_epoch: int
    epochs: int
    seconds: float
    measure: str
    score: float


def train(
    config: RunConfig | None,
    out: Path,
    *,
    resume: bool = False,
    split: Split | None = None,
    console: Console | None = None,
) -> Result:
    """Train a road network and write a run's folder.

    In `out` appear config.toml (with versions and hashes of the data), best.safetensors (by the
    held-out `measure`) and last.safetensors, resume.ckpt, epochs.csv, curves.png, and TensorBoard's
    files in logs. `config`: None takes that of the run that is resumed. `resume`: go on where the
    folder's run was stopped, however that was: the weights become those that an uninterrupted run
    would have, bit for bit, on one machine with as many threads and processes. `split`: pictures to
    train on and held out, in place of `config.data`. `console`: where lines and progress bars go.

    Raises `ValueError` in one sentence for what cannot be trained, or a folder that holds another
    run; `OSError` where the disk is full or pictures are gone; `Stopped`, a `KeyboardInterrupt`,
    where Ctrl+C or SIGTERM asks to stop. What was written stays valid then, and `resume` goes on
    from there.
    """
    with stoppable(lambda: _farewell(out)) as stop:
        return _train(config, out, stop, resume=resume, split=split, console=console or Console())


def _train(
    config: RunConfig | None,
    out: Path,
    stop: Stop,
    *,
    resume: bool,
    split: Split | None,
    console: Console,
) -> Result:
    config = _begun(config, out, resume=resume)
    check_config(config)
    _check(config.train)
    chosen = split or open_split(config.data, config.train.seed)
    _check_split(chosen)
    measure = measure_named(config.train.measure, chosen.train.classes)
    config = changed(config, model__classes=len(chosen.train.classes))
    hashes = {"train": hash_of(chosen.train), "held_out": hash_of(chosen.choosing)}
    if config.model.weights and Path(config.model.weights).is_file():
        hashes["weights"] = file_hash(Path(config.model.weights))
    if config.train.start and (start := checkpoint.found(Path(config.train.start))).is_file():
        hashes["start"] = file_hash(start)
    text = to_toml(config, {"versions": versions(), "hashes": hashes})
    if _first_process():
        _check_pictures(chosen, console)
        require_same(out / checkpoint.CONFIG, hashes)
        check_folder("out", out)
        make_folder(out)
        _sweep(out)
        if not (out / checkpoint.CONFIG).exists():
            write_beside(out / checkpoint.CONFIG, text)
    started = time.perf_counter()
    try:
        keeper, epochs = _fit(config, chosen, out, text, stop, resume=resume, console=console)
    except (OSError, ValueError, RuntimeError) as error:
        message = sentence(error, out)
        if message is None:
            raise
        raise OSError(message) from None
    return Result(
        out=out,
        best=out / checkpoint.BEST,
        last=out / checkpoint.LAST,
        maxf=max((row["val_maxf"] for row in keeper.rows if row["val_maxf"] >= 0), default=0.0),
        best_epoch=keeper.best_epoch,
        epochs=epochs,
        seconds=time.perf_counter() - started,
        measure=measure,
        score=keeper.best,
    )


def _farewell(out: Path) -> str:
    """What a run that is stopped says at its end."""
    if not _first_process():
        return ""
    kept = (
        "what was finished is whole, and" if (out / STATE).is_file() else "no epoch was finished;"
    )
    begun = (out / checkpoint.CONFIG).is_file()
    return (
        f"stopped; {kept} --resume {'goes on' if (out / STATE).is_file() else 'begins'} there"
        if begun
        else "stopped"
    )


def _fit(
    config: RunConfig,
    split: Split,
    out: Path,
    text: str,
    stop: Stop,
    *,
    resume: bool,
    console: Console,
) -> tuple[Keeper, int]:
    settings = config.train
    with _quiet(), kept_stream(settings.seed), _threads(settings.threads):
        network = build(config.model)
        state = out / STATE
        goes_on = resume and state.is_file()
        if settings.start and not goes_on:
            _begin(network, config, console)
        feeds, processes = _feeds(config, split), settings.devices * settings.nodes
        rank = _rank()
        orders = [
            Order(len(feed), settings.seed, shuffle=at == 0, rank=rank, processes=processes)
            for at, feed in enumerate(feeds)
        ]
        loaders = [
            loader(feed, order, settings.batch, settings.workers)
            for feed, order in zip(feeds, orders, strict=True)
        ]
        steps = settings.epochs * -(-len(loaders[0]) // settings.accumulate)
        module = Training(
            network,
            settings,
            class_weights(settings.balance, split.train),
            steps,
            split.train.classes,
        )
        draw = functools.partial(curves.of_training, measure=module.measure)
        tell = _teller(console, settings.epochs)
        keeper = Keeper(
            out, text, split.train.classes, settings=settings, order=orders[0], draw=draw, tell=tell
        )
        if goes_on:
            _check_state(state, module)
        trainer = _trainer(settings, out, [Bars(console), Halt(stop), *_stopping(settings), keeper])
        trainer.fit(
            module, loaders[0], loaders[1], ckpt_path=state if goes_on else None, weights_only=True
        )
        return keeper, len(keeper.rows)


def _begin(network: torch.nn.Module, config: RunConfig, console: Console) -> None:
    """From another run's network, and say what of it cannot be taken over."""
    classes = config.model.classes
    had = checkpoint.begin(network, Path(config.train.start), classes)
    if had != classes and _first_process():
        console.print(
            f"{config.train.start} has {had} classes and the pictures have {classes}: its encoder "
            "is taken over, and what gives the scores starts anew",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def _feeds(config: RunConfig, split: Split) -> tuple[Feed, Feed]:
    seed, size = config.train.seed, config.data.size
    return (
        Feed(split.train, size, augment=split.augment, seed=seed),
        Feed(split.choosing, size),
    )


def _trainer(settings: TrainConfig, out: Path, callbacks: list[Callback]) -> Trainer:
    # TensorBoard loads all of TensorFlow where that is installed, unless it finds a module of this
    # name
    _ = sys.modules.setdefault(
        "tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf")
    )
    many = settings.devices * settings.nodes > 1
    cuda = settings.accelerator != "cpu" and torch.cuda.is_available()
    return Trainer(
        accelerator=settings.accelerator
        if settings.accelerator != "auto"
        else "cuda"
        if cuda
        else "cpu",
        strategy="ddp" if many else "auto",
        devices=settings.devices,
        num_nodes=settings.nodes,
        precision=cast("Precision", settings.precision),  # checked with all settings
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip or None,
        deterministic="warn" if cuda else True,
        logger=TensorBoardLogger(out, name="logs", version=""),
        callbacks=callbacks,
        plugins=[WholeFiles()],
        default_root_dir=out,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def _stopping(settings: TrainConfig) -> list[Callback]:
    if not settings.patience:
        return []
    return [
        EarlyStopping(
            "val_score", patience=settings.patience, mode="max", check_on_train_epoch_end=True
        )
    ]


def _teller(console: Console, epochs: int) -> Callable[[Row, bool], None]:
    def tell(row: Row, better: bool) -> None:
        mark = "  [bold]best[/bold]" if better else ""
        console.print(
            f"epoch {row['epoch']:.0f}/{epochs}  loss {row['loss']:.4f}  held out "
            f"{row['val_loss']:.4f}  MaxF {row['val_maxf']:.4f}  AP {row['val_ap']:.4f}  IoU "
            f"{row['val_iou']:.4f}{_of_classes(row)}{mark}",
            highlight=False,
            soft_wrap=True,
        )

    return tell


def _of_classes(row: Row) -> str:
    """Of several classes, the mean IoU and that of each."""
    found = [
        f"{name.removeprefix(CLASS)} {value:.4f}"
        for name, value in row.items()
        if name.startswith(CLASS)
    ]
    return f"  mIoU {row['val_miou']:.4f} ({escape(', '.join(found))})" if found else ""


def _begun(config: RunConfig | None, out: Path, *, resume: bool) -> RunConfig:
    """The config to train with, after a look at what the folder holds."""
    if out.exists() and not out.is_dir():
        message = f"`out` (={str(out)!r}) is a file; name a folder"
        raise ValueError(message)
    path = out / checkpoint.CONFIG
    if resume and path.is_file():
        saved = read_config(path)
        if config is not None:
            _check_same(config, saved, out)
        else:
            require_named(saved.model.encoder, None, str(path))
        return saved
    if config is None:
        message = f"`out` (={str(out)!r}) holds no run to resume"
        raise ValueError(message)
    held = [name for name in RUN_FILES if (out / name).exists()]
    if held and _first_process():
        message = (
            f"`out` (={str(out)!r}) holds a run; add --resume to go on with it, or name another "
            "folder"
        )
        raise ValueError(message)
    return config


def _check_same(config: RunConfig, saved: RunConfig, out: Path) -> None:
    for section in ("model", "data", "train"):
        for key, value in dataclasses.asdict(getattr(config, section)).items():
            was = getattr(getattr(saved, section), key)
            if was != value:
                message = (
                    f"`{key}` (={value!r}) differs from that of the run in {str(out)!r} "
                    f"(={was!r}), which --resume goes on with; leave it out, or name another folder"
                )
                raise ValueError(message)


def _check(settings: TrainConfig) -> None:
    cuda = settings.accelerator != "cpu" and torch.cuda.is_available()
    if settings.accelerator == "cuda" and not cuda:
        message = (
            '`accelerator` (="cuda") needs a GPU that PyTorch can use, and there is none; take '
            '"cpu"'
        )
        raise ValueError(message)
    if settings.precision == "16-mixed" and not cuda:
        message = '`precision` (="16-mixed") needs a GPU; on a CPU take "bf16-mixed"'
        raise ValueError(message)


def _check_split(split: Split) -> None:
    for name, pictures in (("train", split.train), ("held out", split.choosing)):
        if not pictures.samples:
            message = (
                f"no picture is {'held out' if name == 'held out' else 'left to train on'}; change "
                "the split"
            )
            raise ValueError(message)


def _check_pictures(split: Split, console: Console) -> None:
    """Open every picture and mask before hours of work begin on them."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for name, pictures in (("pictures to train on", split.train), ("held out", split.choosing)):
            if isinstance(pictures, SyntheticDataset):
                continue
            task = progress.add_task(name, total=len(pictures.samples))
            require_sound(
                pictures, lambda done, _, task=task: progress.update(task, completed=done)
            )


def _sweep(out: Path) -> None:
    """Remove what writers left that were killed before they put their file in its place."""
    for name in (checkpoint.CONFIG, *FILES):
        for left in out.glob(f".{name}.*"):
            left.unlink(missing_ok=True)


def _check_state(path: Path, module: Training) -> None:
    """One sentence for a state of another architecture, before Lightning's thousand."""
    state = read_state(path).get("state_dict", {})
    prefix = "network."
    given = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    checkpoint.fill(module.network, given, path)


def _rank() -> int:
    """This process's number among all."""
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name])
    return int(os.environ.get("LOCAL_RANK", "0"))


def _first_process() -> bool:
    return _rank() == 0


@contextmanager
def _threads(count: int) -> Generator[None]:
    """So many threads for PyTorch's layers and for the engine's; 0 leaves them as they are."""
    were = torch.get_num_threads(), get_num_threads()
    if count:
        torch.set_num_threads(count)
        set_num_threads(count)
    try:
        yield
    finally:
        if count:
            torch.set_num_threads(were[0])
            set_num_threads(were[1])


@contextmanager
def _quiet() -> Generator[None]:
    """Without Lightning's hints, which are about other uses of it."""
    logger = logging.getLogger("lightning.pytorch")
    levels = [(one, one.level) for one in (logger, logging.getLogger("lightning.fabric"))]
    for one, _ in levels:
        one.setLevel(logging.ERROR)
    deterministic = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"lightning\.")
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=lenient)
        for one, level in levels:
            one.setLevel(level)
