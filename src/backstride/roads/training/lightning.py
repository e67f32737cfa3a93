"""The network as Lightning trains it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backstride.demo.metrics import intersection_over_union
from backstride.roads.config import TrainConfig
from backstride.roads.data.feed import Batch
from backstride.roads.evaluation.metrics import LEVELS, Counts, Scores, measure_named
from backstride.roads.sample import IGNORE, ROAD
from backstride.roads.training.optimise import frozen, loss_of, optimiser_of, rate_at

lightning: Any = importlib.import_module("lightning")


class Training(lightning.LightningModule):
    """A road network with its loss, its optimiser and its measure.

    What is drawn at random in a step, dropout, follows from (seed, epoch, batch, process), so a step that is done
    again after an interruption is the same step.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TrainConfig,
        weight: tuple[float, ...] | None,
        steps: int,
        classes: Sequence[str] = ("background", "road"),
    ) -> None:
        parent: Any = super()
        parent.__init__()
        self.network = network
        self.config = config
        self.steps = steps
        self.held = frozen(network, config.freeze)
        self.classes = tuple(classes)
        self.measure = measure_named(config.measure, classes)
        self.scores: Scores | None = None
        self.loss = 0.0  # the mean over the pictures of the last epoch
        self.running: Any  # sum of the losses of this epoch's pictures, and their number; of this process
        self.register_buffer("running", torch.zeros(2, dtype=torch.float64), persistent=False)
        self.register_buffer("weight", None if weight is None else torch.tensor(weight), persistent=False)
        # levels by truth, added up over the validation; a tensor so that processes can add theirs
        self.table: Any
        self.register_buffer("table", torch.zeros(2, LEVELS, dtype=torch.int64), persistent=False)
        self.matrix: Any  # pixels by true class (row) and found class
        self.register_buffer("matrix", torch.zeros(len(classes), len(classes), dtype=torch.int64), persistent=False)

    def configure_optimizers(self) -> Any:
        """An optimiser with its rate changed after each step."""
        optimiser = optimiser_of(self.network, self.config)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate_at(self.config, self.steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Frozen layers keep the statistics of their norms, also where training goes on within an epoch."""
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
        stream: Any = torch.random  # partly untyped
        _ = stream.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        _ = batch_idx
        images, labels, _ = batch
        loss = loss_of(self.network(images), labels, self.weight)
        count = images.shape[0]
        self.running += torch.stack((loss.detach().double() * count, loss.new_tensor(count).double()))
        self.log("loss_step", loss.detach(), on_step=True, on_epoch=False, sync_dist=True)
        self.log("rate", self.lr_schedulers().get_last_lr()[-1], on_step=True, on_epoch=False)
        return loss

    def on_train_epoch_end(self) -> None:
        """The mean loss over all processes."""
        found = self.running.clone()
        if self.trainer.world_size > 1:
            found = self.trainer.strategy.reduce(found, reduce_op="sum")
        self.loss = float(found[0] / found[1])
        self.log("loss_epoch", self.loss, rank_zero_only=True, sync_dist=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the running sums, one row for each process."""
        checkpoint["running"] = self.trainer.strategy.all_gather(self.running).reshape(-1, 2).cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with this process's."""
        if "running" in checkpoint:
            _ = self.running.copy_(checkpoint["running"][self.global_rank])

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
        counted: list[Any] = [self.table, self.matrix]
        if self.trainer.world_size > 1:
            counted = [self.trainer.strategy.reduce(each.clone(), reduce_op="sum") for each in counted]
        table, matrix = (each.cpu().numpy() for each in counted)
        found = intersection_over_union(matrix).tolist()
        self.scores = scores = Scores(Counts(table).measures(), dict(zip(self.classes, found, strict=True)))
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
