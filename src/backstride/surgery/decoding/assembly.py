"""A decoder behind coarse scores, put together of the few parts that a framework makes.

For frameworks whose networks are graphs of calls. In PyTorch the same steps run in a module's `forward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from backstride.surgery.decoding.decoder import Decoder, Step
from backstride.surgery.decoding.features import Lift

Map = TypeVar("Map")


class Parts(Protocol[Map]):
    """What a framework makes of a decoder's parts; `name`: of the new layer, which no other has."""

    def climb(self, maps: Map, step: Step, channels: int, fine: Map, name: str, *, mixing: bool) -> Map:
        """Lift maps to the cells of `fine`; where not `mixing`, each channel stays by itself."""
        ...

    def convolve(self, maps: Map, channels: int, width: int, kernel: int, name: str) -> Map:
        """A convolution with random weights and borders of zeros; behind a 3x3 one stands a rectifier."""
        ...

    def score(self, maps: Map, channels: int, name: str) -> Map:
        """A 1x1 convolution of `channels` to the classes, zero at first."""
        ...

    def add(self, maps: Map, others: Map, name: str) -> Map:
        """Sums."""
        ...

    def join(self, maps: Map, others: Map, name: str) -> Map:
        """The channels of both."""
        ...


def assemble(parts: Parts[Map], decoder: Decoder, scores: Map, fine: Sequence[Map], *, skipping: bool) -> Map:
    """Scores of every pixel from coarse ones, plus those of the taps where `skipping`.

    `fine`: the maps that the steps lead to, which are the taps and the image.
    """
    for step, tap, goal in zip(decoder.steps, (*decoder.taps, None), fine, strict=True):
        scores = parts.climb(scores, step, decoder.classes, goal, step.key, mixing=True)
        if tap is not None and skipping:
            skip = parts.score(goal, tap.channels, f"skip_{step.key}")
            scores = parts.add(scores, skip, f"sum_{step.key}")
    return scores


def assemble_features(parts: Parts[Map], ways: Sequence[Lift], features: Map, fine: Sequence[Map]) -> Map:
    """The scores of the features behind the coarse ones, lifted to the image and joined with the taps on the way."""
    for lift, goal in zip(ways, fine, strict=True):
        name = f"features_{lift.step.key}"
        features = parts.convolve(features, lift.channels, lift.width, 1, f"{name}_narrow")
        features = parts.climb(features, lift.step, lift.width, goal, name, mixing=False)
        if lift.tap is not None and len(lift.blocks) > 1:
            features = parts.join(features, goal, f"{name}_joined")
        elif lift.tap is not None:
            beside = parts.convolve(goal, lift.tap, lift.width, 1, f"{name}_tap")
            features = parts.add(features, beside, f"{name}_joined")
        for place, channels in enumerate(lift.blocks):
            features = parts.convolve(features, channels, lift.width, 3, f"{name}_{place}")
    return parts.score(features, ways[-1].width, "features_scores")
