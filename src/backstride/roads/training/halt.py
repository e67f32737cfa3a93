"""What Lightning has to know of a run that is asked to stop."""

from __future__ import annotations

import multiprocessing
import os
import subprocess

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.types import STEP_OUTPUT

from backstride.roads.stopping import Stop


class Halt(Callback):
    """Keeps signals from Lightning, which only notes them, and ends this run's processes here."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning has just taken the signals."""
        _ = trainer, pl_module
        self.stop.listen()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Nothing is lost for longer than a batch."""
        _ = trainer, pl_module, outputs, batch, batch_idx
        self.stop.check()

    def on_validation_batch_end(  # noqa: PLR0917  Lightning calls it so
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """The same."""
        _ = trainer, pl_module, outputs, batch, batch_idx, dataloader_idx
        self.stop.check()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """End the others, which may wait for this one for ever.

        One that was started by another one, itself.
        """
        _ = pl_module, exception
        if not self.stop.number:
            return
        if trainer.world_size > 1 and trainer.local_rank:
            for reader in multiprocessing.active_children():
                reader.kill()
            os._exit(
                0
            )  # with any other code, Lightning kills the first process before it can say anything
        started: list[subprocess.Popen[bytes]] = getattr(trainer.strategy.launcher, "procs", [])
        others = list(started)
        # Lightning's observer of this list kills this process, too, once one of them is gone
        started.clear()
        for other in others:
            other.kill()
