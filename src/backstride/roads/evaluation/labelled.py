"""Labels drawn over their photographs, to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backstride.files import check_file, check_folder, make_folder, write_beside
from backstride.pictures.picture import above, legend
from backstride.roads.meaning import Meaning
from backstride.roads.prediction.drawing import Style
from backstride.roads.sample import IGNORE, ROAD, Dataset
from backstride.roads.synthetic.dataset import png

GREEN, MAGENTA, EDGE = (40, 190, 80), (210, 60, 200), (255, 230, 0)
SHARE = 0.2
DARK, WHITE, STRONGER = (
    (0, 0, 0),
    (255, 255, 255),
    0.4,
)  # beside classes that have all the other colours


def labels_over(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    zoom: int = 1,
    classes: Sequence[str] = Meaning().classes,
) -> NDArray[np.uint8]:
    """Road in green, ignored pixels in magenta, and a yellow line around each.

    The line is one pixel of the enlarged picture wide. With more than two classes each but
    "background" has the colour that predictions have, ignored pixels are dark, lines are white, and
    a legend says which is which.

    >>> photograph, mask = np.zeros((1, 3, 3), np.uint8), np.array([[0, 1, 1]], np.uint8)
    >>> labels_over(photograph, mask).tolist()
    [[[0, 0, 0], [255, 230, 0], [8, 38, 16]]]

    `image`: (rows, columns, 3). `mask`: (rows, columns). The line lies on the road's side.
    `classes`: names by label.
    """
    several = Style(classes=tuple(classes)).colours() if len(classes) > 2 else {}
    colours, edge, share = {ROAD: GREEN, IGNORE: MAGENTA}, EDGE, SHARE
    if several:
        colours, edge, share = {**several, IGNORE: DARK}, WHITE, STRONGER
    image, mask = (array.repeat(zoom, 0).repeat(zoom, 1) for array in (image, mask))
    made = image.astype(np.float32)
    for label, colour in colours.items():
        here = mask == label
        made[here] += share * (np.asarray(colour, np.float32) - made[here])
        padded = np.pad(here, 1, mode="edge")
        within = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        made[here & ~within] = edge
    drawn = made.round().astype(np.uint8)
    if not several:
        return drawn
    entries = [(colour, classes[label]) for label, colour in several.items()]
    return above(drawn, legend([*entries, (DARK, "ignored")], drawn.shape[1]))


def draw_labels(
    pictures: Dataset, out: Path, zoom: int = 2, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write NAME.png for each photograph.

    `progress` is called with how many are written, and of how many. Raises `ValueError` for a
    photograph that cannot be read; what was written before it stays.
    """
    check_folder("out", out)
    make_folder(out)
    for sample in pictures.samples:
        for source in (sample.image, sample.mask):
            check_file("out", out / f"{sample.name}.png", inputs={"data": source})
    for index, sample in enumerate(pictures.samples):
        drawn = labels_over(pictures.image(index), pictures.mask(index), zoom, pictures.classes)
        write_beside(out / f"{sample.name}.png", png(drawn), one_of_many=True)
        if progress:
            progress(index + 1, len(pictures.samples))
