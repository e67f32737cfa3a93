"""Write the tables of docs/roads-config.md from the fields of a run's config.

Each setting is described there.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from backstride.roads.config import RunConfig, Setting, settings_of
from backstride.roads.toml import to_toml

PAGE = Path(__file__).parent / "roads-config.md"


def option(entry: dataclasses.Field[object], known: Setting) -> str:
    """How the command line says a setting, in Markdown; a dash where it does not."""
    if not known.metavar:
        return "-"
    name = known.option or f"--{entry.name.replace('_', '-')}"
    value = "" if "/" in name else f" {known.metavar}"
    return f"`{name}{value}`{', repeated' if entry.type == 'tuple[str, ...]' else ''}"


def table(section: object, defaults: list[str]) -> str:
    """The settings of a section, each with its default as TOML writes it."""
    rows = ["| key | option | default | what |", "|---|---|---|---|"]
    for (entry, known), line in zip(settings_of(section), defaults, strict=True):
        default = line.partition(" = ")[2]
        rows.append(f"| `{entry.name}` | {option(entry, known)} | `{default}` | {known.text} |")
    return "\n".join(rows)


def page(text: str) -> str:
    """The page with its tables as they are in the code."""
    config = RunConfig()
    for part in to_toml(config).split("\n\n"):
        name, *defaults = part.strip().splitlines()
        section = getattr(config, name.strip("[]"))
        begin, end = f"<!-- options of {name}, written by docs/roads_options.py -->", "<!-- end -->"
        made = f"{begin}\n\n{table(section, defaults)}\n\n{end}"
        text = re.sub(
            f"{re.escape(begin)}.*?{end}", lambda _, made=made: made, text, flags=re.DOTALL
        )
    return text


if __name__ == "__main__":
    _ = PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
