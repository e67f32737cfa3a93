"""The proof: a network's cells compared with the classifier on each cell's crop.

Which cells must be equal is worked out from the padding alone, before anything runs (`exactness`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from backstride.layout import AnyArray
from backstride.surgery.model.graph import Graph
from backstride.surgery.proving.exactness import exactness
from backstride.surgery.proving.report import listed
from backstride.surgery.proving.speed import Run, Speed

TOLERANCE = 1e-5
Corner: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Proof:
    """What was compared, cell by cell.

    The arrays are (h, w), one entry per cell of the network on the image.

    Args:
        native_difference: Largest difference on the image's first crop of native size.
        native_equal: Whether it is within 1e-5 of the largest score.
        deviation: Each cell's largest difference to the classifier on its crop, NaN where the crop
            leaves the image.
        expected: Cells that must be equal: they read no padding otherwise than their crop does, and
            their crop starts where the cells of all layers do.
        exact: Cells that are equal, within 1e-5 of the largest score that the classifier gives on
            the image.
        padded: The layers that read padding in a crop where the image has pixels, or pool all of
            it.
        speed: Against the sliding-window classifier on the same image, where it was measured.
        head: Which result was compared, in words, where the classifier has several.
    """

    native_difference: float
    native_equal: bool
    deviation: NDArray[np.float64]
    expected: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    padded: tuple[str, ...]
    speed: Speed | None = None
    head: str = ""

    @property
    def holds(self) -> bool:
        """Whether the network equals the classifier wherever it must."""
        return self.native_equal and bool(np.all(self.exact[self.expected]))

    @property
    def largest_expected(self) -> float:
        """The largest deviation of the cells that must be equal; 0 where there are none."""
        return _largest(self.deviation[self.expected])

    @property
    def largest_other(self) -> float:
        """The largest deviation of the other compared cells; 0 where there are none."""
        return _largest(self.deviation[~self.expected])

    def lines(self) -> list[str]:
        """The proof in sentences."""
        compared = int(np.sum(~np.isnan(self.deviation)))
        others = compared - int(np.sum(self.expected))
        verdict = "equals" if self.native_equal else "DIFFERS FROM"
        whose = f"the classifier's head {self.head}" if self.head else "the classifier"
        found = [
            (
                f"At native size the network {verdict} {whose}: largest difference "
                f"{self.native_difference:.2g}."
            )
        ]
        rows, columns = self.deviation.shape
        found.append(
            f"On the larger image, {compared} of {rows} x {columns} cells were compared with the "
            f"classifier on their crops; {int(np.sum(self.exact))} are equal within {TOLERANCE:g} "
            "of the largest score."
        )
        if compared > others:
            found.append(
                f"{compared - others} must be equal: they read no padding that their crops read "
                f"otherwise; largest deviation {self.largest_expected:.2g}."
            )
        if others:
            found.append(
                f"{self._why_not(others, compared)}; largest deviation {self.largest_other:.2g}."
            )
        if self.speed is not None:
            found.append(str(self.speed))
        return found

    def _why_not(self, others: int, compared: int) -> str:
        """Why cells need not be equal."""
        if self.padded:
            reason = (
                "crops have padding at the borders where the image has pixels "
                f"({listed(self.padded)})"
            )
        else:
            reason = "crops start between the cells of layers in front of an upsampling"
        if others == compared:
            return f"No cell must be equal, because all {reason}"
        return f"{others} need not be, since their {reason}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_html(self) -> str:
        """A fragment of HTML with the sentences and the map of cells."""
        marks = {
            (True, True): "must",
            (True, False): "fails",
            (False, True): "equal",
            (False, False): "other",
        }
        rows = [
            "".join(
                f'<td class="{marks[bool(must), bool(equal)]}" title="{deviation:.2g}"></td>'
                for must, equal, deviation in zip(*cells, strict=True)
            )
            for cells in zip(self.expected, self.exact, self.deviation, strict=True)
        ]
        table = "".join(f"<tr>{row}</tr>" for row in rows)
        sentences = "".join(f"<p>{escape(line)}</p>" for line in self.lines())
        return (
            f'<section class="backstride-proof">{sentences}<table '
            f'class="cells">{table}</table></section>'
        )


def compare(
    classifier: Run,
    network: Run,
    graph: Graph,
    image: AnyArray,
    *,
    output: int = 0,
    batch: int = 64,
) -> Proof:
    """Run both and compare.

    `image`: (C, H, W); the runs take batches of them and give (N, classes[, h, w]). `graph`: the
    network's, from its report. `output`: which result, where there are several.
    """
    name = graph.outputs[output].name
    native = graph.input.shape[1:]
    rows, columns = native
    first = image[None, :, :rows, :columns]
    found_first, wanted = network(first), _vectors(classifier(first), 1)
    if 0 in found_first.shape:
        message = (
            "`network` gives no cell at native size: every cell there sees padding; prove the "
            "padded one"
        )
        raise ValueError(message)
    whole = found_first[..., 0, 0]
    if whole.shape != wanted.shape:
        message = (
            f"`network` gives {whole.shape[1]} scores and `classifier` {wanted.shape[1]}; "
            "make it with classes=None to compare them"
        )
        raise ValueError(message)
    cells = network(image[None])[0]  # (classes, h, w)
    found = exactness(graph, name, image.shape[1:])
    expected = np.logical_and.outer(*found.exact)
    deviation = np.full(cells.shape[1:], np.nan)
    exact = np.zeros(cells.shape[1:], np.bool_)
    corners = [
        (row, column, top, left)
        for row, top in enumerate(found.starts[0])
        for column, left in enumerate(found.starts[1])
        if top is not None and left is not None
    ]
    found_crops: list[AnyArray] = []
    for part in _parts(corners, batch):
        crops = np.stack(
            [image[:, top : top + rows, left : left + columns] for _, _, top, left in part]
        )
        found_crops.extend(_vectors(classifier(crops), len(crops)))
    _check_finite("classifier", wanted, *found_crops)
    _check_finite("network", whole, cells)
    scale = max(float(np.max(np.abs(result))) for result in (wanted, *found_crops))
    for (row, column, _, _), result in zip(corners, found_crops, strict=True):
        deviation[row, column] = np.max(np.abs(cells[:, row, column] - result))
        exact[row, column] = deviation[row, column] <= TOLERANCE * scale
    difference = float(np.max(np.abs(whole - wanted)))
    return Proof(
        difference, difference <= TOLERANCE * scale, deviation, expected, exact, found.padded
    )


def _check_finite(name: str, *results: AnyArray) -> None:
    """Scores that are no numbers equal nothing."""
    for result in results:
        if not np.all(np.isfinite(result)):
            found = "NaN" if np.any(np.isnan(result)) else "infinity"
            message = (
                f"`{name}` gives {found} on this image, which can be compared with nothing: its "
                "weights or the image hold NaN or infinity, or its numbers overflow"
            )
            raise ValueError(message)


def _parts(corners: list[Corner], batch: int) -> Iterator[list[Corner]]:
    for start in range(0, len(corners), batch):
        yield corners[start : start + batch]


def _vectors(result: AnyArray, count: int) -> AnyArray:
    return result.reshape(count, -1)  # one cell, wherever its channels stand


def _largest(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else 0.0
