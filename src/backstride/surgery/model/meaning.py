"""What a call of a framework is in a `Graph`: what the dictionaries of the readers answer."""

from __future__ import annotations

from dataclasses import dataclass

from backstride.surgery.model.graph import UNKNOWN, Cut, Kind, Node, Ratio, Shape, Window


@dataclass(frozen=True, slots=True)
class Meaning:
    """A node's kind and details, as in `Node`.

    `data` counts the leading inputs that are data, all of them if None.
    """

    kind: Kind
    window: Window | None = None
    axes: tuple[int, ...] = ()
    features: int | None = None
    data: int | None = None
    cuts: tuple[Cut, ...] = ()
    factors: tuple[int, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    why: str = UNKNOWN

    def node(self, name: str, inputs: tuple[str, ...], shape: Shape, label: str) -> Node:
        """The node that the call is."""
        return Node(
            name,
            self.kind,
            inputs,
            shape,
            label,
            window=self.window,
            axes=self.axes,
            features=self.features,
            cuts=self.cuts,
            factors=self.factors,
            ratios=self.ratios,
            why=self.why,
        )
