"""From a problem to a target's own arguments.

The one place where it is decided what is exact and what is left over. A target names candidates in
its own arguments, the plainest first. Its rule in `backstride.conventions` says what each one
crops. The first that crops exactly what is wanted is taken; without one, that which leaves least to
a slice or to appended zeros after it. Zeros may only stand beyond the full output: where a
candidate has cut computed cells off an end, none can be put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from backstride.conventions import Convention
from backstride.geometry import Geometry
from backstride.integers import Pair
from backstride.port.problem import Problem

Verdict: TypeAlias = Literal["exact", "exact with a crop", "not expressible"]
Arguments: TypeAlias = Mapping[str, Any]

# The kernel of a target without groups: one kernel after the other on its last axis.
PER_GROUP = ("*k", "C_big/groups", "C_small")


@dataclass(frozen=True, slots=True)
class Ability:
    """What a target's operation can say.

    `groups` and `dilation` are refusals: the reason, or None where it can.
    """

    convention: Convention
    candidates: Callable[[Geometry], Iterable[Arguments]]
    groups: Callable[[Problem], str | None] = lambda _: None
    dilation: Callable[[Problem], str | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Fit:
    """A problem in a target's arguments, and what has to be done around its operation.

    `crop` is left to slices (positive) and appended zeros (negative) per axis. `split`: one
    operation for each of so many groups. `stuffed`: the kernel is written out with the dilation's
    zeros in it; `where` is then the geometry without dilation. `refusals`: why the operation alone
    cannot say it.
    """

    problem: Problem
    where: Geometry
    arguments: Arguments
    crop: tuple[Pair, ...]
    split: int = 1
    stuffed: bool = False
    refusals: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """How near the target's own operation comes."""
        if self.refusals:
            return "not expressible"
        return "exact" if all(pair == (0, 0) for pair in self.crop) else "exact with a crop"

    @property
    def reason(self) -> str:
        """Why it is not simply exact; empty where it is."""
        return "; ".join([*self.refusals, *_leftovers(self.crop)])

    @property
    def slices(self) -> bool:
        """Whether cells are cut off after the operation."""
        return any(max(pair) > 0 for pair in self.crop)

    @property
    def pads(self) -> bool:
        """Whether zeros are appended after the operation."""
        return any(min(pair) < 0 for pair in self.crop)

    @property
    def late_bias(self) -> bool:
        """Whether the bias must wait for appended zeros, which get it too."""
        return self.problem.bias and self.pads

    @property
    def early_bias(self) -> bool:
        """Whether the operation itself may add the bias."""
        return self.problem.bias and not self.pads


def fit(problem: Problem, ability: Ability) -> Fit:
    """The best that the target's operation can do.

    Raises `ValueError` where no computed cell is left.
    """
    for axis, (length, pair) in enumerate(zip(problem.where.full, problem.where.crop, strict=True)):
        if sum(max(cut, 0) for cut in pair) >= length:
            message = (
                f"`call` crops all {length} computed cells of axis {axis} and appends zeros: "
                "nothing to port"
            )
            raise ValueError(message)
    refusals: list[str] = []
    split, where, stuffed = 1, problem.where, False
    refusal = ability.groups(problem) if problem.groups > 1 else None
    if refusal is not None:
        refusals.append(refusal)
        split = problem.groups
    refusal = ability.dilation(problem) if max(where.dilation) > 1 else None
    if refusal is not None:
        refusals.append(refusal)
        stuffed = True
        where = replace(where, kernel=where.effective_kernel, dilation=(1,) * problem.rank)
    arguments, crop = _best(where, ability)
    return Fit(problem, where, arguments, crop, split, stuffed, tuple(refusals))


def _best(where: Geometry, ability: Ability) -> tuple[Arguments, tuple[Pair, ...]]:
    found: tuple[Arguments, tuple[Pair, ...]] | None = None
    least = 0
    for arguments in ability.candidates(where):
        try:
            native = ability.convention.constructor(where.input, where.kernel, **arguments).crop
        except (ValueError, TypeError):
            continue
        crop = leftover(where.crop, native)
        if crop is None:
            continue
        cells = sum(abs(cut) for pair in crop for cut in pair)
        if cells == 0:
            return arguments, crop
        if found is None or cells < least:
            found, least = (arguments, crop), cells
    assert found is not None, f"{ability.convention.name} has no candidate for {where}"
    return found


def leftover(wanted: tuple[Pair, ...], native: tuple[Pair, ...]) -> tuple[Pair, ...] | None:
    """What remains to crop after the operation's own crop.

    None where computed cells were cut that are wanted.

    >>> (leftover(((0, 1),), ((0, 0),)), leftover(((0, -2),), ((0, 0),)),
    ...  leftover(((1, 0),), ((1, 1),)))
    (((0, 1),), ((0, -2),), None)
    """
    rest: list[Pair] = []
    for want, has in zip(wanted, native, strict=True):
        for cut, done in zip(want, has, strict=True):
            if cut < done and done > 0:
                return None
        rest.append((want[0] - has[0], want[1] - has[1]))
    return tuple(rest)


def symmetric(crop: Pair, most: int) -> tuple[int, int]:
    """One axis: padding and output padding (0 to `most`) that come nearest to a crop.

    As PyTorch says it.

    >>> symmetric((1, 0), 1), symmetric((0, 1), 1), symmetric((4, 0), 1)
    ((1, 1), (0, 0), (1, 1))
    """
    before, after = max(crop[0], 0), crop[1]
    if before - after <= most:
        return before, max(before - after, 0)
    # The output padding cannot reach: pad less at both ends and crop the front, or append zeros.
    return min(before, max(after, 0) + most), most


def _leftovers(crop: tuple[Pair, ...]) -> list[str]:
    words: list[str] = []
    for axis, (before, after) in enumerate(crop):
        for cells, end in ((before, "front"), (after, "end")):
            if cells > 0:
                words.append(f"{_cells(cells)} cropped off the {end} of axis {axis}")
            if cells < 0:
                words.append(f"{_cells(-cells, 'zero')} appended at the {end} of axis {axis}")
    return words


def _cells(count: int, noun: str = "cell") -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
