"""The comparison itself.

Our rule and the reference against what a framework returned, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from backstride.conform.calls import Call
from backstride.conform.faults import Kind, Outcome, by_chance, chances, explain
from backstride.conform.runtimes import Prepare
from backstride.geometry import Geometry

UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Calls on which a framework departs from the rule in one way.

    The simplest of them is given in words and as Python.
    """

    kind: Kind
    reason: str
    count: int
    example: str
    call: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table.

    `absent` says why there is none; `refused` of the `agreeing` were refused by both.
    """

    row: str
    convention: str
    version: str = ""
    absent: str | None = None
    compared: int = 0
    agreeing: int = 0
    refused: int = 0
    disagreements: tuple[Disagreement, ...] = ()

    @property
    def unexplained(self) -> int:
        """Calls that disagree for no known reason."""
        return sum(entry.count for entry in self.disagreements if entry.reason == UNEXPLAINED)


def compare(
    row: str,
    convention: str,
    rule: Callable[..., Geometry],
    prepare: Prepare,
    calls: Sequence[Call],
    *,
    gradient: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Result:
    """Run every call both ways. They agree where both refuse, or size and every bit are equal."""
    agreeing = refused = 0
    groups: dict[tuple[Kind, str], list[Outcome]] = {}
    for done, call in enumerate(calls, 1):
        outcome = _outcome(call, rule, prepare, convention if gradient else "")
        kind = judge(outcome) or ("differs" if by_chance(row, outcome) else None)
        if kind is None:
            agreeing += 1
            refused += outcome.geometry is None
        else:
            groups.setdefault((kind, explain(row, kind, outcome) or UNEXPLAINED), []).append(
                outcome
            )
        progress(done)
    return Result(
        row,
        convention,
        compared=len(calls),
        agreeing=agreeing,
        refused=refused,
        disagreements=tuple(
            _summary(kind, reason, outcomes, chance=reason in chances(row))
            for (kind, reason), outcomes in sorted(groups.items())
        ),
    )


def judge(outcome: Outcome) -> Kind | None:
    """How the framework departs from the rule on one call, or None where they agree."""
    if outcome.geometry is None:
        return None if outcome.array is None else "accepts"
    if outcome.array is None:
        return "refuses"
    return None if outcome.matches(outcome.geometry) else "differs"


def _outcome(call: Call, rule: Callable[..., Geometry], prepare: Prepare, gradient: str) -> Outcome:
    geometry, refusal, array, message = None, "", None, ""
    try:
        geometry = rule(call.input, call.kernel, **call.arguments)
    except (ValueError, TypeError) as error:
        refusal = str(error)
    run = prepare(call, *call.operands())
    try:
        array = run()
    except Exception as error:  # noqa: BLE001  each framework refuses with exceptions of its own
        message = f"{type(error).__name__}: {error}"
    return Outcome(call, geometry, refusal, array, message, gradient)


def _summary(kind: Kind, reason: str, outcomes: Iterable[Outcome], *, chance: bool) -> Disagreement:
    entries = list(outcomes)
    simplest = min(entries, key=lambda outcome: outcome.call.weight)
    ours = (
        simplest.refusal
        if simplest.geometry is None
        else f"crop {simplest.geometry.crop}, {simplest.geometry.output}"
    )
    theirs = simplest.message if simplest.array is None else f"{simplest.array.shape[1:-1]}"
    if simplest.gradient and simplest.array is not None:
        theirs = "what memory holds" if chance else "other gradients"
    elif kind == "differs" and simplest.array is not None and simplest.array.size <= 24:
        theirs += f" {simplest.array.ravel().astype(int).tolist()}"
    example = f"{simplest.call}: the rule says {_short(ours)}; the framework says {_short(theirs)}"
    return Disagreement(kind, reason, len(entries), example, repr(simplest.call))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:197] + "..."
