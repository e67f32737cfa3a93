"""Frames a second, beside a progress bar for each item."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.markup import escape
from rich.progress import Progress, TaskID


class Rates:
    """Called with what a bar is of, how many frames are done, and how many there will be."""

    def __init__(self, progress: Progress, lines: Callable[[str, int, int | None], None] | None = None) -> None:
        self._progress, self._lines = progress, lines
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}
        self._first: tuple[float, int] | None = None
        self._last = 0.0

    def __call__(self, label: str, done: int, total: int | None) -> None:
        """Move a bar on."""
        self._last = time.monotonic()
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(escape(label), total=total, speed="")
        self._done[label] = done
        if self._lines is not None:
            self._lines(label, done, total)
        if self._first is None:  # the clock starts behind the first frames, which wait for the network to be loaded
            self._first = self._last, done
        speed = self.speed()
        shown = f"{speed:.1f} frames/s" if speed else ""
        self._progress.update(self._tasks[label], completed=done, total=total, speed=shown)

    def speed(self) -> float | None:
        """Frames a second since the first ones; None before any others."""
        if self._first is None or self._last <= self._first[0]:
            return None
        return (sum(self._done.values()) - self._first[1]) / (self._last - self._first[0])
