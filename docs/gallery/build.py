"""Draw the gallery.

Every figure of the guide about convolutions and transposed convolutions, each by one command. V.
Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285v2. Run
by `make gallery`; writes the pictures beside this file, and gallery.md above it.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from backstride.explain import Answer, Request, answer, matrix_text
from backstride.geometry import geometry

HERE = Path(__file__).parent
NUMBERS = {
    "x": "3 3 2 1 0; 0 0 1 3 1; 3 1 2 2 3; 2 0 0 2 2; 2 0 0 0 1",
    "w": "0 1 2; 2 2 0; 0 1 2",
}
PAGE = """# Gallery

The figures of Dumoulin and Visin's *A guide to convolution arithmetic for deep learning*
([arXiv 1603.07285](https://arxiv.org/abs/1603.07285)), drawn from one command each. The guide has 24: 22 with numbers,
one of them, 2.8, in two parts, and the kernel before 1.1, which has no number. 23 of them are here. The one that is not
is 1.6: max pooling is no convolution. Average pooling, 1.5, is one. The matrix of the guide's section 4.1 is the last
entry.
The pictures move, unless the reader asked for less motion, and are dark where the page is. `make gallery` makes them
anew; `--gif`, `--mp4` and `--html` in place of `--svg` give the same in other forms.
"""  # noqa: E501
NINTH = " ".join(["0.1111111111"] * 3)


@dataclass(frozen=True)
class Figure:
    """A figure of the guide: its number, what it shows, and the request that draws it."""

    number: str
    words: str
    request: Request

    @property
    def file(self) -> Path:
        """Where the picture is written."""
        return HERE / f"figure-{self.number}.svg"

    @property
    def command(self) -> str:
        """The same request on the command line."""
        request = self.request
        size = (
            "x".join(map(str, request.input))
            if isinstance(request.input, tuple)
            else str(request.input)
        )
        parts = ["backstride explain", shlex.quote(request.call), f"--input {size}"]
        parts += ["--convolution"] if request.convolution else []
        parts += [f"--view {request.view}"] if request.view else []
        parts += [
            f"--{name} '{value}'" for name, value in (("x", request.x), ("w", request.w)) if value
        ]
        return " ".join([*parts, f"--svg figure-{self.number}.svg"])

    def draw(self) -> Answer:
        """Write the picture."""
        return answer(self.request, {"svg": self.file})


def convolved(
    options: str, size: int, view: str | None = None, *, numbers: bool = False
) -> Request:
    """A convolution on a square map."""
    x, w = (NUMBERS["x"], NUMBERS["w"]) if numbers else (None, None)
    return Request(options, (size, size), convolution=True, view=view, x=x, w=w)


def transposed(options: str, size: int) -> Request:
    """A transposed convolution on a square map, in the guide's view.

    A window over zeros between the cells.
    """
    return Request(options, (size, size), view="gather")


FIGURES = (
    Figure(
        "1.0", "The kernel: what a single 1 becomes", Request("k=3", (1, 1), x="1", w=NUMBERS["w"])
    ),
    Figure("1.1", "The values of a convolution", convolved("k=3", 5, numbers=True)),
    Figure(
        "1.2", "The values with stride 2 and padding 1", convolved("k=3 s=2 p=1", 5, numbers=True)
    ),
    Figure(
        "1.3",
        "Two input maps to three output maps",
        Request("k=3 cin=2 cout=3", (5, 5), convolution=True, view="channels"),
    ),
    Figure(
        "1.4",
        "Stride 2 as stride 1 and taking every other cell",
        convolved("k=3 s=2", 5, "subsampling"),
    ),
    Figure(
        "1.5",
        "Average pooling: a convolution with ninths",
        Request("k=3", (5, 5), convolution=True, x=NUMBERS["x"], w="; ".join([NINTH] * 3)),
    ),
    Figure("2.1", "No padding, unit strides", convolved("k=3", 4)),
    Figure("2.2", "Arbitrary padding, unit strides", convolved("k=4 p=2", 5)),
    Figure("2.3", "Half padding, unit strides", convolved("k=3 p=1", 5)),
    Figure("2.4", "Full padding, unit strides", convolved("k=3 p=2", 5)),
    Figure("2.5", "No padding, stride 2", convolved("k=3 s=2", 5)),
    Figure("2.6", "Padding 1, stride 2", convolved("k=3 s=2 p=1", 5)),
    Figure(
        "2.7",
        "Padding 1, stride 2, where the last row and column are not reached",
        convolved("k=3 s=2 p=1", 6),
    ),
    Figure("2.8a", "Counting kernel positions: two steps of 1", convolved("k=3", 5)),
    Figure("2.8b", "Counting kernel positions: one step of 2", convolved("k=3 s=2", 5)),
    Figure("4.1", "The transpose of 2.1", transposed("k=3", 2)),
    Figure("4.2", "The transpose of 2.2", transposed("k=4 p=2", 6)),
    Figure("4.3", "The transpose of 2.3", transposed("k=3 p=1", 5)),
    Figure("4.4", "The transpose of 2.4", transposed("k=3 p=2", 7)),
    Figure("4.5", "The transpose of 2.5", transposed("k=3 s=2", 2)),
    Figure("4.6", "The transpose of 2.6", transposed("k=3 s=2 p=1", 3)),
    Figure(
        "4.7", "The transpose of 2.7: one cell more at the end", transposed("k=3 s=2 p=1 op=1", 3)
    ),
    Figure("5.1", "Dilation 2", convolved("k=3 d=2", 7)),
)


def page() -> str:
    """The gallery's page, with the command below each picture."""
    return "\n".join([PAGE, *map(section, FIGURES), matrix()])


def matrix() -> str:
    """The matrix of section 4.1, which the guide writes as an equation."""
    text = matrix_text(geometry((2, 2), 3))
    command = "backstride explain k=3 --input 2x2 --matrix"
    return (
        f"## The matrix of figure 2.1, and its transpose\n\n```sh\n{command}\n```\n\n```text\n"
        f"{text}\n```\n"
    )


def section(figure: Figure) -> str:
    """One figure of the page."""
    picture = f"![{figure.words}](gallery/{figure.file.name})"
    return f"## {figure.number} {figure.words}\n\n{picture}\n\n```sh\n{figure.command}\n```\n"


def main() -> None:
    """Draw everything."""
    for figure in FIGURES:
        done = figure.draw()
        _ = sys.stdout.write(
            f"{figure.number}  {done.explanation.geometry.output}  {figure.file.name}\n"
        )
    _ = (HERE.parent / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
