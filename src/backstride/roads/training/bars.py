"""Progress of a run on the console.

Bars for epochs and batches, or lines where the output is a file.
"""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.types import STEP_OUTPUT
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from backstride.roads.lines import Lines


class Bars(Callback):
    """Shown by the first process, gone when training ends."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self.lines = (
            None if console.is_terminal else Lines(lambda line: console.print(line, soft_wrap=True))
        )
        self.epochs: TaskID | None = None
        self.batches: TaskID | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the epoch that training goes on with."""
        _ = pl_module
        if trainer.is_global_zero:
            self.epochs = self.progress.add_task("epochs", total=trainer.max_epochs, note="")
            self.batches = self.progress.add_task("batches", total=None, note="")
            self.progress.start()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Within an epoch, too, where training goes on there."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A new bar of batches."""
        _ = pl_module
        if self.epochs is not None and self.batches is not None:
            self.progress.update(self.epochs, completed=trainer.current_epoch)
            self.progress.reset(
                self.batches, total=trainer.num_training_batches, description="batches", note=""
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """One more."""
        _ = pl_module, batch
        if self.batches is None:
            return
        assert outputs is not None
        note = f"loss {float(outputs if isinstance(outputs, Tensor) else outputs['loss']):.4f}"
        if self.lines is not None:
            label = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, batch"
            self.lines(label, batch_idx + 1, trainer.num_training_batches, note)
        self.progress.update(self.batches, completed=batch_idx + 1, note=note)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The held-out pictures."""
        _ = pl_module
        if self.batches is not None:
            total = sum(trainer.num_val_batches)
            self.progress.reset(self.batches, total=total, description="held out", note="")

    def on_validation_batch_end(  # noqa: PLR0917  Lightning calls it so
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """One more."""
        _ = pl_module, outputs, batch, dataloader_idx
        if self.batches is not None and self.lines is not None:
            self.lines("held out, batch", batch_idx + 1, sum(trainer.num_val_batches))
        if self.batches is not None:
            self.progress.update(self.batches, completed=batch_idx + 1)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the console clean, however training ended."""
        _ = trainer, pl_module, stage
        self.progress.stop()
