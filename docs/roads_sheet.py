"""Puts the pictures of a folder on one sheet: python docs/roads_sheet.py FOLDER SHEET.png."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

COLUMNS, SCALE, GAP = 5, 2, 6


def main() -> None:
    """Read, enlarge, write."""
    image: Any = importlib.import_module("PIL.Image")
    folder, sheet = Path(sys.argv[1]), Path(sys.argv[2])
    pictures = [image.open(path).convert("RGB") for path in sorted(folder.glob("*.png"))]
    columns, rows = SCALE * pictures[0].width + GAP, SCALE * pictures[0].height + GAP
    made = image.new("RGB", (COLUMNS * columns - GAP, -(-len(pictures) // COLUMNS) * rows - GAP), "white")
    for place, picture in enumerate(pictures):
        larger = picture.resize((columns - GAP, rows - GAP), image.Resampling.NEAREST)
        made.paste(larger, (place % COLUMNS * columns, place // COLUMNS * rows))
    made.save(sheet)


if __name__ == "__main__":
    main()
