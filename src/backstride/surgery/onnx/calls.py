"""A call of an ONNX operator with its tensors at native size, and what it may mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import onnx

from backstride.surgery.model.meaning import Meaning
from backstride.surgery.onnx.shapes import OnnxTensor


@dataclass(frozen=True)
class OnnxCall:
    """A node of the graph with its tensors at native size.

    `sources`: by position, None where one is left out.
    """

    node: onnx.NodeProto
    sources: tuple[OnnxTensor | None, ...]
    result: OnnxTensor
    opset: int

    def option(self, name: str, default: object = None) -> Any:
        """An attribute, or an input of the same meaning in newer operator sets."""
        for entry in self.node.attribute:
            if entry.name == name:
                return onnx.helper.get_attribute_value(entry)
        return default

    @property
    def first(self) -> OnnxTensor:
        """The first input."""
        assert self.sources[0] is not None
        return self.sources[0]

    @property
    def rank(self) -> int:
        """The number of axes of the first input."""
        return len(self.first.shape)

    def axes(self) -> tuple[int, ...] | None:
        """The `axes` of a reduction, attribute or second input, counted from the front.

        None if not known.
        """
        given = self.option("axes")
        if given is None and len(self.sources) > 1 and self.sources[1] is not None:
            if self.sources[1].value is None:
                return None
            given = self.sources[1].value.flatten().tolist()
        if not given:
            given = range(
                0 if self.option("noop_with_empty_axes", 0) == 0 else self.rank, self.rank
            )
        return tuple(sorted(int(axis) % self.rank for axis in given))


of_first = partial(
    Meaning, data=1
)  # what an operator is whose other inputs are weights and options
OTHER = Meaning("other")
