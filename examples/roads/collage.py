"""A sheet of pictures in columns of three, as docs/roads-results.md shows them.

python examples/roads/collage.py SHEET PICTURE PICTURE ...
"""

import sys
from pathlib import Path

from PIL import Image

COLUMNS, WIDTH, HEIGHT, GAP = 3, 320, 180, 4


def collage(paths: list[Path]) -> Image.Image:
    rows = -(-len(paths) // COLUMNS)
    size = (COLUMNS * (WIDTH + GAP) - GAP, rows * (HEIGHT + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    for place, path in enumerate(paths):
        row, column = divmod(place, COLUMNS)
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        sheet.paste(small, (column * (WIDTH + GAP), row * (HEIGHT + GAP)))
    return sheet


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    target, *pictures = map(Path, sys.argv[1:])
    missing = [str(path) for path in pictures if not path.is_file()]
    if missing:
        sys.exit(f"there is no picture {missing[0]}")
    collage(pictures).save(target, quality=85)
