"""The parts that every emitted program shares.

One order, one style, and nothing of the user's text but a comment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backstride.integers import Pair
from backstride.layout import DataFormat
from backstride.port.problem import ACTIVATIONS
from backstride.port.rule import Fit


@dataclass(frozen=True, slots=True)
class Body:
    """One target's part of a program.

    Imports, what is made once, `up` line by line, and y as a NumPy array.
    """

    imports: tuple[str, ...]
    setup: tuple[str, ...]
    up: tuple[str, ...]
    result: str

    def program(
        self, header: Sequence[str], operands: Sequence[str], shape: tuple[int, ...]
    ) -> str:
        """The whole text."""
        comments = [f"# {' '.join(line.split())}" for line in header]
        return "\n".join([*comments, *self.lines(operands), f"print(y.shape)  # {shape}", ""])

    def lines(self, operands: Sequence[str]) -> list[str]:
        """The program without comments before it and the print after it."""
        up = ["def up(x):", *(f"    {line}" for line in self.up)]
        setup = [*self.setup, ""] if self.setup else []
        return [*self.imports, "", *operands, "", *setup, "", *up, "", "", f"y = {self.result}"]


def one(values: Sequence[int]) -> str:
    """Equal values as one integer.

    >>> one((2, 2)), one((2, 1))
    ('2', '(2, 1)')
    """
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def options(defaults: dict[str, int], **values: Sequence[int]) -> str:
    """Keyword arguments, those left out that have their default on every axis.

    >>> options({"padding": 0}, stride=(2, 2), padding=(0, 0))
    ', stride=2'
    """
    given = {name: one(value) for name, value in values.items()}
    return "".join(
        f", {name}={text}" for name, text in given.items() if text != str(defaults.get(name))
    )


def spatial(entries: Sequence[object], edge: object, data_format: DataFormat) -> list[object]:
    """One entry for every axis of the data.

    The spatial ones in their place, `edge` for batch and channels.
    """
    return [edge, *entries, edge] if data_format == "channels_last" else [edge, edge, *entries]


def tail(
    fit: Fit,
    data_format: DataFormat,
    *,
    pad: str,
    bias: str,
    activation: dict[str, str],
    final: bool = True,
) -> list[str]:
    """What follows the operation in `up`: slices, zeros, a late bias, the activation, `return`.

    `pad` is a format of one call with `{pairs}`, one for every axis of the data; `bias` is the name
    of an array that broadcasts; `activation` maps each name to the function.
    """
    lines: list[str] = []
    if fit.slices:
        cuts = [_slice(max(before, 0), max(after, 0)) for before, after in fit.crop]
        lines.append(f"y = y[{', '.join(map(str, spatial(cuts, ':', data_format)))}]")
    if fit.pads:
        lines.append(f"y = {pad.format(pairs=spatial(zeros(fit), (0, 0), data_format))}")
    if bias:
        lines.append(f"y = y + {bias}")
    if fit.problem.activation in ACTIVATIONS:
        lines.append(f"y = {activation[fit.problem.activation or '']}(y)")
    return [*lines, "return y"] if final else lines


def zeros(fit: Fit) -> list[Pair]:
    """Zeros to append per axis."""
    return [(max(-before, 0), max(-after, 0)) for before, after in fit.crop]


def stuffing(fit: Fit, first: int) -> list[str]:
    """Lines that write the dilation's zeros into `kernel`, whose spatial axes start at `first`."""
    if not fit.stuffed:
        return []
    old = fit.problem.where
    sizes = [f"{size}" for size in old.effective_kernel]
    places = [":"] * first + [f"::{step}" for step in old.dilation]
    before = [f"kernel.shape[{axis}]" for axis in range(first)]
    after = f"*kernel.shape[{first + len(sizes)}:]"
    return [
        f"dilated = np.zeros(({', '.join([*before, *sizes, after])}), kernel.dtype)",
        f"dilated[{', '.join(places)}] = kernel",
        "kernel = dilated",
    ]


def _slice(before: int, after: int) -> str:
    return f"{before or ''}:{-after if after else ''}"
