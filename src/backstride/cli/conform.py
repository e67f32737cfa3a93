"""backstride conform."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backstride.files import check_file, check_folder, write_beside


def conform(
    frameworks: Annotated[
        list[str] | None, typer.Argument(help="Only these; all installed ones by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the table to this Markdown file too.")
    ] = None,
    scripts: Annotated[
        Path | None,
        typer.Option(
            help="Write each disagreement's simplest example to this folder, as a program."
        ),
    ] = None,
) -> None:
    """Compare installed frameworks' transposed convolutions with their rules, exactly.

    Example: backstride conform torch onnxruntime --out conformance.md --scripts failing
    """
    from rich.progress import Progress, TaskID  # noqa: PLC0415  keeps start-up of the other commands short

    from backstride import conform as comparison  # noqa: PLC0415  the same

    if out is not None:
        check_file("out", out, endings=(".md",))
    if scripts is not None:
        check_folder("scripts", scripts)
    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}
        waiting = progress.add_task("importing the frameworks", total=None)

        def advance(framework: str, done: int, total: int) -> None:
            progress.update(waiting, visible=False)
            if framework not in tasks:
                tasks[framework] = progress.add_task(framework)
            progress.update(tasks[framework], completed=done, total=total)

        results = comparison.run(frameworks or None, progress=advance)
    text = comparison.to_markdown(results)
    if out is not None:
        write_beside(out, text)
    if scripts is not None:
        for name, program in comparison.scripts(results).items():
            write_beside(scripts / name, program)
    typer.echo(text)
