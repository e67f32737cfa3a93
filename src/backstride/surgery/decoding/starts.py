"""How a decoder's transposed convolutions start, as numbers in the layout (C_in, C_out, *k)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from backstride.initializers import bilinear, icnr, nearest
from backstride.layout import AnyArray
from backstride.surgery.decoding.decoder import Init, Step

Normal: TypeAlias = Callable[[tuple[int, ...]], AnyArray]
SPREAD = 0.1  # of ICNR's random part beside the identity


def among(step: Step, channels: int, init: Init, normal: Normal) -> AnyArray:
    """The kernel of a layer whose channels may reach each other: (channels, channels, *k).

    `normal`: draws standard normal numbers of a shape, for ICNR: near the identity, repeated over
    the phases.
    """
    if init == "icnr":
        return _spread(np.eye(channels) + normal((channels, channels)) * SPREAD / channels, step)
    return _interpolation(step, channels, init)


def apart(step: Step, channels: int, init: Init, normal: Normal) -> AnyArray:
    """The kernel of a layer with a group for each channel: (channels, 1, *k)."""
    if init == "icnr":
        return _spread(np.ones((channels, 1)) + normal((channels, 1)) * SPREAD / channels, step)
    kernel = _interpolation(step, 1, init)
    return np.broadcast_to(kernel, (channels, *kernel.shape[1:]))


def _interpolation(step: Step, channels: int, init: Init) -> AnyArray:
    make = bilinear if init == "bilinear" else nearest
    return make(step.kernel, step.factor, channels, data_format="channels_first", dtype="float64")


def _spread(base: AnyArray, step: Step) -> AnyArray:
    return icnr(base[:, :, None, None], step.factor, data_format="channels_first")
