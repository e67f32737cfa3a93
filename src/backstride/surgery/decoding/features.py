"""The features' way up beside the scores, as data.

U-Net (arXiv 1505.04597) and LinkNet (arXiv 1707.03718) decoders. At each step the features are
narrowed by 1x1, lifted and joined with the tap: beside it, then two 3x3 convolutions (U-Net); or
added to a 1x1 of it, then one (LinkNet). The last map's 1x1 scores are zero at first, so that
before training the network is the scores, interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

from backstride.surgery.decoding.decoder import Decoder, Step
from backstride.surgery.model.graph import Graph

WIDEST, NARROWEST = 256, 16


@dataclass(frozen=True, slots=True)
class Lift:
    """One step: `channels` narrowed to `width`, lifted, joined with a map, then convolved.

    The map has `tap` channels, the convolutions are 3x3. `tap`: None at the image. `blocks`: the
    channels that each 3x3 convolution takes; all give `width`, and a rectifier follows each.
    """

    step: Step
    channels: int
    width: int
    tap: int | None
    blocks: tuple[int, ...]


def lifts(decoder: Decoder, graph: Graph, classes: int) -> tuple[Lift, ...]:
    """The steps of a decoder, none for FCN's.

    `classes`: of the scores, which are the features where none lie behind.

    >>> step = Step("image", (2, 2), (4, 4), ((1, 1), (1, 1)), (3, 3))
    >>> lifts(Decoder("s", "s", (), (step,), None, (), "unet", features="s"), Graph(()),
    ...     3)[0].blocks
    (16, 16)
    """
    if decoder.kind == "fcn":
        return ()
    channels = classes if decoder.features == decoder.top else graph[decoder.features].shape[0]
    tapped = {tap.key: tap.channels for tap in decoder.taps}
    made: list[Lift] = []
    for step in decoder.steps:
        tap = tapped.get(step.key)
        width = max(NARROWEST, min(WIDEST, tap or NARROWEST))
        blocks = (width + (tap or 0), width) if decoder.kind == "unet" else (width,)
        made.append(Lift(step, channels, width, tap, blocks))
        channels = width
    return tuple(made)
