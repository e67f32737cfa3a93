"""What `accelerate` did to each module, and why not to the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """What was done to one module.

    Example:
        >>> Row("up", "ConvTranspose2d", True, "on the engine").accelerated
        True

    Args:
        name: its name in the model, as in `named_modules`; empty for the model itself.
        kind: the name of its class.
        accelerated: whether the engine has a part in its calls.
        remark: how, or why not; the times that were measured, in milliseconds.
    """

    name: str
    kind: str
    accelerated: bool
    remark: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was done to a model; `print` shows it as a table.

    Example:
        >>> print(Report((Row("up", "ConvTranspose2d", True, "on the engine"),)))
        up  ConvTranspose2d  accelerated: on the engine
        1 of 1 accelerated

    Args:
        rows: one for each module that has to do with transposed convolutions, in the order of the
            modules.
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
