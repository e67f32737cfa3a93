"""The simplest example of a disagreement as a program of its own.

What the framework does, and what the rule says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from backstride import reference
from backstride.conform import gradients
from backstride.conform.calls import Call
from backstride.conform.rows import ENVIRONMENT, ROWS
from backstride.conform.table import Result
from backstride.conventions import CONVENTIONS
from backstride.layout import AnyArray


def scripts(results: Sequence[Result]) -> dict[str, str]:
    """File names and programs, one for each disagreement.

    >>> from backstride.conform.table import Disagreement
    >>> entry = Disagreement("differs", "a reason", 1, "an example",
    ...     "Call(input=(3,), kernel=(2,))")
    >>> found = scripts([Result("torch", "torch", "torch 2.13", disagreements=(entry,))])
    >>> print(*found)
    torch-1-differs.py
    >>> print(found["torch-1-differs.py"].splitlines()[-1])
    replay("torch", Call(input=(3,), kernel=(2,)))
    """
    found: dict[str, str] = {}
    for result in results:
        for number, entry in enumerate(result.disagreements, 1):
            lines = [
                (
                    f"# {result.version}, {entry.kind} {entry.count} of {result.compared} calls: "
                    f"{entry.reason}"
                ),
                "from backstride.conform import replay",
                "from backstride.conform.calls import Call",
                "",
                f'replay("{result.row}", {entry.call})',
                "",
            ]
            found[f"{result.row}-{number}-{entry.kind}.py"] = "\n".join(lines)
    return found


def replay(row: str, call: Call) -> None:
    """Run one call of a row here, and print operands, the framework's result and the rule's."""
    setting = ROWS[row]
    os.environ.update({**ENVIRONMENT, **setting.environment})
    version, prepare = setting.runtime()
    x, kernel = call.operands()
    lines = [version, f"call: {call}", f"x (N, *input, C_small): {x.tolist()}"]
    lines += [f"kernel (*k, C_big/groups, C_small): {kernel.tolist()}"]
    try:
        theirs = prepare(call, x, kernel)()
        lines.append(f"the framework gives {theirs.shape}: {theirs.tolist()}")
    except Exception as error:  # noqa: BLE001  each framework refuses with exceptions of its own
        lines.append(f"the framework refuses: {type(error).__name__}: {error}")
    try:
        ours = _expected(row, call, x, kernel)
        lines.append(f"the rule gives {ours.shape}: {ours.tolist()}")
    except (ValueError, TypeError) as error:
        lines.append(f"the rule refuses: {error}")
    print("\n".join(lines))


def _expected(row: str, call: Call, x: AnyArray, kernel: AnyArray) -> AnyArray:
    setting = ROWS[row]
    geometry = CONVENTIONS[setting.convention].constructor(
        call.input, call.kernel, **call.arguments
    )
    if setting.gradient:
        return gradients.expected(call, geometry, setting.convention)
    y = reference.conv_transpose(
        x.astype(np.int64), kernel.astype(np.int64), geometry, groups=call.groups
    )
    return y.astype(np.float32)
