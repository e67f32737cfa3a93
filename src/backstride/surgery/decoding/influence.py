"""How far a pixel's label looks, and what a network holds while it runs.

What tiling needs to know.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from backstride.surgery.decoding.features import Lift
from backstride.surgery.model.fields import fields
from backstride.surgery.model.graph import WHOLE, Graph

KEY = "backstride.influence"


@dataclass(frozen=True, slots=True)
class Influence:
    """Of a network with a decoder. `native`: the least image (rows, columns).

    `stride`: tiles that start at its multiples give the same coarse cells. `margin`: pixels farther
    than this from a tile's border see nothing beyond it. `floats`: numbers held at once, per pixel.
    `pooled`: some layer pools the whole image, so that every pixel sees all of it.
    """

    native: tuple[int, int]
    stride: int
    margin: int
    floats: int
    pooled: bool = False

    def to_json(self) -> str:
        """The influence as text, for a model's metadata."""
        return json.dumps(asdict(self))


def from_json(text: str) -> Influence:
    """Read what `to_json` wrote; raises `ValueError` for anything else."""
    try:
        data = json.loads(text)
        rows, columns = data["native"]
        numbers = (rows, columns, data["stride"], data["margin"], data["floats"])
        pooled = data.get("pooled", False) is True
    except (ValueError, KeyError, TypeError):
        numbers, pooled = (), False
    if len(numbers) != 5 or not all(
        isinstance(number, int) and 0 < number < 2**31 for number in numbers
    ):
        message = f"`{KEY}` (={text[:40]!r}) in the model's metadata is not what backstride writes"
        raise ValueError(message)
    return Influence((numbers[0], numbers[1]), *numbers[2:], pooled)


def of_one_size(path: Path) -> ValueError:
    """What to raise for a network that runs on images of one size, which no tiles have."""
    return ValueError(
        f"`network` (={str(path)!r}) takes images of one size only; make a network of it with "
        "backstride transpose"
    )


def influence(graph: Graph, top: str, classes: int, ways: tuple[Lift, ...] = ()) -> Influence:
    """Work it out for a decoder on the coarse scores `top`.

    `ways`: the features' steps beside them. A pixel lies between two coarse cells, at most two
    strides away from either, and a cell sees half its receptive field to each side. Features climb
    step by step, two strides of each, and every 3x3 convolution sees a cell farther at its own
    stride.
    """
    found = fields(graph)[top]
    stride = math.lcm(*(math.ceil(field.stride) for field in found))
    reach = max(math.ceil(field.size / 2) for field in found) + 2 * stride
    held, coarse = 3 * classes, stride
    for lift in ways:
        fine = -(-coarse // min(lift.step.factor))
        reach += 2 * coarse + len(lift.blocks) * fine
        held = max(held, 3 * (classes + max(lift.blocks)) // fine**2)
        coarse = fine
    rows, columns = graph.input.shape[1:]
    shapes = {node.name: math.prod(node.shape) for node in graph}
    most = max(
        shapes[node.name] + sum(shapes[name] for name in node.inputs)
        for node in graph
        if node.inputs
    )
    floats = -(-most // (rows * columns)) + held
    above = graph.ancestors(top)
    pooled = any(node.kind in WHOLE for node in graph if node.name in above)
    return Influence((rows, columns), stride, -(-reach // stride) * stride, floats, pooled)
