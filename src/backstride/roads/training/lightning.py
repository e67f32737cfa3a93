"""The network as Lightning trains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from backstride.demo.metrics import intersection_over_union
from backstride.roads.config import TrainConfig
from backstride.roads.data.feed import Batch
from backstride.roads.evaluation.metrics import LEVELS, Counts, Scores, measure_named
from backstride.roads.sample import IGNORE, ROAD
from backstride.roads.seeding import seed_torch
from backstride.roads.training.optimise import frozen, loss_of, optimiser_of, rate_at


class Processes(Protocol):
    """What Lightning's strategy, partly untyped, does for all processes."""

    reduce: Callable[..., Tensor]


class Training(LightningModule):
    """A road network with its loss, its optimiser and its measure.

    What is drawn at random in a step, dropout, follows from (seed, epoch, batch, process), so a
    step that is done again after an interruption is the same step.

    `running`: the sum of the losses of this epoch's pictures, and their number; of this process.
    `table`: levels by truth, added up over the validation; a tensor so that processes can add
    theirs. `matrix`: pixels by true class (row) and found class.
    """

    running: Tensor
    weight: Tensor | None
    table: Tensor
    matrix: Tensor

    def __init__(
        self,
        network: nn.Module,
        config: TrainConfig,
        weight: tuple[float, ...] | None,
        steps: int,
        classes: Sequence[str] = ("background", "road"),
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.steps = steps
        self.held = frozen(network, config.freeze)
        self.classes = tuple(classes)
        self.measure = measure_named(config.measure, classes)
        self.scores: Scores | None = None
        self.loss = 0.0  # the mean over the pictures of the last epoch
        self.register_buffer("running", torch.zeros(2, dtype=torch.float64), persistent=False)
        self.register_buffer(
            "weight", None if weight is None else torch.tensor(weight), persistent=False
        )
        self.register_buffer("table", torch.zeros(2, LEVELS, dtype=torch.int64), persistent=False)
        self.register_buffer(
            "matrix", torch.zeros(len(classes), len(classes), dtype=torch.int64), persistent=False
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """An optimiser with its rate changed after each step."""
        optimiser = optimiser_of(self.network, self.config)
        schedule = LambdaLR(optimiser, rate_at(self.config, self.steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Frozen layers keep the statistics of their norms, also when training resumes."""
        for layer in self.held:
            _ = layer.eval()

    def on_train_epoch_start(self) -> None:
        """The same, and count from zero."""
        self.on_train_start()
        _ = self.running.zero_()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what this step draws."""
        _ = batch
        entropy = [self.config.seed, 3, self.current_epoch, batch_idx, self.global_rank]
        seed_torch(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    @property
    def rate(self) -> float:
        """The learning rate of the decoder, now."""
        schedule = self.lr_schedulers()
        assert isinstance(schedule, LRScheduler)
        return float(schedule.get_last_lr()[-1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        _ = batch_idx
        images, labels, _ = batch
        loss = loss_of(self.network(images), labels, self.weight)
        count = images.shape[0]
        self.running += torch.stack(
            (loss.detach().double() * count, loss.new_tensor(count).double())
        )
        self.log("loss_step", loss.detach(), on_step=True, on_epoch=False, sync_dist=True)
        self.log("rate", self.rate, on_step=True, on_epoch=False)
        return loss

    def on_train_epoch_end(self) -> None:
        """The mean loss over all processes."""
        found = self.running.clone()
        if self.trainer.world_size > 1:
            found = cast("Processes", self.trainer.strategy).reduce(found, reduce_op="sum")
        self.loss = float(found[0] / found[1])
        self.log("loss_epoch", self.loss, rank_zero_only=True, sync_dist=False)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Keep the running sums, one row for each process."""
        checkpoint["running"] = self.trainer.strategy.all_gather(self.running).reshape(-1, 2).cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Go on with this process's."""
        running = checkpoint.get("running")
        if isinstance(running, Tensor):
            _ = self.running.copy_(running[self.global_rank])

    def on_validation_epoch_start(self) -> None:
        """Count from zero."""
        _ = self.table.zero_(), self.matrix.zero_()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch."""
        _ = batch_idx
        images, labels, _ = batch
        logits = self.network(images).float()
        self.table += counted(logits.softmax(1)[:, ROAD], labels)
        self.matrix += confused(logits.argmax(1), labels, len(self.classes))
        valid = (labels != IGNORE).any()
        loss = loss_of(logits, labels, self.weight)
        self.log("val_loss", loss, sync_dist=True, batch_size=max(int(valid) * images.shape[0], 1))

    def on_validation_epoch_end(self) -> None:
        """The measures over all processes."""
        counted = [self.table, self.matrix]
        if self.trainer.world_size > 1:
            processes = cast("Processes", self.trainer.strategy)
            counted = [processes.reduce(each.clone(), reduce_op="sum") for each in counted]
        table, matrix = (each.cpu().numpy() for each in counted)
        found = intersection_over_union(matrix).tolist()
        self.scores = scores = Scores(
            Counts(table).measures(), dict(zip(self.classes, found, strict=True))
        )
        logged = {name: float(getattr(scores.road, name)) for name in ("maxf", "ap", "iou")}
        logged |= {"miou": scores.miou, "score": scores.of(self.measure)}
        for name, value in logged.items():
            self.log(f"val_{name}", value, rank_zero_only=True, sync_dist=False)


def confused(found: Tensor, labels: Tensor, classes: int) -> Tensor:
    """`metrics.confusion` where the tensors are."""
    pairs = (labels * classes + found)[labels != IGNORE]
    return torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def counted(probability: Tensor, labels: Tensor) -> Tensor:
    """`Counts.add` where the tensors are."""
    levels = (probability.clamp(0, 1) * (LEVELS - 1) + 0.5).floor().long()
    cells = ((labels == ROAD).long() * LEVELS + levels)[labels != IGNORE]
    return torch.bincount(cells, minlength=2 * LEVELS).reshape(2, LEVELS)
