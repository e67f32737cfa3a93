"""The benchmark's layers.

Real ones, each with its source, read from layers.csv, or those of any such file. Sizes are per axis
joined by x. `crop_before` and `crop_after`: cells cut off the full output; negative appends zeros.
Three columns may be missing: `source`; `output`, which must be what the others say; and `gflop`,
the useful work: 2 * batch * in_channels * product(input) * out_channels / groups * product(kernel)
/ 1e9.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NoReturn

FILE = Path(__file__).with_name("layers.csv")
COLUMNS = tuple(
    "id layer batch in_channels input out_channels kernel stride crop_before crop_after groups".split()  # noqa: E501, SIM905
)
MOST_GFLOP = 6.0  # of a call that is timed
MOST_BYTES, MOST_LAYERS, MOST_AXES, MOST_NAME = 1 << 20, 1000, 3, 100
MOST_MEGABYTES = 1000.0  # input, output and kernel of a layer as it is timed


@dataclass(frozen=True, slots=True)
class Layer:
    """One transposed convolution; kernel and channels as in `backstride.conv_transpose`."""

    number: int
    name: str
    batch: int
    small: int
    big: int
    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    crop: tuple[tuple[int, int], ...]
    groups: int
    source: str

    @property
    def gflop(self) -> float:
        """Useful work, a multiplication and an addition counted as 2."""
        cells, taps = math.prod(self.input), math.prod(self.kernel)
        return 2e-9 * self.batch * self.small * cells * (self.big // self.groups) * taps

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial size of the result."""
        axes = zip(self.input, self.kernel, self.strides, self.crop, strict=True)
        return tuple((cells - 1) * step + taps - sum(cut) for cells, taps, step, cut in axes)

    @property
    def megabytes(self) -> float:
        """Input, output and kernel in float32: what has to move at least."""
        data = self.batch * (self.small * math.prod(self.input) + self.big * math.prod(self.output))
        return 4e-6 * (data + math.prod(self.kernel) * self.small * self.big // self.groups)

    def lighter(self, gflop: float) -> Layer:
        """The same layer with a batch small enough for so much work, at least 1.

        Then with fewer output channels.
        """
        if self.gflop <= gflop:
            return self
        fewer = replace(self, batch=max(1, int(self.batch * gflop / self.gflop)))
        if fewer.gflop <= 2 * gflop or self.groups > 1:
            return fewer
        return replace(fewer, big=max(1, int(self.big * gflop / fewer.gflop)))


@dataclass(frozen=True, slots=True)
class Table:
    """The layers of a file.

    `digest` tells its text from others', and is empty for the project's own file.
    """

    name: str
    digest: str
    layers: tuple[Layer, ...]


@cache
def layers() -> tuple[Layer, ...]:
    """All layers of the project's own file."""
    return table(FILE).layers


def table(path: Path) -> Table:
    """The layers of a file; raises ValueError, one sentence on what is wrong with it."""
    raw = path.read_bytes()
    if len(raw) > MOST_BYTES:
        _refuse(f"it has {len(raw)} bytes; at most {MOST_BYTES} are read")
    try:
        rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        _refuse(f"it is no CSV in UTF-8 ({error})")
    if missing := [name for name in COLUMNS if rows and name not in rows[0]]:
        _refuse(f"it lacks the column `{missing[0]}`; the columns are {','.join(COLUMNS)}")
    if not 1 <= len(rows) <= MOST_LAYERS:
        _refuse(
            f"it has {len(rows)} layers; legal are 1 to {MOST_LAYERS}, below a line of the "
            "columns' names"
        )
    found = tuple(_layer(row, place) for place, row in enumerate(rows, 1))
    numbers = [layer.number for layer in found]
    if twice := [number for number in numbers if numbers.count(number) > 1]:
        _refuse(f"two layers have the `id` {twice[0]}; each needs its own")
    own = path.resolve() == FILE.resolve()
    return Table(
        "../layers.csv" if own else path.name,
        "" if own else hashlib.sha256(raw).hexdigest()[:16],
        found,
    )


def _layer(row: Mapping[str, str | None], place: int) -> Layer:
    """A row of the file."""

    def sizes(name: str, *, least: int = 1) -> tuple[int, ...]:
        text = (row[name] or "").strip()
        if not re.fullmatch(r"-?\d{1,9}(x-?\d{1,9})*", text):
            _refuse(
                f"row {place}: `{name}` (={text[:40]}) must be whole numbers joined by x, as 4x4"
            )
        found = tuple(int(word) for word in text.split("x"))
        if len(found) > MOST_AXES or min(found) < least:
            _refuse(
                f"row {place}: `{name}` (={text}) must be 1 to {MOST_AXES} numbers of at least "
                f"{least}"
            )
        return found

    def number(name: str) -> int:
        found, *more = sizes(name)
        if more:
            _refuse(f"row {place}: `{name}` (={row[name]}) must be one whole number")
        return found

    axes = {name: sizes(name) for name in ("input", "kernel", "stride")}
    axes |= {name: sizes(name, least=-(10**9)) for name in ("crop_before", "crop_after")}
    if other := [name for name in axes if len(axes[name]) != len(axes["input"])]:
        _refuse(
            f"row {place}: `{other[0]}` (={row[other[0]]}) must have as many axes as `input` "
            f"(={row['input']})"
        )
    layer = Layer(
        number("id"),
        " ".join((row["layer"] or "").split())[:MOST_NAME],
        number("batch"),
        number("in_channels"),
        number("out_channels"),
        axes["input"],
        axes["kernel"],
        axes["stride"],
        tuple(zip(axes["crop_before"], axes["crop_after"], strict=True)),
        number("groups"),
        row.get("source") or "",
    )
    _check(layer, (row.get("output") or "").strip(), place)
    return layer


def _check(layer: Layer, stated: str, place: int) -> None:
    """Raise where a row's numbers do not go together, or do not fit into memory."""
    if layer.small % layer.groups or layer.big % layer.groups:
        said = f"`in_channels` (={layer.small}) and `out_channels` (={layer.big})"
        _refuse(f"row {place}: {said} must be divisible by `groups` (={layer.groups})")
    output = "x".join(map(str, layer.output))
    if min(layer.output) < 1:
        _refuse(f"row {place}: the crops leave an output of {output}; every axis needs a cell")
    if stated not in {"", output}:
        _refuse(
            f"row {place}: `output` (={stated[:40]}) must be {output}, which the other columns give"
        )
    if (size := layer.lighter(MOST_GFLOP).megabytes) > MOST_MEGABYTES:
        _refuse(
            f"row {place}: input, output and kernel take {size:.0f} MB; at most "
            f"{MOST_MEGABYTES:.0f} are timed"
        )


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)
