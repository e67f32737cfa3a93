"""`python -m backstride.survey`: measure, and write the page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backstride.files import check_file, write_beside
from backstride.survey.driver import run
from backstride.survey.roster import ROSTERS
from backstride.survey.table import to_markdown


def main() -> int:
    """Measure the frameworks that are named, all by default; 1 where a row fails."""
    parser = argparse.ArgumentParser(prog="backstride.survey", description=__doc__)
    _ = parser.add_argument(
        "frameworks", nargs="*", metavar="framework", help=f"some of {', '.join(ROSTERS)}"
    )
    _ = parser.add_argument("--out", type=Path, required=True, help="the Markdown page to write")
    _ = parser.add_argument(
        "--kept", type=Path, help="a JSON file of the rows so far: a run that stopped goes on"
    )
    given = parser.parse_args()
    unknown = [name for name in given.frameworks if name not in ROSTERS]
    if unknown:
        parser.error(f"`frameworks` (={unknown[0]!r}) must be some of {', '.join(ROSTERS)}")
    check_file("out", given.out, endings=(".md",))
    errors = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=errors, transient=True, disable=not errors.is_terminal
    ) as progress:
        task = progress.add_task("", total=None)
        rows = run(
            given.frameworks or None,
            kept=given.kept,
            progress=lambda row, done, total: progress.update(
                task, description=row, completed=done, total=total
            ),
        )
    write_beside(given.out, to_markdown(rows))
    if given.kept is not None:
        given.kept.unlink(missing_ok=True)  # the page is whole
    faults = [row.entry.key for row in rows if not row.sound]
    for key in faults:
        errors.print(f"fails: {key}", markup=False)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
