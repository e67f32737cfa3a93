"""What every step of the job shares: a stream of random numbers each, lines and progress bars."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backstride.demo.digits import required


class Journal:
    """Made by `journal`."""

    def __init__(self, seed: int, progress: Progress) -> None:
        self.seed = seed
        self._progress = progress

    def random(self, stream: int) -> np.random.Generator:
        """The stream of this number: the same for the same seed, whatever other steps draw."""
        return np.random.default_rng([self.seed, stream])

    def say(self, title: str, line: str = "") -> None:
        """Print a line."""
        self._progress.console.print(
            f"[bold]{title}[/bold] {line}" if line else title, highlight=False
        )

    def bar(self, words: str, total: int) -> Callable[[], None]:
        """Begin a progress bar; what is returned moves it on by one."""
        task = self._progress.add_task(words, total=total)
        return lambda: self._progress.advance(task)


@contextmanager
def journal(seed: int, console: Console) -> Generator[Journal]:
    """A journal in whose span torch draws from this seed and computes deterministically.

    Afterwards as before.
    """
    torch = required("torch")
    strict, lenient = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    columns = (
        TextColumn("{task.description:28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with torch.random.fork_rng(devices=[]), Progress(*columns, console=console) as progress:
        _ = torch.default_generator.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        try:
            yield Journal(seed, progress)
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=lenient)
