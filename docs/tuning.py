"""Write the numbers of native/tuning.h into docs/engine.md.

A table of those that choose, and others. In the text, a number stands before its name:
`512<!-- choice.most_sharing_channels -->`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

DOCS = Path(__file__).parent
HEADER, PAGE = DOCS.parent / "native" / "tuning.h", DOCS / "engine.md"
CHOOSE = ("nominal", "choice")  # the groups of the table
UNITS = ("GiB", "MiB", "KiB")
CONSTANT = re.compile(
    r"constexpr [\w:]+ (?P<name>\w+)(\[\])? = (?P<value>.+);\s+// (?P<unit>[\w ]+): (?P<reason>.+)"
)
NUMBER = re.compile(r"[\d.]+(?: [KMG]iB)?(?P<name><!-- (?P<group>\w+)\.(?P<of>\w+) -->)")
TABLE = re.compile(
    r"(?P<mark><!-- numbers that choose,[^>]*-->\n).*?(?P<end><!-- end -->)", re.DOTALL
)

Number: TypeAlias = int | float | tuple[int, ...]


class Constant(NamedTuple):
    """A number of the header, with its unit and its reason."""

    value: Number
    unit: str
    reason: str

    @property
    def shown(self) -> str:
        """The number as the page has it, bytes in the largest unit that divides them."""
        if isinstance(self.value, tuple):
            return ", ".join(map(str, self.value))
        for power, unit in zip((30, 20, 10), UNITS, strict=True):
            if self.unit == "bytes" and self.value >= 1 << power and self.value % (1 << power) == 0:
                return f"{int(self.value) >> power} {unit}"
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)


def constants(header: str) -> dict[str, dict[str, Constant]]:
    """The numbers of each group, by their names; `ValueError` for a line written otherwise."""
    found: dict[str, dict[str, Constant]] = {}
    group = ""
    for line in header.splitlines():
        if opened := re.fullmatch(r"namespace (\w+) \{", line):
            group = opened[1]
        elif line.startswith("constexpr"):
            match = CONSTANT.fullmatch(line)
            if match is None:
                message = f"no `constexpr type name = value;  // unit: reason`: {line}"
                raise ValueError(message)
            own = found.setdefault(group, {})
            own[match["name"]] = Constant(
                evaluated(match["value"], own), match["unit"], match["reason"]
            )
    return found


def evaluated(text: str, known: Mapping[str, Constant]) -> Number:
    """A value as the header has it: a number, one shifted or multiplied, or several in braces.

    >>> evaluated("3 << 20", {}), evaluated("{64, 16}", {}), evaluated("0.71", {})
    (3145728, (64, 16), 0.71)
    """
    if text.startswith("{"):
        return tuple(int(part) for part in text.strip("{}").split(","))

    def number(part: str) -> int | float:
        if part in known:
            value = known[part].value
            assert not isinstance(value, tuple)
            return value
        return float(part) if re.search(r"[.e]", part) else int(part)

    first, operator, second = re.sub(r"std::size_t\((\d+)\)", r"\1", text).partition(" << ")
    if operator:
        return int(number(first)) << int(number(second))
    first, operator, second = text.partition(" * ")
    return number(first) * number(second) if operator else number(first)


def table(groups: Mapping[str, Mapping[str, Constant]]) -> str:
    """The numbers that choose between algorithms, in Markdown."""
    rows = ["| number | value | unit | what it is and why |", "|---|---|---|---|"]
    for group in CHOOSE:
        for name, constant in groups[group].items():
            rows.append(
                f"| `{group}::{name}` | {constant.shown} | {constant.unit} | {constant.reason} |"
            )
    return "\n".join(rows)


def page(text: str, header: str) -> str:
    """The page with its table and its numbers made anew."""
    groups = constants(header)
    text = TABLE.sub(lambda match: f"{match['mark']}\n{table(groups)}\n\n{match['end']}", text)
    return NUMBER.sub(lambda match: groups[match["group"]][match["of"]].shown + match["name"], text)


if __name__ == "__main__":
    written, numbers = (path.read_text(encoding="utf-8") for path in (PAGE, HEADER))
    _ = PAGE.write_text(page(written, numbers), encoding="utf-8")
