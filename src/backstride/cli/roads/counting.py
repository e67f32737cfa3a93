"""How far a command is: a bar on a terminal, a line now and then where its errors go to a file."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from backstride.roads.lines import Lines


@contextmanager
def counting(what: str, *, quiet: bool = False) -> Generator[Callable[[int, int | None], None]]:
    """A function to be called with how many are done, and of how many.

    `what`: one of them. `quiet`: say nothing.
    """
    console = Console(stderr=True)
    lines = Lines(lambda line: console.print(line, soft_wrap=True, highlight=False))
    with Progress(
        console=console, transient=True, disable=quiet or not console.is_terminal
    ) as progress:
        task = progress.add_task(f"{what}s", total=None)

        def count(done: int, of: int | None) -> None:
            progress.update(task, completed=done, total=of)
            if not (quiet or console.is_terminal):
                lines(what, done, of)

        yield count
