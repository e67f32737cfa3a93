"""A call explained.

Everything there is to say about it as one record, which text, JSON and pages are drawn from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from backstride.calls import SourceCall, parse
from backstride.explain.cure import cure
from backstride.explain.facts import axes, cost, evenness
from backstride.explain.record import Elsewhere, Record
from backstride.explain.trace import LARGEST_TRACE, trace
from backstride.integers import Size

if TYPE_CHECKING:
    from backstride.explain.drawing import Drawing
    from backstride.explain.palette import Theme
    from backstride.explain.values import Values
    from backstride.explain.views import View
    from backstride.explain.words import Section


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Record):
    """What there is to say, with its words and pictures."""

    def __repr__(self) -> str:
        from backstride.explain.words import headline  # noqa: PLC0415  what is not shown needs no words

        return f"<Explanation of {self.function}: {headline(self).replace('  ', ' ')}>"

    def __str__(self) -> str:
        from backstride.explain.words import plain  # noqa: PLC0415  the same

        return plain(self)

    @property
    def facts(self) -> tuple[Section, ...]:
        """Everything there is to say, in sections of sentences and tables."""
        from backstride.explain.words import sections  # noqa: PLC0415  the same

        return sections(self)

    def drawing(self, view: View | None = None, values: Values | None = None) -> Drawing:
        """The drawing that the pictures are made of; a view's name, "scatter" by default."""
        from backstride.explain.views import draw  # noqa: PLC0415  words need no drawing

        chosen = view or ("convolution" if self.forward else "scatter")
        return draw(self.geometry, chosen, values, maps=self.channels, forward=self.forward)

    def svg(self, view: View | None = None, *, theme: Theme | Literal["auto"] = "auto") -> str:
        """The animated SVG; it follows the reader's light or dark screen."""
        from backstride.explain.svg import to_svg  # noqa: PLC0415  the same
        from backstride.explain.views import frame_seconds  # noqa: PLC0415

        drawing = self.drawing(view)
        return to_svg(drawing, theme=theme, seconds=frame_seconds(drawing))

    def gif(self, view: View | None = None, *, theme: Theme = "light") -> bytes:
        """The animated GIF; needs `pip install "backstride[pictures]"`."""
        from backstride.explain.raster import to_gif  # noqa: PLC0415  the same
        from backstride.explain.views import frame_seconds  # noqa: PLC0415

        drawing = self.drawing(view)
        return to_gif(drawing, theme=theme, seconds=frame_seconds(drawing))

    def png(self, view: View | None = None, *, theme: Theme = "light") -> bytes:
        """The still picture; needs the same."""
        from backstride.explain.raster import to_png  # noqa: PLC0415  the same

        return to_png(self.drawing(view), theme=theme)

    def html(self, view: View = "scatter") -> str:
        """A page in one file, with every view to step through and to point at."""
        from backstride.explain.page import page  # noqa: PLC0415  the same

        return page(self, view=view)

    def as_data(self) -> dict[str, Any]:
        """For JSON: the record, and the trace where it is small enough."""
        geometry = self.geometry
        data = cast("dict[str, object]", _plain(self))
        data["geometry"] = {
            name: getattr(geometry, name)
            for name in (
                "input",
                "kernel",
                "strides",
                "dilation",
                "crop",
                "full",
                "output",
                "is_even",
            )
        }
        try:
            data["trace"] = trace(geometry).as_data()
        except ValueError:
            data["trace"] = None
            data["trace_limit"] = LARGEST_TRACE
        return data


def explain(
    call: str | SourceCall,
    /,
    *,
    input: Size | None = None,
    kernel: Size | None = None,
    names: Mapping[str, object] | None = None,
) -> Explanation:
    """Explain a transposed convolution, or a convolution by its transpose.

    The call is read as it stands in somebody's code.

    >>> found = explain('Conv2DTranspose(128, 3, strides=2, padding="same")', input=(7, 7, 256))
    >>> found
    <Explanation of keras.layers.Conv2DTranspose: 7 x 7, 256 channels -> 14 x 14, 128 channels>
    >>> found.geometry.output, found.cost.parameters
    ((14, 14), 294912)
    >>> found.evenness.fix
    'keras.layers.Conv2DTranspose(128, 4, strides=2, padding="same")'
    >>> found.svg()[:4], [section.title for section in found.facts][:2]
    ('<svg', ['Sizes', 'Phases'])

    Args:
        call: What `backstride.calls.parse` reads, or its result.
        input: The spatial sizes, with or without the channels in the call's own order.
        kernel: Its size or shape, for calls that take it as an array.
        names: The values of names in the call, {"k": 3}.

    Returns:
        The facts as data; `print` writes them out, `.svg()`, `.gif()`, `.png()` and `.html()` draw
        them.

    Raises:
        ValueError: Where the text cannot be read, and where the sizes are not legal or not known,
            and for kernels and strides above 65536 on an axis.
    """
    source = parse(call, kernel=kernel, names=names) if isinstance(call, str) else call
    source = source.at(input)
    geometry = source.geometry()
    small, big, forward = source.small, source.big, source.forward
    known = None
    if small is not None and big is not None:
        known = cost(
            geometry,
            small,
            big,
            source.groups,
            bias=(small if forward else big) if source.has_bias else 0,
        )
    # Every fact is that of the transpose, whose call in the framework is not written for a
    # convolution.
    even = evenness(geometry, (lambda _: None) if forward else partial(cure, source))
    elsewhere = () if forward else _elsewhere(source)
    channels = (small, big)
    return Explanation(
        source.text,
        source.function,
        geometry,
        channels,
        source.groups,
        axes(geometry),
        even,
        known,
        elsewhere,
        forward,
    )


def _elsewhere(call: SourceCall) -> tuple[Elsewhere, ...]:
    """The call in every target of `backstride.port`."""
    from backstride.port import port  # noqa: PLC0415  a third of the start-up time of an explanation without it
    from backstride.port.targets import TARGETS  # noqa: PLC0415

    found: list[Elsewhere] = []
    for name, target in TARGETS.items():
        try:
            result = port(call, to=name)
        except ValueError as refusal:
            found.append(Elsewhere(target.title, "not expressible", str(refusal), (), ""))
            continue
        found.append(
            Elsewhere(target.title, result.verdict, result.reason, result.notes, result.code)
        )
    return tuple(found)


def _plain(value: object) -> object:
    """Dataclasses, fractions and tuples as JSON has them."""
    if isinstance(value, Fraction):
        return float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {
            str(key): _plain(entry) for key, entry in cast("Mapping[object, object]", value).items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in cast("Sequence[object]", value)]
    return value
