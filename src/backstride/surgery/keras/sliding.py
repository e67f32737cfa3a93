"""What slides over maps in Keras, as windows.

Convolutions, poolings, paddings, crops and interpolations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from backstride.conventions import keras as keras_rule
from backstride.geometry import same_padding, span
from backstride.integers import Pair
from backstride.surgery.keras.calls import KerasCall
from backstride.surgery.keras.library import keras
from backstride.surgery.model.graph import BORDERS, Kind, Window
from backstride.surgery.model.interpolation import Place, Rounding, interpolated
from backstride.surgery.model.meaning import Meaning

REACHES = {
    "nearest": 0,
    "bilinear": 1,
    "bicubic": 2,
    "lanczos3": 3,
    "lanczos5": 5,
}  # of interpolations, in cells
OTHER = Meaning("other")


def _cells(call: KerasCall) -> tuple[int, ...]:
    """The sizes of the map that goes in."""
    return tuple(size or 0 for size in call.sources[0].shape[1:-1])


def _pairs(amounts: Sequence[int] | Sequence[Sequence[int]]) -> list[Pair]:
    """The cells before and after, for each axis; Keras has a bare pair where there is one axis."""
    return [(int(before), int(after)) for before, after in np.reshape(amounts, (-1, 2))]


def _window(call: KerasCall, kernel: Sequence[int], dilation: Sequence[int] = ()) -> Window:
    """The window of a layer at native size, padded by TensorFlow's rules."""
    ones = (1,) * call.spatial
    kernel, strides, dilation = (
        tuple(kernel),
        tuple(call.option("strides")),
        tuple(dilation or ones),
    )
    padding: str = call.option("padding")
    pads: tuple[Pair, ...] = ((0, 0),) * call.spatial
    spans = tuple(map(span, kernel, dilation))
    if padding == "causal":
        pads = tuple((cells - 1, 0) for cells in spans)
    if padding == "same":
        pads = tuple(map(same_padding, _cells(call), spans, strides))
    moving = padding == "same" and any(step > 1 for step in strides)
    return Window(kernel, strides, pads, dilation, same=moving)


def conv(call: KerasCall) -> Meaning:
    """Any kind of convolution."""
    return Meaning("conv", _window(call, call.option("kernel_size"), call.option("dilation_rate")))


def conv_transpose(call: KerasCall) -> Meaning:
    """Any kind of transposed convolution."""
    sizes = tuple(size or 1 for size in _cells(call))
    options = {
        name: call.option(name)
        for name in ("strides", "padding", "output_padding", "dilation_rate")
    }
    found = keras_rule(sizes, call.option("kernel_size"), **options)
    return Meaning(
        "conv_transpose", Window(found.kernel, found.strides, found.crop, found.dilation)
    )


def pool(kind: Kind) -> Callable[[KerasCall], Meaning]:
    """Pooling of windows."""
    return lambda call: Meaning(kind, _window(call, call.option("pool_size")))


def padding(call: KerasCall) -> Meaning:
    """Padding and cropping layers: a window of one cell."""
    amounts = call.option("padding")
    pairs = _pairs(call.option("cropping") if amounts is None else amounts)
    return _padded(
        [(-before, -after) for before, after in pairs] if amounts is None else pairs, "constant"
    )


def pad(call: KerasCall) -> Meaning:
    """`keras.ops.pad` of a map's positions."""
    pairs = _pairs(call.option("pad_width"))
    mode: str = call.option("mode")
    if len(pairs) != call.spatial + 2 or pairs[0] != (0, 0) or pairs[-1] != (0, 0):
        return OTHER
    # Keras's PyTorch repeats the border where symmetric padding is asked for
    repeats = mode == "symmetric" and keras.backend.backend() == "torch"
    return _padded(pairs[1:-1], "edge" if repeats else mode)


def _padded(pairs: list[Pair], mode: str) -> Meaning:
    ones = (1,) * len(pairs)
    border = BORDERS.get(mode)
    return (
        OTHER
        if border is None
        else Meaning("pad", Window(ones, ones, tuple(pairs), ones, border=border))
    )


def upsampling(call: KerasCall) -> Meaning:
    """Interpolation by whole factors."""
    size: int | Sequence[int] = call.option("size")
    return _interpolation(call, tuple(map(float, np.ravel(size))))


def resizing(call: KerasCall) -> Meaning:
    """Interpolation to a size, whose factor at native size holds for all."""
    special = any(map(call.option, ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio")))
    return OTHER if special else _interpolation(call, ())


def _interpolation(call: KerasCall, scales: tuple[float, ...]) -> Meaning:
    reach = REACHES.get(call.option("interpolation", "nearest"))
    if reach is None:
        return OTHER
    found = tuple(size or 0 for size in call.result.shape[1:-1])
    rounding: Rounding = "floor" if keras.backend.backend() == "torch" else "round_prefer_ceil"
    place: Place = "starts" if (reach, rounding) == (0, "floor") else "middles"
    kind, window, ratios = interpolated(
        _cells(call), found, place=place, reach=reach, rounding=rounding, scales=scales
    )
    return Meaning(kind, window, ratios=ratios)


def center_crop(call: KerasCall) -> Meaning:
    """The middle of a map, where it is no smaller."""
    pairs = zip(_cells(call), call.result.shape[1:-1], strict=True)
    cuts = [
        ((cells - wanted) // 2, wanted, 1)
        for cells, wanted in pairs
        if wanted is not None and cells >= wanted
    ]
    if len(cuts) != call.spatial:
        return OTHER
    return Meaning("slice", cuts=(*cuts, (0, call.result.shape[-1] or 0, 1)))


def _of_each_rank(
    name: str, build: Callable[[KerasCall], Meaning]
) -> dict[str, Callable[[KerasCall], Meaning]]:
    return {name.replace("2D", f"{rank}D"): build for rank in (1, 2, 3)}


SLIDING: Mapping[str, Callable[[KerasCall], Meaning]] = {
    **_of_each_rank("AveragePooling2D", pool("avg_pool")),
    **_of_each_rank("Conv2D", conv),
    **_of_each_rank("Conv2DTranspose", conv_transpose),
    **_of_each_rank("Cropping2D", padding),
    **_of_each_rank("DepthwiseConv2D", conv),
    **_of_each_rank("MaxPooling2D", pool("max_pool")),
    **_of_each_rank("SeparableConv2D", conv),
    **_of_each_rank("UpSampling2D", upsampling),
    **_of_each_rank("ZeroPadding2D", padding),
    "CenterCrop": center_crop,
    "Pad": pad,
    "Resize": resizing,
    "Resizing": resizing,
}


def slid(call: KerasCall) -> Meaning:
    """What a layer or operation of this table is; "other" on what is no map."""
    return SLIDING[call.kind](call) if len(call.sources[0].shape) == call.spatial + 2 else OTHER
