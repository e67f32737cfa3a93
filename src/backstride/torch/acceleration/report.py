"""What `accelerate` did to each module, and why not to the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One module: its name in the model, its class, whether it was accelerated, and how or why not."""

    name: str
    kind: str
    accelerated: bool
    remark: str


@dataclass(frozen=True, slots=True)
class Report:
    """The rows of a model, in the order of its modules.

    >>> print(Report((Row("up", "ConvTranspose2d", True, "on the engine"),)))
    up  ConvTranspose2d  accelerated: on the engine
    1 of 1 accelerated
    """

    rows: tuple[Row, ...]

    @property
    def accelerated(self) -> tuple[Row, ...]:
        """The rows of what was swapped."""
        return tuple(row for row in self.rows if row.accelerated)

    @property
    def refused(self) -> tuple[Row, ...]:
        """The rows of what was left as it was."""
        return tuple(row for row in self.rows if not row.accelerated)

    def __str__(self) -> str:
        names = max((len(row.name or "(model)") for row in self.rows), default=0)
        kinds = max((len(row.kind) for row in self.rows), default=0)
        lines = [
            f"{row.name or '(model)':{names}}  {row.kind:{kinds}}  "
            f"{'accelerated' if row.accelerated else 'left'}: {row.remark}"
            for row in self.rows
        ]
        return "\n".join([*lines, f"{len(self.accelerated)} of {len(self.rows)} accelerated"])
