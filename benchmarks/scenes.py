"""How fast scenes are rendered, and a contact sheet of them.

`python benchmarks/scenes.py [--sheet FILE.jpg]`.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from backstride.files import write_beside
from backstride.roads.synthetic import scene

SIZES = ((96, 160), (144, 256), (180, 320), (360, 640))
SHEET, COLUMNS, ROWS = (144, 256), 5, 6
TINT = np.array([40, 220, 90])


def speed(size: tuple[int, int], rounds: int = 5, count: int = 40) -> float:
    """Scenes a second on one core, the best round."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for seed in range(count):
            _ = scene(seed, size)
        best = min(best, (time.perf_counter() - start) / count)
    return 1 / best


def sheet(path: Path) -> None:
    """Scenes 1000 and on in rows; the last two rows again, with their masks in green."""
    pictures: list[list[np.ndarray]] = []
    for row in range(ROWS):
        masked = row >= ROWS - 2
        first = 1000 + (row - 2 * masked) * COLUMNS
        found = [scene(seed, SHEET) for seed in range(first, first + COLUMNS)]
        pictures.append(
            [
                np.where(
                    masked & (one.mask == 1)[..., None], 0.55 * one.image + 0.45 * TINT, one.image
                ).astype(np.uint8)
                for one in found
            ]
        )
    file = io.BytesIO()
    Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in pictures])).save(
        file, "JPEG", quality=85
    )
    write_beside(path, file.getvalue())


def main() -> None:
    """What the header says."""
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument(
        "--sheet", type=Path, help="write a contact sheet here, and time nothing"
    )
    chosen: Path | None = parser.parse_args().sheet
    if chosen:
        sheet(chosen)
        return
    _ = scene(0)
    for size in SIZES:
        print(f"{size[1]} x {size[0]}: {speed(size):.0f} scenes a second")


if __name__ == "__main__":
    main()
