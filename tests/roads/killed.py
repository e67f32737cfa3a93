"""Trains a small run at one go and beside it one that is killed at given moments and resumed after
each.

    killed.py FOLDER EPOCHS MOMENT...

A moment is `picture:N`, `before:N`, `within:N` or `after:N`: at the N-th picture that a process
reads, or the N-th file that it writes, before it, when it is written but not yet in its place, or
after it."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from backstride.roads.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from backstride.roads.data.feed import Feed
from backstride.roads.data.sources import Split
from backstride.roads.training import keeper
from backstride.roads.training.run import train
from roads.toy import Toy


def flipped(images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Mirror images, half of the time."""
    return (
        (images.flip(-1), labels.flip(-1))
        if np.random.default_rng(seed).random() < 0.5
        else (images, labels)
    )


def run(out: Path, epochs: int, *, resume: bool) -> None:
    """A small run with all that has a state: dropout, batch norms, frozen ones, momenta, a
    schedule, early stopping.

    The state is written wherever it may be: after the second and fourth of the five batches of an
    epoch, and after it."""
    settings = TrainConfig(
        *(epochs, 4, 2, 3e-3),
        freeze=("features.1",),
        patience=50,
        accelerator="cpu",
        save_minutes=1e-9,
    )
    config = RunConfig(ModelConfig("mobilenetv3-minimal", dropout=0.3), DataConfig(), settings)
    split = Split(Toy(20, ragged=True), Toy(4, seed=1), flipped)
    _ = train(config, out, resume=resume, split=split, console=Console(quiet=True))


def die_at(moment: str) -> None:
    """Have this process killed at a moment."""
    kind, _, number = moment.partition(":")
    left = int(number)

    def wrapped(call: Callable[..., Any], *, first: bool) -> Callable[..., Any]:
        def counting(*args: Any, **words: Any) -> Any:
            nonlocal left
            left -= 1
            if first and not left:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **words)
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counting

    if kind == "picture":
        Feed.__getitem__ = wrapped(Feed.__getitem__, first=True)
    elif kind == "within":
        Path.replace = wrapped(Path.replace, first=True)
    else:
        keeper.write_beside = wrapped(keeper.write_beside, first=kind == "before")


def child(work: Callable[[], None]) -> int:
    """Do something in a process of its own; its exit status, negative where a signal ended it."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Every start but the last must end by a kill."""
    folder, epochs, moments = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    assert child(lambda: run(folder / "whole", epochs, resume=False)) == 0

    def broken(moment: str | None) -> None:
        if moment is not None:
            die_at(moment)
        run(folder / "broken", epochs, resume=True)

    for moment in moments:
        code = child(lambda moment=moment: broken(moment))
        assert code == -signal.SIGKILL, f"{moment}: {code}"
    assert child(lambda: broken(None)) == 0


if __name__ == "__main__":
    main()
