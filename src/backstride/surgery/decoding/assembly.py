"""A decoder behind coarse scores, put together of the few parts that a framework makes.

For frameworks whose networks are graphs of calls. In PyTorch the same steps run in a module's
`forward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from backstride.surgery.decoding.decoder import Decoder, Step
from backstride.surgery.decoding.features import Lift

Map = TypeVar("Map")


class Parts(Protocol[Map]):
    """What a framework makes of a decoder's parts; `name`: of the new layer, which no other has."""

    def climb(
        self, maps: Map, step: Step, channels: int, fine: Map, name: str, *, mixing: bool
    ) -> Map:
        """Lift maps to the cells of `fine`; where not `mixing`, each channel stays by itself."""
        ...

    def convolve(self, maps: Map, channels: int, width: int, kernel: int, name: str) -> Map:
        """A convolution with random weights and borders of zeros.

        Behind a 3x3 one stands a rectifier.
        """
        ...

    def score(self, maps: Map, channels: int, name: str) -> Map:
        """A 1x1 convolution of `channels` to the classes, zero at first."""
        ...

    def meet(self, maps: Map, others: Map, name: str, *, beside: bool = False) -> Map:
        """The sum of both, or `beside` each other the channels of both."""
        ...


def assemble(
    parts: Parts[Map],
    decoder: Decoder,
    ways: Sequence[Lift],
    maps: tuple[Map, Map],
    fine: Sequence[Map],
) -> Map:
    """Scores of every pixel from the coarse ones.

    Where there are `ways`, from the features behind them, too. `maps`: those two. `fine`: the maps
    that the steps lead to, which are the taps and the image.
    """
    scores, features = maps
    for step, tap, goal in zip(decoder.steps, (*decoder.taps, None), fine, strict=True):
        scores = parts.climb(scores, step, decoder.classes, goal, step.key, mixing=True)
        if tap is not None and not ways:
            scores = parts.meet(
                scores, parts.score(goal, tap.channels, f"skip_{step.key}"), f"sum_{step.key}"
            )
    for lift, goal in zip(ways, fine, strict=False):
        name = f"features_{lift.step.key}"
        features = parts.convolve(features, lift.channels, lift.width, 1, f"{name}_narrow")
        features = parts.climb(features, lift.step, lift.width, goal, name, mixing=False)
        if lift.tap is not None:
            beside = len(lift.blocks) > 1
            joined = (
                goal if beside else parts.convolve(goal, lift.tap, lift.width, 1, f"{name}_tap")
            )
            features = parts.meet(features, joined, f"{name}_joined", beside=beside)
        for place, channels in enumerate(lift.blocks):
            features = parts.convolve(features, channels, lift.width, 3, f"{name}_{place}")
    if not ways:
        return scores
    return parts.meet(
        scores, parts.score(features, ways[-1].width, "features_scores"), "sum_features"
    )
