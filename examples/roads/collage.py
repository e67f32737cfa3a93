"""A sheet of pictures, as docs/roads.md shows them: the same share of a run's overlays, in the order given.

python examples/roads/collage.py real/evaluation/worst docs/pictures/roads-real.jpg NAME NAME ...
"""

import sys
from pathlib import Path

from PIL import Image

COLUMNS, WIDTH, HEIGHT, GAP = 3, 320, 180, 4


def find(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(f"*{name}.png"))
    if not found:
        sys.exit(f"{folder} has no picture {name}.png")
    return found[0]


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
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    source, target, *names = sys.argv[1:]
    collage([find(Path(source), name) for name in names]).save(target, quality=85)
