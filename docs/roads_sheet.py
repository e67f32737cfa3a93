"""Puts the pictures of a folder on one sheet.

Python docs/roads_sheet.py FOLDER SHEET, a PNG or JPEG file.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

WHOLE, GAP = 1280, 6  # pixels: the width of a sheet, what lies between pictures


def main() -> None:
    """Read, scale, write."""
    image: Any = importlib.import_module("PIL.Image")
    folder, sheet = Path(sys.argv[1]), Path(sys.argv[2])
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg")]
    if not paths:
        sys.exit(f"roads_sheet.py: {folder} holds no picture")
    pictures = [image.open(path).convert("RGB") for path in paths]
    columns = 5 if len(pictures) % 5 == 0 else 4
    width = (WHOLE - (columns - 1) * GAP) // columns
    height = round(width * pictures[0].height / pictures[0].width)
    rows = -(-len(pictures) // columns)
    made = image.new("RGB", (WHOLE, rows * (height + GAP) - GAP), "white")
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        scaled = picture.resize((width, height), image.Resampling.LANCZOS)
        made.paste(scaled, (column * (width + GAP), row * (height + GAP)))
    made.save(sheet, quality=85)


if __name__ == "__main__":
    main()
