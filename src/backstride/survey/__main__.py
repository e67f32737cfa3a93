"""`python -m backstride.survey`: measure, and write the page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backstride.files import write_beside
from backstride.survey.row import Row
from backstride.survey.table import ROSTERS, run, to_markdown


def main() -> None:
    """Measure the frameworks that are named, all by default."""
    parser = argparse.ArgumentParser(prog="backstride.survey", description=__doc__)
    _ = parser.add_argument("frameworks", nargs="*", metavar="framework", help=f"some of {', '.join(ROSTERS)}")
    _ = parser.add_argument("--out", type=Path, required=True, help="the Markdown page to write")
    given = parser.parse_args()
    unknown = [name for name in given.frameworks if name not in ROSTERS]
    if unknown:
        parser.error(f"`frameworks` (={unknown[0]!r}) must be some of {', '.join(ROSTERS)}")
    rows = run(given.frameworks or None, progress=_show)
    write_beside(given.out, to_markdown(rows))


def _show(row: Row) -> None:
    said = row.refused or f"error {row.error:.1e}, {row.exact:.0%} exact, {row.speed:.1f}x, {row.seconds:.1f} s"
    _ = sys.stderr.write(f"{row.entry.framework}, {row.entry.name}: {said}\n")


if __name__ == "__main__":
    main()
