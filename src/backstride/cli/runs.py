"""A command on many pictures and videos: bars, frames a second, and what became of all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from backstride.roads.lines import Lines

if TYPE_CHECKING:
    from backstride.pictures.run import Processed

LISTED = 20
Ray: TypeAlias = Annotated[
    bool, typer.Option("--ray", help="On a Ray cluster: RAY_ADDRESS's, or one started here.")
]
Workers: TypeAlias = Annotated[int, typer.Option(min=1, help="How many workers of the cluster.")]


class Rates:
    """Called with what a bar is of, how many frames are done, and how many there will be."""

    def __init__(
        self, progress: Progress, lines: Callable[[str, int, int | None], None] | None = None
    ) -> None:
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
        if (
            self._first is None
        ):  # the clock starts behind the first frames, which wait for the network to be loaded
            self._first = self._last, done
        speed = self.speed()
        shown = f"{speed:.1f} frames/s" if speed else ""
        self._progress.update(self._tasks[label], completed=done, total=total, speed=shown)

    def speed(self) -> float | None:
        """Frames a second since the first ones; None before any others."""
        if self._first is None or self._last <= self._first[0]:
            return None
        return (sum(self._done.values()) - self._first[1]) / (self._last - self._first[0])


@contextmanager
def watched(*, quiet: bool) -> Generator[Rates]:
    """Bars on a terminal, lines now and then where errors go to a file; nothing if quiet."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    errors = Console(stderr=True)
    with Progress(
        *columns, console=errors, transient=True, disable=quiet or not errors.is_terminal
    ) as progress:
        lines = Lines(lambda line: errors.print(line, soft_wrap=True, highlight=False))
        yield Rates(progress, None if quiet or errors.is_terminal else lines)


def show(found: Processed, verb: str, speed: float | None) -> None:
    """What was skipped, what failed and why, how many were done. `verb`: such as "predicted"."""
    console = Console(highlight=False, soft_wrap=True)
    for outcome in found.outcomes:
        lost = sum(entry.frames for entry in outcome.skipped)
        if lost:
            console.print(f"{escape(outcome.name)}: {lost} frames skipped", style="yellow")
            for entry in outcome.skipped[:LISTED]:
                at = "" if entry.time is None else f"at {entry.time:.2f} s: "
                many = f" ({entry.frames} frames)" if entry.frames > 1 else ""
                console.print(f"  {at}{escape(entry.reason)}{many}", style="dim")
            if len(outcome.skipped) > LISTED:
                console.print(
                    f"  and {len(outcome.skipped) - LISTED} more, in manifest.json", style="dim"
                )
    for outcome in found.failed[:LISTED]:
        console.print(f"{escape(outcome.name)}: {escape(outcome.reason)}", style="red")
    if len(found.failed) > LISTED:
        console.print(f"and {len(found.failed) - LISTED} more, in manifest.json", style="red")
    frames = sum(outcome.frames for outcome in found.done)
    words = [f"{len(found.done)} {verb}"]
    words += [f"{frames} frames"] if frames != len(found.done) else []
    words += [f"{speed:.1f} frames a second"] if speed else []
    words += [f"{found.resumed} finished before"] if found.resumed else []
    words += [f"{len(found.failed)} failed"] if found.failed else []
    console.print(", ".join(words))


def close(found: Processed, out: Path, said: str = "", *, as_json: bool) -> None:
    """What it was about and where it went, or all as JSON.

    Exit code 1 where some failed, 2 where all.
    """
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for line in filter(None, (said, f"written to {out}")):
            console.print(escape(line), style="dim")
    if found.failed:
        raise typer.Exit(1 if found.done or found.resumed else 2)
