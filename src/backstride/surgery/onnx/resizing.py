"""Resize: read as a window that slides, written with factors instead of sizes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backstride.surgery.model.interpolation import Place, Rounding, interpolated
from backstride.surgery.model.meaning import Meaning
from backstride.surgery.onnx.builder import Builder
from backstride.surgery.onnx.calls import OTHER, OnnxCall, of_first

PLACES: Mapping[bytes, Place] = {  # where Resize lays the new cells
    b"align_corners": "corners",
    b"asymmetric": "starts",
    b"half_pixel": "middles",
    b"half_pixel_symmetric": "middles",
    b"pytorch_half_pixel": "middles",
    b"tf_half_pixel_for_nn": "middles",
}
ROUNDINGS: Mapping[bytes, Rounding] = {
    b"ceil": "ceil",
    b"floor": "floor",
    b"round_prefer_ceil": "round_prefer_ceil",
    b"round_prefer_floor": "round_prefer_floor",
}
REACHES = {b"nearest": 0, b"linear": 1, b"bilinear": 1, b"cubic": 2}
INTERPOLATING = (
    "mode",
    "coordinate_transformation_mode",
    "nearest_mode",
    "cubic_coeff_a",
    "exclude_outside",
)


def resize(call: OnnxCall) -> Meaning:
    """Interpolation of rows and columns."""
    mode, way = (
        call.option("mode", b"nearest"),
        call.option("coordinate_transformation_mode", b"half_pixel"),
    )
    rounding = ROUNDINGS.get(call.option("nearest_mode", b"round_prefer_floor"))
    place, reach = PLACES.get(way), REACHES.get(mode)
    plain = (
        not call.option("antialias", 0)
        and call.option("keep_aspect_ratio_policy", b"stretch") == b"stretch"
    )
    if place is None or rounding is None or reach is None or not plain or call.rank < 3:
        return OTHER
    if way == b"tf_half_pixel_for_nn":  # half a cell more, of which the whole part is taken
        if (mode, rounding) != (b"nearest", "floor"):
            return OTHER
        rounding = "round_prefer_ceil"
    if call.first.shape[:2] != call.result.shape[:2]:
        return OTHER
    cells, found, scales = call.first.shape[2:], call.result.shape[2:], _scales(call)
    kind, window, ratios = interpolated(
        cells, found, place=place, reach=reach, rounding=rounding, scales=scales
    )
    if kind == "resize" and way == b"half_pixel_symmetric":
        return OTHER
    return of_first(kind, window, ratios=ratios)


def _scales(call: OnnxCall) -> tuple[float, ...]:
    """The factors of rows and columns where they are stated, and not the size."""
    stated = call.sources[2] if len(call.sources) > 2 else None
    given: list[float] = [] if stated is None or stated.value is None else stated.value.tolist()
    axes = call.option("axes") or range(call.rank)
    known = {int(axis) % call.rank: float(scale) for axis, scale in zip(axes, given, strict=False)}
    return tuple(known.get(axis, 1.0) for axis in range(2, call.rank)) if known else ()


def grown(
    builder: Builder, call: OnnxCall, factors: tuple[int, ...], source: str, output: str
) -> str:
    """An interpolation by factors, not to the sizes of the native map."""
    kept = {name: call.option(name) for name in INTERPOLATING if call.option(name) is not None}
    inputs = [
        builder.numbers("roi", [], np.float32),
        builder.numbers("scales", (1, 1, *factors), np.float32),
    ]
    return builder.add("Resize", [source, *inputs], output, **kept)
