"""What a run leaves on disk, so that it can be stopped at any moment and go on bit for bit.

After each epoch are written, each whole or not at all: the best network, the last network, the
table of all epochs, and at the very end the state to resume from. Within a long epoch that state is
written, too, where the weights have just changed. A run killed in between does again what came
after the state: order, changes and draws follow from (seed, epoch, place), so it writes the same
files again.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch.serialization import MAP_LOCATION

from backstride.files import write_beside
from backstride.roads.config import TrainConfig
from backstride.roads.data.feed import Order
from backstride.roads.evaluation.metrics import Scores, threshold_of
from backstride.roads.meaning import Meaning
from backstride.roads.network.checkpoint import BEST, LAST, packed
from backstride.roads.training.lightning import Training

STATE, TABLE, CURVES = "resume.ckpt", "epochs.csv", "curves.png"
FILES = (BEST, LAST, TABLE, CURVES, STATE)
PAUSE = 20.0  # seconds between drawings of the curves, which take as long as a small epoch
COLUMNS = ("epoch", "loss", "val_loss", "val_maxf", "val_ap", "val_iou", "val_miou", "rate")
CLASS = "iou of "  # begins the columns of several classes
Row = dict[str, float]
State = dict[str, Any]  # what Lightning keeps, of all its parts


class WholeFiles(TorchCheckpointIO):
    """Lightning's states: written whole, read without unpickling code."""

    def save_checkpoint(
        self, checkpoint: dict[str, object], path: str | Path, storage_options: object = None
    ) -> None:
        """Write beside its place, then rename."""
        _ = storage_options
        data = io.BytesIO()
        torch.save(checkpoint, data)
        write_beside(Path(path), data.getvalue())

    def load_checkpoint(
        self, path: str | Path, map_location: MAP_LOCATION = "cpu", weights_only: bool | None = None
    ) -> State:
        """Tensors, numbers and texts only."""
        _ = weights_only
        return read_state(Path(path), map_location)


def read_state(path: Path, map_location: MAP_LOCATION = "cpu") -> State:
    """The state in a file.

    Raises `ValueError` naming a file that holds anything but tensors, numbers and texts.
    """
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # whatever a broken archive makes of the reader
        if isinstance(error, OSError):
            raise
        message = (
            f"`resume` (={str(path)!r}) is no state of a run: {str(error).partition(chr(10))[0]}"
        )
        raise ValueError(message) from None


class Keeper(Checkpoint):
    """Writes a run's files; Lightning calls it after all other callbacks.

    `text`: the config's TOML. `classes`: their names, kept with the networks, and with each its
    best held-out threshold. `order`: that of the pictures to train on, told where to go on. `draw`:
    writes the curves of a table. `tell`: told each row.
    """

    def __init__(
        self,
        out: Path,
        text: str,
        classes: tuple[str, ...],
        *,
        settings: TrainConfig,
        order: Order,
        draw: Callable[[list[Row]], bytes],
        tell: Callable[[Row, bool], None],
    ) -> None:
        self.out, self.text, self.classes, self.draw, self.tell = out, text, classes, draw, tell
        self.settings, self.order = settings, order
        self.rows: list[Row] = []
        self.best = -1.0
        self.best_epoch = 0
        self.taken = 0  # pictures of an epoch that is not finished, of each process
        self.stopped = False
        self.drawn = -PAUSE
        self.saved = time.monotonic()

    def state_dict(self) -> State:
        """Kept in the state to resume from."""
        kept = ("rows", "best", "best_epoch", "taken", "stopped")
        return {name: getattr(self, name) for name in kept}

    def load_state_dict(self, state_dict: State) -> None:
        """Go on from there."""
        self.rows, self.best = list(state_dict["rows"]), state_dict["best"]
        self.best_epoch = state_dict["best_epoch"]
        self.stopped = state_dict.get("stopped", False)
        self.order.start_at(len(self.rows), state_dict.get("taken", 0))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that stopped early has nothing left to do."""
        _ = pl_module
        trainer.should_stop = trainer.should_stop or self.stopped

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Time counts from here."""
        _ = trainer, pl_module
        self.saved = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Write the state where the last one is old and the weights have just changed.

        An epoch's end is its own.
        """
        _ = pl_module, outputs, batch
        done, minutes = batch_idx + 1, self.settings.save_minutes
        if not minutes or done % self.settings.accumulate or done >= trainer.num_training_batches:
            return
        old = time.monotonic() - self.saved >= 60 * minutes
        if trainer.strategy.reduce_boolean_decision(old, all=False):  # all processes write, or none
            self.taken = done * self.settings.batch
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.out / STATE)
        self.saved = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the epoch gave."""
        assert isinstance(pl_module, Training)
        assert pl_module.scores is not None  # validation ends before the epoch does
        row = self._row(trainer, pl_module, pl_module.scores)
        score = pl_module.scores.of(pl_module.measure)
        better = score > self.best or not self.rows  # the first even where nothing can be measured
        if better:
            self.best = 0.0 if math.isnan(score) else score
            self.best_epoch = int(row["epoch"])
        self.rows.append(row)
        self.taken, self.stopped = 0, bool(trainer.should_stop)
        if trainer.is_global_zero:
            meaning = Meaning(self.classes, threshold_of(pl_module.scores.road))
            content = packed(pl_module.network.state_dict(), self.text, meaning)
            if better:
                write_beside(self.out / BEST, content)
            write_beside(self.out / LAST, content)
            write_beside(self.out / TABLE, table(self.rows))
            last = trainer.should_stop or trainer.current_epoch + 1 >= self.settings.epochs
            if last or time.monotonic() - self.drawn > PAUSE:
                write_beside(self.out / CURVES, self.draw(self.rows))
                self.drawn = time.monotonic()
        self._save(trainer)
        if trainer.is_global_zero:
            self.tell(row, better)

    def _row(self, trainer: Trainer, module: Training, scores: Scores) -> Row:
        found = trainer.callback_metrics
        measures = scores.road
        several = scores.classes if len(scores.classes) > 2 else dict[str, float]()
        return {
            "epoch": float(trainer.current_epoch + 1),
            "loss": module.loss,
            "val_loss": float(found["val_loss"]),
            "val_maxf": measures.maxf,
            "val_ap": measures.ap,
            "val_iou": measures.iou,
            "val_miou": scores.miou,
            "rate": module.rate,
            **{f"{CLASS}{name}": value for name, value in several.items()},
        }


def table(rows: list[Row]) -> str:
    """The rows as CSV."""
    text = io.StringIO()
    columns = dict.fromkeys(
        (*COLUMNS, *(name for row in rows for name in row if name.startswith(CLASS)))
    )
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                name: f"{row[name]:.0f}" if name == "epoch" else f"{row[name]:.6g}"
                for name in columns
            }
        )
    return text.getvalue()
