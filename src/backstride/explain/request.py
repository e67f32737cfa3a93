"""What the command line asks for, checked, and the files that it asks for.

They are written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from backstride.calls import SourceCall, parse_layers
from backstride.explain.explanation import Explanation, explain
from backstride.explain.views import VIEWS, View, frame_seconds
from backstride.files import check_file, write_beside
from backstride.geometry import Geometry
from backstride.integers import Size

if TYPE_CHECKING:
    from backstride.explain.drawing import Drawing
    from backstride.explain.palette import Theme
    from backstride.explain.values import Values

Content: TypeAlias = str | bytes


@dataclass(frozen=True, slots=True)
class Request:
    """The options of `backstride explain`; see there."""

    call: str
    input: Size | None = None
    names: Mapping[str, object] = field(default_factory=dict[str, object])
    kernel: Size | None = None
    convolution: bool = False
    view: str | None = None
    x: str | None = None
    w: str | None = None
    numbers: bool = False
    theme: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The explanations, one for each layer of the call, and the files by kind."""

    explanations: tuple[Explanation, ...]
    files: Mapping[str, Content]

    @property
    def explanation(self) -> Explanation:
        """The first layer's."""
        return next(iter(self.explanations))


def answer(request: Request, files: Mapping[str, Path]) -> Answer:
    """Explain a call and write the pictures asked for.

    `files` is `{"svg" | "gif" | "mp4" | "png" | "html": path}`.

    >>> found = answer(Request("k=3 s=2 p=same", input=(7, 7)), {})
    >>> found.explanation.geometry.output
    (14, 14)

    Args:
        request: The call and how to explain it.
        files: Where to write which kind of picture; nothing is written unless everything could be
            made.

    Returns:
        The explanation of each layer of the call, and the files.

    Raises:
        ValueError: For what is not legal or too large.
    """
    for kind, path in files.items():
        check_file(kind, path, endings=(f".{kind}",), inputs=_read_files(request))
    explanations = _explained(request)
    if not files:
        _ = chosen_view(request.view, "scatter")
        return Answer(explanations, {})
    explanation, *others = explanations
    if others:
        message = (
            f"`call` has {len(explanations)} layers, and a picture is of one; give one of them"
        )
        raise ValueError(message)
    view = chosen_view(request.view, "convolution" if explanation.forward else "scatter")
    theme = _theme(request.theme)
    values = _values(request, explanation.geometry, view)
    made = {kind: _make(kind, explanation, view, values, theme) for kind in files}
    for kind, content in made.items():
        write_beside(files[kind], content)
    return Answer(explanations, made)


def _read_files(request: Request) -> dict[str, Path]:
    model, _, _ = request.call.rpartition(":")
    words = {"call": model, "x": request.x or "", "w": request.w or ""}
    return {name: Path(text) for name, text in words.items() if text.endswith((".onnx", ".npy"))}


def chosen_view(view: str | None, default: View, views: tuple[View, ...] = VIEWS) -> View:
    """Check a view's name."""
    if view is None:
        return default
    for known in views:
        if view == known:
            return known
    message = f"`view` (={view!r}) must be one of {', '.join(views)}"
    raise ValueError(message)


def _explained(request: Request) -> tuple[Explanation, ...]:
    """Every layer on the output of the one before it."""
    calls = parse_layers(request.call, kernel=request.kernel, names=request.names)
    if request.convolution:
        calls = tuple(_as_convolution(call) for call in calls)
    found: list[Explanation] = []
    size = request.input
    for number, call in enumerate(calls):
        here = call.at(size)
        found.append(explain(here))
        if number + 1 < len(calls):
            size = _next_size(here, found[-1].geometry, calls[number + 1])
    return tuple(found)


def _as_convolution(call: SourceCall) -> SourceCall:
    """The convolution that plain options describe, or that the call is."""
    if call.forward:
        return call
    if call.framework != "backstride":
        message = (
            "`convolution` goes with options, for example 'k=3 s=2 p=1', and with the call of a "
            f"convolution; {call.function} is a transposed one"
        )
        raise ValueError(message)
    for name in ("output_padding", "output_shape"):
        if name in call.options:
            message = (
                f"`{name}` (={call.options[name]!r}) is no option of a convolution; leave it out"
            )
            raise ValueError(message)
    return replace(call, small=call.big, big=call.small, words=call.words[::-1], forward=True)


def _next_size(call: SourceCall, geometry: Geometry, following: SourceCall) -> tuple[int, ...]:
    """What a layer gives to the following one, in that one's order of axes."""
    spatial, channels = (
        (geometry.input, call.small) if call.forward else (geometry.output, call.big)
    )
    if channels is None or following.rank is None:
        return spatial
    return (
        (channels, *spatial) if following.data_format == "channels_first" else (*spatial, channels)
    )


def _theme(theme: str | None) -> Theme | None:
    if theme in {None, "auto"}:
        return None
    for known in ("light", "dark"):
        if theme == known:
            return known
    message = f"`theme` (={theme!r}) must be light, dark or auto"
    raise ValueError(message)


def _values(request: Request, geometry: Geometry, view: View) -> Values | None:
    size = geometry.output if view in {"convolution", "subsampling"} else geometry.input
    if not (request.numbers or request.x or request.w):
        return None
    from backstride.explain import values as numbers  # noqa: PLC0415  words need none of it
    from backstride.explain.values import Values  # noqa: PLC0415

    counted = numbers.counted(size, geometry.kernel)
    x = numbers.read("x", request.x, size) if request.x else counted.x
    w = numbers.read("w", request.w, geometry.kernel) if request.w else counted.w
    return Values(x, size, w, geometry.kernel)


def _make(
    kind: str, explanation: Explanation, view: View, values: Values | None, theme: Theme | None
) -> Content:
    if kind == "html":
        from backstride.explain.page import page  # noqa: PLC0415  text only needs none of it

        return page(explanation, values=values, view=view)
    drawing = explanation.drawing(view, values)
    return _writers(drawing, theme)[kind]()


def _writers(drawing: Drawing, theme: Theme | None) -> dict[str, Callable[[], Content]]:
    from backstride.explain import raster  # noqa: PLC0415  the same
    from backstride.explain.svg import to_svg  # noqa: PLC0415

    seconds = frame_seconds(drawing)
    fixed: Theme = theme or "light"
    return {
        "svg": partial(to_svg, drawing, theme=theme or "auto", seconds=seconds),
        "gif": partial(raster.to_gif, drawing, theme=fixed, seconds=seconds),
        "mp4": partial(raster.to_mp4, drawing, theme=fixed, seconds=seconds),
        "png": partial(raster.to_png, drawing, theme=fixed),
    }
