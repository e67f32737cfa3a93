"""What was done to a model, as data, as text and as a piece of a page."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from html import escape
from typing import TypeAlias

from backstride.surgery.decoding.decoder import Decoder
from backstride.surgery.model.fields import fields, periods
from backstride.surgery.model.graph import Graph
from backstride.surgery.model.heads import Head
from backstride.surgery.model.values import Refusal, Rewrite

Exact: TypeAlias = tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """How the cells of one output lie on the image, per axis (rows, columns).

    Cell i sees `receptive_field` pixels, the middle of them at `offset + i*stride`, where pixel p
    has the coordinate p.

    Args:
        name: The layer that gives the output.
        size: How many cells there are at native size.
        receptive_field: Pixels.
        stride: Pixels from one cell to the next.
        offset: The middle of cell 0, in pixels.
        whole: Whether a layer that sees all of the image stands before, so that every cell does;
            the numbers leave it out.
        bound: Whether they are an upper bound, since cells behind an upsampling see different
            numbers of pixels.
        head: What the model's result is called.
    """

    name: str
    size: tuple[int, ...]
    receptive_field: Exact
    stride: Exact
    offset: Exact
    whole: bool = False
    bound: bool = False
    head: str = ""


@dataclass(frozen=True)
class Report:
    """What `convolutionalize` or `transpose` did.

    Args:
        rewrites: Each layer that changed, with the rule and why it is the same function.
        kept: How many layers run unchanged.
        padded: The layers that read padding in a crop where a larger image has pixels.
        outputs: Where the cells lie.
        decoder: The plan of `transpose`.
        refusals: What was left out, with the reason.
        graph: The network as plain data.
        heads: All results of the model.
        head: The one that the network gives alone; None where it gives all, packed as the model
            packs them.
    """

    model: str
    framework: str
    input_shape: tuple[int, ...]
    rewrites: tuple[Rewrite, ...]
    kept: int
    padded: tuple[str, ...]
    outputs: tuple[Output, ...]
    graph: Graph
    decoder: Decoder | None = None
    refusals: tuple[Refusal, ...] = ()
    heads: tuple[Head, ...] = ()
    head: Head | None = None

    @property
    def written(self) -> tuple[Head, ...]:
        """The heads that the network has, one for each of `outputs`."""
        return self.heads if self.head is None else (self.head,)

    @property
    def steps(self) -> tuple[str, ...]:
        """The decoder in words, a line for each step."""
        return () if self.decoder is None else self.decoder.described(self.graph)

    @property
    def exactness(self) -> str:
        """Which cells on a larger image equal the classifier on their crop, in one sentence."""
        if not self.padded and not self._between:
            return (
                "On a larger image every cell equals the classifier on its crop: no padding meets "
                "them."
            )
        if not self.padded:
            return (
                f"On a larger image each cell whose crop starts at a multiple of {self._between} "
                "pixels equals the classifier on its crop. The others lie between the cells of "
                "layers in front of an upsampling."
            )
        return (
            "On a larger image cells differ from the classifier on their crops, which have padding "
            f"at their borders where the image has pixels: {listed(self.padded)}."
        )

    @property
    def _between(self) -> str:
        """How far crops must lie apart to be exact, where that is farther than the cells do.

        Else empty.
        """
        found = [
            (periods(self.graph, node.name), fields(self.graph)[node.name])
            for node in self.graph.outputs
            if node.name in fields(self.graph)
        ]
        coarse = [moves for moves, axes in found if moves != tuple(field.stride for field in axes)]
        return _by(coarse[0]) if coarse else ""

    def sections(self) -> list[tuple[str, list[str], list[tuple[str, ...]]]]:
        """The tables of the report: (title, column names, rows)."""
        tables: list[tuple[str, list[str], list[tuple[str, ...]]]] = [
            (
                "Rewrites",
                ["layer", "becomes", "why it is the same function"],
                [(rewrite.layer, rewrite.result, rewrite.reason) for rewrite in self.rewrites],
            ),
            (
                "Outputs",
                ["output", "cells at native size", "receptive field", "stride", "offset"],
                [
                    (
                        self._called(out),
                        _by(out.size),
                        _by(out.receptive_field),
                        _by(out.stride),
                        _by(out.offset),
                    )
                    for out in self.outputs
                ],
            ),
            ("Decoder", ["step"], [(step,) for step in self.steps]),
            (
                "Left out",
                ["layer", "reason"],
                [(refusal.layer, refusal.reason) for refusal in self.refusals],
            ),
        ]
        return [table for table in tables if table[2]]

    def _called(self, output: Output) -> str:
        return f"{output.head}: {output.name}" if len(self.heads) > 1 else output.name

    @property
    def summary(self) -> str:
        """The report in one line."""
        shape = "x".join(map(str, self.input_shape))
        changed = f"{len(self.rewrites)} rewrites, {self.kept} layers kept"
        chosen = f", head {self.head}" if self.head is not None and len(self.heads) > 1 else ""
        return f"{self.model} ({self.framework}, {shape}){chosen}: {changed}"

    def __str__(self) -> str:
        lines = [self.summary]
        for title, columns, rows in self.sections():
            lines += ["", title, *_aligned([tuple(columns), *rows])]
        return "\n".join([*lines, "", self.exactness])

    def to_html(self) -> str:
        """A fragment of HTML: a section with a table for each part; all names are escaped."""
        parts = [f'<section class="backstride-report"><p>{escape(self.summary)}</p>']
        for title, columns, rows in self.sections():
            head = "".join(f"<th>{escape(column)}</th>" for column in columns)
            body = "".join(
                "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
                for row in rows
            )
            parts.append(
                f"<h3>{escape(title)}</h3><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            )
        return "\n".join([*parts, f"<p>{escape(self.exactness)}</p></section>"])


def listed(labels: tuple[str, ...]) -> str:
    """The first three names and how many more there are."""
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(labels[:3]) + more


def _by(numbers: tuple[int, ...] | Exact) -> str:
    """`4`, or `4 x 2` where rows and columns differ."""
    shown = [str(number) for number in numbers]
    return shown[0] if len(set(shown)) == 1 else " x ".join(shown)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
