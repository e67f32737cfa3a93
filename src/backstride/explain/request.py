"""What the command line asks for, checked, and the files it asks for, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from backstride.calls import SourceCall, parse
from backstride.explain.explanation import Explanation, explain
from backstride.explain.views import VIEWS, View, draw, frame_seconds
from backstride.files import check_file, write_beside
from backstride.geometry import Geometry, Size
from backstride.geometry import convolution as sized_convolution

if TYPE_CHECKING:
    from backstride.explain.drawing import Drawing
    from backstride.explain.palette import Theme
    from backstride.explain.values import Values

Content: TypeAlias = str | bytes

EXAMPLE_INPUT = 4


@dataclass(frozen=True, slots=True)
class Request:
    """The options of `backstride explain`; see there."""

    call: str
    input: Size | None = None
    kernel: Size | None = None
    convolution: bool = False
    view: str | None = None
    x: str | None = None
    w: str | None = None
    numbers: bool = False
    theme: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The explanation, and the files by kind."""

    explanation: Explanation
    files: Mapping[str, Content]


def answer(request: Request, files: Mapping[str, Path]) -> Answer:
    """Explain a call and write the pictures asked for, {"svg" | "gif" | "mp4" | "png" | "html": path}.

    >>> found = answer(Request("k=3 s=2 p=same", input=(7, 7)), {})
    >>> found.explanation.geometry.output
    (14, 14)

    Nothing is written unless everything could be made. Raises `ValueError` for what is not legal or too large.
    """
    for kind, path in files.items():
        check_file(kind, path, endings=(f".{kind}",), inputs=_read_files(request))
    call = _read(request)
    view = chosen_view(request.view, "convolution" if request.convolution else "scatter")
    explanation = explain(call)
    if not files:
        return Answer(explanation, {})
    theme = _theme(request.theme)
    values = _values(request, explanation.geometry, view)
    forward = request.convolution
    made = {kind: _make(kind, explanation, (view, forward), values, theme) for kind in files}
    for kind, content in made.items():
        write_beside(files[kind], content)
    return Answer(explanation, made)


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


def _read(request: Request) -> SourceCall:
    call = parse(request.call, kernel=request.kernel)
    if not request.convolution:
        return call.at(request.input)
    if call.framework != "backstride":
        message = "`convolution` goes with plain options, for example 'k=3 s=2 p=1'; a framework's call is transposed"
        raise ValueError(message)
    return transposed(call, request.input)


def transposed(call: SourceCall, size: Size | None) -> SourceCall:
    """The transpose of the convolution that plain options describe, `size` being the convolution's input."""
    wanted = call.input if size is None else size
    if wanted is None or call.kernel is None:
        message = "`input` is not known; give the convolution's input size, for example --input 5x5"
        raise ValueError(message)
    forward = sized_convolution(
        wanted, call.kernel, strides=call.strides, padding=call.padding or "valid", dilation=call.dilation
    )
    pairs = " ".join(f"({before},{after})" for before, after in forward.padding)
    options = " ".join(
        f"{name}={'x'.join(map(str, sizes))}"
        for name, sizes in (("k", forward.kernel), ("s", forward.strides), ("d", forward.dilation))
    )
    maps = "".join(f" {name}={count}" for name, count in (("cin", call.big), ("cout", call.small)) if count)
    return parse(f"{options} p=[{pairs.replace(' ', ',')}]{maps}").at(forward.output)


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
    kind: str, explanation: Explanation, side: tuple[View, bool], values: Values | None, theme: Theme | None
) -> Content:
    view, forward = side
    if kind == "html":
        from backstride.explain.page import page  # noqa: PLC0415  text only needs none of it

        return page(explanation, values=values, view=view)
    drawing = draw(explanation.geometry, view, values, maps=explanation.channels, forward=forward)
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
