"""The table as Markdown.

docs/conformance.md is this text, written by a command and never by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

from backstride.conform.rows import ROWS
from backstride.conform.table import Result

HEADER = """# Conformance

Each row holds one framework against its rule in `backstride.conventions`: calls drawn from a fixed seed, 1-D to 3-D,
legal and not, run by the framework and by the exact scatter of `backstride.reference`. A call agrees where both
refuse it, or the output, in the rows of gradients the gradients by input and kernel, has the size and every bit that
the rule says. Every disagreement has a name; an unexplained one fails the tests. [findings.md](findings.md) tells what
is behind each name.

| framework | version | rule | calls compared | agreeing | of these refused by both | disagreeing |
|---|---|---|--:|--:|--:|---|
"""  # noqa: E501


def to_markdown(results: Sequence[Result]) -> str:
    """The results as a table, and under it the simplest example of each disagreement.

    >>> print(to_markdown([Result("torch", "torch",
    ...     absent="torch is not installed")]).splitlines()[-1])
    | PyTorch | absent | `torch` | | | | torch is not installed |
    """
    table = HEADER + "\n".join(map(_line, results)) + "\n"
    sections = [_examples(result) for result in results if result.disagreements]
    return table + "".join(
        ["\n## Simplest example of each disagreement\n", *sections] if sections else []
    )


def _line(result: Result) -> str:
    title = ROWS[result.row].title
    if result.absent is not None:
        return f"| {title} | absent | `{result.convention}` | | | | {result.absent} |"
    reasons = [f"{entry.count} {entry.kind}: {entry.reason}" for entry in result.disagreements]
    counts = f"{result.compared} | {result.agreeing} | {result.refused}"
    return (
        f"| {title} | {result.version} | `{result.convention}` | {counts} | "
        f"{'; '.join(reasons) or 'none'} |"
    )


def _examples(result: Result) -> str:
    entries = [
        f"- {entry.kind} ({entry.count}): {entry.reason}.\n  `{entry.example.replace('`', '')}`\n"
        for entry in result.disagreements
    ]
    return f"\n### {ROWS[result.row].title}\n\n{''.join(entries)}"
